//! The form for a new order. Its fields are named by their JSON pointers (`buyer/email`, `items/0/qty`), so each
//! fault that the API reports finds its field.

use std::{collections::BTreeMap, sync::Arc};

use askama::Template;
use axum::{
    Extension,
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Redirect, Response},
};
use axum_extra::extract::CookieJar;
use orders_contracts::{MAX_ITEMS, ProblemDetails, TraceContext};
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{Fields, Frame, html, no_tenant, parameter};
use crate::{Web, edge::Failure, tenant};

/// `GET /orders/new`
pub(crate) async fn form(
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    jar: CookieJar,
) -> Response {
    let asked = parameter(query.as_deref(), "tenantId");
    let tenant = match tenant::chosen(asked.as_deref(), &jar) {
        Ok(tenant) => tenant,
        Err(wrong) => return no_tenant(wrong),
    };
    let page = NewOrderPage::new(NewOrder::blank(tenant.to_string()));
    (tenant::remember(jar, &headers, &tenant), html(&page)).into_response()
}

/// `POST /orders/new`: sent by browsers without the script.
pub(crate) async fn create(
    State(web): State<Arc<Web>>,
    Extension(trace): Extension<TraceContext>,
    Fields(fields): Fields<Vec<(String, String)>>,
) -> Response {
    let mut page = NewOrderPage::new(NewOrder::of(&fields));
    if page.order.edit(&fields) {
        return html(&page);
    }
    let status = match web.edge.create(&page.order.body(), trace).await {
        Ok(created) if created.is_another => {
            page.other_errors.push(format!(
                "This form has already created order {} with different values. Open a new form to create another order.",
                created.order_id
            ));
            StatusCode::CONFLICT
        }
        Ok(created) => {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.append_pair("tenantId", &page.order.tenant_id);
            query.append_pair("created", created.order_id.as_str());
            return Redirect::to(&format!("/orders?{}", query.finish())).into_response();
        }
        Err(Failure::Refused(status, problem)) => {
            page.refuse(*problem);
            status
        }
        Err(Failure::Unavailable) => {
            let text =
                "The order could not be sent. Try again; you will not create a second order.";
            page.other_errors.push(text.to_owned());
            StatusCode::SERVICE_UNAVAILABLE
        }
    };
    (status, html(&page)).into_response()
}

/// The form's values, as typed.
struct NewOrder {
    /// Created with the form, so that submitting it twice creates one order.
    request_id: String,
    tenant_id: String,
    email: String,
    name: String,
    lines: Vec<Line>,
}

#[derive(Default, Clone)]
struct Line {
    sku: String,
    qty: String,
    price: String,
}

impl NewOrder {
    fn blank(tenant_id: String) -> Self {
        Self {
            request_id: format!("web-{}", Uuid::now_v7()),
            tenant_id,
            email: String::new(),
            name: String::new(),
            lines: vec![Line::default()],
        }
    }

    fn of(fields: &[(String, String)]) -> Self {
        let mut order = Self::blank(String::new());
        for (name, value) in fields {
            let value = value.clone();
            match name.as_str() {
                "requestId" => order.request_id = value,
                "tenantId" => order.tenant_id = value,
                "buyer/email" => order.email = value,
                "buyer/name" => order.name = value,
                name => {
                    if let Some(field) = order.line_field(name) {
                        *field = value;
                    }
                }
            }
        }
        order
    }

    fn line_field(&mut self, name: &str) -> Option<&mut String> {
        let (index, field) = name.strip_prefix("items/")?.split_once('/')?;
        let index = index
            .parse::<usize>()
            .ok()
            .filter(|index| *index < MAX_ITEMS)?;
        if index >= self.lines.len() {
            self.lines.resize_with(index + 1, Line::default);
        }
        let line: &mut Line = &mut self.lines[index];
        match field {
            "sku" => Some(&mut line.sku),
            "qty" => Some(&mut line.qty),
            "price" => Some(&mut line.price),
            _ => None,
        }
    }

    /// Adds or removes a line if one of those buttons was pressed.
    fn edit(&mut self, fields: &[(String, String)]) -> bool {
        let pressed = |button: &str| fields.iter().find(|(name, _)| name == button);
        if pressed("add").is_some() {
            if self.lines.len() < MAX_ITEMS {
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

    fn body<'a>(&'a self) -> Body<'a> {
        let item = |line: &'a Line| Item {
            sku: &line.sku,
            qty: number(&line.qty),
            price: number(&line.price),
        };
        Body {
            request_id: &self.request_id,
            tenant_id: &self.tenant_id,
            buyer: Buyer {
                email: &self.email,
                name: &self.name,
            },
            items: self.lines.iter().map(item).collect(),
        }
    }
}

/// The body of `POST /api/orders`; the API checks it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    request_id: &'a str,
    tenant_id: &'a str,
    buyer: Buyer<'a>,
    items: Vec<Item<'a>>,
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

#[derive(Template)]
#[template(path = "new.html")]
struct NewOrderPage {
    frame: Frame,
    order: NewOrder,
    /// The rule that a field breaks, by its name.
    errors: BTreeMap<String, String>,
    /// All other faults.
    other_errors: Vec<String>,
    blank: Line,
}

impl NewOrderPage {
    fn new(order: NewOrder) -> Self {
        Self {
            frame: Frame::of(&order.tenant_id),
            order,
            errors: BTreeMap::new(),
            other_errors: Vec::new(),
            blank: Line::default(),
        }
    }

    fn refuse(&mut self, problem: ProblemDetails) {
        if problem.errors.is_empty() {
            self.other_errors.push(problem.detail);
            return;
        }
        for (fault, message) in problem.errors.into_iter().zip(problem.message) {
            let name = fault.pointer.trim_start_matches("#/");
            if self.label(name).is_some() {
                self.errors.insert(name.to_owned(), fault.detail);
            } else {
                self.other_errors.push(message);
            }
        }
    }

    /// The label of a field, with its line; `None` if there is no such field.
    fn label(&self, name: &str) -> Option<String> {
        match name {
            "buyer/email" => Some("E-mail".to_owned()),
            "buyer/name" => Some("Name".to_owned()),
            name => {
                let (index, field) = name.strip_prefix("items/")?.split_once('/')?;
                let index: usize = index.parse().ok()?;
                let label = match field {
                    "sku" => "Article",
                    "qty" => "Quantity",
                    "price" => "Price",
                    _ => return None,
                };
                (index < self.order.lines.len()).then(|| format!("Line {}: {label}", index + 1))
            }
        }
    }

    fn name(index: &usize, field: &str) -> String {
        format!("items/{index}/{field}")
    }

    /// What to enter in a field.
    fn enter(name: &str) -> &'static str {
        match name.rsplit('/').next() {
            Some("email") => "an e-mail address",
            Some("name") => "a name",
            Some("sku") => "an article",
            Some("qty") => "a whole number",
            Some("price") => "a price, such as 49.99",
            _ => "a value",
        }
    }

    /// The fault of a field as its own text; empty if it has none.
    fn error(&self, name: &str) -> String {
        match self.errors.get(name) {
            Some(rule) if is_about_kind(rule) => format!("Enter {}", Self::enter(name)),
            rule => rule.cloned().unwrap_or_default(),
        }
    }

    /// The name of each faulty field, and its fault as a sentence.
    fn faults(&self) -> Vec<(&str, String)> {
        let mut faults = Vec::new();
        for (name, rule) in &self.errors {
            let label = self.label(name).unwrap_or_default();
            let fault = match label.split_once(": ") {
                _ if !is_about_kind(rule) => format!("{label} {rule}"),
                Some((line, _)) => format!("{line}: enter {}", Self::enter(name)),
                None => format!("Enter {}", Self::enter(name)),
            };
            faults.push((name.as_str(), fault));
        }
        faults
    }

    fn has_errors(&self) -> bool {
        !self.errors.is_empty() || !self.other_errors.is_empty()
    }
}

/// Whether a rule asks for another kind of value, or for any at all.
fn is_about_kind(rule: &str) -> bool {
    rule.starts_with("must be a ")
        || rule.starts_with("must be an ")
        || rule == "should not be empty"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::tests::has_script_or_says_so;

    #[test]
    fn a_form_built_without_node_says_so() {
        has_script_or_says_so("Attaching a file needs a build with Node.", |frame| {
            let page = NewOrderPage::new(NewOrder::blank(frame.tenant.clone()));
            NewOrderPage { frame, ..page }.render().unwrap()
        });
    }

    #[test]
    fn faults_say_what_to_enter() {
        let mut page = NewOrderPage::new(NewOrder::blank("t-1".to_owned()));
        let email = "Enter an e-mail address";
        let sku = ("Enter an article", "Line 1: enter an article");
        let rule = "must not be less than 1";
        let qty = (rule, "Line 1: Quantity must not be less than 1");
        for (name, rule, (field, sentence)) in [
            ("buyer/email", "must be an email", (email, email)),
            ("items/0/sku", "should not be empty", sku),
            ("items/0/qty", rule, qty),
        ] {
            page.errors = BTreeMap::from([(name.to_owned(), rule.to_owned())]);
            assert_eq!(page.error(name), field);
            assert_eq!(page.faults(), [(name, sentence.to_owned())]);
        }
    }

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
            ("items/99999999999/sku", "x"),
            ("other", "x"),
        ]));
        let body = serde_json::to_string(&order.body()).unwrap();
        let expected = r#"{"requestId":"r","tenantId":"t-1","buyer":{"email":"a@b.de","name":"A"},"items":[{"sku":"S1","qty":2,"price":49.990},{"sku":"S2","qty":"two"}]}"#;
        assert_eq!(body, expected);
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
}
