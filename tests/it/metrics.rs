//! What the daemons tell Prometheus is what `schemas/metrics.md` lists, and it answers questions: how far behind is whom,
//! what was lost, what was given up.

mod text;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use orders_testkit::{Daemon, eventually};
use reqwest::StatusCode;
use serde_json::json;

use self::text::{Listed, Told, list, of};
use crate::{
    pipeline::{Pipeline, order},
    web::Site,
};

fn daemons(site: &Site) -> [&Daemon; 6] {
    let Site { web, pipeline } = site;
    [
        &pipeline.edge,
        &pipeline.writer,
        &pipeline.projector,
        &pipeline.payments,
        &pipeline.realtime,
        web,
    ]
}

#[tokio::test]
async fn the_list_is_what_the_daemons_tell() {
    const DELAY: Duration = Duration::from_secs(3);
    let site = Site::start("3s").await;
    let pipeline = &site.pipeline;
    let list = list();
    for daemon in daemons(&site) {
        start_at_0(daemon, &list).await;
    }

    // A create, one that is refused, and a command that nobody can read.
    let paid = pipeline.create("t-1", "r1").await;
    let refused = pipeline
        .post("/api/orders", &json!({ "no": "order" }))
        .await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    let jetstream = pipeline.stack.jetstream().await;
    let sent = jetstream.publish("orders.cmd.t-1.create", "nobody can read it".into());
    sent.await.unwrap().await.unwrap();
    // The pages ask the edge for lists, which count.
    let page = reqwest::get(format!("{}/orders?tenantId=t-1", site.web.url()));
    assert!(page.await.unwrap().status().is_success());
    pipeline.until_status("t-1", &paid, "PAID").await;

    for daemon in daemons(&site) {
        eventually("the daemon tells what is listed", async || {
            as_listed(&Told::by(daemon).await, daemon.name(), &list)
        })
        .await;
    }

    let edge = Told::by(&pipeline.edge).await;
    let create = |status: &str| {
        let labels = [
            ("http_request_method", "POST"),
            ("http_route", "/api/orders"),
            ("http_response_status_code", status),
        ];
        edge.value("http_server_request_duration_seconds_count", &labels)
    };
    assert_eq!((create("201"), create("400")), (Some(1.0), Some(1.0)));
    let listed = edge.value("orders_create_to_listed_seconds_count", &[]);
    assert_eq!(listed, Some(1.0));
    let writer = Told::by(&pipeline.writer).await;
    let given_up = |reason| writer.value("orders_dead_letters_total", &[("reason", reason)]);
    assert_eq!(
        (given_up("invalid"), given_up("refused")),
        (Some(1.0), Some(0.0))
    );
    let projector = Told::by(&pipeline.projector).await;
    let late = |part| projector.value(&format!("orders_paid_delay_seconds_{part}"), &[]);
    assert_eq!(late("count"), Some(1.0));
    // It took longer than the delay, which is no part of it.
    let late = late("sum").unwrap();
    assert!(late < DELAY.as_secs_f64(), "{late}");
    eventually("the dead letter is in the stream", async || {
        let letters = Told::by(&pipeline.projector)
            .await
            .value("orders_dlq_messages", &[]);
        if letters == Some(1.0) {
            Ok(())
        } else {
            Err(letters)
        }
    })
    .await;
    site.pipeline.stack.clean_up().await;
}

/// Without that, the first step of a counter is none for whoever asks for its rate.
async fn start_at_0(daemon: &Daemon, list: &BTreeMap<String, Listed>) {
    let told = Told::by(daemon).await;
    for (name, listed) in of(list, daemon.name()) {
        if listed.kind != "counter" || name.starts_with("process_") {
            continue;
        }
        let values: Vec<f64> = told.of(name).map(|sample| sample.value).collect();
        assert!(!values.is_empty(), "{} has no {name}", daemon.name());
        assert!(
            values.iter().all(|value| *value == 0.0),
            "{name}: {values:?}"
        );
        if let Some(combinations) = listed.combinations() {
            assert_eq!(values.len(), combinations, "{name}");
        }
    }
}

/// Whether a daemon tells of everything that is listed, and of nothing else.
fn as_listed(told: &Told, daemon: &str, list: &BTreeMap<String, Listed>) -> Result<(), String> {
    let own = of(list, daemon);
    let unlisted = told
        .kinds
        .keys()
        .find(|name| !own.contains_key(name.as_str()));
    assert_eq!(unlisted, None, "{daemon}");
    for (name, listed) in own {
        let Some(kind) = told.kinds.get(name) else {
            return Err(format!("{daemon} has no {name}"));
        };
        assert_eq!(*kind, listed.kind, "{name}");
        assert!(told.helped.contains(name), "{name} has no help");
        let mut samples = told.of(name).peekable();
        if samples.peek().is_none() {
            return Err(format!("{daemon} does not know {name}"));
        }
        for sample in samples {
            let mut labels = sample.labels.clone();
            assert_eq!(labels.remove("daemon").as_deref(), Some(daemon), "{name}");
            labels.remove("le");
            let names: BTreeSet<&String> = labels.keys().collect();
            let expected: BTreeSet<&String> = listed.labels.keys().collect();
            assert_eq!(names, expected, "{name}");
            for (label, value) in &labels {
                let known = &listed.labels[label];
                assert!(
                    known.is_empty() || known.contains(value),
                    "{name}: {label} is {value}"
                );
                // A client's text, an order or a tenant would make one series after another.
                let is_data = value.contains("t-1") || value.contains("ord_");
                assert!(!is_data, "{name}: {label} is {value}");
            }
        }
    }
    Ok(())
}

/// The number that a daemon has of the consumer `durable` of `stream`.
async fn of_consumer(daemon: &Daemon, what: &str, stream: &str, durable: &str) -> Option<f64> {
    let told = Told::by(daemon).await;
    let name = format!("orders_consumer_{what}");
    told.value(&name, &[("stream", stream), ("consumer", durable)])
}

#[tokio::test]
async fn who_fills_a_stream_tells_of_its_reader_when_that_is_dead() {
    let mut pipeline = Pipeline::start("1h").await;
    pipeline.create("t-1", "r1").await;
    pipeline.projector.kill().await;
    // It is stored, but no list shows it.
    let created = pipeline.post("/api/orders", &order("t-1", "r2")).await;
    assert_eq!(created.headers()["x-projected"], "false");
    pipeline.writer.kill().await;
    let accepted = pipeline.post("/api/orders", &order("t-1", "r3")).await;
    assert_eq!(accepted.status(), StatusCode::ACCEPTED);
    let edge = &pipeline.edge;
    assert_eq!(
        Told::by(edge).await.value("orders_accepted_total", &[]),
        Some(1.0)
    );

    let commands = async |what: &str| of_consumer(edge, what, "ORDERS_COMMANDS", "writer").await;
    eventually("the edge tells that the writer is behind", async || {
        let pending = commands("pending_messages").await;
        let (pulls, age) = (
            commands("waiting_pulls").await,
            commands("oldest_unacked_seconds").await,
        );
        let is_told = pending == Some(1.0) && pulls == Some(0.0) && age > Some(0.0);
        if is_told {
            Ok(())
        } else {
            Err((pending, pulls, age))
        }
    })
    .await;

    pipeline.writer.restart(|setup| setup).await;
    let writer = &pipeline.writer;
    let events = async |what: &str| of_consumer(writer, what, "ORDERS_EVENTS", "projector").await;
    let floor = events("ack_floor_sequence").await;
    eventually(
        "the writer tells of those that read its events",
        async || {
            let (pending, age) = (
                events("pending_messages").await,
                events("oldest_unacked_seconds").await,
            );
            let reader = "payment-simulator";
            let held = of_consumer(writer, "ack_pending_messages", "ORDERS_EVENTS", reader).await;
            let is_told = pending >= Some(2.0) && age > Some(0.0) && held >= Some(3.0);
            if is_told {
                Ok(())
            } else {
                Err((pending, age, held))
            }
        },
    )
    .await;

    pipeline.projector.restart(|setup| setup).await;
    for daemon in [&pipeline.writer, &pipeline.projector] {
        eventually("the projector has caught up", async || {
            let now =
                async |what: &str| of_consumer(daemon, what, "ORDERS_EVENTS", "projector").await;
            let (age, reached) = (
                now("oldest_unacked_seconds").await,
                now("ack_floor_sequence").await,
            );
            let has_caught_up = age == Some(0.0) && reached > floor;
            if has_caught_up {
                Ok(())
            } else {
                Err((age, reached))
            }
        })
        .await;
    }
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn what_nobody_knows_is_left_out_until_somebody_does() {
    let mut pipeline = Pipeline::start("1h").await;
    pipeline.create("t-1", "r1").await;
    let messages = async |daemon: &Daemon, stream: &str| {
        let told = Told::by(daemon).await;
        assert!(told.kinds.contains_key("orders_stream_messages"));
        told.value("orders_stream_messages", &[("stream", stream)])
    };
    let pipeline_tells = async |pipeline: &Pipeline, is_known: bool| {
        for (daemon, stream) in [
            (&pipeline.edge, "ORDERS_COMMANDS"),
            (&pipeline.writer, "PAYMENTS"),
            (&pipeline.projector, "ORDERS_FEED"),
            (&pipeline.payments, "ORDERS_DLQ"),
            (&pipeline.realtime, "ORDERS_FEED"),
        ] {
            eventually("it is as it should be", async || {
                match messages(daemon, stream).await {
                    found if found.is_some() == is_known => Ok(()),
                    found => Err((daemon.name(), found)),
                }
            })
            .await;
        }
    };
    pipeline_tells(&pipeline, true).await;
    pipeline.stack.nats.kill().await;
    pipeline_tells(&pipeline, false).await;
    eventually("realtime does not know how far it is behind", async || {
        let realtime = Told::by(&pipeline.realtime).await;
        match realtime.value("orders_feed_lag_entries", &[]) {
            None => Ok(()),
            known => Err(known),
        }
    })
    .await;
    pipeline.stack.nats.restart().await;
    pipeline_tells(&pipeline, true).await;
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn messages_that_left_before_they_were_read_are_counted_once() {
    let mut pipeline = Pipeline::start("1h").await;
    pipeline.create("t-1", "r1").await;
    pipeline.projector.kill().await;
    for request in ["r2", "r3", "r4"] {
        let created = pipeline.post("/api/orders", &order("t-1", request)).await;
        assert_eq!(created.status(), StatusCode::CREATED);
    }
    // As a stream that is full drops them.
    let jetstream = pipeline.stack.jetstream().await;
    let events = jetstream.get_stream("ORDERS_EVENTS").await.unwrap();
    let state = &events.cached_info().state;
    let (first, last) = (state.first_sequence, state.last_sequence);
    assert_eq!(last + 1 - first, 4);
    for sequence in first..=last {
        assert!(events.delete_message(sequence).await.unwrap());
    }

    let lost = async |durable: &str| {
        let labels = [("stream", "ORDERS_EVENTS"), ("consumer", durable)];
        let told = Told::by(&pipeline.writer).await;
        let floor = told.value("orders_consumer_ack_floor_sequence", &labels);
        (told.value("orders_messages_lost_total", &labels), floor)
    };
    eventually("the loss is counted", async || {
        match lost("projector").await {
            (Some(3.0), _) => Ok(()),
            other => Err(other),
        }
    })
    .await;
    // The payment-simulator has them in hand.
    assert_eq!(lost("payment-simulator").await.0, Some(0.0));
    // Another report counts nothing anew.
    let created = pipeline.post("/api/orders", &order("t-1", "r5")).await;
    assert_eq!(created.status(), StatusCode::CREATED);
    eventually("the next report is there", async || {
        let told = Told::by(&pipeline.writer).await;
        let stream = [("stream", "ORDERS_EVENTS")];
        match told.value("orders_stream_messages", &stream) {
            Some(1.0) => Ok(()),
            other => Err(other),
        }
    })
    .await;
    assert_eq!(lost("projector").await.0, Some(3.0));
    pipeline.stack.clean_up().await;
}
