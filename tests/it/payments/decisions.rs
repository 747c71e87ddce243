//! What becomes of a payment that was accepted.

use super::*;
use crate::orderctl;

/// The order that tenant `t-123` makes with the request id `r1`.
const ORDER: &str = "ord_qz74bke6iblutmfkqfvmtezzkq";

/// The stream forgets a message's id after a while; the writer does not forget that an order is paid.
#[tokio::test]
async fn a_webhook_that_comes_again_much_later_has_no_effect() {
    let window = "ORDERS_STREAMS__PAYMENTS__DUPLICATE_WINDOW";
    // Open, so that the daemons make the stream with this window.
    let stack = Stack::open().await.env(window, "100ms");
    let payments = Payments::start_on(stack, "1h").await;
    let id = payments.pipeline.create(TENANT, "r1").await;
    let webhook = Sender::node().sign("msg_1", &succeeded(&id)).await;
    payments.pay(&webhook).await;
    payments.pipeline.until_status(TENANT, &id, "PAID").await;
    let paid = payments.order(&id).await;
    eventually("the stream takes it for a new one", async || {
        payments.pay(&webhook).await;
        match payments.messages("PAYMENTS").await {
            1 => Err("it knows the id"),
            _ => Ok(()),
        }
    })
    .await;
    payments.settled().await;
    assert_eq!(payments.order(&id).await, paid);
    assert_eq!(payments.messages("ORDERS_EVENTS").await, 2);
    assert_eq!(payments.messages("ORDERS_DLQ").await, 0);
    payments.pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn another_amount_pays_nothing_and_is_told() {
    let payments = Payments::start().await;
    let id = payments.pipeline.create(TENANT, "r1").await;
    let mut less = succeeded(&id);
    less["data"]["amount"] = json!(99.97);
    payments
        .pay(&Sender::node().sign("msg_1", &less).await)
        .await;
    until_given_up(&payments, "wrong_amount").await;
    assert_eq!(payments.order(&id).await["status"], "PENDING");
    // The right amount still pays.
    let right = Sender::node().sign("msg_2", &succeeded(&id)).await;
    payments.pay(&right).await;
    payments.pipeline.until_status(TENANT, &id, "PAID").await;
    payments.pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn a_payment_before_its_order_pays_it_once_it_is_redriven() {
    let payments = Payments::start().await;
    let webhook = Sender::node().sign("msg_1", &succeeded(ORDER)).await;
    payments.pay(&webhook).await;
    until_given_up(&payments, "unknown_order").await;
    assert_eq!(payments.pipeline.create(TENANT, "r1").await, ORDER);
    let stack = &payments.pipeline.stack;
    let redrive = ["dlq", "redrive", "--reason", "unknown_order", "--yes"];
    orderctl::run(stack, &redrive).await.expect(0);
    payments.pipeline.until_status(TENANT, ORDER, "PAID").await;
    payments.pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn after_a_payment_that_failed_another_one_pays() {
    let payments = Payments::start().await;
    let id = payments.pipeline.create(TENANT, "r1").await;
    let mut failed = of_kind("payment.failed", &id);
    failed["data"]["reason"] = json!("card declined");
    let [failed, paid] =
        [("msg_1", failed), ("msg_2", succeeded(&id))].map(|(id, body)| (id, body.to_string()));
    let [failed, paid] = Sender::node().sign_all([failed, paid]).await;
    payments.pay(&failed).await;
    payments.settled().await;
    assert_eq!(payments.order(&id).await["status"], "PENDING");
    payments.pay(&paid).await;
    payments.pipeline.until_status(TENANT, &id, "PAID").await;
    // The writer keeps no failed payments yet, so an operator has to look at it.
    assert_eq!(payments.messages("ORDERS_DLQ").await, 1);
    payments.pipeline.stack.clean_up().await;
}

/// Waits until a payment was given up for `reason`.
async fn until_given_up(payments: &Payments, reason: &str) {
    let list = ["dlq", "list", "--reason", reason, "--json"];
    eventually("it is given up", async || {
        let said = orderctl::run(&payments.pipeline.stack, &list).await;
        match said.lines().len() {
            1 => Ok(()),
            _ => Err(said.text),
        }
    })
    .await;
}
