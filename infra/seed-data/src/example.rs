//! One example order. It follows from the seed and its number alone, so a longer run begins with the same orders.

use fastrand::Rng;
use orders_contracts::TenantId;
use serde_json::{Map, Value, json};

use crate::catalog::{ARTICLES, BUYERS, CHANNELS, CURRENCIES, Currency, DOMAINS};

/// One order in so many is cancelled.
const CANCELLED: u32 = 9;
/// One in so many says no currency, as the seed's orders do not.
const PLAIN: u32 = 12;

pub(crate) struct Example {
    pub(crate) tenant: TenantId,
    /// The body of `POST /api/orders`.
    pub(crate) body: Value,
    /// Whether it is cancelled at once.
    pub(crate) is_cancelled: bool,
}

impl Example {
    /// Makes the order with that number; `tenants` must not be empty.
    pub(crate) fn nth(seed: u64, n: u64, tenants: &[TenantId]) -> Self {
        // Seeds beside each other must not make nearly the same orders.
        let mut rng = Rng::with_seed(Rng::with_seed(seed).u64(..) ^ n);
        // Half for the first tenant, a quarter for the second, and so on; the last one has what is left.
        let index = (0..tenants.len() - 1)
            .find(|_| rng.bool())
            .unwrap_or(tenants.len() - 1);
        let tenant = tenants[index].clone();
        let [usual, other] = &CURRENCIES[index % CURRENCIES.len()];
        let currency = if rng.u8(..6) == 0 { other } else { usual };
        let (name, local) = rng.choice(BUYERS).expect("there are buyers");
        let domain = rng.choice(DOMAINS).expect("there are domains");
        let mut body = json!({
            "requestId": format!("seed-data-{seed}-{n}"),
            "tenantId": tenant,
            "buyer": { "email": format!("{local}@{domain}"), "name": name },
            "items": items(&mut rng, currency),
        });
        if rng.u32(..PLAIN) != 0 {
            body["currency"] = currency.code.into();
        }
        if rng.bool() {
            body["metadata"] = metadata(&mut rng);
        }
        Self {
            tenant,
            body,
            is_cancelled: rng.u32(..CANCELLED) == 0,
        }
    }
}

/// One to four lines, each of another article.
fn items(rng: &mut Rng, currency: &Currency) -> Vec<Value> {
    let lines = 1 + rng.usize(..4).min(rng.usize(..4));
    let articles = rng.choose_multiple(ARTICLES, lines);
    let mut item = |(sku, cents): (&str, u32)| {
        let units = (cents * currency.rate).div_ceil(currency.unit);
        let cents = units * currency.unit;
        json!({ "sku": sku, "qty": 1 + rng.u32(..3) * rng.u32(..4), "price": f64::from(cents) / 100.0 })
    };
    articles.into_iter().map(&mut item).collect()
}

/// What the shop notes beside the order.
fn metadata(rng: &mut Rng) -> Value {
    let mut metadata = Map::new();
    let channel = rng.choice(CHANNELS).expect("there are channels");
    metadata.insert("channel".to_owned(), channel.into());
    if rng.u8(..3) == 0 {
        metadata.insert(
            "campaign".to_owned(),
            format!("autumn-{}", rng.u8(1..4)).into(),
        );
    }
    if rng.u8(..5) == 0 {
        metadata.insert("note".to_owned(), "Please ring twice".into());
    }
    metadata.into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use orders_contracts::CreateOrder;

    use super::*;

    fn tenants() -> Vec<TenantId> {
        ["t-1", "t-2", "t-3"]
            .map(|tenant| tenant.parse().unwrap())
            .to_vec()
    }

    #[test]
    fn an_example_follows_from_its_seed_and_number_alone() {
        let body = |seed, n| Example::nth(seed, n, &tenants()).body.to_string();
        assert_eq!(body(1, 7), body(1, 7));
        for (seed, n) in [(1, 8), (2, 7)] {
            assert_ne!(body(1, 7), body(seed, n));
        }
        let all: BTreeSet<_> = (0..2)
            .flat_map(|seed| (0..500).map(move |n| body(seed, n)))
            .collect();
        assert_eq!(all.len(), 1_000);
    }

    #[test]
    fn every_example_is_a_valid_order_of_nobody() {
        for n in 0..2_000 {
            let Example { body, .. } = Example::nth(3, n, &tenants());
            let text = body.to_string();
            CreateOrder::parse(text.as_bytes(), None, None)
                .unwrap_or_else(|faults| panic!("{faults:?}: {text}"));
            let email = body["buyer"]["email"].as_str().unwrap();
            assert!(
                email.contains("@example.") || email.ends_with(".example"),
                "{email}"
            );
        }
    }

    #[test]
    fn examples_differ_in_all_that_pages_show() {
        let examples: Vec<_> = (0..200).map(|n| Example::nth(1, n, &tenants())).collect();
        let count =
            |has: &dyn Fn(&Example) -> bool| examples.iter().filter(|example| has(example)).count();
        assert!((70..130).contains(&count(&|example| example.tenant.as_str() == "t-1")));
        assert!((10..40).contains(&count(&|example| example.is_cancelled)));
        assert!((5..40).contains(&count(&|example| example.body.get("currency").is_none())));
        assert!(count(&|example| example.body.get("metadata").is_some()) > 50);
        let currencies: BTreeSet<_> = examples
            .iter()
            .filter_map(|example| example.body["currency"].as_str())
            .collect();
        assert_eq!(
            currencies,
            ["CHF", "EUR", "GBP", "JPY", "SEK", "USD"].into()
        );
        let lines: BTreeSet<_> = examples
            .iter()
            .map(|example| example.body["items"].as_array().unwrap().len())
            .collect();
        assert_eq!(lines, [1, 2, 3, 4].into());
    }
}
