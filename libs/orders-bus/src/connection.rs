//! The connection to NATS: which server is tried when, and why none could be reached.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_nats::{AuthError, Client, ConnectOptions, Event, ReconnectToServer, Server, ServerAddr};
use orders_contracts::Role;
use orders_service::{
    Seldom, config,
    metrics::{BUS_ERRORS, PERMISSION_VIOLATIONS, counter},
};
use tokio::sync::watch;
use tracing::{debug, info, warn};
use uuid::Uuid;

use crate::{Error, login, readiness::Refusals};

/// How long an attempt may take.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The pause after every server has refused the login: only a person can mend that.
const LOGIN_PAUSE: Duration = Duration::from_secs(10);

/// Starts to connect, and goes on without end. The receiver counts the connections made; `refusals` learns what the
/// server denies.
pub(crate) async fn open(
    settings: &config::Nats,
    role: Role,
    refusals: Refusals,
) -> Result<(Client, watch::Receiver<u64>, Attempts), Error> {
    let (servers, login) = settings
        .connection()
        .map_err(|invalid| Error::Settings(invalid.to_string()))?;
    let servers = servers.into_iter().map(ServerAddr::from_url);
    let servers = servers
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Error::Settings(format!("NATS_URL: {error}")))?;

    let attempts = Attempts::new(login.as_ref().map(config::NatsLogin::settings), refusals);
    let inbox = settings
        .deployment
        .namespace
        .subject(role.inbox().to_owned());
    let mut options = match login {
        Some(login) => ConnectOptions::with_auth_callback(move |nonce| {
            std::future::ready(login::auth(&login, &nonce).map_err(AuthError::new))
        }),
        None => ConnectOptions::new(),
    };
    let access = &settings.access;
    if let Some(file) = &access.ca_file {
        options = options.add_root_certificates(file.clone());
    }
    if let (Some(cert), Some(key)) = (&access.cert_file, &access.key_file) {
        options = options.add_client_certificate(cert.clone(), key.clone());
    }
    if access.tls_first {
        options = options.tls_first();
    }
    let (count, connections) = watch::channel(0);
    let (choose, hear) = (attempts.clone(), attempts.clone());
    let client = options
        .require_tls(settings.requires_tls())
        .name(role.as_str())
        .custom_inbox_prefix(inbox)
        .retry_on_initial_connect()
        // A half-open link is noticed after two missed pings.
        .ping_interval(Duration::from_secs(5))
        .connection_timeout(TIMEOUT)
        .reconnect_to_server_callback(move |servers, _| {
            std::future::ready(choose.next(&servers))
        })
        .event_callback(move |event| {
            hear.hear(&event);
            if event == Event::Connected {
                count.send_modify(|connections| *connections += 1);
            }
            std::future::ready(())
        })
        .connect(servers)
        .await
        .map_err(|error| Error::Settings(format!("NATS_URL: {error}")))?;
    Ok((client, connections, attempts))
}

/// How the server begins when it denies something.
const VIOLATION: &str = "permissions violation";
/// How it shows a subject below the inbox that clients have by default.
const FOREIGN_INBOX: &str = "\"_INBOX.";

/// What became of the attempts to connect since the last one that worked.
#[derive(Debug, Clone)]
pub(crate) struct Attempts(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// The settings of the login, if there is one.
    login: Option<&'static str>,
    /// Where in the list to begin: anywhere, so that the daemons do not all use the same server, but not at the server
    /// that was left.
    start: usize,
    /// How many servers there are.
    servers: usize,
    /// How many attempts were made.
    count: usize,
    /// The server of the last attempt, and how many had failed there before.
    last: Option<(ServerAddr, usize)>,
    /// Why each server could not be reached.
    faults: BTreeMap<String, Fault>,
    told: String,
    lines: Seldom,
    /// For what a server says unasked.
    complaints: Seldom,
    refusals: Refusals,
}

/// Why a server could not be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fault {
    is_login: bool,
    text: String,
    /// The settings to look at.
    settings: &'static str,
}

impl Attempts {
    fn new(login: Option<&'static str>, refusals: Refusals) -> Self {
        Self(Arc::new(Mutex::new(State {
            login,
            start: anywhere(),
            servers: 0,
            count: 0,
            last: None,
            faults: BTreeMap::new(),
            told: String::new(),
            lines: Seldom::new(),
            complaints: Seldom::new(),
            refusals,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why there is no connection.
    pub(crate) fn error(&self) -> Error {
        self.state().error().unwrap_or(Error::Disconnected)
    }

    /// Whether there is a server beside the one in use.
    pub(crate) fn has_others(&self) -> bool {
        self.state().servers > 1
    }

    /// The server to try next, and when: one after another, and after a whole round without success later and later.
    fn next(&self, servers: &[Server]) -> Option<ReconnectToServer> {
        let mut state = self.state();
        state.learn(servers);
        let count = servers.len();
        state.servers = count;
        if count == 0 {
            return None;
        }
        let round = state.count / count;
        if round > 0 && state.count.is_multiple_of(count) {
            state.tell();
        }
        let delay = if round > 0 && state.refuses_login() {
            LOGIN_PAUSE
        } else {
            Duration::from_millis(50 << (round + 1).min(5)) // up to 1.6 s
        };
        let server = &servers[state.start.wrapping_add(state.count) % count];
        state.last = Some((server.addr.clone(), server.failed_attempts));
        state.count += 1;
        Some(ReconnectToServer {
            addr: server.addr.clone(),
            delay: Some(delay),
        })
    }

    fn hear(&self, event: &Event) {
        let mut state = self.state();
        match event {
            Event::Connected => {
                // After the server in use come the others.
                let others = state.servers.saturating_sub(1).max(1);
                state.start = state
                    .start
                    .wrapping_add(state.count)
                    .wrapping_add(anywhere() % others);
                state.count = 0;
                state.faults.clear();
                state.told.clear();
                info!("connected to NATS at {}", state.server());
            }
            Event::Disconnected | Event::Closed => {
                warn!("{event} from NATS at {}", state.server());
            }
            // `next` tells more.
            Event::ClientError(error) => debug!("cannot connect: {error}"),
            // Denied permissions show up only here; the call itself just times out.
            event => {
                counter!(BUS_ERRORS).increment(1);
                let text = event.to_string().replace("server error: nats: ", "");
                if text.to_lowercase().starts_with(VIOLATION) {
                    counter!(PERMISSION_VIOLATIONS).increment(1);
                    // Whoever asks with an inbox that no role has gets no answer; this daemon works all the same.
                    if !text.contains(FOREIGN_INBOX) {
                        state.refusals.note(text.clone());
                    }
                }
                let server = state.server();
                state
                    .complaints
                    .say(|unsaid| warn!(unsaid, "NATS at {server}: {text}"));
            }
        }
    }
}

impl State {
    fn server(&self) -> String {
        self.last
            .as_ref()
            .map_or_else(String::new, |(server, _)| shown(server))
    }

    /// Looks up what became of the last attempt.
    fn learn(&mut self, servers: &[Server]) {
        let Some((last, failed)) = self.last.as_ref().filter(|_| self.count > 0) else {
            return;
        };
        let Some(server) = servers.iter().find(|server| server.addr == *last) else {
            return;
        };
        let fault = match &server.last_error {
            Some(error) if server.failed_attempts > *failed => self.fault(error),
            // The only failure that async-nats does not keep.
            _ => Fault {
                is_login: false,
                text: "its name cannot be resolved".to_owned(),
                settings: "NATS_URL",
            },
        };
        self.faults.insert(shown(last), fault);
        let is_known = |server: &String| servers.iter().any(|known| shown(&known.addr) == *server);
        self.faults.retain(|server, _| is_known(server));
    }

    /// Reads an error of async-nats, which keeps only its text.
    fn fault(&self, error: &str) -> Fault {
        let (kind, cause) = error.split_once(": ").unwrap_or((error, ""));
        let cause = cause.split(" (os error").next().unwrap_or_default();
        let fault = |text: String, settings| Fault {
            is_login: false,
            text,
            settings,
        };
        let is_of_tls = ["certificate", "fatal alert", "handshake"];
        match kind {
            "authorization violation" => Fault {
                is_login: true,
                text: match self.login {
                    Some(_) => "it refuses the login".to_owned(),
                    None => "it requires a login".to_owned(),
                },
                settings: self.login.unwrap_or("NATS_URL or ORDERS_NATS__*"),
            },
            "failed signing nonce" => Fault {
                is_login: true,
                text: cause
                    .trim_start_matches("AuthError(")
                    .trim_end_matches(')')
                    .to_owned(),
                settings: self.login.unwrap_or("NATS_URL"),
            },
            "timed out" => fault(format!("no answer within {TIMEOUT:?}"), "NATS_URL"),
            "TLS error" => fault(
                format!("TLS: {cause}"),
                "ORDERS_NATS__CA_FILE, ORDERS_NATS__CERT_FILE or ORDERS_NATS__KEY_FILE",
            ),
            _ if cause.contains("CertificateRequired") => fault(
                "it requires the certificate of a client".to_owned(),
                "ORDERS_NATS__CERT_FILE",
            ),
            _ if cause.contains("UnknownIssuer") => fault(
                "TLS: its certificate is signed by an unknown authority".to_owned(),
                "ORDERS_NATS__CA_FILE",
            ),
            _ if cause.contains("corrupt message") => fault(
                "it does not speak TLS".to_owned(),
                "NATS_URL or ORDERS_NATS__*",
            ),
            _ if is_of_tls.iter().any(|word| cause.contains(word)) => {
                fault(format!("TLS: {cause}"), "NATS_URL or ORDERS_NATS__*")
            }
            _ if cause.is_empty() => fault(kind.to_owned(), "NATS_URL"),
            _ => {
                let cause = cause.trim_start_matches("nats: ");
                let (first, rest) = cause.split_at(cause.chars().next().map_or(0, char::len_utf8));
                fault(first.to_lowercase() + rest, "NATS_URL")
            }
        }
    }

    /// Whether no server takes the login.
    fn refuses_login(&self) -> bool {
        !self.faults.is_empty() && self.faults.values().all(|fault| fault.is_login)
    }

    fn error(&self) -> Option<Error> {
        let mut by_fault: Vec<(&Fault, Vec<&str>)> = Vec::new();
        for (server, fault) in &self.faults {
            match by_fault.iter_mut().find(|(known, _)| *known == fault) {
                Some((_, servers)) => servers.push(server),
                None => by_fault.push((fault, vec![server.as_str()])),
            }
        }
        let parts = by_fault.iter().map(|(fault, servers)| {
            let (servers, Fault { text, settings, .. }) = (servers.join(" and "), fault);
            format!("{servers}: {text} ({settings})")
        });
        let parts: Vec<String> = parts.collect();
        (!parts.is_empty()).then(|| Error::Unreachable {
            text: parts.join("; "),
            refuses_login: self.refuses_login(),
        })
    }

    /// Logs why there is no connection: at once when that is news, and again every minute.
    fn tell(&mut self) {
        let Some(error) = self.error() else { return };
        let text = error.to_string();
        if text != self.told {
            self.lines = Seldom::new();
            self.told.clone_from(&text);
        }
        self.lines.say(|_| warn!("{text}; retrying"));
    }
}

/// A place in a list of any length.
fn anywhere() -> usize {
    let [place, ..] = Uuid::new_v4().into_bytes();
    place.into()
}

/// A server's address without credentials.
fn shown(server: &ServerAddr) -> String {
    format!("{}://{}:{}", server.scheme(), host(server), server.port())
}

fn host(server: &ServerAddr) -> String {
    match server.host() {
        host if host.contains(':') => format!("[{host}]"),
        host => host.to_owned(),
    }
}

#[cfg(test)]
mod tests;
