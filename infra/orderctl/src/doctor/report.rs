//! What the doctor found, line by line.

use std::{
    env,
    fmt::Display,
    io::{IsTerminal, stdout},
};

use serde::Serialize;

use crate::output::Output;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Colour {
    Green,
    /// Worth knowing, but no reason to fail.
    Yellow,
    Red,
}

/// The result of a check, and a remedy unless it is green.
#[derive(Debug, Serialize)]
pub(super) struct Diagnosis {
    pub(super) colour: Colour,
    pub(super) found: String,
    pub(super) remedy: Option<String>,
}

impl Diagnosis {
    pub(super) fn green(found: impl Into<String>) -> Self {
        Self {
            colour: Colour::Green,
            found: found.into(),
            remedy: None,
        }
    }

    pub(super) fn yellow(found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            colour: Colour::Yellow,
            remedy: Some(remedy.into()),
            ..Self::green(found)
        }
    }

    pub(super) fn red(found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            colour: Colour::Red,
            ..Self::yellow(found, remedy)
        }
    }

    /// Whether a stream, consumer or index matches its declaration.
    pub(super) fn drift(difference: Option<&impl Display>) -> Self {
        match difference {
            None => Self::green("as declared"),
            Some(difference) => Self::red(
                difference.to_string(),
                "run orderctl migrate with the daemons' settings",
            ),
        }
    }
}

pub(super) struct Report<'a> {
    output: &'a Output,
    in_colour: bool,
    pub(super) is_red: bool,
}

impl<'a> Report<'a> {
    pub(super) fn new(output: &'a Output) -> Self {
        let forbidden = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            output,
            in_colour: stdout().is_terminal() && !forbidden,
            is_red: false,
        }
    }

    pub(super) fn add(&mut self, check: &str, diagnosis: Diagnosis) {
        #[derive(Serialize)]
        struct Line<'a> {
            check: &'a str,
            #[serde(flatten)]
            diagnosis: &'a Diagnosis,
        }
        self.is_red |= diagnosis.colour == Colour::Red;
        let mut text = format!("  {check}: {}", diagnosis.found);
        if let Some(remedy) = &diagnosis.remedy {
            text += &format!("\n        {remedy}");
        }
        let diagnosis = &diagnosis;
        let mark = self.mark(diagnosis.colour);
        self.output.marked(&mark, text, &Line { check, diagnosis });
    }

    fn mark(&self, colour: Colour) -> String {
        let (code, word) = match colour {
            Colour::Green => (32, "green "),
            Colour::Yellow => (33, "yellow"),
            Colour::Red => (31, "red   "),
        };
        if self.in_colour {
            format!("\x1b[{code}m{word}\x1b[0m")
        } else {
            word.to_owned()
        }
    }
}
