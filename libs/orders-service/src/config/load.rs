//! Settings in layers: the defaults, a TOML file, the environment.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use figment::{
    Figment,
    error::Kind,
    providers::Serialized,
    value::{Dict, Value},
};
use tracing_subscriber::EnvFilter;

use super::{Invalid, Settings, redact};

/// Why settings could not be loaded: one line that names the key as the user wrote it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("{}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{}:{line}: {}", file.display(), source.message().replace('\n', ", "))]
    Syntax {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The error of the parser.
        source: toml::de::Error,
    },
    /// A key is unknown or its value is wrong.
    #[error("{key}: {reason}")]
    Value {
        /// The environment variable, or the key and the file.
        key: String,
        /// The fault.
        reason: String,
    },
}

/// Settings, and where they came from.
#[derive(Debug)]
pub struct Loaded<C> {
    /// The settings in effect.
    pub config: C,
    /// The file and the environment variables that were used, never their values.
    pub source: String,
}

/// A value that replaces a default.
struct Set {
    key: String,
    value: Value,
    /// The environment variable, or the key and the file.
    written: String,
}

/// Puts the layers together: defaults, then `file`, then `env`.
///
/// Variables in `env` that set no key of `C` are ignored, because one `.env` serves all daemons; empty ones count as
/// unset. Unknown keys in `file` are errors. The error is the first fault found.
pub fn load<C: Settings>(
    file: Option<&Path>,
    env: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded<C>, Error> {
    let defaults = defaults::<C>();
    let mut set = match file {
        Some(file) => from_file(file, &defaults)?,
        None => Vec::new(),
    };
    let variables = from_env(env, &defaults);
    let sources: Vec<_> = file
        .map(|file| file.display().to_string())
        .into_iter()
        .chain(variables.iter().map(|set| set.written.clone()))
        .collect();
    set.extend(variables);

    // One at a time: serde does not say which key of a flattened struct is wrong.
    let mut figment = Figment::from(Serialized::defaults(C::default()));
    let mut config = C::default();
    for Set {
        key,
        value,
        written,
    } in &set
    {
        figment = figment.merge((key, value));
        config = figment.extract().map_err(|error| Error::Value {
            key: written.clone(),
            reason: reason(&error.kind),
        })?;
    }
    let wrong = |Invalid { key, reason }| {
        let last = set.iter().rfind(|set| set.key == key);
        let key = last.map_or_else(|| key.to_owned(), |set| set.written.clone());
        Error::Value { key, reason }
    };
    EnvFilter::try_new(&config.common().log.filter)
        .map_err(|error| wrong(Invalid::new("log.filter", error.to_string())))?;
    config.validate().map_err(wrong)?;
    let source = match sources.as_slice() {
        [] => "defaults".to_owned(),
        sources => sources.join(", "),
    };
    Ok(Loaded { config, source })
}

/// figment's words, where they read well.
fn reason(kind: &Kind) -> String {
    match kind {
        Kind::UnknownVariant(found, expected) => {
            let expected = expected.join(", ");
            format!("unknown value `{found}`, expected one of: {expected}")
        }
        Kind::InvalidValue(found, expected) => {
            format!("invalid value: found {found}, expected {expected}")
        }
        kind => kind.to_string(),
    }
}

fn from_file(file: &Path, defaults: &BTreeMap<String, Value>) -> Result<Vec<Set>, Error> {
    let mut values = Vec::new();
    for (key, value) in leaves(&read(file)?) {
        let written = format!("{key} in {}", file.display());
        if !is_known(&key, defaults) {
            let reason = unknown(&key, defaults);
            return Err(Error::Value {
                key: written,
                reason,
            });
        }
        values.push(Set {
            key,
            value,
            written,
        });
    }
    Ok(values)
}

fn read(file: &Path) -> Result<toml::Table, Error> {
    let text = std::fs::read_to_string(file).map_err(|source| Error::Read {
        file: file.to_owned(),
        source,
    })?;
    text.parse().map_err(|source: toml::de::Error| {
        let before = &text[..source.span().map_or(0, |span| span.start)];
        Error::Syntax {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            source,
        }
    })
}

/// Whether `key` is a setting or, with a value of the wrong type, a group of settings.
fn is_known(key: &str, defaults: &BTreeMap<String, Value>) -> bool {
    let group = format!("{key}.");
    defaults
        .keys()
        .any(|known| known == key || known.starts_with(&group))
}

/// Names the keys of the innermost group around `key` that there is.
fn unknown(key: &str, defaults: &BTreeMap<String, Value>) -> String {
    let groups = std::iter::successors(key.rsplit_once('.'), |(group, _)| group.rsplit_once('.'))
        .map(|(group, _)| format!("{group}."))
        .chain([String::new()]);
    let names = |group: String| {
        let inside =
            |known: &String| Some(known.strip_prefix(&group)?.split('.').next()?.to_owned());
        let mut names: Vec<_> = defaults.keys().filter_map(inside).collect();
        names.dedup();
        names
    };
    let names = groups.map(names).find(|names| !names.is_empty());
    let names = names.unwrap_or_default().join(", ");
    format!("unknown key, expected one of: {names}")
}

fn from_env(
    env: impl IntoIterator<Item = (String, String)>,
    defaults: &BTreeMap<String, Value>,
) -> Vec<Set> {
    let env: BTreeMap<String, String> = env
        .into_iter()
        .filter(|(_, text)| !text.is_empty())
        .collect();
    let set = |(key, default): (&String, &Value)| {
        let written = variables(key)
            .into_iter()
            .find(|name| env.contains_key(name))?;
        Some(Set {
            key: key.clone(),
            value: parse(&env[&written], default),
            written,
        })
    };
    defaults.iter().filter_map(set).collect()
}

/// Reads the text of a variable. It stays text where the default is text, `PASSWORD=123` included. Where a key has no
/// default, a number or a list cannot be told from text, so it stays text there as well.
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
pub(super) fn variables(key: &str) -> Vec<String> {
    let own = format!("ORDERS_{}", key.replace('.', "__").to_uppercase());
    match key {
        "port" | "mongo_url" | "nats_url" | "cors_origin" => vec![key.to_uppercase()],
        "log.filter" => vec!["RUST_LOG".to_owned(), own],
        _ => vec![own],
    }
}

/// Every key with its default.
pub(super) fn defaults<C: Settings>() -> BTreeMap<String, Value> {
    leaves(&C::default())
}

/// Every key with its value, nested ones as `payment.delay`.
fn leaves(settings: &impl serde::Serialize) -> BTreeMap<String, Value> {
    fn flatten(prefix: &str, dict: Dict, flat: &mut BTreeMap<String, Value>) {
        for (name, value) in dict {
            let key = format!("{prefix}{name}");
            match value {
                Value::Dict(_, dict) => flatten(&format!("{key}."), dict, flat),
                value => _ = flat.insert(key, value),
            }
        }
    }
    let value = Value::serialize(settings).expect("settings are plain data");
    let mut flat = BTreeMap::new();
    flatten("", value.into_dict().unwrap_or_default(), &mut flat);
    flat
}

/// Settings as TOML, fit for `--config`, without passwords.
pub(crate) fn dump<C: Settings>(config: &C) -> String {
    redact(&toml::to_string(config).expect("settings are plain data"))
}
