//! Settings in layers: the defaults, a TOML file, the environment.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::error::Kind;
use figment::providers::Serialized;
use figment::value::{Dict, Value};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

#[cfg(test)]
mod tests;

/// The settings of a daemon: a struct whose [`Default`] has every key.
///
/// Use `#[serde(deny_unknown_fields)]`, so that a misspelt key in a file is an error.
pub trait Settings: Default + Serialize + DeserializeOwned + Send + 'static {
    /// The meaning of each key, as `("payment.delay", "time until a payment settles")`, for `--help`.
    ///
    /// Not needed for the keys that daemons share: `port`, `log`, `streams`, `auto_migrate`, `nats_url`, `mongo_url` and
    /// `cors_origin`.
    const HELP: &'static [(&'static str, &'static str)] = &[];

    /// The port of the HTTP server; 0 for any free one.
    fn port(&self) -> u16;

    /// How to log.
    fn log(&self) -> &Log;

    /// Finds what the types allow and the daemon does not.
    ///
    /// # Errors
    /// Names the key that is wrong.
    fn validate(&self) -> Result<(), Invalid> {
        Ok(())
    }
}

/// Settings for logs.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// Which lines to write, in the syntax of `RUST_LOG`.
    pub filter: String,
    /// What a line looks like.
    pub format: Format,
}

impl Default for Log {
    fn default() -> Self {
        let filter =
            "info,async_nats=warn,mongodb=warn,hyper=warn,engineioxide=warn,socketioxide=warn";
        Self {
            filter: filter.to_owned(),
            format: Format::Text,
        }
    }
}

/// Settings for streams.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Streams {
    /// How many NATS servers keep a copy of each.
    pub replicas: usize,
}

impl Default for Streams {
    fn default() -> Self {
        Self { replicas: 1 }
    }
}

/// What a log line looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people, without timestamps.
    Text,
    /// For machines, one object a line.
    Json,
}

/// A setting of the right type that makes no sense.
#[derive(Debug)]
pub struct Invalid {
    key: &'static str,
    reason: String,
}

impl Invalid {
    /// The value of `key`, as in `payment.delay`, is wrong for `reason`.
    pub fn new(key: &'static str, reason: impl Into<String>) -> Self {
        Self {
            key,
            reason: reason.into(),
        }
    }
}

/// Why there are no settings. One line, naming the key as the user wrote it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("{}: {reason}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        reason: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{}:{line}: {reason}", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What the parser said.
        reason: String,
    },
    /// A key is unknown or its value is wrong.
    #[error("{key}: {reason}")]
    Value {
        /// The environment variable, or the key and the file.
        key: String,
        /// What is wrong.
        reason: String,
    },
}

/// Settings, and where they came from.
#[derive(Debug)]
pub struct Loaded<C> {
    /// The settings in effect.
    pub config: C,
    /// Names the file and the environment variables that were used, never their values.
    pub source: String,
}

/// Puts the layers together: defaults, then `file`, then `env`.
///
/// Variables of `env` that belong to no key of `C` are left alone, because one `.env` serves all daemons; empty ones
/// count as unset. Unknown keys in `file` are errors.
///
/// # Errors
/// The first thing found wrong.
pub fn load<C: Settings>(
    file: Option<&Path>,
    env: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded<C>, Error> {
    let defaults = defaults::<C>();
    let env: BTreeMap<String, String> = env
        .into_iter()
        .filter(|(_, text)| !text.is_empty())
        .collect();
    let mut figment = Figment::from(Serialized::defaults(C::default()));
    if let Some(file) = file {
        figment = figment.merge(Serialized::defaults(read(file)?));
    }
    let mut used = BTreeMap::new();
    for (key, default) in &defaults {
        let set = variables(key)
            .into_iter()
            .find_map(|name| env.get(&name).map(|text| (name, text)));
        if let Some((name, text)) = set {
            figment = figment.merge((key, parse(text, default)));
            used.insert(key.as_str(), name);
        }
    }

    let wrong = |key: &str, reason: String| {
        let key = match (used.get(key), file) {
            (Some(variable), _) => variable.clone(),
            (None, Some(file)) => format!("{key} in {}", file.display()),
            (None, None) => key.to_owned(),
        };
        Error::Value { key, reason }
    };
    let config: C = figment
        .extract()
        .map_err(|error| wrong(&error.path.join("."), reason(&error.kind)))?;
    config
        .validate()
        .map_err(|invalid| wrong(invalid.key, invalid.reason))?;
    EnvFilter::try_new(&config.log().filter)
        .map_err(|error| wrong("log.filter", error.to_string()))?;

    let file = file.map(|file| file.display().to_string());
    let sources: Vec<_> = file.into_iter().chain(used.into_values()).collect();
    let source = if sources.is_empty() {
        "defaults".to_owned()
    } else {
        sources.join(", ")
    };
    Ok(Loaded { config, source })
}

/// figment's words, where they read well.
fn reason(kind: &Kind) -> String {
    match kind {
        Kind::UnknownVariant(found, expected) => {
            format!(
                "unknown value `{found}`, expected one of: {}",
                expected.join(", ")
            )
        }
        Kind::UnknownField(_, expected) => {
            format!("unknown key, expected one of: {}", expected.join(", "))
        }
        Kind::InvalidValue(found, expected) => {
            format!("invalid value: found {found}, expected {expected}")
        }
        kind => kind.to_string(),
    }
}

fn read(file: &Path) -> Result<toml::Table, Error> {
    let text = std::fs::read_to_string(file).map_err(|reason| Error::Read {
        file: file.to_owned(),
        reason,
    })?;
    text.parse().map_err(|error: toml::de::Error| {
        let before = &text[..error.span().map_or(0, |span| span.start)];
        let reason = error.message().replace('\n', ", ");
        Error::Syntax {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            reason,
        }
    })
}

/// A variable is text. It stays text where the default is text, `PASSWORD=123` included; where a key has no default,
/// a number or a list cannot be told from text, so that is text as well.
fn parse(text: &str, default: &Value) -> Value {
    match default {
        Value::String(..) | Value::Char(..) | Value::Empty(..) => Value::from(text),
        _ => match text.parse() {
            Ok(value) => value,
            Err(never) => match never {},
        },
    }
}

/// The variables that set `key`, the one that wins first.
fn variables(key: &str) -> Vec<String> {
    let own = format!("ORDERS_{}", key.replace('.', "__").to_uppercase());
    match key {
        "port" | "mongo_url" | "nats_url" | "cors_origin" => vec![key.to_uppercase()],
        "log.filter" => vec!["RUST_LOG".to_owned(), own],
        _ => vec![own],
    }
}

/// Every key with its default, nested ones as `payment.delay`.
fn defaults<C: Settings>() -> BTreeMap<String, Value> {
    fn flatten(prefix: &str, dict: Dict, flat: &mut BTreeMap<String, Value>) {
        for (name, value) in dict {
            let key = format!("{prefix}{name}");
            match value {
                Value::Dict(_, dict) => flatten(&format!("{key}."), dict, flat),
                value => _ = flat.insert(key, value),
            }
        }
    }
    let value = Value::serialize(C::default()).expect("settings are plain data");
    let mut flat = BTreeMap::new();
    flatten("", value.into_dict().unwrap_or_default(), &mut flat);
    flat
}

fn meaning<C: Settings>(key: &str) -> Option<&'static str> {
    const COMMON: [(&str, &str); 8] = [
        ("port", "port of the HTTP server, 0 for any free one"),
        ("nats_url", "NATS servers, separated by commas"),
        ("mongo_url", "MongoDB and the database in it"),
        ("cors_origin", "origin of the web pages that may call"),
        (
            "streams.replicas",
            "how many NATS servers keep a copy of each stream",
        ),
        (
            "auto_migrate",
            "whether to create and mend streams, consumers and indexes; if not, a difference ends the daemon",
        ),
        ("log.filter", "which lines to log; RUST_LOG wins over it"),
        ("log.format", "text or json"),
    ];
    C::HELP
        .iter()
        .chain(&COMMON)
        .find(|(known, _)| *known == key)
        .map(|(_, meaning)| *meaning)
}

/// Keys without a line of help and lines of help without a key; a test of each daemon wants none.
#[must_use]
pub fn undocumented<C: Settings>() -> Vec<String> {
    let keys = defaults::<C>();
    let stale = C::HELP
        .iter()
        .map(|(key, _)| (*key).to_owned())
        .filter(|key| !keys.contains_key(key));
    keys.keys()
        .filter(|key| meaning::<C>(key).is_none())
        .cloned()
        .chain(stale)
        .collect()
}

/// The part of `--help` about settings.
pub(crate) fn help<C: Settings>() -> String {
    let mut help = "Environment:\n".to_owned();
    let defaults = defaults::<C>();
    let width = defaults
        .keys()
        .flat_map(|key| variables(key))
        .map(|name| name.len())
        .max()
        .unwrap_or(0);
    for (key, default) in &defaults {
        let variable = variables(key).pop().unwrap_or_default();
        let default = match default {
            Value::Empty(..) => "unset".to_owned(),
            Value::String(_, text) => text.clone(),
            other => toml::Value::try_from(other)
                .map_or_else(|_| "?".to_owned(), |value| value.to_string()),
        };
        let meaning = meaning::<C>(key).unwrap_or_default();
        let _ = writeln!(help, "  {variable:width$}  {meaning} [default: {default}]");
    }
    help.push_str("\nThe keys of FILE are the same in lower case: ORDERS_LOG__FORMAT is format under [log].\n");
    help.push_str("The environment wins over FILE, FILE over the defaults. An empty variable counts as unset.\n");
    help
}

/// Settings as TOML, fit for `--config`, without passwords.
pub(crate) fn dump<C: Settings>(config: &C) -> String {
    redact(&toml::to_string(config).expect("settings are plain data"))
}

/// Hides the credentials in every URL of a text: `mongodb://user:***@host/db`, `nats://***@host`.
#[must_use]
pub fn redact(text: &str) -> String {
    let mut parts = text.split("://");
    let mut redacted = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        redacted.push_str("://");
        let end = part
            .find(['/', '?', '#', '"', '\'', ' ', '\n'])
            .unwrap_or(part.len());
        let (authority, rest) = part.split_at(end);
        match authority.rsplit_once('@') {
            Some((credentials, host)) => {
                let user = credentials
                    .split_once(':')
                    .map(|(user, _)| format!("{user}:"));
                let _ = write!(redacted, "{}***@{host}{rest}", user.unwrap_or_default());
            }
            None => redacted.push_str(part),
        }
    }
    redacted
}
