use std::collections::BTreeMap;

use super::{Node, parts::Members, printable};

/// The bounds of an object whose names the client chooses.
#[derive(Clone, Copy)]
pub(crate) struct Texts {
    /// The most members.
    pub(crate) most: usize,
    /// The most characters of a name.
    pub(crate) name: usize,
    /// The most characters of a value.
    pub(crate) value: usize,
}

impl Node<'_> {
    /// An object of texts within `bounds`, empty if it is missing. A text may be empty, a name may not.
    pub(crate) fn texts(&self, bounds: Texts) -> Option<BTreeMap<String, String>> {
        let Some(raw) = self.raw else {
            return Some(BTreeMap::new());
        };
        if !raw.get().starts_with('{') {
            return self.refuse("must be an object");
        }
        let members = self.split(raw.get(), Members(bounds.most))?;
        let is_name = |name: &String| {
            (1..=bounds.name).contains(&name.chars().count()) && !name.chars().any(char::is_control)
        };
        if !members.keys().all(is_name) {
            let most = bounds.name;
            let rule = "without control characters";
            return self.refuse(format!("must have names of 1 to {most} characters {rule}"));
        }
        let read: Vec<_> = members
            .into_iter()
            .map(|(name, raw)| {
                let value = Node {
                    raw: Some(raw),
                    path: self.path.child(printable(&name)),
                    errors: self.errors,
                };
                Some((name, value.any_text(bounds.value)?))
            })
            .collect();
        read.into_iter().collect()
    }

    /// Any string; `None`, and no fault, if it is anything else.
    pub(crate) fn some_text(&self) -> Option<String> {
        serde_json::from_str(self.raw?.get()).ok()
    }

    /// A string of at most `max` characters without control characters.
    fn any_text(&self, max: usize) -> Option<String> {
        let text = self
            .raw
            .map(|raw| serde_json::from_str::<String>(raw.get()));
        let Some(Ok(text)) = text else {
            return self.refuse("must be a string");
        };
        if text.chars().count() > max {
            return self.refuse(format!("must be shorter than or equal to {max} characters"));
        }
        if text.chars().any(char::is_control) {
            return self.refuse("must not contain control characters");
        }
        Some(text)
    }
}
