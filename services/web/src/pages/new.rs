//! The form for a new order. Its fields are named by their JSON pointers (`buyer/email`, `items/0/qty`), so each
//! fault that the API reports finds its field.

mod values;

use std::{collections::BTreeMap, sync::Arc};

use askama::Template;
use axum::{
    Extension,
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Redirect, Response},
};
use axum_extra::extract::CookieJar;
use orders_contracts::{ProblemDetails, TraceContext};
use orders_http::{name_order, name_tenant};

pub(crate) use self::values::MAX_LINES;
use self::values::{Line, NewOrder};
use super::{Fields, Frame, html, no_tenant, parameter, text};
use crate::{Web, edge::Failure, tenant};

/// `GET /orders/new`
pub(crate) async fn form(
    State(web): State<Arc<Web>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    jar: CookieJar,
) -> Response {
    let asked = parameter(query.as_deref(), "tenantId");
    let tenant = match tenant::chosen(asked.as_deref(), &jar) {
        Ok(tenant) => tenant,
        Err(wrong) => return no_tenant(&wrong),
    };
    let page = NewOrderPage::new(&web, NewOrder::blank(tenant.to_string()));
    (tenant::remember(jar, &headers, &tenant), html(&page)).into_response()
}

/// `POST /orders/new`: sent by browsers without the script.
pub(crate) async fn create(
    State(web): State<Arc<Web>>,
    Extension(trace): Extension<TraceContext>,
    Fields(fields): Fields,
) -> Response {
    let mut page = NewOrderPage::new(&web, NewOrder::of(&fields));
    if page.order.edit(&fields) {
        return html(&page);
    }
    if let Ok(tenant) = page.order.tenant_id.parse() {
        name_tenant(&tenant);
    }
    let created = web.edge.create(&page.order.body(), trace).await;
    if let Ok(created) = &created {
        name_order(&created.order_id);
    }
    let status = match created {
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
        Err(Failure::Denied(why)) => {
            page.other_errors.push(why.detail);
            why.status
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

#[derive(Template)]
#[template(path = "new.html")]
struct NewOrderPage {
    frame: Frame,
    order: NewOrder,
    /// Where the script may send a file, besides the page's own origin.
    uploads: String,
    /// The rule that a field breaks, by its name.
    errors: BTreeMap<String, String>,
    /// All other faults.
    other_errors: Vec<String>,
    blank: Line,
}

impl NewOrderPage {
    fn new(web: &Web, order: NewOrder) -> Self {
        Self {
            frame: Frame::of(&order.tenant_id),
            order,
            uploads: web.upload_origin.clone(),
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
            "currency" => Some("Currency".to_owned()),
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

    fn max_lines() -> usize {
        MAX_LINES
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
            Some("price") => "a price, such as 1234.50 or 1234,50",
            Some("currency") => "the code of a currency, such as EUR",
            _ => "a value",
        }
    }

    /// What helps to fill in a field; empty if its label says enough.
    fn hint(name: &str) -> &'static str {
        match name.rsplit('/').next() {
            Some("qty") => "A whole number",
            Some("price") => "Of one, such as 49.99",
            Some("currency") => "Three letters, such as EUR",
            _ => "",
        }
    }

    /// The codes that are suggested; every other one can be typed.
    fn currencies() -> [&'static str; 12] {
        [
            "EUR", "USD", "GBP", "CHF", "JPY", "CNY", "INR", "CAD", "AUD", "SEK", "DKK", "PLN",
        ]
    }

    /// The total of a line as it is typed so far.
    fn line_total(&self, line: &Line) -> String {
        let digits = |total| text::digits(total, self.order.currency());
        line.total().map_or_else(unknown, digits)
    }

    /// The total of the order as it is typed so far.
    fn total(&self) -> String {
        let amount = |total| text::amount(total, self.order.currency());
        self.order.total().map_or_else(unknown, amount)
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

/// What is shown for a total that cannot be said.
fn unknown() -> String {
    "\u{2013}".to_owned()
}

/// Whether a rule asks for another kind of value, or for any at all.
fn is_about_kind(rule: &str) -> bool {
    rule.starts_with("must be a ")
        || rule.starts_with("must be an ")
        || rule == "should not be empty"
}

#[cfg(test)]
mod tests {
    use orders_service::Departure;

    use super::*;
    use crate::{Config, pages::tests::has_script_or_says_so};

    fn blank_page() -> NewOrderPage {
        let web = Web::new(Config::default(), None, Departure::default()).unwrap();
        NewOrderPage::new(&web, NewOrder::blank("t-1".to_owned()))
    }

    #[test]
    fn a_form_built_without_node_says_so() {
        has_script_or_says_so("An attachment needs a build with Node.", |frame| {
            let page = blank_page();
            NewOrderPage { frame, ..page }.render().unwrap()
        });
    }

    #[test]
    fn faults_say_what_to_enter() {
        let mut page = blank_page();
        let email = "Enter an e-mail address";
        let currency = "Enter the code of a currency, such as EUR";
        let sku = ("Enter an article", "Line 1: enter an article");
        let rule = "must not be less than 1";
        let qty = (rule, "Line 1: Quantity must not be less than 1");
        let price = "a price, such as 1234.50 or 1234,50";
        let prices = (format!("Enter {price}"), format!("Line 1: enter {price}"));
        for (name, rule, (field, sentence)) in [
            ("buyer/email", "must be an email", (email, email)),
            ("items/0/sku", "should not be empty", sku),
            ("items/0/qty", rule, qty),
            ("items/0/price", "must be a number", (&prices.0, &prices.1)),
            (
                "currency",
                "must be an ISO 4217 currency code",
                (currency, currency),
            ),
        ] {
            page.errors = BTreeMap::from([(name.to_owned(), rule.to_owned())]);
            assert_eq!(page.error(name), field);
            assert_eq!(page.faults(), [(name, sentence.to_owned())]);
        }
    }
}
