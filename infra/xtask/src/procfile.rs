//! The Procfile: the daemons and how to start them.

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

/// The setting that moves all ports together, and its default.
const BASE_PORT: &str = "ORDERS_BASE_PORT";
const DEFAULT_BASE: u16 = 3000;

/// A port that a line sets itself, apart from the steps: `PORT=${ORDERS_WEB_PORT:-...}`.
struct OwnPort {
    variable: String,
}

impl OwnPort {
    fn of(command: &str) -> Option<Self> {
        let (variable, _) = command.strip_prefix("PORT=${")?.split_once(":-")?;
        Some(Self {
            variable: variable.to_owned(),
        })
    }
}

impl Daemon {
    /// Its port when the first line gets `first` by default; `settings` may name others.
    pub(crate) fn port(
        &self,
        first: u16,
        settings: impl Fn(&str) -> Option<String>,
    ) -> Result<u16> {
        let set = |variable: &str, default| match settings(variable) {
            Some(port) => {
                let parsed = port.parse();
                parsed.with_context(|| format!("{variable}={port} is no port"))
            }
            None => Ok(default),
        };
        let base = set(BASE_PORT, DEFAULT_BASE)?;
        if let Some(own) = &self.own_port {
            return set(&own.variable, base);
        }
        let port = i32::from(set("PORT", first)?) + i32::from(PORT_STEP * self.index);
        let moved = port + i32::from(base) - i32::from(DEFAULT_BASE);
        u16::try_from(moved).with_context(|| format!("{} would have the port {moved}", self.name))
    }

    /// The variable that sets its port.
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

/// Starts the daemons, each on its port and with an environment of its own, and keeps them running; `public_url` is the
/// setting of the edge.
pub(crate) fn start(
    workspace: &Workspace,
    site: &Site,
    daemons: &[Daemon],
    ports: &[u16],
    profile: &str,
    public_url: Option<&str>,
    env: impl Fn(&str) -> Vec<(String, String)>,
) -> Result<Supervisor> {
    let places = places(daemons, ports, public_url);
    let mut supervisor = Supervisor::new(site.console);
    for (daemon, port) in daemons.iter().zip(ports) {
        let mut launch = Launch::new(
            &daemon.name,
            "sh",
            workspace.root(),
            Output::Lines(site.console),
        );
        launch = launch.args(["-c", &daemon.command]);
        let places = places.iter();
        let places = places.filter(|(variable, _)| env::var_os(variable).is_none());
        launch.env = places
            .map(|(variable, place)| ((*variable).into(), place.clone()))
            .collect();
        // The developer's own settings come later and win.
        launch.env.extend(env(&daemon.name));
        launch.env.extend([
            ("ORDERS_PROFILE".into(), profile.into()),
            ("PORT".into(), port.to_string()),
            // These are the ports already, and the daemons know the addresses.
            (BASE_PORT.into(), String::new()),
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

/// The URLs by which daemons find each other and browsers find them; `public_url` is the setting of the edge.
fn places(
    daemons: &[Daemon],
    ports: &[u16],
    public_url: Option<&str>,
) -> Vec<(&'static str, String)> {
    let mut places = Vec::new();
    for (daemon, port) in daemons.iter().zip(ports) {
        let (ours, browsers) = (
            format!("http://127.0.0.1:{port}"),
            format!("http://localhost:{port}"),
        );
        match daemon.name.as_str() {
            "edge" => {
                let uploads = public_url.map_or(browsers, origin);
                places.extend([("ORDERS_EDGE_URL", ours), ("ORDERS_UPLOAD_ORIGIN", uploads)]);
            }
            "realtime" => places.push(("ORDERS_REALTIME_URLS", ours)),
            "web" => places.push(("CORS_ORIGIN", format!("{browsers},{ours}"))),
            _ => {}
        }
    }
    places
}

/// `https://host` of `https://host/path`.
fn origin(url: &str) -> String {
    url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/")
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
            "# daemons\nedge: exec ./edge --x a:b\n\nwriter:  exec ./writer\nweb: PORT=${WEB:-${ORDERS_BASE_PORT:-3000}} exec ./web\n",
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
        let wrong = |name: &str| (name == "WEB").then(|| "x".to_owned());
        assert_eq!(seen(wrong), expected(None));
        let moved = seen(|name| (name == "ORDERS_BASE_PORT").then(|| "4000".to_owned()));
        let ports = moved.into_iter().map(|(_, port)| port);
        assert!(ports.eq([Some(4001), Some(4101), Some(4000)]));
    }

    #[test]
    fn daemons_are_told_where_the_others_are() {
        let daemons = parse("edge: ./edge\nrealtime: ./realtime\nweb: ./web\n");
        let told = |public_url| {
            let places = places(&daemons, &[1, 2, 3], public_url);
            let told = places.iter().map(|(name, place)| format!("{name}={place}"));
            told.collect::<Vec<_>>()
        };
        let with_uploads_at = |origin: &str| {
            [
                "ORDERS_EDGE_URL=http://127.0.0.1:1",
                &format!("ORDERS_UPLOAD_ORIGIN={origin}"),
                "ORDERS_REALTIME_URLS=http://127.0.0.1:2",
                "CORS_ORIGIN=http://localhost:3,http://127.0.0.1:3",
            ]
            .map(str::to_owned)
        };
        assert_eq!(told(None), with_uploads_at("http://localhost:1"));
        let public = Some("https://shop.example/orders/api");
        assert_eq!(told(public), with_uploads_at("https://shop.example"));
    }
}
