//! Cancel commands: move the order, answer the edge, publish the event, ack.

use std::collections::{HashMap, HashSet};

use futures_util::{StreamExt, stream};
use orders_bus::{Delivery, Failure};
use orders_contracts::{
    Channel, OrderCommand, OrderId, Refusal, Reply, Status, TenantId, streams::ORDERS_COMMANDS,
};
use orders_domain::{Decision, Request};
use orders_service::{chain, failpoint, trace::Span};
use tracing::debug;

use crate::{Writer, announce, give_up, transition::BULK};

/// A cancel command and the order it names.
type Cancel<'a> = (&'a Delivery<OrderCommand>, &'a OrderId);

/// The most tenants whose creates are looked up at once.
const CONCURRENT_LOOKUPS: usize = 16;

impl Writer {
    /// Carries out the cancel commands of a batch.
    pub(crate) async fn cancel<'a>(&self, commands: Vec<Cancel<'a>>) -> Result<(), Failure> {
        let unknown = self.cancel_known(commands).await?;
        let due = self.due(unknown).await;
        // An order may have been stored in between; one that is still unknown does not exist.
        let missing = self.cancel_known(due).await?;
        let not_found =
            |(delivery, _): &Cancel<'a>| delivery.reply(Reply::Refused(Refusal::NotFound));
        self.bus.reply(missing.iter().filter_map(not_found)).await;
        for (delivery, _) in missing {
            delivery.ack().await;
        }
        Ok(())
    }

    /// Carries out those commands whose order exists; returns the others.
    async fn cancel_known<'a>(
        &self,
        commands: Vec<Cancel<'a>>,
    ) -> Result<Vec<Cancel<'a>>, Failure> {
        if commands.is_empty() {
            return Ok(commands);
        }
        let requests: Vec<_> = commands
            .iter()
            .map(|(delivery, order)| Request {
                tenant: &delivery.tenant,
                order_id: order,
                amount: None,
            })
            .collect();
        let spans = commands.iter().map(|(delivery, _)| delivery.process());
        let bulk = Span::bulk(BULK, spans);
        let decisions = self.transition(&requests, Status::Cancelled).await?;
        drop(bulk);
        let (mut replies, mut events) = (Vec::new(), Vec::new());
        let (mut done, mut unknown) = (Vec::new(), Vec::new());
        for (command, decision) in commands.into_iter().zip(decisions) {
            let (delivery, _) = command;
            let reply = match &decision {
                // A cancel has no amount.
                Decision::Unknown | Decision::WrongAmount(_) => {
                    unknown.push(command);
                    continue;
                }
                Decision::Unreadable => {
                    replies.extend(delivery.reply(give_up(delivery)));
                    continue;
                }
                Decision::Move(_) => Reply::Cancelled,
                Decision::Already(_) => Reply::AlreadyCancelled,
                Decision::Conflict(status) => Reply::Refused(Refusal::Conflict { status: *status }),
            };
            replies.extend(delivery.reply(reply));
            let event = decision.announced().map(|order| order.latest_event());
            events.extend(event.map(|event| announce(delivery, &event)));
            done.push(delivery);
        }
        self.bus.reply(replies).await;
        failpoint("writer.settled").await;
        self.bus.publish_until_stored(events).await;
        failpoint("writer.updated").await;
        for delivery in done {
            delivery.ack().await;
        }
        Ok(unknown)
    }

    /// Returns those `commands` that no create can precede any more, and postpones the others: an older create of their
    /// tenant is unsettled. Another writer may have it in hand, or its writer died and it will be delivered again.
    async fn due<'a>(&self, commands: Vec<Cancel<'a>>) -> Vec<Cancel<'a>> {
        let waiting = commands.iter().filter(|(delivery, _)| delivery.may_wait());
        let tenants: HashSet<TenantId> = waiting
            .map(|(delivery, _)| delivery.tenant.clone())
            .collect();
        let oldest: HashMap<_, _> = stream::iter(tenants)
            .map(|tenant| async move {
                let create = Channel::CreateOrder;
                let oldest = self.bus.oldest(&ORDERS_COMMANDS, create, &tenant).await;
                (tenant, oldest)
            })
            .buffer_unordered(CONCURRENT_LOOKUPS)
            .collect()
            .await;
        let mut due = Vec::new();
        for (delivery, order) in commands {
            match oldest.get(&delivery.tenant).filter(|_| delivery.may_wait()) {
                Some(Ok(Some(create))) if *create < delivery.sequence() => {
                    delivery.postpone().await;
                }
                // It comes again after the ack wait.
                Some(Err(error)) => {
                    debug!(
                        parent: &delivery.span(),
                        "cannot tell whether a cancel is due: {}",
                        chain(error)
                    );
                }
                _ => due.push((delivery, order)),
            }
        }
        due
    }
}
