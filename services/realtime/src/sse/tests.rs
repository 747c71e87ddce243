use std::sync::Arc;

use axum::body::BodyDataStream;
use futures_util::StreamExt;
use orders_contracts::socket::ResetReason;
use tokio::time::Instant;

use super::*;
use crate::{
    emission::Emission,
    session::tests::{TIME, message},
};

const AT: Offset = Offset {
    epoch: 7,
    sequence: 42,
    time: TIME,
};

/// A stream, and what fills it.
fn open() -> (mpsc::Sender<SocketEvent>, Response) {
    let (sender, events) = mpsc::channel(MAX_BUFFERED);
    (sender, answer(events, ()))
}

async fn next(body: &mut BodyDataStream) -> Option<String> {
    let chunk = body.next().await?.unwrap();
    Some(String::from_utf8(chunk.to_vec()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn events_are_written_as_an_event_source_reads_them() {
    let (events, response) = open();
    let headers = response.headers();
    assert_eq!(headers["content-type"], "text/event-stream");
    assert_eq!(headers["cache-control"], "no-store");
    assert_eq!(headers["x-accel-buffering"], "no");

    let outlet = Outlet(events);
    let told = Emission::missed(message(43, "t-1"));
    let id = told.entry.order_id.clone();
    for event in [
        SocketEvent::Connected("t-1".parse().unwrap(), AT),
        SocketEvent::Reset(ResetReason::Expired, AT),
        SocketEvent::Changed(told, AT.at(43, TIME)),
    ] {
        assert_eq!(outlet.emit(&event), Ok(()));
    }
    drop(outlet);
    let mut body = response.into_body().into_data_stream();
    let greeting = next(&mut body).await.unwrap();
    let retry = greeting.strip_prefix("id: 7.42.99\nretry: ").unwrap();
    let retry = Duration::from_millis(retry.strip_suffix("\n\n").unwrap().parse().unwrap());
    assert!((RETRY.0..=RETRY.1).contains(&retry), "{retry:?}");
    assert_eq!(
        next(&mut body).await.unwrap(),
        "id: 7.42.99\nevent: feed.reset\ndata: {\"reason\":\"expired\"}\n\n"
    );
    assert_eq!(
        next(&mut body).await.unwrap(),
        format!(
            "id: 7.43.99\nevent: order.created\ndata: {{\"orderId\":\"{id}\",\"status\":\"PENDING\",\"version\":1}}\n\n"
        )
    );
    assert_eq!(next(&mut body).await, None, "it ends with the session");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_says_nothing_sends_a_comment_every_15_seconds() {
    let (_events, response) = open();
    let mut body = response.into_body().into_data_stream();
    let began = Instant::now();
    for n in 1..=3 {
        assert_eq!(next(&mut body).await.unwrap(), ":\n\n");
        let taken = began.elapsed().as_secs_f64();
        assert!((taken - 15.0 * f64::from(n)).abs() < 0.1, "{taken} s");
    }
}

#[tokio::test]
async fn a_buffer_takes_so_many_events_and_none_when_the_client_is_gone() {
    let (events, response) = open();
    let outlet = Outlet(events);
    let event = SocketEvent::Changed(Emission::missed(message(43, "t-1")), AT);
    for _ in 0..MAX_BUFFERED {
        assert_eq!(outlet.emit(&event), Ok(()));
    }
    assert_eq!(outlet.emit(&event), Err(Refused::Full));
    drop(response);
    assert_eq!(outlet.emit(&event), Err(Refused::Gone));
}

/// What a client that reads slowly has left is not forgotten with its session.
#[tokio::test]
async fn a_place_lasts_as_long_as_the_connection() {
    let place = Arc::new(());
    let (sender, events) = mpsc::channel(MAX_BUFFERED);
    let event = SocketEvent::Reset(ResetReason::Future, AT);
    sender.try_send(event).unwrap();
    drop(sender);
    let mut body = answer(events, Arc::clone(&place))
        .into_body()
        .into_data_stream();
    assert_eq!(Arc::strong_count(&place), 2);
    while next(&mut body).await.is_some() {}
    drop(body);
    assert_eq!(Arc::strong_count(&place), 1);
}

#[test]
fn only_one_header_says_where_to_go_on() {
    let read = |values: &[&[u8]]| {
        let values = values.iter().map(|value| {
            let name = HeaderName::from_static(LAST_EVENT_ID);
            (name, HeaderValue::from_bytes(value).unwrap())
        });
        let mut headers = HeaderMap::new();
        values.for_each(|(name, value)| _ = headers.append(name, value));
        last_event_id(&headers)
    };
    assert_eq!(read(&[]), None);
    assert_eq!(read(&[b""]), None);
    assert_eq!(read(&[b"7.42.99"]), Some(Ok(AT)));
    for malformed in [&[&b"x"[..]][..], &[b"\xff"], &[b"7.42.99", b"7.42.99"]] {
        assert!(matches!(read(malformed), Some(Err(_))), "{malformed:?}");
    }
}
