//! What the server has to know: an operator, its account, and for each role a signing key with the rights of its users.

use std::collections::BTreeMap;

use anyhow::Result;
use nkeys::KeyPair;
use orders_contracts::{Deployment, Permissions, Role, TAP_SUBSCRIPTIONS};
use serde_json::{Value, json};

use super::{folder::Folder, token::Claims};

/// When the operator's token was issued, in seconds since 1970. Always the same: a server that is told of another token
/// reloads nothing.
const OPERATOR_SINCE: u64 = 0;

/// All keys of an installation.
pub(super) struct Keys {
    operator: KeyPair,
    system: KeyPair,
    pub(super) account: KeyPair,
    /// In the order of [`Role::ALL`].
    roles: Vec<KeyPair>,
}

impl Keys {
    /// The keys in `folder`, made where they are missing.
    pub(super) fn make(folder: &Folder) -> Result<Self> {
        Self::by(|name, make| folder.key_or(name, make))
    }

    /// The keys in `folder`.
    pub(super) fn read(folder: &Folder) -> Result<Self> {
        Self::by(|name, _| folder.key(name))
    }

    fn by(key: impl Fn(&str, fn() -> KeyPair) -> Result<KeyPair>) -> Result<Self> {
        let account: fn() -> KeyPair = KeyPair::new_account;
        let of_role = |role: Role| key(&format!("role-{}", role.as_str()), account);
        Ok(Self {
            operator: key("operator", KeyPair::new_operator)?,
            system: key("system", account)?,
            account: key("account", account)?,
            roles: Role::ALL.into_iter().map(of_role).collect::<Result<_>>()?,
        })
    }

    /// The key that signs the users of `role`.
    pub(super) fn of(&self, role: Role) -> &KeyPair {
        let (_, key) = self
            .by_role()
            .find(|(of, _)| *of == role)
            .expect("all are there");
        key
    }

    fn by_role(&self) -> impl Iterator<Item = (Role, &KeyPair)> {
        Role::ALL.into_iter().zip(&self.roles)
    }
}

/// The rights of a role's users, as the account's token has them.
pub(super) fn template(role: Role, permissions: &Permissions) -> Value {
    // An empty list would allow everything.
    let part = |allowed: &[String]| match allowed {
        [] => json!({ "deny": [">"] }),
        allowed => json!({ "allow": allowed }),
    };
    let subscriptions = match role {
        Role::Tap => i64::from(TAP_SUBSCRIPTIONS),
        _ => -1,
    };
    json!({
        "pub": part(&permissions.publish), "sub": part(&permissions.subscribe),
        "subs": subscriptions, "data": -1, "payload": -1,
    })
}

/// The settings of the server: the text of auth.conf. Nothing in it is a secret.
pub(super) fn settings(
    keys: &Keys,
    deployment: &Deployment,
    revoked: &BTreeMap<String, u64>,
    now: u64,
) -> Result<String> {
    let signing_keys: Vec<Value> = keys
        .by_role()
        .map(|(role, key)| {
            let permissions = Permissions::of(role, deployment);
            json!({
                "kind": "user_scope", "key": key.public_key(), "role": role.as_str(),
                "template": template(role, &permissions),
            })
        })
        .collect();
    let account = json!({
        "type": "account", "version": 2, "limits": limits(-1), "signing_keys": signing_keys, "revocations": revoked,
    });
    let system = json!({ "type": "account", "version": 2, "limits": limits(0) });
    let operator = json!({
        "type": "operator", "version": 2, "system_account": keys.system.public_key(),
    });
    let by_operator = |name, key: &KeyPair, issued_at, nats| {
        let claims = Claims {
            name,
            subject: &key.public_key(),
            issued_at,
            expires: None,
            nats,
        };
        claims.sign(&keys.operator)
    };
    Ok(format!(
        "# Who may connect, and as what. `orderctl nats init` and `revoke` write it; do not change it by hand.\n\
         operator: {}\n\
         system_account: {system_key}\n\
         resolver: MEMORY\n\
         resolver_preload: {{\n  {}: {}\n  {system_key}: {}\n}}\n",
        by_operator("orders", &keys.operator, OPERATOR_SINCE, operator)?,
        keys.account.public_key(),
        by_operator("orders", &keys.account, now, account)?,
        by_operator("system", &keys.system, now, system)?,
        system_key = keys.system.public_key(),
    ))
}

/// No limits, but JetStream's `storage`: -1 for none, 0 for no JetStream.
fn limits(storage: i64) -> Value {
    json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
        "mem_storage": storage, "disk_storage": storage, "streams": storage, "consumer": storage,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_list_denies_everything() {
        for role in Role::ALL {
            let permissions = Permissions::of(role, &Deployment::default());
            let template = template(role, &permissions);
            for part in ["pub", "sub"] {
                let part = &template[part];
                let allows = part["allow"]
                    .as_array()
                    .is_some_and(|allowed| !allowed.is_empty());
                assert_ne!(allows, part["deny"] == json!([">"]), "{role:?}: {part}");
            }
        }
        let permissions = Permissions::of(Role::Tap, &Deployment::default());
        let tap = template(Role::Tap, &permissions);
        assert_eq!(
            (&tap["pub"]["deny"], &tap["subs"]),
            (&json!([">"]), &json!(10))
        );
    }

    #[test]
    fn the_operator_stays_the_same_and_the_account_gets_its_revocations() {
        let keys = Keys::by(|_, make| Ok(make())).unwrap();
        let lines = |revoked: &[(&str, u64)], now| {
            let revoked = revoked.iter().map(|(key, at)| (key.to_string(), *at));
            let text = settings(&keys, &Deployment::default(), &revoked.collect(), now).unwrap();
            let operator = text.lines().nth(1).unwrap().to_owned();
            let account = text.lines().nth(5).unwrap().trim().to_owned();
            (operator, account)
        };
        let ((first, account), (second, other)) = (lines(&[], 10), lines(&[("U1", 20)], 20));
        assert!(first.starts_with("operator: "), "{first}");
        assert_eq!(first, second);
        let claims = |line: &str| {
            let (key, token) = line.split_once(": ").unwrap();
            assert_eq!(key, keys.account.public_key());
            let body = token.split('.').nth(1).unwrap();
            let body = data_encoding::BASE64URL_NOPAD
                .decode(body.as_bytes())
                .unwrap();
            serde_json::from_slice::<Value>(&body).unwrap()
        };
        assert_eq!(claims(&account)["nats"]["revocations"], json!({}));
        assert_eq!(claims(&other)["nats"]["revocations"], json!({ "U1": 20 }));
    }
}
