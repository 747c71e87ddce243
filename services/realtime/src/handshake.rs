use axum::{extract::Query, http::Uri};
use orders_contracts::{TenantId, Unparsable};
use serde_json::Value;

use crate::offset::{Malformed, Offset};

/// Stands for a value that is no text; neither an id nor an offset.
const NO_TEXT: &str = "?";

/// What a client asks for when it connects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Handshake {
    /// Whose changes it wants.
    pub(crate) tenant: TenantId,
    /// Where it left off; `None` when it is new.
    pub(crate) resume: Option<Result<Offset, Malformed>>,
}

/// Why a client is refused; it reads this as the message of its `connect_error`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// It named no tenant.
    #[error("tenantId is required")]
    Required,
    /// What it named cannot be a tenant.
    #[error("tenantId {0}")]
    Invalid(Unparsable),
}

impl Handshake {
    /// Reads `tenantId` and `serverOffset` from the client's `auth`, each else from the query of its first request.
    pub(crate) fn read(auth: &Value, uri: &Uri) -> Result<Self, Refusal> {
        let query = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_or_else(|_| vec![], |query| query.0);
        let find = |name: &str| {
            let text = match auth.get(name) {
                Some(Value::String(text)) => Some(text.as_str()),
                Some(Value::Null) | None => query
                    .iter()
                    .find(|(key, _)| key == name)
                    .map(|(_, text)| text.as_str()),
                Some(_) => Some(NO_TEXT),
            };
            text.filter(|text| !text.is_empty())
        };
        let tenant = find("tenantId").ok_or(Refusal::Required)?;
        Ok(Self {
            tenant: tenant.parse().map_err(Refusal::Invalid)?,
            resume: find("serverOffset").map(str::parse),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(auth: &Value, query: &str) -> Result<Handshake, String> {
        let uri = format!("/ws/?EIO=4&transport=polling{query}")
            .parse()
            .unwrap();
        Handshake::read(auth, &uri).map_err(|refusal| refusal.to_string())
    }

    fn accepted(
        tenant: &str,
        resume: Option<Result<Offset, Malformed>>,
    ) -> Result<Handshake, String> {
        Ok(Handshake {
            tenant: tenant.parse().unwrap(),
            resume,
        })
    }

    #[test]
    fn the_tenant_comes_from_auth_or_else_from_the_query() {
        assert_eq!(read(&json!({"tenantId": "a"}), ""), accepted("a", None));
        assert_eq!(read(&json!({}), "&tenantId=b"), accepted("b", None));
        assert_eq!(read(&Value::Null, "&tenantId=%62"), accepted("b", None));
        assert_eq!(
            read(&json!({"tenantId": null}), "&tenantId=b"),
            accepted("b", None)
        );
        assert_eq!(
            read(&json!({"tenantId": "a"}), "&tenantId=b"),
            accepted("a", None)
        );
    }

    #[test]
    fn a_client_without_a_valid_tenant_is_refused() {
        for (auth, query) in [
            (json!({}), ""),
            (json!({"tenantId": ""}), ""),
            (json!("a"), "&tenantId="),
        ] {
            assert_eq!(read(&auth, query), Err("tenantId is required".to_owned()));
        }
        let rule = Err("tenantId must match /^[A-Za-z0-9_-]{1,64}$/".to_owned());
        for bad in [
            json!("a.b"),
            json!(">"),
            json!(7),
            json!(true),
            json!({"$ne": 1}),
            json!("x".repeat(65)),
        ] {
            assert_eq!(
                read(&json!({"tenantId": bad}), "&tenantId=b"),
                rule,
                "{bad}"
            );
        }
        assert_eq!(read(&json!({}), "&tenantId=a%00"), rule);
    }

    #[test]
    fn the_offset_comes_the_same_way() {
        let offset = Offset {
            epoch: 5,
            sequence: 6,
        };
        let auth = json!({"tenantId": "a", "serverOffset": "5.6"});
        assert_eq!(read(&auth, ""), accepted("a", Some(Ok(offset))));
        assert_eq!(
            read(&json!({}), "&tenantId=a&serverOffset=5.6"),
            accepted("a", Some(Ok(offset)))
        );
        for none in [json!(null), json!("")] {
            assert_eq!(
                read(&json!({"tenantId": "a", "serverOffset": none}), ""),
                accepted("a", None)
            );
        }
        for bad in [json!(0), json!("x"), json!(["5.6"])] {
            let auth = json!({"tenantId": "a", "serverOffset": bad});
            assert_eq!(
                read(&auth, ""),
                accepted("a", Some(Err(Malformed))),
                "{bad}"
            );
        }
    }
}
