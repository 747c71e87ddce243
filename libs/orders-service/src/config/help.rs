//! Texts about settings, from their doc comments and defaults.

use std::fmt::Write as _;

use figment::value::Value;
use schemars::{JsonSchema, Schema};
use serde::Serialize;

use super::{
    Settings,
    check::{pointer, schema},
    load::{defaults, variable},
};

/// The end of `--help`.
const RULES: &str = "
The keys of FILE are the same in lower case: ORDERS_LOG__FORMAT is format under [log].
The environment wins over FILE, FILE over the defaults. An empty variable counts as unset.
";

/// A setting as a user sees it.
struct Entry {
    variable: String,
    default: String,
    meaning: String,
}

fn entries<C: Default + Serialize + JsonSchema>() -> Vec<Entry> {
    let schema = schema::<C>();
    let entry = |(key, default): (String, Value)| Entry {
        variable: variable(&key),
        default: shown(&default),
        // A field without a doc comment; rustc warns of each that is public.
        meaning: meaning(&schema, &key).unwrap_or_else(|| "(undocumented)".to_owned()),
    };
    defaults::<C>().into_iter().map(entry).collect()
}

fn shown(default: &Value) -> String {
    match default {
        Value::Empty(..) => "unset".to_owned(),
        Value::String(_, text) => text.clone(),
        other => {
            toml::Value::try_from(other).map_or_else(|_| "?".to_owned(), |value| value.to_string())
        }
    }
}

/// The doc comment of the field `key`, on one line, in Markdown.
fn meaning(schema: &Schema, key: &str) -> Option<String> {
    let pointer = format!("{}/description", pointer(key));
    let comment = schema.pointer(&pointer)?.as_str()?;
    let line = comment.replace('\n', " ");
    Some(line.trim_end_matches('.').to_owned())
}

/// The part of `--help` about settings.
pub(crate) fn help<C: Settings>() -> String {
    environment::<C>() + RULES
}

/// A line for each setting, with its variable.
#[must_use]
pub fn environment<C: Default + Serialize + JsonSchema>() -> String {
    let entries = entries::<C>();
    let width = entries.iter().map(|entry| entry.variable.len()).max();
    let width = width.unwrap_or_default();
    let mut help = "Environment:\n".to_owned();
    for Entry {
        variable,
        default,
        meaning,
    } in entries
    {
        let meaning = meaning.replace('`', "");
        let _ = writeln!(help, "  {variable:width$}  {meaning} [default: {default}]");
    }
    help
}

/// The settings as a Markdown table, for the documents.
pub(crate) fn markdown<C: Settings>() -> String {
    let mut table = "| variable | default | meaning |\n|---|---|---|\n".to_owned();
    for Entry {
        variable,
        default,
        meaning,
    } in entries::<C>()
    {
        let _ = writeln!(table, "| `{variable}` | `{default}` | {meaning} |");
    }
    table
}
