//! The settings of the connection to NATS: its servers, the login and TLS.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{Invalid, Nats, Secret, redact, secret};

/// The login at NATS, and TLS. All files are read again for each connection, so they may be replaced at any time.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct NatsAccess {
    /// The file with the credentials of a NATS user (JWT and seed), as `nsc generate creds` writes it.
    pub creds: Option<PathBuf>,
    /// The NATS user to log in as, with the password in `ORDERS_NATS__PASSWORD_FILE`.
    pub user: Option<String>,
    /// The file with the password of `ORDERS_NATS__USER`.
    pub password_file: Option<PathBuf>,
    /// The file with the token to log in to NATS with.
    pub token_file: Option<PathBuf>,
    /// The file with the seed of the nkey to log in to NATS with.
    pub nkey_file: Option<PathBuf>,
    /// The PEM file of the authorities that sign the certificates of the NATS servers; with it, TLS is required.
    pub ca_file: Option<PathBuf>,
    /// The PEM file of the client's certificate for NATS; with it, TLS is required.
    pub cert_file: Option<PathBuf>,
    /// The PEM file of the key of `ORDERS_NATS__CERT_FILE`.
    pub key_file: Option<PathBuf>,
    /// Whether TLS begins with the connection, for NATS servers with `handshake_first`.
    pub tls_first: bool,
}

/// A way to log in to NATS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NatsLogin {
    /// A creds file.
    Creds(PathBuf),
    /// A user and its password.
    Password(String, Secret),
    /// A token.
    Token(Secret),
    /// The seed of an nkey.
    Nkey(PathBuf),
}

impl NatsLogin {
    /// The variables that set it, for messages.
    #[must_use]
    pub fn settings(&self) -> &'static str {
        match self {
            Self::Creds(_) => "ORDERS_NATS__CREDS",
            Self::Password(_, Secret::File(_)) => {
                "ORDERS_NATS__USER and ORDERS_NATS__PASSWORD_FILE"
            }
            Self::Token(Secret::File(_)) => "ORDERS_NATS__TOKEN_FILE",
            Self::Nkey(_) => "ORDERS_NATS__NKEY_FILE",
            Self::Password(_, Secret::Text(_)) | Self::Token(Secret::Text(_)) => "NATS_URL",
        }
    }
}

impl Nats {
    /// The servers, without credentials, and the login, or what is wrong with the settings.
    pub fn connection(&self) -> Result<(Vec<Url>, Option<NatsLogin>), Invalid> {
        let (servers, from_urls) = servers(&self.url)?;
        let access = &self.access;
        let user = match (&access.user, &access.password_file) {
            (Some(user), Some(file)) => Some(NatsLogin::Password(
                user.clone(),
                Secret::File(file.clone()),
            )),
            (None, None) => None,
            (Some(_), None) => {
                let reason = "needs ORDERS_NATS__PASSWORD_FILE";
                return Err(Invalid::new("nats.user", reason));
            }
            (None, Some(_)) => {
                let reason = "needs ORDERS_NATS__USER";
                return Err(Invalid::new("nats.password_file", reason));
            }
        };
        match (&access.cert_file, &access.key_file) {
            (Some(_), None) => {
                let reason = "needs ORDERS_NATS__KEY_FILE";
                return Err(Invalid::new("nats.cert_file", reason));
            }
            (None, Some(_)) => {
                let reason = "needs ORDERS_NATS__CERT_FILE";
                return Err(Invalid::new("nats.key_file", reason));
            }
            _ => {}
        }
        let token = access.token_file.clone().map(Secret::File);
        let logins = [
            from_urls,
            access.creds.clone().map(NatsLogin::Creds),
            user,
            token.map(NatsLogin::Token),
            access.nkey_file.clone().map(NatsLogin::Nkey),
        ];
        let mut logins = logins.into_iter().flatten();
        let login = logins.next();
        if let (Some(login), Some(other)) = (&login, logins.next()) {
            let reason = format!(
                "{} sets another login; only one can be used",
                other.settings()
            );
            return Err(Invalid::new(key(login), reason));
        }
        self.files_can_be_read()?;
        Ok((servers, login))
    }

    /// Whether TLS is required, however the URLs are written.
    #[must_use]
    pub fn requires_tls(&self) -> bool {
        let access = &self.access;
        access.ca_file.is_some() || access.cert_file.is_some() || access.tls_first
    }

    fn files_can_be_read(&self) -> Result<(), Invalid> {
        let access = &self.access;
        let secrets = [
            ("nats.creds", &access.creds),
            ("nats.password_file", &access.password_file),
            ("nats.token_file", &access.token_file),
            ("nats.nkey_file", &access.nkey_file),
            ("nats.key_file", &access.key_file),
        ];
        for (key, file) in secrets {
            if let Some(file) = file {
                secret::read(file).map_err(|error| Invalid::new(key, error.to_string()))?;
                secret::warn_if_public(file);
            }
        }
        let others = [
            ("nats.ca_file", &access.ca_file),
            ("nats.cert_file", &access.cert_file),
        ];
        for (key, file) in others {
            if let Some(file) = file {
                secret::read(file).map_err(|error| Invalid::new(key, error.to_string()))?;
            }
        }
        Ok(())
    }
}

fn key(login: &NatsLogin) -> &'static str {
    match login {
        NatsLogin::Creds(_) => "nats.creds",
        NatsLogin::Password(_, Secret::File(_)) => "nats.user",
        NatsLogin::Token(Secret::File(_)) => "nats.token_file",
        NatsLogin::Nkey(_) => "nats.nkey_file",
        NatsLogin::Password(..) | NatsLogin::Token(_) => "nats_url",
    }
}

/// The servers of a list of URLs, without credentials, and the credentials that were in it.
fn servers(list: &str) -> Result<(Vec<Url>, Option<NatsLogin>), Invalid> {
    let wrong = |reason: String| Invalid::new("nats_url", reason);
    let mut servers = Vec::new();
    let mut login: Option<NatsLogin> = None;
    for part in list
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let mut url =
            server(part).map_err(|reason| wrong(format!("{:?} {reason}", redact(part))))?;
        if let Some(found) = credentials(&url) {
            if login.as_ref().is_some_and(|login| *login != found) {
                return Err(wrong(
                    "all its URLs must have the same credentials".to_owned(),
                ));
            }
            login = Some(found);
        }
        // A URL with a host takes both.
        let _ = url.set_username("").and_then(|()| url.set_password(None));
        servers.push(url);
    }
    if servers.is_empty() {
        return Err(wrong("names no server".to_owned()));
    }
    Ok((servers, login))
}

fn server(text: &str) -> Result<Url, String> {
    let url = match text.contains("://") {
        true => text.parse::<Url>(),
        false => format!("nats://{text}").parse(),
    };
    let url = url.map_err(|error| {
        let hint = match text.contains('@') {
            true => " (are user name and password percent-encoded?)",
            false => "",
        };
        format!("is not like nats://host:port: {error}{hint}")
    })?;
    if !matches!(url.scheme(), "nats" | "tls") {
        return Err("must begin with nats:// or tls://".to_owned());
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("is not like nats://host:port".to_owned());
    }
    Ok(url)
}

/// `user:password` or, alone, a token.
fn credentials(url: &Url) -> Option<NatsLogin> {
    let decoded = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let user = decoded(url.username());
    match url.password() {
        Some(password) => Some(NatsLogin::Password(user, Secret::Text(decoded(password)))),
        None if user.is_empty() => None,
        None => Some(NatsLogin::Token(Secret::Text(user))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_url(url: &str) -> Nats {
        Nats {
            url: url.to_owned(),
            ..Nats::default()
        }
    }

    fn text(secret: &str) -> Secret {
        Secret::Text(secret.to_owned())
    }

    #[test]
    fn a_list_of_servers_is_read_as_people_write_it() {
        for (list, expected) in [
            (
                "nats://a:4222,nats://b:4222",
                vec!["nats://a:4222", "nats://b:4222"],
            ),
            ("nats://a:1, tls://b:2 ,", vec!["nats://a:1", "tls://b:2"]),
            ("nats://[::1]:4222", vec!["nats://[::1]:4222"]),
            ("localhost", vec!["nats://localhost"]),
            ("a:4222,b:4222", vec!["nats://a:4222", "nats://b:4222"]),
        ] {
            let (servers, login) = with_url(list).connection().unwrap();
            assert_eq!(
                servers.iter().map(Url::as_str).collect::<Vec<_>>(),
                expected
            );
            assert_eq!(login, None);
        }
        for (list, reason) in [
            ("", "names no server"),
            (" , ", "names no server"),
            ("http://a", "must begin with nats:// or tls://"),
            ("ws://a", "must begin with nats:// or tls://"),
            (
                "nats://a:x",
                "is not like nats://host:port: invalid port number",
            ),
            ("nats://", "is not like nats://host:port"),
            ("nats://u:sec/ret@a", "percent-encoded?"),
        ] {
            let error = with_url(list).connection().unwrap_err();
            assert_eq!(error.key, "nats_url");
            assert!(error.reason.contains(reason), "{list}: {}", error.reason);
            assert!(!error.reason.contains("ret"), "{}", error.reason);
        }
    }

    #[test]
    fn credentials_in_urls_count_for_all_servers_and_are_not_shown() {
        for (list, login) in [
            (
                "nats://u:p%40ss@a,nats://b",
                NatsLogin::Password("u".to_owned(), text("p@ss")),
            ),
            ("nats://t%2Fken@a", NatsLogin::Token(text("t/ken"))),
            (
                "nats://u:p@a,nats://u:p@b",
                NatsLogin::Password("u".to_owned(), text("p")),
            ),
        ] {
            let (servers, found) = with_url(list).connection().unwrap();
            assert_eq!(found, Some(login.clone()));
            assert!(
                servers
                    .iter()
                    .all(|url| url.as_str().starts_with("nats://") && !url.as_str().contains('@'))
            );
            let shown = format!("{login:?}");
            assert!(
                shown.contains("***") && !shown.contains("p@ss") && !shown.contains("t/ken"),
                "{shown}"
            );
        }
        let error = with_url("nats://u:p@a,nats://u:q@b")
            .connection()
            .unwrap_err();
        assert_eq!(error.reason, "all its URLs must have the same credentials");
    }

    #[test]
    fn settings_that_do_not_go_together_are_refused() {
        let file = || Some(PathBuf::from("/no/such/file"));
        let access = |access: NatsAccess| Nats {
            access,
            ..Nats::default()
        };
        let user = || Some("u".to_owned());
        let wrong = [
            (
                access(NatsAccess {
                    user: user(),
                    ..NatsAccess::default()
                }),
                "nats.user",
                "needs ORDERS_NATS__PASSWORD_FILE",
            ),
            (
                access(NatsAccess {
                    password_file: file(),
                    ..NatsAccess::default()
                }),
                "nats.password_file",
                "needs ORDERS_NATS__USER",
            ),
            (
                access(NatsAccess {
                    cert_file: file(),
                    ..NatsAccess::default()
                }),
                "nats.cert_file",
                "needs ORDERS_NATS__KEY_FILE",
            ),
            (
                access(NatsAccess {
                    creds: file(),
                    nkey_file: file(),
                    ..NatsAccess::default()
                }),
                "nats.creds",
                "ORDERS_NATS__NKEY_FILE sets another login; only one can be used",
            ),
            (
                Nats {
                    url: "nats://t@a".to_owned(),
                    ..access(NatsAccess {
                        token_file: file(),
                        ..NatsAccess::default()
                    })
                },
                "nats_url",
                "ORDERS_NATS__TOKEN_FILE sets another login; only one can be used",
            ),
            (
                access(NatsAccess {
                    ca_file: file(),
                    ..NatsAccess::default()
                }),
                "nats.ca_file",
                "/no/such/file: No such file or directory (os error 2)",
            ),
        ];
        for (nats, key, reason) in wrong {
            let error = nats.connection().unwrap_err();
            assert_eq!((error.key, error.reason.as_str()), (key, reason));
        }
    }
}
