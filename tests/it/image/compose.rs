//! infra/docker-compose.yml, as Compose reads it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use orders_testkit::{checkout, tool};
use serde::Deserialize;
use tokio::process::Command;

/// What the file says, of all profiles.
#[derive(Debug, Deserialize)]
pub(super) struct Project {
    pub(super) services: BTreeMap<String, Service>,
}

/// What the file says of one service.
#[derive(Debug, Deserialize)]
pub(super) struct Service {
    pub(super) image: String,
    #[serde(default)]
    pub(super) profiles: BTreeSet<String>,
    pub(super) command: Option<Vec<String>>,
    #[serde(default)]
    pub(super) environment: BTreeMap<String, Option<String>>,
    #[serde(default)]
    pub(super) volumes: Vec<Volume>,
    #[serde(default)]
    pub(super) ports: Vec<Port>,
    #[serde(default)]
    pub(super) read_only: bool,
    #[serde(default)]
    pub(super) cap_drop: Vec<String>,
    #[serde(default)]
    pub(super) security_opt: Vec<String>,
    pub(super) healthcheck: Option<HealthCheck>,
    #[serde(default)]
    pub(super) stop_grace_period: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Volume {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) source: PathBuf,
    pub(super) target: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Port {
    #[serde(default)]
    pub(super) host_ip: String,
    pub(super) published: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct HealthCheck {
    test: Vec<String>,
}

impl Project {
    /// Reads the file with these files of variables; whatever Compose would refuse is a failure.
    pub(super) async fn read(variables: &[&str]) -> Self {
        let file = |name: &str| checkout().join(name);
        let mut read = Command::new(tool("compose"));
        read.arg(file("infra/docker-compose.yml"))
            .args(variables.iter().map(|name| file(name)));
        let output = read.output().await.expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{said}");
        serde_json::from_slice(&output.stdout).expect("Compose's JSON")
    }

    /// The services of a profile, by name.
    pub(super) fn of_profile(&self, profile: &str) -> BTreeMap<&str, &Service> {
        let services = self.services.iter();
        services
            .filter(|(_, service)| service.profiles.contains(profile))
            .map(|(name, service)| (name.as_str(), service))
            .collect()
    }
}

impl Service {
    /// The command that says whether it is healthy.
    pub(super) fn health_command(&self) -> &[String] {
        let test = self.healthcheck.as_ref().map(|check| &check.test[..]);
        match test {
            Some([kind, command @ ..]) if kind == "CMD" => command,
            other => panic!("no health command: {other:?}"),
        }
    }

    /// The command, with what it has mounted replaced by `place` of it.
    pub(super) fn command_outside(&self, place: impl Fn(&Volume) -> PathBuf) -> Vec<String> {
        let outside = |argument: &String| {
            let volume = self.volumes.iter().find(|it| it.target == *argument);
            volume.map_or_else(
                || argument.clone(),
                |volume| place(volume).display().to_string(),
            )
        };
        let command = self.command.iter().flatten();
        command.map(outside).collect()
    }
}
