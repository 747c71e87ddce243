//! Moving orders to a final status: who may, and what the order becomes.

use std::collections::HashMap;

use orders_contracts::{OrderId, Status, TenantId, Timestamp};

use crate::Order;

/// The decision on a request to move an order to a final status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The tenant has no such order.
    Unknown,
    /// The order becomes this one, which is to be stored.
    Move(Order),
    /// The order has that status already. The same request may have moved it, at an earlier attempt.
    Already(Order),
    /// The order has another final status.
    Conflict(Status),
}

impl Decision {
    /// The order to store, if the request moves one.
    pub fn moved(&self) -> Option<&Order> {
        match self {
            Self::Move(order) => Some(order),
            _ => None,
        }
    }

    /// The order whose latest event is to be published. That includes an order that was moved before: nobody knows
    /// whether whoever moved it lived to publish the event, and the stream drops a second one.
    pub fn announced(&self) -> Option<&Order> {
        match self {
            Self::Move(order) | Self::Already(order) => Some(order),
            _ => None,
        }
    }
}

impl Order {
    /// Decides on moving this order to the final status `to` at `now`.
    pub fn decide(&self, to: Status, now: Timestamp) -> Decision {
        match self.status {
            Status::Pending => Decision::Move(self.clone().moved(to, now)),
            current if current == to => Decision::Already(self.clone()),
            current => Decision::Conflict(current),
        }
    }
}

/// Decides on `requests`, each of a tenant for an order, to move `orders` to the final status `to` at `now`. In the
/// order of the requests; of several for one order, the first moves it.
pub fn decide(
    requests: &[(&TenantId, &OrderId)],
    orders: &HashMap<OrderId, Order>,
    to: Status,
    now: Timestamp,
) -> Vec<Decision> {
    let mut moved: HashMap<&OrderId, Order> = HashMap::new();
    let mut decide = |(tenant, id): (&TenantId, &OrderId)| {
        let stored = orders.get(id).filter(|order| order.tenant_id == *tenant);
        let Some(stored) = stored else {
            return Decision::Unknown;
        };
        let decision = moved.get(id).unwrap_or(stored).decide(to, now);
        if let Decision::Move(order) = &decision {
            moved.insert(&stored.order_id, order.clone());
        }
        decision
    };
    requests.iter().map(|request| decide(*request)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::tests::order;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    #[test]
    fn final_statuses_are_final() {
        let Decision::Move(paid) = order("c1", 1).decide(Status::Paid, at(2_000)) else {
            panic!("a pending order can be paid");
        };
        assert_eq!((paid.status, paid.version), (Status::Paid, 2));
        assert_eq!(paid.updated_at, at(2_000));
        assert_eq!(
            paid.decide(Status::Paid, at(3_000)),
            Decision::Already(paid.clone())
        );
        assert_eq!(
            paid.decide(Status::Cancelled, at(3_000)),
            Decision::Conflict(Status::Paid)
        );
    }

    #[test]
    fn of_several_requests_for_one_order_the_first_moves_it_and_only_for_its_tenant() {
        let stored = order("c1", 1);
        let (tenant, id) = (&stored.tenant_id, &stored.order_id);
        let stranger: TenantId = "stranger".parse().unwrap();
        let missing = OrderId::derive(&stranger, &"r1".parse().unwrap());
        let requests = [
            (&stranger, id),
            (tenant, id),
            (tenant, id),
            (tenant, &missing),
        ];
        let orders = HashMap::from([(id.clone(), stored.clone())]);
        let decisions = decide(&requests, &orders, Status::Cancelled, at(2_000));
        let cancelled = stored.clone().moved(Status::Cancelled, at(2_000));
        let expected = [
            Decision::Unknown,
            Decision::Move(cancelled.clone()),
            Decision::Already(cancelled),
            Decision::Unknown,
        ];
        assert_eq!(decisions, expected);
    }
}
