use orders_contracts::{
    Item, OrderBuyer, OrderDetails, OrderFile, OrderLine, Status, StatusChange, canonical_email,
};

use crate::Order;

impl Order {
    /// All that its page shows; `None` if the amount of a line has too many digits, as no order has that was accepted.
    pub fn details(self) -> Option<OrderDetails> {
        let lines: Option<_> = self.items.into_iter().map(line).collect();
        // Statuses but the first are final, so the latest version is the one with this status.
        let since = |status| (self.status == status).then_some(self.updated_at);
        let (paid_at, cancelled_at) = (since(Status::Paid), since(Status::Cancelled));
        let change = |status, at| StatusChange { status, at };
        let first = change(Status::Pending, self.created_at);
        let last = paid_at.or(cancelled_at).map(|at| change(self.status, at));
        Some(OrderDetails {
            order_id: self.order_id,
            status: self.status,
            created_at: self.created_at,
            buyer_email: canonical_email(&self.buyer.email),
            total: self.total,
            attachment: self.attachment.map(|file| OrderFile {
                filename: file.filename,
                storage_key: file.storage_key,
                content_type: Some(file.content_type),
                size: Some(file.size),
            }),
            request_id: self.request_id,
            buyer: OrderBuyer {
                email: self.buyer.email,
                name: self.buyer.name,
            },
            items: lines?,
            metadata: self.metadata,
            currency: self.currency,
            updated_at: self.updated_at,
            paid_at,
            cancelled_at,
            version: self.version,
            history: [first].into_iter().chain(last).collect(),
        })
    }
}

fn line(item: Item) -> Option<OrderLine> {
    Some(OrderLine {
        line_total: item.price.times(item.qty)?,
        sku: item.sku,
        qty: item.qty,
        price: item.price,
    })
}

#[cfg(test)]
mod tests {
    use orders_contracts::Timestamp;

    use super::*;
    use crate::order::tests::order;

    #[test]
    fn the_history_follows_from_the_status() {
        let at = |millis| Timestamp::from_millis(millis).unwrap();
        let told = |order: Order| {
            let details = order.details().unwrap();
            let history: Vec<_> = details
                .history
                .iter()
                .map(|one| (one.status, one.at))
                .collect();
            (details.paid_at, details.cancelled_at, history)
        };
        let pending = (Status::Pending, at(1_000));
        assert_eq!(told(order("c1", 3)), (None, None, vec![pending]));
        let paid = order("c1", 3).moved(Status::Paid, at(2_000));
        let history = vec![pending, (Status::Paid, at(2_000))];
        assert_eq!(told(paid), (Some(at(2_000)), None, history));
        let cancelled = order("c1", 3).moved(Status::Cancelled, at(2_000));
        let history = vec![pending, (Status::Cancelled, at(2_000))];
        assert_eq!(told(cancelled), (None, Some(at(2_000)), history));
    }

    #[test]
    fn lines_have_exact_amounts() {
        let details = order("c1", 3).details().unwrap();
        assert_eq!(details.items[0].line_total.to_string(), "0.3");
        assert_eq!(details.total.to_string(), "0.3");
        let mut damaged = order("c1", 3);
        damaged.items[0].price = "9999999999999999999999999999".parse().unwrap();
        damaged.items[0].qty = u32::MAX;
        assert_eq!(damaged.details(), None);
    }
}
