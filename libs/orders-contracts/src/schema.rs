use schemars::{Schema, generate::SchemaSettings, transform::RecursiveTransform};
use serde_json::Value;

/// How published schemas are generated. Their descriptions are doc comments without the links, which only rustdoc can
/// follow.
pub fn schema_settings() -> SchemaSettings {
    SchemaSettings::draft2020_12().with_transform(RecursiveTransform(|schema: &mut Schema| {
        if let Some(Value::String(text)) = schema.get_mut("description") {
            *text = without_links(text);
        }
    }))
}

/// Replaces `[label](target)` and `[label]` of code by the label.
fn without_links(mut text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    while let Some((before, link)) = text.split_once('[') {
        plain.push_str(before);
        match link.split_once(']') {
            Some((label, rest)) if rest.starts_with('(') => {
                plain.push_str(label);
                text = rest.split_once(')').map_or("", |(_, rest)| rest);
            }
            Some((label, rest)) if label.starts_with('`') => {
                plain.push_str(label);
                text = rest;
            }
            _ => {
                plain.push('[');
                text = link;
            }
        }
    }
    plain + text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_have_the_labels_of_links() {
        for (comment, text) in [
            (
                "to the [`ReplyTo`](crate::ReplyTo) of it.",
                "to the `ReplyTo` of it.",
            ),
            (
                "an [`Offset`] and [the form](f) of it",
                "an `Offset` and the form of it",
            ),
            (
                "`[A-Za-z0-9_-]{1,64}`, see [here",
                "`[A-Za-z0-9_-]{1,64}`, see [here",
            ),
        ] {
            assert_eq!(without_links(comment), text);
        }
    }
}
