//! One line for each of the driver's errors, in the operator's words.

use mongodb::error::ErrorKind;

/// The codes of a login that is refused or missing.
const AUTHENTICATION_FAILED: i32 = 18;
const UNAUTHORIZED: i32 = 13;

/// What went wrong, where, and which setting to look at.
pub(super) fn of(kind: &ErrorKind) -> String {
    match kind {
        _ if refuses_login(kind) => {
            format!("MongoDB refuses the login: {} (MONGO_URL)", login(kind))
        }
        ErrorKind::ServerSelection { message, .. } => unreachable(message),
        ErrorKind::DnsResolve { message, .. } => {
            format!("cannot resolve the host of MONGO_URL: {message}")
        }
        ErrorKind::Io(error) => format!(
            "the connection to MongoDB broke: {}",
            plain(&error.to_string())
        ),
        ErrorKind::ConnectionPoolCleared { message, .. } => plain(message),
        ErrorKind::InvalidArgument { message, .. } => message.clone(),
        ErrorKind::Command(error) => {
            format!(
                "{} (code {}, {})",
                error.message, error.code, error.code_name
            )
        }
        kind => plain(&kind.to_string()),
    }
}

/// Whether the server does not take the login, or requires one.
pub(super) fn refuses_login(kind: &ErrorKind) -> bool {
    match kind {
        ErrorKind::Authentication { .. } => true,
        ErrorKind::Command(error) => match error.code {
            AUTHENTICATION_FAILED => true,
            UNAUTHORIZED => error.message.contains("authentication"),
            _ => false,
        },
        // What the other waiting operations hear.
        ErrorKind::ConnectionPoolCleared { message, .. } => message.contains("SCRAM failure"),
        _ => false,
    }
}

fn login(kind: &ErrorKind) -> String {
    match kind {
        ErrorKind::Command(error) => error.message.clone(),
        ErrorKind::ConnectionPoolCleared { .. } => "as another operation found".to_owned(),
        kind => plain(&kind.to_string()),
    }
}

/// Each server with its error, out of the driver's description of the whole topology.
fn unreachable(message: &str) -> String {
    let mut servers = message.split("{ Address: ").skip(1).peekable();
    if servers.peek().is_none() {
        return message.to_owned();
    }
    let servers = servers.map(|server| {
        let address = server.split(',').next().unwrap_or_default();
        let state = match between(server, "Error: Kind: ", ", labels:") {
            Some(error) => plain(error),
            None => between(server, "Type: ", ",")
                .unwrap_or_default()
                .to_owned(),
        };
        format!("{address}: {state}")
    });
    let servers = servers.collect::<Vec<_>>().join("; ");
    let setting = match servers.contains("unknown authority") {
        true => "tlsCAFile in MONGO_URL",
        false => "MONGO_URL",
    };
    format!("cannot reach MongoDB at {servers} ({setting})")
}

fn between<'a>(text: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    let (_, text) = text.split_once(begin)?;
    text.split(end).next()
}

/// Without what the driver and the operating system put around a cause.
fn plain(text: &str) -> String {
    let text = text.rsplit("Kind: ").next().unwrap_or_default();
    let text = text.split(", labels:").next().unwrap_or_default();
    let text = text.trim_start_matches("I/O error: ").trim_end_matches('.');
    let text = text.split(" (os error").next().unwrap_or_default();
    if text.contains("UnknownIssuer") {
        return "its certificate is signed by an unknown authority".to_owned();
    }
    let first = text.chars().next().map_or(0, char::len_utf8);
    // `SCRAM failure` stays as it is.
    match text.get(first..=first) {
        Some(next) if next.to_lowercase() == next => text[..first].to_lowercase() + &text[first..],
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topology_becomes_a_line() {
        let of_one = "Server selection timeout: No available servers. Topology: { Type: Unknown, Servers: [ { Address: \
            localhost:1, Type: Unknown, Error: Kind: I/O error: Connection refused (os error 111), labels: {}, source: \
            None, server response: None } ] }";
        assert_eq!(
            unreachable(of_one),
            "cannot reach MongoDB at localhost:1: connection refused (MONGO_URL)"
        );
        let of_two = "Server selection timeout: None of the available servers suitable for criteria Primary. Topology: { \
            Type: ReplicaSetNoPrimary, Set Name: rs, Servers: [ { Address: a:1, Type: RsSecondary, Average RTT: 1ms }, { \
            Address: b:2, Type: Unknown, Error: Kind: I/O error: invalid peer certificate: UnknownIssuer, labels: {} } ] }";
        assert_eq!(
            unreachable(of_two),
            "cannot reach MongoDB at a:1: RsSecondary; b:2: its certificate is signed by an unknown authority \
             (tlsCAFile in MONGO_URL)"
        );
        assert_eq!(unreachable("another text"), "another text");
        assert_eq!(plain("SCRAM failure: no"), "SCRAM failure: no");
    }
}
