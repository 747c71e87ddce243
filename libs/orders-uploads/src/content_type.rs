use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Media types that files may have, separated by commas: `application/pdf,image/*`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct MediaTypes(Vec<String>);

impl MediaTypes {
    /// Whether a file of `content_type` is one of them, whatever its parameters.
    #[must_use]
    pub fn have(&self, content_type: &str) -> bool {
        let essence = content_type.split(';').next().unwrap_or_default();
        let essence = essence.trim().to_ascii_lowercase();
        self.0
            .iter()
            .any(|allowed| match allowed.strip_suffix('*') {
                Some(kind) => essence.starts_with(kind),
                None => essence == *allowed,
            })
    }
}

impl TryFrom<String> for MediaTypes {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let is_name = |part: &str| {
            let is_part = |b: u8| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b);
            !part.is_empty() && part.bytes().all(is_part)
        };
        let types: Vec<_> = text
            .split(',')
            .map(|one| one.trim().to_ascii_lowercase())
            .collect();
        let is_type = |one: &String| {
            one.split_once('/')
                .is_some_and(|(kind, sub)| is_name(kind) && (sub == "*" || is_name(sub)))
        };
        match types.iter().all(is_type) {
            true => Ok(Self(types)),
            false => Err("must be like application/pdf,image/*"),
        }
    }
}

impl From<MediaTypes> for String {
    fn from(types: MediaTypes) -> Self {
        types.0.join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_one_of_them_whatever_its_parameters() {
        let types = MediaTypes::try_from("application/pdf, image/*".to_owned()).unwrap();
        for good in [
            "application/pdf",
            "Image/PNG",
            "application/pdf; v=1",
            "image/svg+xml",
        ] {
            assert!(types.have(good), "{good}");
        }
        for bad in [
            "application/pdfx",
            "text/image",
            "imagex/png",
            "",
            "application/json",
        ] {
            assert!(!types.have(bad), "{bad}");
        }
        assert_eq!(String::from(types), "application/pdf,image/*");
        for bad in ["", "pdf", "*/*", "image/", "a/b,", "a/b/c", "a b/c"] {
            assert!(MediaTypes::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
