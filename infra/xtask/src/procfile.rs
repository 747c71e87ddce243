//! The Procfile: which daemons there are and how they start.

use std::{env, fs};

use anyhow::{Context, Result, ensure};

use crate::{
    process::{Launch, Output},
    stack::Site,
    supervisor::Supervisor,
    workspace::Workspace,
};

/// foreman's and overmind's step from one line's port to the next.
const PORT_STEP: u16 = 100;

/// One line of the Procfile.
pub(crate) struct Daemon {
    pub(crate) name: String,
    pub(crate) command: String,
    index: u16,
    own_port: Option<OwnPort>,
}

/// A port that a line sets itself, outside the steps: `PORT=${ORDERS_WEB_PORT:-3000}`.
struct OwnPort {
    variable: String,
    default: u16,
}

impl OwnPort {
    fn of(command: &str) -> Option<Self> {
        let (assignment, _) = command.strip_prefix("PORT=${")?.split_once('}')?;
        let (variable, default) = assignment.split_once(":-")?;
        Some(Self {
            variable: variable.to_owned(),
            default: default.parse().ok()?,
        })
    }
}

impl Daemon {
    /// Its port when the first line gets `base`; `settings` may name another.
    pub(crate) fn port(&self, base: u16, settings: impl Fn(&str) -> Option<String>) -> Result<u16> {
        let Some(own) = &self.own_port else {
            return Ok(base + PORT_STEP * self.index);
        };
        let Some(port) = settings(&own.variable) else {
            return Ok(own.default);
        };
        let parsed = port.parse();
        parsed.with_context(|| format!("{}={port} is no port", own.variable))
    }

    /// What sets its port.
    pub(crate) fn port_variable(&self) -> &str {
        self.own_port.as_ref().map_or("PORT", |own| &own.variable)
    }
}

pub(crate) fn read(workspace: &Workspace) -> Result<Vec<Daemon>> {
    let text = fs::read_to_string(workspace.root().join("Procfile")).context("reading Procfile")?;
    let daemons = parse(&text);
    ensure!(!daemons.is_empty(), "the Procfile names no daemon");
    Ok(daemons)
}

/// Starts the daemons, each on its port, and keeps them running.
pub(crate) fn start(
    workspace: &Workspace,
    site: &Site,
    daemons: &[Daemon],
    ports: &[u16],
    profile: &str,
    env: &[(String, String)],
    output: impl Fn(&str) -> Output,
) -> Result<Supervisor> {
    let mut env = env.to_vec();
    env.push(("ORDERS_PROFILE".into(), profile.into()));
    for (daemon, port) in daemons.iter().zip(ports) {
        // Where the others find it. What the developer set comes later and wins.
        let places: &[(&str, &str)] = match daemon.name.as_str() {
            "edge" => &[
                ("ORDERS_EDGE_URL", "127.0.0.1"),
                ("ORDERS_UPLOAD_ORIGIN", "localhost"),
            ],
            "realtime" => &[("ORDERS_REALTIME_URLS", "127.0.0.1")],
            "web" => &[("CORS_ORIGIN", "localhost")],
            _ => &[],
        };
        for (variable, host) in places
            .iter()
            .filter(|(variable, _)| env::var_os(variable).is_none())
        {
            env.insert(0, ((*variable).into(), format!("http://{host}:{port}")));
        }
    }
    let mut supervisor = Supervisor::new(site.log);
    for (daemon, port) in daemons.iter().zip(ports) {
        let mut launch = Launch::new(&daemon.name, "sh", workspace.root(), output(&daemon.name));
        launch = launch.args(["-c", &daemon.command]);
        launch.env.clone_from(&env);
        launch.env.extend([
            ("PORT".into(), port.to_string()),
            ("PS".into(), format!("{}.1", daemon.name)),
        ]);
        if let Some(own) = &daemon.own_port {
            launch.env.push((own.variable.clone(), port.to_string()));
        }
        launch.records.clone_from(&site.records);
        let running = launch.start()?;
        supervisor.keep(launch, running);
    }
    Ok(supervisor)
}

fn parse(text: &str) -> Vec<Daemon> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| line.split_once(':'))
        .zip(0..)
        .map(|((name, command), index)| Daemon {
            name: name.trim().to_owned(),
            command: command.trim().to_owned(),
            index,
            own_port: OwnPort::of(command.trim()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_follow_the_order_of_lines_unless_a_line_sets_its_own() {
        let daemons = parse(
            "# daemons\nedge: exec ./edge --x a:b\n\nwriter:  exec ./writer\nweb: PORT=${WEB:-3000} exec ./web\n",
        );
        let seen = |settings: fn(&str) -> Option<String>| {
            let daemon = |d: &Daemon| (d.name.clone(), d.port(3001, settings).ok());
            daemons.iter().map(daemon).collect::<Vec<_>>()
        };
        let expected = |web| {
            [
                ("edge".to_owned(), Some(3001)),
                ("writer".to_owned(), Some(3101)),
                ("web".to_owned(), web),
            ]
        };
        assert_eq!(daemons[0].command, "exec ./edge --x a:b");
        assert_eq!(seen(|_| None), expected(Some(3000)));
        assert_eq!(
            seen(|name| (name == "WEB").then(|| "4000".to_owned())),
            expected(Some(4000))
        );
        assert_eq!(seen(|_| Some("x".to_owned())), expected(None));
    }
}
