//! Payments: move the order, publish the event, ack.

use orders_bus::{Delivery, Failure, Reason};
use orders_contracts::{OrderPaid, Status};
use orders_domain::Decision;
use orders_service::failpoint;

use crate::{Writer, announce};

impl Writer {
    /// Carries out the payments of a batch with one bulk update.
    pub(crate) async fn pay(&self, payments: &[Delivery<OrderPaid>]) -> Result<(), Failure> {
        let requests: Vec<_> = payments
            .iter()
            .map(|payment| (&payment.tenant, &payment.body.order_id))
            .collect();
        let decisions = self.transition(&requests, Status::Paid).await?;
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
                Decision::Conflict(_) => {
                    metrics::counter!("orders_payments_of_cancelled_orders_total").increment(1);
                    payment.ack().await;
                }
                Decision::Move(_) | Decision::Already(_) => payment.ack().await,
            }
        }
        Ok(())
    }
}
