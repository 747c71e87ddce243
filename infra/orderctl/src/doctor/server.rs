//! The NATS server itself.

use std::time::Duration;

use anyhow::Result;
use orders_bus::{JETSTREAM_OFF, Operator};
use serde::{Deserialize, de::DeserializeOwned};

use super::report::{Diagnosis, Report};
use crate::output::size;

/// The oldest NATS server with every feature that the pipeline uses and without known holes (CVE-2026-33222,
/// CVE-2026-33248).
const OLDEST_NATS: [u32; 3] = [2, 12, 6];
/// How long to wait for the monitoring of NATS.
const MONITOR_DEADLINE: Duration = Duration::from_secs(2);
/// With this many copies, a power cut at one server loses nothing.
const SAFE_REPLICAS: usize = 3;
/// The percentages of the server's storage from which on there is reason to worry, and to act.
const NEARLY_FULL: u128 = 80;
const FULL: u128 = 95;

/// Why there is no bus.
pub(super) fn unreachable(error: &anyhow::Error) -> Diagnosis {
    let found = format!("{error:#}");
    if found.contains(JETSTREAM_OFF) {
        let remedy = "free space on its disk and restart it: it does not switch JetStream on again by itself; or start \
                      it with -js";
        return Diagnosis::red(found, remedy);
    }
    Diagnosis::red(found, "start NATS, or correct --nats-url")
}

pub(super) fn version(version: &str) -> Diagnosis {
    let [major, minor, patch] = OLDEST_NATS;
    let (release, _) = version.split_once('-').unwrap_or((version, ""));
    let numbers: Vec<u32> = release.split('.').map_while(|n| n.parse().ok()).collect();
    if numbers.as_slice() >= OLDEST_NATS.as_slice() {
        Diagnosis::green(version)
    } else {
        let remedy = format!("upgrade NATS to {major}.{minor}.{patch} or newer");
        Diagnosis::red(version, remedy)
    }
}

/// The part of `/varz` that tells about the server's disk.
#[derive(Deserialize)]
struct Varz {
    server_id: String,
    #[serde(default)]
    jetstream: JetStream,
}

#[derive(Default, Deserialize)]
struct JetStream {
    #[serde(default)]
    config: JetStreamConfig,
    #[serde(default)]
    stats: JetStreamStats,
}

#[derive(Default, Deserialize)]
struct JetStreamStats {
    /// In bytes.
    #[serde(default)]
    storage: u64,
}

#[derive(Default, Deserialize)]
struct JetStreamConfig {
    #[serde(default)]
    sync_always: bool,
    /// In nanoseconds.
    #[serde(default)]
    sync_interval: u64,
    /// In bytes.
    #[serde(default)]
    max_storage: u64,
}

/// The part of `/healthz` that tells what is wrong.
#[derive(Deserialize)]
struct Healthz {
    error: Option<String>,
}

pub(super) async fn monitor(
    bus: &Operator,
    monitor: &str,
    replicas: usize,
    report: &mut Report<'_>,
) {
    let jetstream = match ask::<Varz>(monitor, "varz").await {
        Ok(varz) if varz.server_id == bus.server().id => varz.jetstream,
        Ok(_) => {
            let found = format!("unknown: {monitor} monitors another server");
            let remedy = "pass the monitoring URL of the server at --nats-url with --nats-monitor";
            return report.add("sync of nats", Diagnosis::yellow(found, remedy));
        }
        Err(error) => {
            let found = format!("unknown: {error}");
            let remedy =
                "start NATS with http_port (-m 8222), and pass its URL with --nats-monitor";
            return report.add("sync of nats", Diagnosis::yellow(found, remedy));
        }
    };
    if let Ok(health) = ask::<Healthz>(monitor, "healthz").await {
        report.add("health of nats", self::health(health.error));
    }
    report.add("sync of nats", sync(&jetstream.config, replicas));
    report.add(
        "storage of nats",
        storage(jetstream.stats.storage, jetstream.config.max_storage),
    );
}

/// Judges what the server says of itself. It shows nothing else of a stream that a failed write has frozen: whoever
/// publishes to it gets no answer.
fn health(error: Option<String>) -> Diagnosis {
    let Some(error) = error else {
        return Diagnosis::green("ok");
    };
    let remedy = match error.contains("write error") {
        true => {
            "free space on its disk, then restart nats-server: until then the stream takes nothing"
        }
        false => "see the log of nats-server",
    };
    Diagnosis::red(error, remedy)
}

fn sync(config: &JetStreamConfig, replicas: usize) -> Diagnosis {
    if config.sync_always {
        return Diagnosis::green("always");
    }
    let interval = Duration::from_nanos(config.sync_interval);
    let found = format!("every {}", humantime::format_duration(interval));
    if replicas >= SAFE_REPLICAS {
        return Diagnosis::green(format!("{found}, on {replicas} servers"));
    }
    Diagnosis::yellow(
        found,
        "a power cut may lose messages acknowledged since the last sync; set sync_interval: always in the server's \
         jetstream block, or run three replicas",
    )
}

/// Once its disk is full, the server switches JetStream off until it is started again.
fn storage(used: u64, limit: u64) -> Diagnosis {
    if limit == 0 {
        return Diagnosis::green(format!("{} used, without a limit", size(used)));
    }
    let percent = u128::from(used) * 100 / u128::from(limit);
    let found = format!("{percent}% of {} used", size(limit));
    let remedy = "free space or raise max_file_store; a server with a full disk refuses everything until it is restarted";
    match percent {
        0..NEARLY_FULL => Diagnosis::green(found),
        NEARLY_FULL..FULL => Diagnosis::yellow(found, remedy),
        _ => Diagnosis::red(found, remedy),
    }
}

/// Asks the monitoring for a page. A server that is not healthy answers with a status that tells of it.
async fn ask<T: DeserializeOwned>(monitor: &str, page: &str) -> Result<T, reqwest::Error> {
    let client = reqwest::Client::builder()
        .timeout(MONITOR_DEADLINE)
        .build()?;
    let url = format!("{}/{page}", monitor.trim_end_matches('/'));
    client.get(url).send().await?.json().await
}

#[cfg(test)]
mod tests {
    use super::super::report::Colour;
    use super::*;

    #[test]
    fn nats_must_be_new_enough() {
        for (version, colour) in [
            ("2.12.6", Colour::Green),
            ("2.12.7-RC.1", Colour::Green),
            ("2.12.5", Colour::Red),
            ("3.0.0", Colour::Green),
            ("2.11.9", Colour::Red),
            ("what", Colour::Red),
        ] {
            assert_eq!(super::version(version).colour, colour, "{version}");
        }
    }

    #[test]
    fn a_stream_that_a_failed_write_has_frozen_is_told() {
        assert_eq!(health(None).colour, Colour::Green);
        let frozen = "JetStream stream '$G > ORDERS_COMMANDS' write error: no space left on device";
        for (error, remedy) in [
            (frozen, "restart nats-server"),
            (
                "JetStream is not current with the meta leader",
                "see the log",
            ),
        ] {
            let told = health(Some(error.to_owned()));
            assert_eq!((told.colour, told.found.as_str()), (Colour::Red, error));
            assert!(told.remedy.unwrap().contains(remedy), "{error}");
        }
    }

    #[test]
    fn a_disk_that_is_nearly_full_is_told_in_time() {
        for (used, colour) in [
            (0, Colour::Green),
            (79, Colour::Green),
            (80, Colour::Yellow),
            (95, Colour::Red),
            (101, Colour::Red),
        ] {
            assert_eq!(storage(used << 30, 100 << 30).colour, colour, "{used}");
        }
        assert_eq!(storage(1, 0).colour, Colour::Green);
    }
}
