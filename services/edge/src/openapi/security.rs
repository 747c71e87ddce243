//! What mode jwt adds to the document.

use axum::http::StatusCode;
use orders_auth::Scope;
use serde_json::{Value, json};

use super::{
    components::{problem, reference},
    paths::probe,
};
use crate::guard::WELL_KNOWN;

/// The scope that each operation requires; the others are for everyone.
const SCOPES: [(&str, Scope); 8] = [
    ("listOrders", Scope::OrdersRead),
    ("exportOrders", Scope::OrdersRead),
    ("showOrder", Scope::OrdersRead),
    ("followOrders", Scope::OrdersRead),
    ("createOrder", Scope::OrdersCreate),
    ("cancelOrder", Scope::OrdersCancel),
    ("downloadAttachment", Scope::OrdersRead),
    ("presignUpload", Scope::UploadsCreate),
];

/// The schemas of bodies that have a tenant.
const OF_A_TENANT: [&str; 3] = ["CreateOrder", "CancelRequest", "PresignUpload"];

/// Requires tokens of `issuer`.
pub(super) fn require(document: &mut Value, issuer: &str) {
    for operation in operations(document) {
        let id = operation["operationId"].as_str().unwrap_or_default();
        let Some((_, scope)) = SCOPES.iter().find(|(operation, _)| *operation == id) else {
            continue;
        };
        let scopes = [scope.as_str()];
        operation["security"] = json!([{ "openid": scopes }, { "token": scopes }]);
        for status in ["401", "403"] {
            operation["responses"][status] = reference(&format!("responses/{status}"));
        }
    }
    document["paths"][WELL_KNOWN] = json!({
        "get": probe(
            "describeResource",
            "Where to get a token, and for what (RFC 9728)",
            "application/json",
            &["200"],
        ),
    });

    let components = &mut document["components"];
    components["securitySchemes"] = schemes(issuer);
    components["headers"]["www-authenticate"] = json!({
        "description": "What is wrong with the credentials (RFC 6750), and where to learn how to get some (RFC 9728)",
        "schema": { "type": "string" },
    });
    let unauthorized = "There is no token, or it is not valid, or not any more";
    let forbidden =
        "The token is for other tenants, or lacks the scope that `www-authenticate` then names";
    for (status, description) in [
        (StatusCode::UNAUTHORIZED, unauthorized),
        (StatusCode::FORBIDDEN, forbidden),
    ] {
        let mut response = problem(status, description);
        let challenge = reference("headers/www-authenticate");
        response["headers"] = json!({ "www-authenticate": challenge });
        components["responses"][status.as_str()] = response;
    }
    let tenant = &mut components["parameters"]["tenantId"];
    tenant["required"] = json!(false);
    tenant["description"] = json!("Whose orders; a token for a single tenant says it already");
    for schema in OF_A_TENANT {
        let schema = &mut components["schemas"][schema];
        if let Some(required) = schema["required"].as_array_mut() {
            required.retain(|name| name != "tenantId");
        }
        let tenant = schema["properties"]["tenantId"].take();
        schema["properties"]["tenantId"] = json!({ "anyOf": [tenant, { "type": "null" }] });
    }
}

fn operations(document: &mut Value) -> impl Iterator<Item = &mut Value> {
    let paths = document["paths"].as_object_mut().into_iter();
    let paths = paths.flat_map(|paths| paths.values_mut());
    let paths = paths.filter_map(|path| path.as_object_mut());
    paths.flat_map(|operations| operations.values_mut())
}

fn schemes(issuer: &str) -> Value {
    let discovery = format!(
        "{}/.well-known/openid-configuration",
        issuer.trim_end_matches('/')
    );
    json!({
        "openid": {
            "type": "openIdConnect",
            "openIdConnectUrl": discovery,
            "description": "A login at the provider",
        },
        "token": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "An access token, or an API key",
        },
    })
}

#[cfg(test)]
mod tests {
    use super::{super::document, *};

    const ISSUER: &str = "https://login.example/realm/";

    #[test]
    fn an_operation_that_has_somebodys_orders_requires_a_scope_of_it() {
        let mut secured = document(Some(ISSUER));
        let mut required = Vec::new();
        for operation in operations(&mut secured) {
            let id = operation["operationId"].as_str().unwrap();
            match operation["security"][1]["token"][0].as_str() {
                Some(scope) => required.push((id.to_owned(), scope.to_owned())),
                None => assert_ne!(operation["tags"][0], "orders", "{id}"),
            }
        }
        assert_eq!(required.len(), SCOPES.len(), "{required:?}");
        let url = &secured["components"]["securitySchemes"]["openid"]["openIdConnectUrl"];
        let expected = "https://login.example/realm/.well-known/openid-configuration";
        assert_eq!(url, expected);
        for schema in OF_A_TENANT {
            let required = &secured["components"]["schemas"][schema]["required"];
            let required = required.as_array().unwrap();
            assert!(!required.contains(&json!("tenantId")), "{schema}");
        }
    }

    #[test]
    fn without_it_the_document_says_nothing_of_tokens() {
        let mut open = document(None);
        // A signature is asked for in any mode.
        let paths = open["paths"].as_object_mut().unwrap();
        paths.retain(|path, _| !path.starts_with("/api/payments/"));
        let text = open.to_string();
        for word in ["security", "401", "www-authenticate", WELL_KNOWN] {
            assert!(!text.contains(word), "{word}");
        }
    }
}
