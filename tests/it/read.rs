//! Reading orders: one with all that is known of it, lists that search and tell more, and exports.

mod details;
mod export;
mod search;

use mongodb::bson::Document;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::pipeline::{Pipeline, order_id};

/// An order with everything that an order may have.
fn whole(tenant: &str, request: &str) -> Value {
    json!({
        "requestId": request,
        "tenantId": tenant,
        "buyer": { "email": "Alice@Example.com", "name": "Alice" },
        "items": [
            { "sku": "SKU-1", "qty": 2, "price": 49.99 },
            { "sku": "SKU-2", "qty": 3, "price": 0.1 },
        ],
        "attachment": {
            "filename": "invoice.pdf", "contentType": "application/pdf", "size": 6,
            "storageKey": format!("tenants/{tenant}/orders/abcd1234/invoice.pdf"),
        },
        "metadata": { "channel": "web", "campaign": "été" },
        "currency": "EUR",
    })
}

/// Creates an order, which must be new, and returns its id.
async fn create(pipeline: &Pipeline, order: &Value) -> String {
    let created = pipeline.post("/api/orders", order).await;
    assert_eq!(created.status(), StatusCode::CREATED, "{order}");
    order_id(created).await
}

/// Gets `path` with `headers`.
async fn get(pipeline: &Pipeline, path: &str, headers: &[(&str, &str)]) -> Response {
    let url = format!("{}{path}", pipeline.edge.url());
    let request = headers
        .iter()
        .fold(pipeline.http.get(url), |request, (name, value)| {
            request.header(*name, *value)
        });
    request.send().await.expect("the edge answers")
}

/// The names of the members of an object, in their order.
fn names(object: &str) -> Vec<String> {
    let members: Document = serde_json::from_str(object).expect("an object");
    members.keys().cloned().collect()
}

/// What a refused request says of its fields.
async fn faults(response: Response) -> (u16, Vec<(String, String)>) {
    let status = response.status().as_u16();
    let problem: Value = response.json().await.expect("a problem");
    let errors = problem["errors"].as_array().expect("faults").iter();
    let text = |fault: &Value, name: &str| fault[name].as_str().expect("text").to_owned();
    let faults = errors.map(|fault| (text(fault, "pointer"), text(fault, "detail")));
    (status, faults.collect())
}
