use serde_json::json;

use super::*;

fn rules(change: impl FnOnce(&mut AuthSettings)) -> Rules {
    let mut settings = AuthSettings {
        issuer: Some("https://login.example".to_owned()),
        ..AuthSettings::default()
    };
    change(&mut settings);
    Rules::new(&settings)
}

fn with_tenant_claim(pointer: &str) -> Rules {
    rules(|settings| settings.tenant_claim = Pointer::try_from(pointer.to_owned()).unwrap())
}

fn identity(rules: &Rules, more: &Value) -> Result<Identity, Refusal> {
    let mut all = json!({
        "iss": "https://login.example", "aud": "orders-api", "sub": "u1", "client_id": "c1",
        "iat": 1_000_000, "exp": 1_000_300,
    });
    for (name, value) in more.as_object().unwrap() {
        all[name] = value.clone();
    }
    let claims = Claims::read(&all)?;
    rules.identity(&claims, &all)
}

fn tenants(pointer: &str, more: &Value) -> Result<Vec<String>, Refusal> {
    let identity = identity(&with_tenant_claim(pointer), more)?;
    Ok(identity.tenants.iter().map(ToString::to_string).collect())
}

#[test]
fn the_tenants_of_seven_providers_are_found() {
    let names = |names: &[&str]| Ok(names.iter().map(ToString::to_string).collect());
    for (pointer, claims, found) in [
        // Auth0 and WorkOS.
        ("/org_id", json!({"org_id": "org_1"}), &["org_1"][..]),
        // Keycloak, with and without attributes.
        (
            "/organization",
            json!({"organization": {"b": {"id": "1"}, "a": {}}}),
            &["a", "b"],
        ),
        ("/organization", json!({"organization": ["a"]}), &["a"]),
        // Zitadel.
        (
            "/urn:zitadel:iam:user:resourceowner:id",
            json!({"urn:zitadel:iam:user:resourceowner:id": "28"}),
            &["28"],
        ),
        // Clerk.
        (
            "/o/id",
            json!({"o": {"id": "org_2", "rol": "admin"}}),
            &["org_2"],
        ),
        // Supabase.
        (
            "/app_metadata/tenant",
            json!({"app_metadata": {"tenant": "t"}}),
            &["t"],
        ),
        // Ory Hydra.
        (
            "/ext/tenant",
            json!({"ext": {"tenant": ["t", "t", "u"]}}),
            &["t", "u"],
        ),
        ("/tenant", json!({}), &[]),
        ("/tenant", json!({"tenant": null}), &[]),
        ("/tenant", json!({"tenant": []}), &[]),
    ] {
        assert_eq!(tenants(pointer, &claims), names(found), "{claims}");
    }
}

#[test]
fn what_is_no_tenant_never_reaches_a_subject() {
    for tenant in [
        json!("*"),
        json!(">"),
        json!("a.b"),
        json!("a b"),
        json!(""),
        json!(1),
        json!(true),
        json!(["a", "*"]),
        json!(["a", 1]),
        json!([["a"]]),
        json!({"a": 1, ">": 1}),
        json!("x".repeat(65)),
    ] {
        let refused = tenants("/tenant", &json!({ "tenant": tenant }));
        assert_eq!(refused, Err(Refusal::Invalid(Reason::Tenants)), "{tenant}");
    }
}

#[test]
fn scopes_come_from_scope_then_scp_then_permissions() {
    let (read, create) = (Scope::OrdersRead, Scope::OrdersCreate);
    for (claims, found) in [
        (json!({"scope": "orders:read"}), vec![read]),
        (
            json!({"scope": "openid orders:create orders:read"}),
            vec![read, create],
        ),
        (json!({"scope": ["orders:read"]}), vec![read]),
        (json!({"scp": ["orders:read", "x"]}), vec![read]),
        (json!({"scp": "orders:read"}), vec![read]),
        (json!({"permissions": ["orders:create"]}), vec![create]),
        (
            json!({"scope": "", "permissions": ["orders:create"]}),
            vec![],
        ),
        (
            json!({"scp": ["x"], "permissions": ["orders:create"]}),
            vec![],
        ),
        (
            json!({"scope": "orders:readx xorders:read ORDERS:READ"}),
            vec![],
        ),
        (json!({"scope": "orders:read,orders:create"}), vec![]),
        (json!({}), vec![]),
    ] {
        let identity = identity(&rules(|_| ()), &claims).unwrap();
        assert_eq!(identity.scopes, found, "{claims}");
    }
    for scope in [
        json!(1),
        json!({"orders:read": true}),
        json!(["orders:read", 1]),
    ] {
        let refused = identity(&rules(|_| ()), &json!({ "scope": scope }));
        assert_eq!(refused, Err(Refusal::Invalid(Reason::Scopes)), "{scope}");
    }
    let elsewhere = rules(|settings| {
        settings.scope_claim = Pointer::try_from("/realm/scopes".to_owned()).unwrap();
    });
    let claims = json!({"realm": {"scopes": "orders:read"}, "scope": "orders:create"});
    assert_eq!(identity(&elsewhere, &claims).unwrap().scopes, [read]);
}

#[test]
fn an_operator_has_the_scope_and_the_claim() {
    let (scope, roles) = (
        json!("orders:read orders:operator"),
        json!(["orders-operators"]),
    );
    for (claims, operator) in [
        (json!({"scope": scope, "roles": roles}), true),
        (json!({"scope": scope, "roles": "orders-operators"}), true),
        (json!({"scope": scope}), false),
        (json!({"roles": roles}), false),
        (json!({"scope": "orders:read", "roles": roles}), false),
        (json!({"scope": scope, "roles": ["operators"]}), false),
        (
            json!({"scope": scope, "user_metadata": {"roles": roles}}),
            false,
        ),
    ] {
        let identity = identity(&rules(|_| ()), &claims).unwrap();
        assert_eq!(identity.operator, operator, "{claims}");
    }
}

#[test]
fn an_identity_has_an_owner_a_client_and_a_day_at_most() {
    let rules = rules(|_| ());
    let found = identity(&rules, &json!({"sid": "s1", "jti": "j1"})).unwrap();
    assert_eq!(found.client.as_deref(), Some("c1"));
    assert_eq!(found.session.as_deref(), Some("s1"));
    assert_eq!(found.token_id.as_deref(), Some("j1"));
    assert_eq!(found.issued_at.timestamp(), 1_000_000);
    assert_eq!(found.expires_at.unwrap().timestamp(), 1_000_300);
    for (claims, reason) in [
        (json!({"exp": 1_000_000 + 86_401}), Reason::Times),
        (json!({"cnf": {"jkt": "x"}}), Reason::Confirmation),
        (json!({"cnf": null}), Reason::Confirmation),
        (json!({"sub": ""}), Reason::Subject),
        (json!({"sub": "x".repeat(256)}), Reason::Subject),
        (json!({"sub": "a\nb"}), Reason::Subject),
        (json!({"client_id": ""}), Reason::Subject),
        (json!({"client_id": "x".repeat(256)}), Reason::Subject),
    ] {
        let refused = identity(&rules, &claims).unwrap_err();
        assert_eq!(refused, Refusal::Invalid(reason), "{claims}");
    }
    assert!(identity(&rules, &json!({"exp": 1_000_000 + 86_400})).is_ok());
}

#[test]
fn without_a_type_an_id_token_is_told_by_what_it_says() {
    let plain = rules(|settings| settings.require_at_jwt = false);
    assert_eq!(plain.access(), Use::PlainAccess);
    assert!(identity(&plain, &json!({})).is_ok());
    for claims in [
        json!({"nonce": "n"}),
        json!({"at_hash": "h"}),
        json!({"aud": ["orders-api", "c1"]}),
        json!({"aud": "c1"}),
    ] {
        let refused = identity(&plain, &claims);
        assert_eq!(refused, Err(Refusal::Invalid(Reason::Use)), "{claims}");
    }
    // Some of these providers name no client.
    let mut all = json!({"iss": "i", "aud": "orders-api", "sub": "u1", "iat": 1, "exp": 2});
    let read = |all: &Value| plain.identity(&Claims::read(all).unwrap(), all);
    assert_eq!(read(&all).unwrap().client, None);
    all["azp"] = json!("c2");
    assert_eq!(read(&all).unwrap().client.as_deref(), Some("c2"));
    let strict = rules(|_| ());
    all.as_object_mut().unwrap().remove("azp");
    let refused = strict.identity(&Claims::read(&all).unwrap(), &all);
    assert_eq!(refused, Err(Refusal::Invalid(Reason::Subject)));
}
