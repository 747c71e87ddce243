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
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use tracing_subscriber::EnvFilter;

use super::{
    Invalid, Mongo, Nats, Settings,
    check::{check, schema, typed},
    known, redact,
};

/// Why settings could not be loaded: one line that names the key as the user wrote it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read {}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{}:{line}: {reason}", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The fault.
        reason: String,
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

/// The highest base port: all other ports are above it.
const MAX_BASE_PORT: u16 = 65_000;

/// Puts the layers together: defaults, then `file`, then `env`.
///
/// Variables in `env` that set no key of `C` are ignored if another daemon has them, because one `.env` serves all
/// daemons; empty ones count as unset. Unknown keys in `file` are errors. The error is the first fault found.
pub fn load<C: Settings>(
    file: Option<&Path>,
    env: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded<C>, Error> {
    let mut layers = Layers::read::<C>(file, env)?;
    let moved = moved_ports::<C>(&layers.set)?;
    layers.set.splice(0..0, moved);
    let config: C = layers.merge(C::uses_nats)?;
    EnvFilter::try_new(&config.common().log.filter)
        .map_err(|error| layers.wrong(Invalid::new("log.filter", error.to_string())))?;
    config
        .validate()
        .and_then(|()| config.auth().check(config.common().host))
        .map_err(|invalid| layers.wrong(invalid))?;
    let source = match layers.sources.as_slice() {
        [] => "defaults".to_owned(),
        sources => sources.join(", "),
    };
    Ok(Loaded { config, source })
}

/// The settings of a program that is no daemon, from the environment alone.
pub fn from_environment<C>(env: impl IntoIterator<Item = (String, String)>) -> Result<C, Error>
where
    C: Default + Serialize + DeserializeOwned + JsonSchema,
{
    Layers::read::<C>(None, env)?.merge(|_| true)
}

/// What was set, from the layer that loses to the one that wins.
struct Layers {
    set: Vec<Set>,
    sources: Vec<String>,
}

impl Layers {
    fn read<C: Default + Serialize>(
        file: Option<&Path>,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Error> {
        let defaults = defaults::<C>();
        let mut set = match file {
            Some(file) => from_file(file, &defaults)?,
            None => Vec::new(),
        };
        let variables = from_env(env, &defaults)?;
        let sources = file
            .map(|file| file.display().to_string())
            .into_iter()
            .chain(variables.iter().map(|set| set.written.clone()))
            .collect();
        set.extend(variables);
        Ok(Self { set, sources })
    }

    fn merge<C>(&self, uses_nats: impl FnOnce(&C) -> bool) -> Result<C, Error>
    where
        C: Default + Serialize + DeserializeOwned + JsonSchema,
    {
        let schema = schema::<C>();
        // One at a time: serde does not say which key of a flattened struct is wrong.
        let mut figment = Figment::from(Serialized::defaults(C::default()));
        let mut config = C::default();
        for Set {
            key,
            value,
            written,
        } in &self.set
        {
            let wrong = |reason| Error::Value {
                key: written.clone(),
                reason,
            };
            let value = typed(&schema, key, value);
            check(&schema, key, &value).map_err(wrong)?;
            figment = figment.merge((key, value));
            config = figment
                .extract()
                .map_err(|error| wrong(reason(&error.kind)))?;
        }
        // The groups of whoever uses these servers; the settings of others have no such keys.
        if uses_nats(&config)
            && let Ok(nats) = figment.extract::<Nats>()
        {
            nats.connection().map_err(|invalid| self.wrong(invalid))?;
        }
        if let Ok(mongo) = figment.extract::<Mongo>() {
            mongo.uri().map_err(|invalid| self.wrong(invalid))?;
        }
        Ok(config)
    }

    /// The error, naming the key as it was written last.
    fn wrong(&self, Invalid { key, reason }: Invalid) -> Error {
        let last = self.set.iter().rfind(|set| set.key == key);
        let key = last.map_or_else(|| variable(key), |set| set.written.clone());
        Error::Value { key, reason }
    }
}

/// The defaults that another base port changes.
fn moved_ports<C: Settings>(set: &[Set]) -> Result<Vec<Set>, Error> {
    let base = set.iter().rfind(|set| set.key == "base_port");
    let Some((base, port)) = base.and_then(|base| Some((base, base.value.deserialize().ok()?)))
    else {
        return Ok(Vec::new());
    };
    if !(1..=MAX_BASE_PORT).contains(&port) {
        return Err(Error::Value {
            key: base.written.clone(),
            reason: format!("must be from 1 to {MAX_BASE_PORT}"),
        });
    }
    let defaults = defaults::<C>();
    let moved = leaves(&C::on_base_port(port)).into_iter();
    let moved = moved.filter(|(key, value)| defaults.get(key) != Some(value));
    let set = |(key, value)| Set {
        key,
        value,
        written: base.written.clone(),
    };
    Ok(moved.map(set).collect())
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
            reason: source.message().replace('\n', ", "),
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
) -> Result<Vec<Set>, Error> {
    let env: BTreeMap<String, String> = env
        .into_iter()
        .filter(|(_, text)| !text.is_empty())
        .collect();
    let own: Vec<String> = defaults.keys().flat_map(|key| variables(key)).collect();
    for (name, value) in &env {
        known::check(name, value, &own).map_err(|reason| Error::Value {
            key: name.clone(),
            reason,
        })?;
    }
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
    Ok(defaults.iter().filter_map(set).collect())
}

/// Reads the text of a variable. It stays text where the default is text, `PASSWORD=123` included. Where a key has no
/// default, a number or a list cannot be told from text, so it stays text here as well.
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
    if key.starts_with("otel.") {
        return vec![key.replace('.', "_").to_uppercase()];
    }
    let own = format!("ORDERS_{}", key.replace('.', "__").to_uppercase());
    match key {
        "port" | "mongo_url" | "nats_url" | "cors_origin" => vec![key.to_uppercase()],
        "log.filter" => vec!["RUST_LOG".to_owned(), own],
        _ => vec![own],
    }
}

/// The variable that documents name for `key`.
pub(super) fn variable(key: &str) -> String {
    variables(key).pop().unwrap_or_default()
}

/// Every key with its default.
pub(super) fn defaults<C: Default + Serialize>() -> BTreeMap<String, Value> {
    leaves(&C::default())
}

/// Every key with its value, nested ones as `payment.delay`.
fn leaves(settings: &impl Serialize) -> BTreeMap<String, Value> {
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
