//! The writer looks for orders whose event was lost, and tells again.

use mongodb::bson::{DateTime, doc};
use orders_testkit::{Stack, eventually};
use time::{Duration, OffsetDateTime};

use super::{collection, purge, set, until_paid};
use crate::pipeline::Pipeline;

/// Payments that are late are none that were lost.
#[tokio::test]
async fn the_writer_tells_again_of_what_was_lost_and_not_of_what_waits() {
    let mut pipeline = Pipeline::start("1s").await;
    assert!(pipeline.payments.terminate().await.success());
    let lost = pipeline.create("t-1", "lost").await;
    purge(&pipeline.stack, "ORDERS_EVENTS").await;
    let orders = collection(&pipeline.stack, "orders_write").await;
    let long_ago = DateTime::from_millis(DateTime::now().timestamp_millis() - 60_000);
    set(&orders, &lost, doc! { "createdAt": long_ago }).await;
    let waits = pipeline.create("t-1", "waits").await;
    assert!(pipeline.writer.terminate().await.success());
    let change = |writer: orders_testkit::Setup| {
        writer
            .env("ORDERS_HEAL__EVERY", "200ms")
            .env("ORDERS_HEAL__PENDING_FOR", "0s")
    };
    pipeline.writer.restart(change).await;

    let told = told_at_least(6, &pipeline.stack).await;
    let count = |id: &str| told.iter().filter(|told| *told == id).count();
    assert_eq!(count(&waits), 1);
    assert_eq!(count(&lost), told.len() - 1);
    pipeline.payments.restart(|payments| payments).await;
    until_paid(&pipeline.stack, 2).await;
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn the_writer_does_not_tell_again_of_an_order_whose_payment_waits_for_it() {
    let mut pipeline = Pipeline::start("100ms").await;
    assert!(pipeline.writer.terminate().await.success());
    let change = |writer: orders_testkit::Setup| {
        writer
            .env("ORDERS_HEAL__EVERY", "200ms")
            .env("ORDERS_HEAL__PENDING_FOR", "500ms")
    };
    pipeline.writer.restart(change).await;
    let jetstream = pipeline.stack.jetstream().await;
    let payments = jetstream.get_stream("PAYMENTS").await.unwrap();
    let tomorrow = OffsetDateTime::now_utc() + Duration::days(1);
    payments.pause_consumer("writer", tomorrow).await.unwrap();
    let lost = pipeline.create("t-1", "lost").await;
    let waits = pipeline.create("t-1", "waits").await;
    eventually("both payments wait", async || {
        let payments = jetstream.get_stream("PAYMENTS").await.unwrap();
        let stored = payments.cached_info().state.messages;
        if stored == 2 { Ok(()) } else { Err(stored) }
    })
    .await;
    let orders = collection(&pipeline.stack, "orders_write").await;
    let long_ago = DateTime::from_millis(DateTime::now().timestamp_millis() - 2 * 60 * 60 * 1_000);
    set(&orders, &lost, doc! { "createdAt": long_ago }).await;

    // By the tenth search both are older than half a second.
    let told = told_at_least(12, &pipeline.stack).await;
    let count = |id: &str| told.iter().filter(|told| *told == id).count();
    assert_eq!(count(&waits), 1);
    assert_eq!(count(&lost), told.len() - 1);
    payments.resume_consumer("writer").await.unwrap();
    until_paid(&pipeline.stack, 2).await;
    pipeline.stack.clean_up().await;
}

/// The orders that the events are of, once there are so many events.
async fn told_at_least(count: usize, stack: &Stack) -> Vec<String> {
    let jetstream = stack.jetstream().await;
    eventually("events are told", async || {
        let stream = jetstream.get_stream("ORDERS_EVENTS").await.unwrap();
        let state = &stream.cached_info().state;
        let mut told = Vec::new();
        for sequence in state.first_sequence..=state.last_sequence {
            let message = stream.get_raw_message(sequence).await.unwrap();
            told.push(message.headers.get("ce-subject").unwrap().to_string());
        }
        if told.len() >= count {
            Ok(told)
        } else {
            Err(told)
        }
    })
    .await
}
