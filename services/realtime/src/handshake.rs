use axum::{extract::Query, http::Uri};
use orders_contracts::{Offset, TenantId, Unparsable};
use serde_json::Value;

/// Stands for a value that is not a string: neither an id nor an offset.
const NOT_A_STRING: &str = "?";

/// A client's request to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Handshake {
    /// The tenant whose changes the client wants.
    pub(crate) tenant: TenantId,
    /// The offset that the client resumes from; `None` for a new client.
    pub(crate) resume: Option<Result<Offset, Unparsable>>,
}

/// Why a client is refused: the message of its `connect_error`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConnectError {
    /// The client named no tenant.
    #[error("tenantId is required")]
    Required,
    /// The client named several tenants.
    #[error("tenantId must not be given more than once")]
    Twice,
    /// The client named something that is not a tenant id.
    #[error("tenantId {0}")]
    Invalid(Unparsable),
    /// The client sent no valid token. From here on, the texts are documented, and clients may compare them.
    #[error("unauthorized: token required")]
    TokenRequired,
    /// The client's token has expired.
    #[error("unauthorized: token expired")]
    TokenExpired,
    /// The client's token may not read the tenant, or is for several of which the client named none.
    #[error("forbidden: tenant")]
    Forbidden,
    /// Nobody can say now whether the client's token is valid.
    #[error("unavailable: keys")]
    Unavailable,
    /// The same, because there are more revocations than this daemon can know.
    #[error("unavailable: keys")]
    Revocations,
    /// The tenant, or the subject of the token, has as many sockets as it may.
    #[error("limit: sockets")]
    Full,
}

impl ConnectError {
    /// The word for it in metrics.
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::Required | Self::Twice | Self::Invalid(_) => "handshake",
            Self::TokenRequired => "token_required",
            Self::TokenExpired => "token_expired",
            Self::Forbidden => "tenant",
            Self::Unavailable => "keys",
            Self::Revocations => "revocations",
            Self::Full => "sockets",
        }
    }
}

impl Handshake {
    /// Reads `tenantId` and `serverOffset` from the client's `auth`, or else from the query of its first request.
    pub(crate) fn read(auth: &Value, uri: &Uri) -> Result<Self, ConnectError> {
        Self::choose(auth, uri, |named| named.ok_or(ConnectError::Required))
    }

    /// Reads the same, but `choose` says the tenant, given the one that the client named.
    pub(crate) fn choose(
        auth: &Value,
        uri: &Uri,
        choose: impl FnOnce(Option<TenantId>) -> Result<TenantId, ConnectError>,
    ) -> Result<Self, ConnectError> {
        let query = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_or_else(|_| vec![], |query| query.0);
        let in_query = |name: &str| {
            let mut texts = query.iter().filter(|(key, _)| key == name);
            (
                texts.next().map(|(_, text)| text.as_str()),
                texts.next().is_some(),
            )
        };
        let find = |name: &str| {
            let text = match (auth.get(name), in_query(name)) {
                (Some(Value::String(text)), _) => Some(text.as_str()),
                (Some(Value::Null) | None, (text, false)) => text,
                (Some(_), _) | (None, (_, true)) => Some(NOT_A_STRING),
            };
            text.filter(|text| !text.is_empty())
        };
        if in_query("tenantId").1 {
            return Err(ConnectError::Twice);
        }
        let named = find("tenantId").map(str::parse).transpose();
        Ok(Self {
            tenant: choose(named.map_err(ConnectError::Invalid)?)?,
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
        resume: Option<Result<Offset, Unparsable>>,
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
    fn a_client_that_names_several_tenants_is_refused() {
        let twice = Err("tenantId must not be given more than once".to_owned());
        for auth in [json!({}), json!({"tenantId": "a"})] {
            for query in ["&tenantId=a&tenantId=b", "&tenantId=a&%74enantId=a"] {
                assert_eq!(read(&auth, query), twice, "{auth} {query}");
            }
        }
        let offsets = "&tenantId=a&serverOffset=5.6&serverOffset=5.7";
        assert_eq!(read(&json!({}), offsets), accepted("a", Some("?".parse())));
    }

    #[test]
    fn a_token_may_choose_among_its_tenants() {
        let uri: Uri = "/ws/?tenantId=b".parse().unwrap();
        let choose = |auth: &Value, uri: &Uri| {
            Handshake::choose(auth, uri, |named| match named {
                Some(named) if named.as_str() == "c" => Err(ConnectError::Forbidden),
                Some(named) => Ok(named),
                None => Ok("only".parse().unwrap()),
            })
            .map(|handshake| handshake.tenant.to_string())
        };
        assert_eq!(choose(&json!({}), &uri).unwrap(), "b");
        assert_eq!(choose(&json!({ "tenantId": "a" }), &uri).unwrap(), "a");
        assert_eq!(
            choose(&json!({}), &"/ws/".parse().unwrap()).unwrap(),
            "only"
        );
        let forbidden = choose(&json!({ "tenantId": "c" }), &uri);
        assert_eq!(forbidden, Err(ConnectError::Forbidden));
    }

    #[test]
    fn the_offset_comes_the_same_way() {
        let offset = Offset {
            epoch: 5,
            sequence: 6,
            time: 0,
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
            assert_eq!(read(&auth, ""), accepted("a", Some("x".parse())), "{bad}");
        }
    }
}
