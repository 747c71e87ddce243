//! Whether every daemon is there, ready and of one version.

use std::{collections::BTreeMap, time::Duration};

use orders_bus::DaemonAnswer;
use orders_contracts::DaemonHealth;

use super::report::{Diagnosis, Report};
use crate::{VERSION, look::DAEMONS};

/// How long to wait for the front end.
const WEB_DEADLINE: Duration = Duration::from_secs(2);

pub(super) fn judge(answers: &[DaemonAnswer], report: &mut Report<'_>) {
    let found = Vec::from_iter(answers.iter().map(|answer| &answer.health));
    for name in DAEMONS {
        let instances: Vec<_> = found
            .iter()
            .copied()
            .filter(|health| health.daemon == name)
            .collect();
        report.add(&format!("daemon {name}"), readiness(name, &instances));
    }
    report.add("versions", versions(&found));
}

fn readiness(name: &str, instances: &[&DaemonHealth]) -> Diagnosis {
    let problems: Vec<String> = instances
        .iter()
        .filter_map(|health| {
            let problem = health.problem.as_ref()?;
            Some(format!("{}: {problem}", health.instance))
        })
        .collect();
    let (all, ready) = (instances.len(), instances.len() - problems.len());
    let see = || format!("see its log and its /readyz?verbose; {ready} of {all} are ready");
    match (all, ready) {
        (0, _) => Diagnosis::red(
            "none answers",
            format!("start {name}; if its process is there, it hangs: restart it"),
        ),
        (_, 0) => Diagnosis::red(problems.join("; "), see()),
        _ if ready < all => Diagnosis::yellow(problems.join("; "), see()),
        _ => Diagnosis::green(format!("{ready} ready")),
    }
}

fn versions(found: &[&DaemonHealth]) -> Diagnosis {
    let mut versions = BTreeMap::from([(VERSION, vec!["this orderctl"])]);
    for health in found {
        let instances = versions.entry(&health.version).or_default();
        instances.push(&health.instance);
    }
    if versions.len() == 1 {
        return Diagnosis::green(VERSION);
    }
    let lists = versions.into_iter().map(|(version, mut instances)| {
        instances.sort_unstable();
        format!("{version}: {}", instances.join(", "))
    });
    let found = Vec::from_iter(lists).join("; ");
    Diagnosis::yellow(found, "run one version everywhere")
}

/// The front end, by its address: in mode off it is not connected to NATS.
pub(super) async fn web(url: &str) -> Diagnosis {
    let ready = async {
        let client = reqwest::Client::builder().timeout(WEB_DEADLINE).build()?;
        let url = format!("{}/readyz", url.trim_end_matches('/'));
        client.get(url).send().await?.error_for_status()
    };
    match ready.await {
        Ok(_) => Diagnosis::green("ready"),
        Err(error) => Diagnosis::yellow(
            format!("unknown: {error}"),
            "start web, or pass its URL with --web-url",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::report::Colour, *};

    fn health(problem: Option<&str>) -> DaemonHealth {
        DaemonHealth {
            daemon: "edge".to_owned(),
            instance: "edge.1".to_owned(),
            version: VERSION.to_owned(),
            problem: problem.map(str::to_owned),
            id: None,
            uptime_seconds: None,
            asked_at: None,
            answered_at: None,
        }
    }

    #[test]
    fn a_daemon_is_red_unless_one_of_it_is_ready() {
        let (ready, not) = (health(None), health(Some("nats: not connected")));
        for (instances, colour) in [
            (vec![], Colour::Red),
            (vec![&not], Colour::Red),
            (vec![&ready, &not], Colour::Yellow),
            (vec![&ready, &ready], Colour::Green),
        ] {
            let diagnosis = readiness("edge", &instances);
            assert_eq!(diagnosis.colour, colour, "{diagnosis:?}");
        }
        let told = readiness("edge", &[&not]).found;
        assert_eq!(told, "edge.1: nats: not connected");
    }

    #[test]
    fn several_versions_are_told_with_those_that_have_them() {
        let (edge, other) = (health(None), health(None));
        let other = DaemonHealth {
            version: "0.0.1 (abc)".to_owned(),
            instance: "writer.2".to_owned(),
            ..other
        };
        assert_eq!(versions(&[&edge]).colour, Colour::Green);
        let told = versions(&[&edge, &other]);
        assert_eq!(told.colour, Colour::Yellow);
        let found = format!("0.0.1 (abc): writer.2; {VERSION}: edge.1, this orderctl");
        assert_eq!(told.found, found);
    }
}
