//! Tokens in the form of NATS: a JWT signed by an nkey, version 2 of its claims.

use anyhow::{Context as _, Result};
use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use nkeys::KeyPair;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha512_256};

const HEADER: &str = r#"{"typ":"JWT","alg":"ed25519-nkey"}"#;

/// What a token says.
pub(super) struct Claims<'a> {
    pub(super) name: &'a str,
    /// The public key it is about.
    pub(super) subject: &'a str,
    /// Seconds since 1970.
    pub(super) issued_at: u64,
    /// Seconds since 1970; `None` for never.
    pub(super) expires: Option<u64>,
    /// The part that only NATS knows.
    pub(super) nats: Value,
}

impl Claims<'_> {
    pub(super) fn sign(&self, issuer: &KeyPair) -> Result<String> {
        let mut claims = json!({
            "iat": self.issued_at, "iss": issuer.public_key(), "name": self.name, "sub": self.subject, "nats": self.nats,
        });
        if let Some(expires) = self.expires {
            claims["exp"] = expires.into();
        }
        let hash = Sha512_256::digest(claims.to_string());
        claims["jti"] = BASE32_NOPAD.encode(&hash).into();
        let body = BASE64URL_NOPAD.encode(claims.to_string().as_bytes());
        let signed = format!("{}.{body}", BASE64URL_NOPAD.encode(HEADER.as_bytes()));
        let signature = issuer.sign(signed.as_bytes()).context("signing a token")?;
        Ok(format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature)))
    }
}

/// The content of a creds file.
pub(super) fn creds(token: &str, user: &KeyPair) -> Result<String> {
    let seed = user.seed().context("the seed of a user")?;
    Ok(format!(
        "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
         This file is a secret: whoever has it is this user.\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    ))
}

/// The user whose creds file has this content.
pub(super) fn subject(creds: &str) -> Option<String> {
    let token = creds.lines().nth(1)?.trim();
    let body = BASE64URL_NOPAD.decode(token.split('.').nth(1)?.as_bytes());
    let claims: Value = serde_json::from_slice(&body.ok()?).ok()?;
    Some(claims["sub"].as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_signed_and_its_id_is_the_hash_of_the_rest() {
        let (issuer, user) = (KeyPair::new_account(), KeyPair::new_user());
        let claims = Claims {
            name: "t-1",
            subject: &user.public_key(),
            issued_at: 1_700_000_000,
            expires: Some(1_700_000_060),
            nats: json!({ "type": "user", "version": 2 }),
        };
        let token = claims.sign(&issuer).unwrap();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
        assert!(issuer.verify(signed.as_bytes(), &signature).is_ok());
        let (head, body) = signed.split_once('.').unwrap();
        assert_eq!(
            BASE64URL_NOPAD.decode(head.as_bytes()).unwrap(),
            HEADER.as_bytes()
        );
        let body = BASE64URL_NOPAD.decode(body.as_bytes()).unwrap();
        let mut claims: Value = serde_json::from_slice(&body).unwrap();
        let id = claims.as_object_mut().unwrap().remove("jti").unwrap();
        let hash = BASE32_NOPAD.encode(&Sha512_256::digest(claims.to_string()));
        assert_eq!(id, hash);
        assert_eq!(claims["exp"], 1_700_000_060);
        assert_eq!(claims["iss"], issuer.public_key());

        let creds = creds(&token, &user).unwrap();
        assert_eq!(subject(&creds), Some(user.public_key()));
        for other in ["", "x\ny", "x\na.!.c"] {
            assert_eq!(subject(other), None);
        }
    }
}
