//! Payments: move the order, publish the event, ack.

use orders_bus::{Delivery, Failure, Reason};
use orders_contracts::{OrderPaid, Status};
use orders_domain::{Decision, Request};
use orders_service::{
    failpoint,
    metrics::{PAYMENTS_OF_CANCELLED_ORDERS, counter},
    trace::Span,
};

use crate::{Writer, announce, transition::BULK};

impl Writer {
    /// Carries out the payments of a batch with one bulk update.
    pub(crate) async fn pay(&self, payments: &[Delivery<OrderPaid>]) -> Result<(), Failure> {
        let requests: Vec<_> = payments
            .iter()
            .map(|payment| Request {
                tenant: &payment.tenant,
                order_id: &payment.body.order_id,
                amount: Some(payment.body.amount),
            })
            .collect();
        let bulk = Span::bulk(BULK, payments.iter().map(Delivery::process));
        let decisions = self.transition(&requests, Status::Paid).await?;
        drop(bulk);
        let events = payments.iter().zip(&decisions);
        let events = events.filter_map(|(payment, decision)| {
            Some(announce(payment, &decision.announced()?.latest_event()))
        });
        let events = events.collect();
        failpoint("writer.settled").await;
        self.bus.publish_until_stored(events).await;
        failpoint("writer.updated").await;
        for (payment, decision) in payments.iter().zip(&decisions) {
            match decision {
                Decision::Unknown => {
                    payment.dead_letter(Reason::UnknownOrder, "the tenant has no such order");
                }
                Decision::WrongAmount(total) => {
                    let cause = format!("the order's total is {total}");
                    payment.dead_letter(Reason::WrongAmount, &cause);
                }
                Decision::Conflict(_) => {
                    counter!(PAYMENTS_OF_CANCELLED_ORDERS).increment(1);
                    payment.ack().await;
                }
                // It comes again: another version may be able to read the order.
                Decision::Unreadable => {}
                Decision::Move(_) | Decision::Already(_) => payment.ack().await,
            }
        }
        Ok(())
    }
}
