//! Moving orders to a final status: who may, and what the order becomes.

use std::collections::HashMap;

use orders_contracts::{Money, OrderId, Status, TenantId, Timestamp};

use crate::Order;

/// A request to move an order to a final status.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The tenant that asks for it.
    pub tenant: &'a TenantId,
    /// The order.
    pub order_id: &'a OrderId,
    /// What was paid, if it is a payment: the order's total, or it moves nothing.
    pub amount: Option<Money>,
}

/// The decision on a request to move an order to a final status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The tenant has no such order.
    Unknown,
    /// There is such an order, but this version of the pipeline cannot read it.
    Unreadable,
    /// The order becomes this one, which is to be stored.
    Move(Order),
    /// The order has that status already. The same request may have moved it, at an earlier attempt.
    Already(Order),
    /// The order has another final status.
    Conflict(Status),
    /// The order is pending, and its total is this instead of what was paid.
    WrongAmount(Money),
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

/// Decides on `requests` to move `orders` to the final status `to` at `now`; `None` is an order that cannot be read. In
/// the order of the requests; of several for one order, the first moves it.
pub fn decide(
    requests: &[Request<'_>],
    orders: &HashMap<OrderId, Option<Order>>,
    to: Status,
    now: Timestamp,
) -> Vec<Decision> {
    let mut moved: HashMap<&OrderId, Order> = HashMap::new();
    let mut decide = |request: &Request<'_>| {
        let id = request.order_id;
        let stored = match orders.get(id) {
            Some(Some(order)) if order.tenant_id == *request.tenant => order,
            Some(None) => return Decision::Unreadable,
            _ => return Decision::Unknown,
        };
        let order = moved.get(id).unwrap_or(stored);
        let is_total = request.amount.is_none_or(|amount| amount == order.total);
        if order.status == Status::Pending && !is_total {
            return Decision::WrongAmount(order.total);
        }
        let decision = order.decide(to, now);
        if let Decision::Move(order) = &decision {
            moved.insert(&stored.order_id, order.clone());
        }
        decision
    };
    requests.iter().map(&mut decide).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::tests::order;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    fn request<'a>(
        tenant: &'a TenantId,
        order_id: &'a OrderId,
        amount: Option<Money>,
    ) -> Request<'a> {
        Request {
            tenant,
            order_id,
            amount,
        }
    }

    #[test]
    fn only_the_total_pays_a_pending_order() {
        let stored = order("c1", 3);
        let (tenant, id) = (&stored.tenant_id, &stored.order_id);
        let wrong = Some("0.01".parse().unwrap());
        let requests = [
            request(tenant, id, wrong),
            request(tenant, id, Some(stored.total)),
            request(tenant, id, wrong),
        ];
        let orders = HashMap::from([(id.clone(), Some(stored.clone()))]);
        let decisions = decide(&requests, &orders, Status::Paid, at(2_000));
        let paid = stored.clone().moved(Status::Paid, at(2_000));
        let expected = [
            Decision::WrongAmount(stored.total),
            Decision::Move(paid.clone()),
            Decision::Already(paid),
        ];
        assert_eq!(decisions, expected);
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
        let corrupt = OrderId::derive(&stranger, &"r2".parse().unwrap());
        let requests = [
            request(&stranger, id, None),
            request(tenant, id, None),
            request(tenant, id, None),
            request(tenant, &missing, None),
            request(tenant, &corrupt, None),
        ];
        let orders = HashMap::from([(id.clone(), Some(stored.clone())), (corrupt.clone(), None)]);
        let decisions = decide(&requests, &orders, Status::Cancelled, at(2_000));
        let cancelled = stored.clone().moved(Status::Cancelled, at(2_000));
        let expected = [
            Decision::Unknown,
            Decision::Move(cancelled.clone()),
            Decision::Already(cancelled),
            Decision::Unknown,
            Decision::Unreadable,
        ];
        assert_eq!(decisions, expected);
    }
}
