//! One log of several processes.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    io::{IsTerminal, stdout},
};

/// Prints each line behind the name of its process.
#[derive(Clone, Copy)]
pub(crate) struct Console {
    width: usize,
    colours: bool,
}

impl Console {
    pub(crate) fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let width = names.into_iter().map(str::len).max().unwrap_or_default();
        let colours = stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { width, colours }
    }

    pub(crate) fn line(self, name: &str, text: &str) {
        let width = self.width;
        if self.colours {
            let mut hasher = DefaultHasher::new();
            name.hash(&mut hasher);
            let colour = 31 + hasher.finish() % 6;
            println!("\x1b[{colour}m{name:width$} |\x1b[0m {text}");
        } else {
            println!("{name:width$} | {text}");
        }
    }

    /// Prints a line of ours that nobody should overlook.
    pub(crate) fn notice(self, name: &str, text: &str) {
        if self.colours {
            self.line(name, &format!("\x1b[1m{text}\x1b[0m"));
        } else {
            self.line(name, text);
        }
    }
}
