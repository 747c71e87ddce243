//! The command line every daemon has.

use std::{ffi::OsString, io::Write as _, net::SocketAddr, path::PathBuf};

use clap::{Arg, ArgAction, Command};

use crate::{
    chain,
    config::{self, Loaded, Settings},
    healthcheck, metrics,
};

/// A flag that prints a text: its name, its help, and what makes the text.
type Print = (&'static str, &'static str, fn() -> String);

/// A daemon's description of itself; made by [`about!`](crate::about).
#[derive(Debug, Clone)]
pub struct About {
    /// The name of the daemon: package, binary, process, metrics label.
    pub name: &'static str,
    /// One line for `--help`.
    pub summary: &'static str,
    /// The commit it is built from, abbreviated; `unknown` for a build outside a Git checkout.
    pub commit: &'static str,
    /// What `--version` prints: the version and the commit.
    pub version: &'static str,
    /// Flags that print a text; see [`About::print`].
    pub prints: Vec<Print>,
}

impl About {
    /// Adds a flag that prints a text and exits, as `--openapi` does.
    #[must_use]
    pub fn print(mut self, flag: &'static str, help: &'static str, text: fn() -> String) -> Self {
        self.prints.push((flag, help, text));
        self
    }
}

/// The [`About`] of the calling package, from its `Cargo.toml` and its build script, `infra/commit/build.rs`.
#[macro_export]
macro_rules! about {
    () => {
        $crate::About {
            name: env!("CARGO_PKG_NAME"),
            summary: env!("CARGO_PKG_DESCRIPTION"),
            commit: env!("ORDERS_COMMIT"),
            version: concat!(env!("CARGO_PKG_VERSION"), " (", env!("ORDERS_COMMIT"), ")"),
            prints: Vec::new(),
        }
    };
}

/// The request of a command line.
#[derive(Debug)]
pub(crate) enum Request<C> {
    /// Run with this configuration.
    Run(Loaded<C>),
    /// Ask the daemon at this address whether it is ready.
    Ask(SocketAddr),
    /// Print this and exit with success.
    Print(String),
}

/// Reads the command line and the configuration it names. The error is for people and may have several lines.
pub(crate) fn parse<C: Settings>(
    about: &About,
    args: impl IntoIterator<Item = OsString>,
    env: impl IntoIterator<Item = (String, String)>,
) -> Result<Request<C>, String> {
    let matches = match command::<C>(about).try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) if error.use_stderr() => return Err(error.render().to_string()),
        Err(help) => return Ok(Request::Print(help.render().to_string())),
    };
    if let Some((_, _, text)) = about
        .prints
        .iter()
        .find(|(flag, ..)| matches.get_flag(flag))
    {
        return Ok(Request::Print(text()));
    }
    if matches.get_flag("settings") {
        return Ok(Request::Print(config::markdown::<C>()));
    }
    if matches.get_flag("metrics") {
        return Ok(Request::Print(metrics::markdown()));
    }
    let file = matches.get_one::<PathBuf>("config");
    let loaded =
        config::load::<C>(file.map(PathBuf::as_path), env).map_err(|error| chain(&error))?;
    if matches.get_flag("healthcheck") {
        return Ok(Request::Ask(healthcheck::address(loaded.config.common())));
    }
    Ok(match matches.get_flag("dump-config") {
        true => Request::Print(config::dump(&loaded.config)),
        false => Request::Run(loaded),
    })
}

fn command<C: Settings>(about: &About) -> Command {
    let flag = |name, help| {
        Arg::new(name)
            .long(name)
            .help(help)
            .action(ArgAction::SetTrue)
    };
    let file = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .help("Read settings from a TOML file");
    Command::new(about.name)
        .version(about.version)
        .about(about.summary)
        .arg(file.value_parser(clap::value_parser!(PathBuf)))
        .arg(flag(
            "dump-config",
            "Print the settings in effect as TOML, without passwords, and exit",
        ))
        .arg(flag(
            "healthcheck",
            "Ask the daemon that runs with these settings whether it is ready, and fail if it is not",
        ))
        .arg(flag("settings", "Print the table of settings as Markdown").hide(true))
        .arg(flag("metrics", "Print the table of metrics as Markdown").hide(true))
        .args(about.prints.iter().map(|&(name, help, _)| flag(name, help)))
        .after_help(config::help::<C>())
}

/// Prints to stdout; a reader that went away is no error.
pub(crate) fn print(text: &str) {
    let end = if text.ends_with('\n') { "" } else { "\n" };
    let _ = write!(std::io::stdout(), "{text}{end}");
}
