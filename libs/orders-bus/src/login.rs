//! Proofs of who we are, made anew for each connection from files that may have changed.

use std::{io, path::Path};

use async_nats::Auth;
use data_encoding::BASE64URL_NOPAD;
use nkeys::KeyPair;
use orders_service::config::{NatsLogin, Secret};
use serde::Deserialize;

/// What the server wants to hear, signing its `nonce` where the login has a key.
pub(crate) fn auth(login: &NatsLogin, nonce: &[u8]) -> Result<Auth, String> {
    prove(login, nonce).map_err(|error| error.to_string())
}

fn prove(login: &NatsLogin, nonce: &[u8]) -> io::Result<Auth> {
    let mut auth = Auth::new();
    match login {
        NatsLogin::Password(user, password) => {
            auth.username = Some(user.clone());
            auth.password = Some(password.read()?);
        }
        NatsLogin::Token(token) => auth.token = Some(token.read()?),
        NatsLogin::Nkey(file) => {
            let key = key(file, &text(file)?)?;
            auth.nkey = Some(key.public_key());
            auth.signature = Some(key.sign(nonce).map_err(io::Error::other)?);
        }
        NatsLogin::Creds(file) => {
            let creds = text(file)?;
            let mut blocks = creds.split("-----BEGIN ").skip(1).map(inside);
            let (Some(jwt), Some(seed)) = (blocks.next().flatten(), blocks.next().flatten()) else {
                return Err(wrong(file, "has no JWT and seed"));
            };
            auth.signature = Some(key(file, seed)?.sign(nonce).map_err(io::Error::other)?);
            auth.jwt = Some(jwt.to_owned());
        }
    }
    Ok(auth)
}

/// The name of the user that logs in, as far as the login tells it; of creds, what their JWT calls it.
pub fn login_name(login: &NatsLogin) -> Option<String> {
    #[derive(Deserialize)]
    struct Claims {
        name: Option<String>,
        sub: String,
    }
    match login {
        NatsLogin::Password(user, _) => Some(user.clone()),
        NatsLogin::Token(_) => None,
        NatsLogin::Nkey(file) => Some(key(file, &text(file).ok()?).ok()?.public_key()),
        NatsLogin::Creds(file) => {
            let creds = text(file).ok()?;
            let jwt = inside(creds.split("-----BEGIN ").nth(1)?)?;
            let claims = jwt.split('.').nth(1)?.as_bytes();
            let claims = BASE64URL_NOPAD.decode(claims).ok()?;
            let Claims { name, sub } = serde_json::from_slice(&claims).ok()?;
            name.filter(|name| !name.is_empty()).or(Some(sub))
        }
    }
}

fn text(file: &Path) -> io::Result<String> {
    Secret::File(file.to_owned()).read()
}

/// The line between `-----BEGIN X-----` and `------END X------`.
fn inside(block: &str) -> Option<&str> {
    block.lines().nth(1).map(str::trim)
}

fn key(file: &Path, seed: &str) -> io::Result<KeyPair> {
    KeyPair::from_seed(seed.trim()).map_err(|_| wrong(file, "has no valid seed"))
}

/// Never repeats what is in the file.
fn wrong(file: &Path, reason: &str) -> io::Error {
    io::Error::other(format!("{} {reason}", file.display()))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn file(name: &str, text: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("orders-login-{name}-{}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn a_login_has_the_name_that_its_jwt_says() {
        let name = |claims: &str| {
            let claims = BASE64URL_NOPAD.encode(claims.as_bytes());
            let creds = format!("-----BEGIN NATS USER JWT-----\nx.{claims}.y\n------END");
            let creds = file("named", &creds);
            let name = login_name(&NatsLogin::Creds(creds.clone()));
            std::fs::remove_file(creds).unwrap();
            name
        };
        assert_eq!(name(r#"{"name":"bob","sub":"UA"}"#).as_deref(), Some("bob"));
        assert_eq!(name(r#"{"name":"","sub":"UA"}"#).as_deref(), Some("UA"));
        assert_eq!(name("no JSON"), None);
        let password = Secret::Text("p".to_owned());
        let user = NatsLogin::Password("carol".to_owned(), password);
        assert_eq!(login_name(&user).as_deref(), Some("carol"));
    }

    #[test]
    fn a_key_signs_the_nonce_and_stays_secret() {
        let pair = KeyPair::new_user();
        let seed = pair.seed().unwrap();
        let creds = format!(
            "-----BEGIN NATS USER JWT-----\nthe.jwt\n------END NATS USER JWT------\n\nIMPORTANT\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        let creds = file("creds", &creds);
        let auth = auth(&NatsLogin::Creds(creds.clone()), b"nonce").unwrap();
        assert_eq!(auth.jwt.as_deref(), Some("the.jwt"));
        assert!(pair.verify(b"nonce", &auth.signature.unwrap()).is_ok());
        std::fs::remove_file(creds).unwrap();

        let nkey = file("nkey", &format!("{seed}\n"));
        let auth = super::auth(&NatsLogin::Nkey(nkey.clone()), b"nonce").unwrap();
        assert_eq!(auth.nkey, Some(pair.public_key()));
        assert!(pair.verify(b"nonce", &auth.signature.unwrap()).is_ok());

        std::fs::write(&nkey, "SECRET").unwrap();
        for login in [
            NatsLogin::Nkey(nkey.clone()),
            NatsLogin::Creds(nkey.clone()),
        ] {
            let error = super::auth(&login, b"nonce").err().unwrap();
            assert!(
                error.contains("orders-login-nkey") && !error.contains("SECRET"),
                "{error}"
            );
        }
        std::fs::remove_file(&nkey).unwrap();
        let error = super::auth(&NatsLogin::Nkey(nkey), b"nonce").err().unwrap();
        assert!(
            error.ends_with(": No such file or directory (os error 2)"),
            "{error}"
        );
    }
}
