//! Traces: what a collector gets of an order, and that nobody waits for the collector.

mod outage;
mod tree;

use std::{
    slice::from_ref,
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use orders_testkit::{CollectedSpan, Collector, Daemon, Setup, SocketClient, Stack, eventually};
use reqwest::Response;

use self::tree::{is_whole, tree};
use crate::pipeline::{Pipeline, order, order_id};

/// A client's trace, and its span.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

/// From the request to the second event of the socket.
const TREE: &str = "\
edge SERVER POST /api/orders
  edge PRODUCER publish orders.cmd.{tenant}.create
    writer CONSUMER process orders.cmd.{tenant}.create
      writer PRODUCER publish orders.evt.{tenant}.created
        payment-simulator CONSUMER process orders.evt.{tenant}.created
          payment-simulator PRODUCER publish payments.evt.{tenant}.paid
            writer CONSUMER process payments.evt.{tenant}.paid
              writer PRODUCER publish orders.evt.{tenant}.updated
                projector CONSUMER process orders.evt.{tenant}.updated
                  projector PRODUCER publish orders.feed.{tenant}.updated
                    realtime CONSUMER emit orders.feed.{tenant}.updated
        projector CONSUMER process orders.evt.{tenant}.created
          projector PRODUCER publish orders.feed.{tenant}.created
            realtime CONSUMER emit orders.feed.{tenant}.created
";

/// The pipeline whose daemons send traces to `url`; the edge samples as `sampler` says.
async fn pipeline(url: &str, sampler: &str, delay: &str) -> Pipeline {
    let stack = Stack::start()
        .await
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        .env(
            "OTEL_EXPORTER_OTLP_HEADERS",
            "authorization=Bearer%20secret-1",
        )
        .env("OTEL_TRACES_SAMPLER", sampler);
    Pipeline::start_on(stack, delay, |edge| edge).await
}

/// The id of the trace that an answer names.
fn trace_of(response: &Response) -> String {
    let context = response.headers()["traceresponse"].to_str().unwrap();
    let mut parts = context.split('-');
    assert_eq!(parts.next(), Some("00"));
    let trace = parts.next().unwrap().to_owned();
    assert_eq!(parts.next_back(), Some("01"));
    trace
}

/// The only one of `spans` with this name, in this service.
fn only<'s>(spans: &'s [CollectedSpan], service: &str, name: &str) -> &'s CollectedSpan {
    let mut found = spans
        .iter()
        .filter(|span| span.service() == service && span.name == name);
    let span = found.next().unwrap_or_else(|| panic!("{service}: {name}"));
    assert!(found.next().is_none(), "{service}: {name} twice");
    span
}

#[tokio::test]
async fn a_trace_goes_from_the_request_to_the_second_event() {
    let collector = Collector::start().await;
    let pipeline = pipeline(&collector.url(), "always_on", "5s").await;
    let mut client = SocketClient::of_tenant(&pipeline.edge.url(), "t-1");
    client.event("connected").await;
    let events = format!("{}/api/orders/events?tenantId=t-1", pipeline.edge.url());
    let events = pipeline.http.get(events).send().await.unwrap();
    let reader = tokio::spawn(events.bytes_stream().for_each(async |_| {}));

    let response = pipeline.post("/api/orders", &order("t-1", "r1")).await;
    let trace = trace_of(&response);
    let id = order_id(response).await;
    client.event("order.created").await;
    client.event("order.updated").await;
    let told = Instant::now();
    let spans = eventually("all spans are there", async || {
        let spans = collector.trace(&trace);
        if spans.len() == TREE.lines().count() {
            Ok(spans)
        } else {
            Err(spans)
        }
    })
    .await;
    let took = told.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert_eq!(tree(&spans, None), TREE);

    check_attributes(&spans, &id);
    check_payment(&spans);
    check_bulk(&collector, &spans).await;
    check_secrets(&collector, &pipeline);
    reader.abort();
    pipeline.stack.clean_up().await;
}

fn check_attributes(spans: &[CollectedSpan], order_id: &str) {
    for span in spans {
        let service = span.service();
        let instance = &span.resource["service.instance.id"];
        assert!(instance.starts_with(&format!("{service}@")), "{instance}");
        assert_eq!(span.resource["service.namespace"], "orders");
        assert_eq!(span.failure, None);
        assert!(span.start <= span.end, "{span:?}");
        if span.kind == "SERVER" {
            assert_eq!(span.attributes["http.response.status_code"], "201");
            assert_eq!(span.attributes["http.route"], "/api/orders");
        } else {
            assert_eq!(span.attributes["messaging.system"], "nats");
            assert_eq!(span.attributes["orders.tenant_id"], "t-1");
            assert_eq!(span.attributes["orders.order_id"], order_id);
        }
        assert!(
            !span.attributes.contains_key("orders.deliveries"),
            "{span:?}"
        );
        assert!(!format!("{span:?}").contains("alice"), "{span:?}");
    }
    for event in ["created", "updated"] {
        let emit = only(
            spans,
            "realtime",
            &format!("emit orders.feed.{{tenant}}.{event}"),
        );
        assert_eq!(
            emit.attributes["orders.clients"], "2",
            "a socket and a stream"
        );
    }
}

/// The wait for the payment shows as a gap.
fn check_payment(spans: &[CollectedSpan]) {
    let created = "process orders.evt.{tenant}.created";
    let held = only(spans, "payment-simulator", created);
    let stored = only(spans, "writer", "publish orders.evt.{tenant}.created");
    let paid = only(
        spans,
        "payment-simulator",
        "publish payments.evt.{tenant}.paid",
    );
    let gap = paid.start - stored.end;
    // A busy machine may be late.
    let (least, most) = (Duration::from_millis(4_900), Duration::from_millis(5_500));
    assert!((least..most).contains(&gap), "{gap:?}");
    assert!(
        paid.start - held.end > Duration::from_secs(4),
        "held only while it is handled"
    );
    let delay: u64 = paid.attributes["orders.payment.delay_ms"].parse().unwrap();
    assert!((4_900..5_500).contains(&delay), "{delay}");
}

/// The calls for many messages are traces of their own, linked both ways.
async fn check_bulk(collector: &Collector, spans: &[CollectedSpan]) {
    for (service, message, name) in [
        (
            "writer",
            "process orders.cmd.{tenant}.create",
            "bulk insert orders_write",
        ),
        (
            "writer",
            "process payments.evt.{tenant}.paid",
            "bulk update orders_write",
        ),
        (
            "projector",
            "process orders.evt.{tenant}.created",
            "bulk insert orders_read",
        ),
        (
            "projector",
            "process orders.evt.{tenant}.updated",
            "bulk update orders_read",
        ),
    ] {
        let message = only(spans, service, message);
        let bulk = eventually(name, async || {
            let all = collector.spans();
            all.into_iter()
                .find(|span| span.name == name)
                .ok_or("not yet")
        })
        .await;
        assert_eq!((bulk.service(), bulk.kind), (service, "INTERNAL"));
        assert_eq!(bulk.parent, None);
        assert_ne!(bulk.place.trace, message.place.trace);
        assert_eq!(bulk.links, from_ref(&message.place));
        assert_eq!(message.links, from_ref(&bulk.place));
    }
}

/// The collector gets its token, and nobody else does.
fn check_secrets(collector: &Collector, pipeline: &Pipeline) {
    let token = collector.header("authorization");
    assert_eq!(token.as_deref(), Some("Bearer secret-1"));
    for daemon in daemons(pipeline) {
        let log = daemon.log();
        assert!(!log.contains("secret-1"), "{log}");
    }
}

fn daemons(pipeline: &Pipeline) -> [&Daemon; 5] {
    let Pipeline {
        edge,
        writer,
        projector,
        payments,
        realtime,
        ..
    } = pipeline;
    [edge, writer, projector, payments, realtime]
}

fn daemons_mut(pipeline: &mut Pipeline) -> [&mut Daemon; 5] {
    let Pipeline {
        edge,
        writer,
        projector,
        payments,
        realtime,
        ..
    } = pipeline;
    [edge, writer, projector, payments, realtime]
}

/// Creates an order in the client's trace, which says that it is sampled, and waits until it is paid.
async fn create_in_trace(pipeline: &Pipeline, request: &str) -> Response {
    let post = pipeline
        .http
        .post(format!("{}/api/orders", pipeline.edge.url()))
        .header("traceparent", format!("00-{TRACE}-{SPAN}-01"))
        .json(&order("t-1", request));
    let response = post.send().await.unwrap();
    assert_eq!(response.status(), 201);
    response
}

#[tokio::test]
async fn a_client_may_name_a_trace_but_not_sample_it_unless_it_is_trusted() {
    let collector = Collector::start().await;
    let mut pipeline = pipeline(&collector.url(), "always_off", "100ms").await;
    let response = create_in_trace(&pipeline, "r1").await;
    assert!(!response.headers().contains_key("traceresponse"));
    let id = order_id(response).await;
    pipeline.until_status("t-1", &id, "PAID").await;
    let unseen = pipeline.create("t-1", "r2").await;
    pipeline.until_status("t-1", &unseen, "PAID").await;
    let jetstream = pipeline.stack.jetstream().await;
    let events = jetstream.get_stream("ORDERS_EVENTS").await.unwrap();
    for sequence in 1..=4 {
        let message = events.get_raw_message(sequence).await.unwrap();
        let context = message.headers.get("ce-traceparent").unwrap().as_str();
        let is_first = message.headers.get("ce-subject").unwrap().as_str() == id;
        assert_eq!(context.contains(TRACE), is_first, "{context}");
        assert!(context.ends_with("-00"), "{context}");
        assert!(message.headers.get("traceparent").is_none());
    }

    // Whoever ends sends all that it has.
    for daemon in daemons_mut(&mut pipeline) {
        assert!(daemon.terminate().await.success());
        daemon.respawn(|setup| setup.env("ORDERS_TRACE__TRUST_SAMPLED", "true"));
    }
    assert_eq!(collector.count(), 0);
    for daemon in daemons(&pipeline) {
        daemon.ready().await;
    }
    let response = create_in_trace(&pipeline, "r3").await;
    assert_eq!(trace_of(&response), TRACE);
    // Nobody listens, so nothing is emitted.
    let all = TREE.lines().filter(|line| !line.contains(" emit ")).count();
    let spans = eventually("the trace is whole", async || {
        let spans = collector.trace(TRACE);
        if spans.len() == all {
            Ok(spans)
        } else {
            Err(spans)
        }
    })
    .await;
    assert!(is_whole(&spans, Some(SPAN)));
    let root = only(&spans, "edge", "POST /api/orders");
    assert_eq!(root.parent.as_deref(), Some(SPAN));
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn a_crash_and_a_redelivery_leave_one_tree_without_an_orphan() {
    let collector = Collector::start().await;
    // The created event comes again after 5 s, and is done by the time of the payment.
    let mut pipeline = pipeline(&collector.url(), "always_on", "12s").await;
    let _second = pipeline.stack.daemon("writer").start().await;
    let mut client = SocketClient::of_tenant(&pipeline.edge.url(), "t-1");
    client.event("connected").await;
    pipeline.projector.terminate().await;
    // It publishes, which realtime hears, and dies before the event is acked.
    let stop = |setup: Setup| setup.env("ORDERS_FAILPOINT", "projector.fed");
    pipeline.projector.restart(stop).await;

    let response = pipeline.post("/api/orders", &order("t-1", "r1")).await;
    let trace = trace_of(&response);
    client.event("order.created").await;
    let held = "process orders.evt.{tenant}.created";
    let has = |spans: &[CollectedSpan], service: &str, name: &str| {
        let mut all = spans.iter();
        all.any(|span| span.service() == service && span.name == name)
    };
    eventually("others have sent their spans", async || {
        let spans = collector.trace(&trace);
        let emitted = has(&spans, "realtime", "emit orders.feed.{tenant}.created");
        if emitted && has(&spans, "payment-simulator", held) {
            Ok(())
        } else {
            Err(spans)
        }
    })
    .await;
    let early = collector.trace(&trace);
    assert!(!has(
        &early,
        "projector",
        "publish orders.feed.{tenant}.created"
    ));
    pipeline.projector.kill().await;
    // This one gives the order back that it holds.
    assert!(pipeline.payments.terminate().await.success());
    pipeline.payments.restart(|setup| setup).await;
    pipeline
        .projector
        .restart(|setup| setup.env("ORDERS_FAILPOINT", ""))
        .await;
    client.event("order.updated").await;

    let spans = eventually("the tree is whole", async || {
        let spans = collector.trace(&trace);
        let emitted = has(&spans, "realtime", "emit orders.feed.{tenant}.updated");
        if emitted && is_whole(&spans, None) {
            Ok(spans)
        } else {
            Err(spans)
        }
    })
    .await;
    assert_eq!(
        tree(&spans, None).lines().count(),
        spans.len(),
        "one tree: {spans:#?}"
    );
    // What the killed one had done is done again.
    let again = only(&spans, "projector", held);
    assert!(again.attributes.contains_key("orders.deliveries"));
    // What the other one held is held again, and says that it came before.
    let mut holds: Vec<_> = spans
        .iter()
        .filter(|span| span.service() == "payment-simulator" && span.name == held)
        .map(|span| span.attributes.contains_key("orders.deliveries"))
        .collect();
    holds.sort_unstable();
    assert_eq!(holds, [false, true]);
    pipeline.stack.clean_up().await;
}
