//! Which orders a batch is about.

use std::collections::BTreeSet;

use mongodb::{
    bson::{Document, doc},
    options::Hint,
};
use orders_contracts::{OrderEvent, OrderId, TenantId};
use orders_domain::{Order, Request};

/// An order's id, and whose it is. Where the collections are sharded, they are so by tenant: with it the database asks the
/// shards of that tenant, by the id alone every one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderKey<'a> {
    /// Whose it is.
    pub tenant: &'a TenantId,
    /// Its id.
    pub order_id: &'a OrderId,
}

impl<'a> From<&'a Order> for OrderKey<'a> {
    fn from(order: &'a Order) -> Self {
        Self {
            tenant: &order.tenant_id,
            order_id: &order.order_id,
        }
    }
}

impl<'a> From<&'a OrderEvent> for OrderKey<'a> {
    fn from(event: &'a OrderEvent) -> Self {
        Self {
            tenant: &event.tenant_id,
            order_id: &event.order.order_id,
        }
    }
}

impl<'a> From<&Request<'a>> for OrderKey<'a> {
    fn from(request: &Request<'a>) -> Self {
        Self {
            tenant: request.tenant,
            order_id: request.order_id,
        }
    }
}

/// The filter for orders of a batch. It may also find one of them that is another's of these tenants.
pub(crate) fn any_of(keys: &[OrderKey<'_>]) -> Document {
    let ids: Vec<&str> = keys.iter().map(|key| key.order_id.as_str()).collect();
    let tenants: BTreeSet<&str> = keys.iter().map(|key| key.tenant.as_str()).collect();
    let tenants: Vec<&str> = tenants.into_iter().collect();
    doc! { "_id": { "$in": ids }, "tenantId": { "$in": tenants } }
}

/// The index that every collection has. A filter may name more than the id, and an engine may then take another index,
/// with all that a tenant has.
pub(crate) fn by_id() -> Hint {
    Hint::Keys(doc! { "_id": 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_names_each_tenant_once() {
        let tenants: [TenantId; 2] = ["b", "a"].map(|tenant| tenant.parse().unwrap());
        let id = |tenant: &TenantId, n: &str| OrderId::derive(tenant, &n.parse().unwrap());
        let [b, a] = &tenants;
        let ids = [id(b, "1"), id(a, "1"), id(b, "2")];
        let keys: Vec<_> = [b, a, b]
            .into_iter()
            .zip(&ids)
            .map(|(tenant, order_id)| OrderKey { tenant, order_id })
            .collect();
        let ids: Vec<&str> = ids.iter().map(OrderId::as_str).collect();
        let expected = doc! { "_id": { "$in": ids }, "tenantId": { "$in": ["a", "b"] } };
        assert_eq!(any_of(&keys), expected);
    }
}
