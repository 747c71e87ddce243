//! What somebody typed into the form, and the request that it becomes.

use std::collections::BTreeMap;

use orders_contracts::{Currency, Money};
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

/// The most lines of a form; the API takes more, which nobody types.
pub(crate) const MAX_LINES: usize = 100;

/// The form's values, as typed.
pub(super) struct NewOrder {
    /// Created with the form, so that submitting it twice creates one order.
    pub(super) request_id: String,
    pub(super) tenant_id: String,
    pub(super) email: String,
    pub(super) name: String,
    pub(super) currency: String,
    pub(super) lines: Vec<Line>,
}

#[derive(Default, Clone)]
pub(super) struct Line {
    pub(super) sku: String,
    pub(super) qty: String,
    pub(super) price: String,
}

impl NewOrder {
    pub(super) fn blank(tenant_id: String) -> Self {
        Self {
            request_id: format!("web-{}", Uuid::now_v7()),
            tenant_id,
            email: String::new(),
            name: String::new(),
            currency: String::new(),
            lines: vec![Line::default()],
        }
    }

    pub(super) fn of(fields: &[(String, String)]) -> Self {
        let mut order = Self::blank(String::new());
        let mut lines = BTreeMap::new();
        for (name, value) in fields {
            let value = value.clone();
            match name.as_str() {
                "requestId" => order.request_id = value,
                "tenantId" => order.tenant_id = value,
                "buyer/email" => order.email = value,
                "buyer/name" => order.name = value,
                "currency" => order.currency = value,
                name => fill(&mut lines, name, value),
            }
        }
        if !lines.is_empty() {
            order.lines = lines.into_values().collect();
        }
        order
    }

    /// Adds or removes a line if one of those buttons was pressed.
    pub(super) fn edit(&mut self, fields: &[(String, String)]) -> bool {
        let pressed = |button: &str| fields.iter().find(|(name, _)| name == button);
        if pressed("add").is_some() {
            if self.lines.len() < MAX_LINES {
                self.lines.push(Line::default());
            }
            return true;
        }
        let Some((_, line)) = pressed("remove") else {
            return false;
        };
        if let Ok(line) = line.parse::<usize>()
            && line < self.lines.len()
            && self.lines.len() > 1
        {
            self.lines.remove(line);
        }
        true
    }

    /// The code of the currency as it is sent, empty if there is none.
    fn code(&self) -> String {
        self.currency.trim().to_ascii_uppercase()
    }

    /// The currency, if its code can be one.
    pub(super) fn currency(&self) -> Option<Currency> {
        self.code().parse().ok()
    }

    /// The sum of all lines, once each has one.
    pub(super) fn total(&self) -> Option<Money> {
        let add = |sum: Money, line: &Line| sum.plus(line.total()?);
        self.lines.iter().try_fold(Money::ZERO, add)
    }

    pub(super) fn body<'a>(&'a self) -> Body<'a> {
        let item = |line: &'a Line| Item {
            sku: &line.sku,
            qty: number(&line.qty),
            price: price(&line.price),
        };
        Body {
            request_id: &self.request_id,
            tenant_id: &self.tenant_id,
            buyer: Buyer {
                email: &self.email,
                name: &self.name,
            },
            items: self.lines.iter().map(item).collect(),
            currency: Some(self.code()).filter(|code| !code.is_empty()),
        }
    }
}

impl Line {
    /// The price of all of them, once quantity and price are numbers.
    pub(super) fn total(&self) -> Option<Money> {
        let price = Money::parse_price(price(&self.price)?.get()).ok()?;
        price.times(self.qty.trim().parse().ok()?)
    }
}

/// The body of `POST /api/orders`; the API checks it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Body<'a> {
    request_id: &'a str,
    tenant_id: &'a str,
    buyer: Buyer<'a>,
    items: Vec<Item<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    currency: Option<String>,
}

#[derive(Serialize)]
struct Buyer<'a> {
    email: &'a str,
    name: &'a str,
}

#[derive(Serialize)]
struct Item<'a> {
    sku: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    qty: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<Box<RawValue>>,
}

/// Sets a field of a line. Lines need not begin at 0 or follow each other; only their order counts.
fn fill(lines: &mut BTreeMap<usize, Line>, name: &str, value: String) {
    let line = name.strip_prefix("items/");
    let Some((index, field)) = line.and_then(|line| line.split_once('/')) else {
        return;
    };
    let field: fn(&mut Line) -> &mut String = match field {
        "sku" => |line| &mut line.sku,
        "qty" => |line| &mut line.qty,
        "price" => |line| &mut line.price,
        _ => return,
    };
    if let Ok(index) = index.parse() {
        *field(lines.entry(index).or_default()) = value;
    }
}

/// A typed price as JSON. One comma before the last one or two digits is a decimal comma. Any other comma could separate
/// thousands, so the API refuses that price.
fn price(typed: &str) -> Option<Box<RawValue>> {
    let is_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    match typed.trim().split_once(',') {
        Some((whole, cents))
            if is_digits(whole) && is_digits(cents) && matches!(cents.len(), 1 | 2) =>
        {
            number(&format!("{whole}.{cents}"))
        }
        _ => number(typed),
    }
}

/// A typed number as JSON, digit by digit; anything else as a string, for the API to refuse.
fn number(typed: &str) -> Option<Box<RawValue>> {
    let typed = typed.trim();
    if typed.is_empty() {
        return None;
    }
    let json = match serde_json::from_str::<serde_json::Number>(typed) {
        Ok(_) => typed.to_owned(),
        Err(_) => serde_json::Value::from(typed).to_string(),
    };
    RawValue::from_string(json).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn fields_become_the_body_with_digits_as_typed() {
        let order = NewOrder::of(&fields(&[
            ("requestId", "r"),
            ("tenantId", "t-1"),
            ("buyer/email", "a@b.de"),
            ("buyer/name", "A"),
            ("items/1/sku", "S2"),
            ("items/0/sku", "S1"),
            ("items/0/qty", " 2 "),
            ("items/0/price", "49.990"),
            ("items/1/qty", "two"),
            ("items/1/nothing", "x"),
            ("items/999/sku", "S3"),
            ("items/999/price", "49,9"),
            ("items/-1/sku", "x"),
            ("currency", " eur"),
            ("other", "x"),
        ]));
        let body = serde_json::to_string(&order.body()).unwrap();
        let expected = r#"{"requestId":"r","tenantId":"t-1","buyer":{"email":"a@b.de","name":"A"},"items":[{"sku":"S1","qty":2,"price":49.990},{"sku":"S2","qty":"two"},{"sku":"S3","price":49.9}],"currency":"EUR"}"#;
        assert_eq!(body, expected);
    }

    #[test]
    fn totals_are_known_once_the_numbers_are() {
        let mut sent = fields(&[
            ("items/0/qty", " 2"),
            ("items/0/price", "49,99"),
            ("items/1/qty", "3"),
            ("items/1/price", "0.10"),
        ]);
        let total = |sent: &[(String, String)]| {
            let total = NewOrder::of(sent).total();
            total.map(|total| total.to_string())
        };
        assert_eq!(total(&sent).as_deref(), Some("100.28"));
        for wrong in ["", "x", "-1", "1.234,50"] {
            sent[3].1 = wrong.to_owned();
            assert_eq!(total(&sent), None, "{wrong}");
            assert!(NewOrder::of(&sent).lines[0].total().is_some());
        }
    }

    #[test]
    fn lines_are_added_and_removed_but_never_the_last() {
        let sent = fields(&[("items/0/sku", "A"), ("items/1/sku", "B")]);
        let skus = |order: &NewOrder| {
            let skus: Vec<_> = order.lines.iter().map(|line| line.sku.clone()).collect();
            skus.join(",")
        };
        let mut order = NewOrder::of(&sent);
        assert!(!order.edit(&sent));
        assert!(order.edit(&fields(&[("add", "")])));
        assert_eq!(skus(&order), "A,B,");
        for (pressed, left) in [("0", "B,"), ("7", "B,"), ("1", "B"), ("0", "B")] {
            assert!(order.edit(&fields(&[("remove", pressed)])));
            assert_eq!(skus(&order), left);
        }
    }

    #[test]
    fn a_decimal_comma_is_read_and_any_other_is_left_to_be_refused() {
        for (typed, json) in [
            ("49,99", "49.99"),
            (" 49,9 ", "49.9"),
            ("0,05", "0.05"),
            ("1234,50", "1234.50"),
            ("49.99", "49.99"),
            ("1.234,50", "\"1.234,50\""),
            ("1,234.50", "\"1,234.50\""),
            ("1,234", "\"1,234\""),
            ("1,234,567", "\"1,234,567\""),
            ("1 234,50", "\"1 234,50\""),
            (",50", "\".50\""),
            ("49,", "\"49,\""),
            ("-1,5", "\"-1,5\""),
            ("1,+5", "\"1,+5\""),
            ("49,99 €", "\"49,99 €\""),
        ] {
            assert_eq!(price(typed).unwrap().get(), json);
        }
        assert!(price(" ").is_none());
    }

    #[test]
    fn a_form_has_no_more_lines_than_it_names_and_a_bound() {
        let mut order = NewOrder::of(&fields(&[("items/999/sku", "x"), ("add", "")]));
        for lines in 2..=MAX_LINES {
            assert!(order.edit(&fields(&[("add", "")])));
            assert_eq!(order.lines.len(), lines);
        }
        order.edit(&fields(&[("add", "")]));
        assert_eq!(order.lines.len(), MAX_LINES);
    }
}
