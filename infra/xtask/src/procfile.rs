//! The Procfile: which daemons there are and how they start.

use std::fs;

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
}

impl Daemon {
    pub(crate) fn port(&self, base: u16) -> u16 {
        base + PORT_STEP * self.index
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
    let realtime = daemons
        .iter()
        .zip(ports)
        .find(|(daemon, _)| daemon.name == "realtime");
    if let Some((_, port)) = realtime {
        // Given last, so that what the developer set wins.
        env.insert(
            0,
            (
                "ORDERS_REALTIME_URLS".into(),
                format!("http://127.0.0.1:{port}"),
            ),
        );
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
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_follow_the_order_of_lines() {
        let daemons = parse("# daemons\nedge: exec ./edge --x a:b\n\nwriter:  exec ./writer\n");
        let seen: Vec<_> = daemons
            .iter()
            .map(|d| (d.name.as_str(), d.command.as_str(), d.port(3001)))
            .collect();
        assert_eq!(
            seen,
            [
                ("edge", "exec ./edge --x a:b", 3001),
                ("writer", "exec ./writer", 3101)
            ]
        );
    }
}
