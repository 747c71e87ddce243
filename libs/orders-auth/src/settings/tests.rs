use super::*;

fn jwt(change: impl FnOnce(&mut AuthSettings)) -> Result<(), String> {
    let mut settings = AuthSettings {
        mode: Mode::Jwt,
        issuer: Some("https://login.example".to_owned()),
        ..AuthSettings::default()
    };
    change(&mut settings);
    settings.validate().map_err(|invalid| invalid.to_string())
}

#[test]
fn the_defaults_are_valid() {
    assert!(AuthSettings::default().validate().is_ok());
    assert_eq!(jwt(|_| ()), Ok(()));
}

#[test]
fn what_is_wrong_is_one_line_that_names_the_setting() {
    let safe = "must be like https://host/path; http only on this machine";
    let url = |url: &str| Some(url.to_owned());
    let claim = |text: &str| Pointer::try_from(text.to_owned()).unwrap();
    let users = "users write their user_metadata";
    for (found, variable, reason) in [
        (jwt(|s| s.issuer = None), "ISSUER", "mode jwt needs it"),
        (
            jwt(|s| s.issuer = url("http://login.example")),
            "ISSUER",
            safe,
        ),
        (jwt(|s| s.issuer = url("login.example")), "ISSUER", safe),
        (
            jwt(|s| s.jwks_url = url("http://login.example/keys")),
            "JWKS_URL",
            safe,
        ),
        (
            jwt(|s| s.audience = " ".to_owned()),
            "AUDIENCE",
            "must not be empty",
        ),
        (
            jwt(|s| s.leeway = Duration::from_secs(301)),
            "LEEWAY",
            "must be at most 5m",
        ),
        (
            jwt(|s| s.tenant_claim = claim("/user_metadata/t")),
            "TENANT_CLAIM",
            users,
        ),
        (
            jwt(|s| s.scope_claim = claim("/user_metadata")),
            "SCOPE_CLAIM",
            users,
        ),
        (
            jwt(|s| s.operator_claim = Match::try_from("/user_metadata/a=b".to_owned()).unwrap()),
            "OPERATOR_CLAIM",
            users,
        ),
        (
            jwt(|s| s.operator_scope = "a b".to_owned()),
            "OPERATOR_SCOPE",
            "must be one scope",
        ),
    ] {
        assert_eq!(found, Err(format!("ORDERS_AUTH__{variable}: {reason}")));
    }
}

#[test]
fn settings_are_plain_text_in_and_out() {
    let written = serde_json::to_value(AuthSettings::default()).unwrap();
    assert_eq!(written["algorithms"], "ES256,EdDSA,RS256,PS256");
    assert_eq!(written["operator_claim"], "/roles=orders-operators");
    assert_eq!(written["leeway"], "30s");
    let read: AuthSettings = serde_json::from_value(written.clone()).unwrap();
    assert_eq!(serde_json::to_value(read).unwrap(), written);
}
