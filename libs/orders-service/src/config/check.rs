//! Values that do not fit their setting, in the words of those who write settings.

use figment::value::Value;
use humantime::parse_duration;
use schemars::{JsonSchema, Schema, generate::SchemaSettings};
use serde_json::Value as Json;

/// The schema of settings: types and bounds of all of them.
pub(super) fn schema<C: JsonSchema>() -> Schema {
    let inline = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    inline.into_generator().into_root_schema_for::<C>()
}

/// Where the schema has the setting `key`.
pub(super) fn pointer(key: &str) -> String {
    format!("/properties/{}", key.replace('.', "/properties/"))
}

/// Says what is wrong if `value` does not fit the setting `key`. The bounds of a duration are `x-shortest` and
/// `x-longest`, which every duration must have.
pub(super) fn check(schema: &Schema, key: &str, value: &Value) -> Result<(), String> {
    let Some(field) = schema.pointer(&pointer(key)) else {
        return Ok(());
    };
    if let Some(bounds) = bounds(field, "x-shortest", "x-longest") {
        return duration(value, bounds);
    }
    match kind(field) {
        Some("integer") => integer(value, field),
        Some("number") => number(value, field),
        Some("boolean") if value.to_bool().is_none() => {
            Err(format!("{} is neither true nor false", shown(value)))
        }
        _ => Ok(()),
    }
}

/// The type of a setting, whether or not it may be unset.
fn kind(field: &Json) -> Option<&str> {
    let of = |value: &'_ Json| value.as_str().is_some_and(|kind| kind != "null");
    match field["type"].as_array() {
        Some(kinds) => kinds.iter().find(|kind| of(kind))?.as_str(),
        None => field["type"].as_str(),
    }
}

/// Reads the text of a variable as a number or a truth value if the setting `key` is one. Where a setting has no default,
/// nothing else says what the text is.
pub(super) fn typed(schema: &Schema, key: &str, value: &Value) -> Value {
    let field = schema.pointer(&pointer(key));
    let is_read = matches!(field.and_then(kind), Some("integer" | "boolean"));
    match value.as_str().filter(|_| is_read).map(str::parse) {
        Some(Ok(read)) => read,
        _ => value.clone(),
    }
}

fn bounds<'a>(field: &'a Json, least: &str, most: &str) -> Option<(&'a str, &'a str)> {
    Some((field[least].as_str()?, field[most].as_str()?))
}

fn duration(value: &Value, (shortest, longest): (&str, &str)) -> Result<(), String> {
    let text = shown(value);
    let Some(duration) = value.as_str().and_then(|text| parse_duration(text).ok()) else {
        return Err(format!("{text} is not a duration, such as 5s or 2m"));
    };
    let within = |bound: &str| parse_duration(bound).expect("a bound is a duration");
    match (within(shortest)..=within(longest)).contains(&duration) {
        true => Ok(()),
        false => Err(format!("{text} is not from {shortest} to {longest}")),
    }
}

fn integer(value: &Value, field: &Json) -> Result<(), String> {
    let (least, most) = (field["minimum"].as_u64(), field["maximum"].as_u64());
    let signed = || value.to_i128().and_then(|number| number.try_into().ok());
    let fits = value.to_u128().or_else(signed).is_some_and(|number: u128| {
        number >= least.unwrap_or(0).into() && number <= most.unwrap_or(u64::MAX).into()
    });
    if fits {
        return Ok(());
    }
    let text = shown(value);
    Err(match (field["format"].as_str(), least, most) {
        (Some("uint16"), ..) => format!("{text} is not a port"),
        (_, Some(least), Some(most)) => {
            format!("{text} is not a whole number from {least} to {most}")
        }
        _ => format!("{text} is not a whole number"),
    })
}

fn number(value: &Value, field: &Json) -> Result<(), String> {
    let (Some(least), Some(most)) = (field["minimum"].as_f64(), field["maximum"].as_f64()) else {
        return Ok(());
    };
    // Zero and one are whole numbers as well.
    let found = value.deserialize::<f64>();
    match found.is_ok_and(|number| (least..=most).contains(&number)) {
        true => Ok(()),
        false => Err(format!(
            "{} is not a number from {least} to {most}",
            shown(value)
        )),
    }
}

/// A value as it is written in a file.
fn shown(value: &Value) -> String {
    match value.as_str() {
        Some(text) => format!("{text:?}"),
        None => toml::Value::try_from(value).map_or_else(|_| "it".to_owned(), |v| v.to_string()),
    }
}
