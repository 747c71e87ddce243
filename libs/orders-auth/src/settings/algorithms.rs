use jsonwebtoken::Algorithm;
use serde::{Deserialize, Serialize};

/// Signature algorithms; in text, separated by commas. Those with a secret that both sides know are not among them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Algorithms(Vec<Algorithm>);

/// Every algorithm that can be verified here.
const NAMES: [(&str, Algorithm); 9] = [
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
];

impl Algorithms {
    /// The algorithm `name` (`alg` of a token), if it counts.
    pub(crate) fn find(&self, name: &str) -> Option<Algorithm> {
        let (_, algorithm) = NAMES.into_iter().find(|(known, _)| *known == name)?;
        self.contains(algorithm).then_some(algorithm)
    }

    pub(crate) fn contains(&self, algorithm: Algorithm) -> bool {
        self.0.contains(&algorithm)
    }
}

impl Default for Algorithms {
    fn default() -> Self {
        Self(vec![
            Algorithm::ES256,
            Algorithm::EdDSA,
            Algorithm::RS256,
            Algorithm::PS256,
        ])
    }
}

impl TryFrom<String> for Algorithms {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let algorithm = |name: &str| {
            let known = NAMES.into_iter().find(|(known, _)| *known == name.trim());
            known.map(|(_, algorithm)| algorithm).ok_or_else(|| {
                let names: Vec<_> = NAMES.iter().map(|(name, _)| *name).collect();
                format!("{name:?} is none of {}", names.join(", "))
            })
        };
        text.split(',')
            .map(algorithm)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl From<Algorithms> for String {
    fn from(Algorithms(algorithms): Algorithms) -> Self {
        let name = |algorithm| {
            let known = NAMES.into_iter().find(|(_, known)| *known == algorithm);
            known.map(|(name, _)| name)
        };
        let names: Vec<_> = algorithms.into_iter().filter_map(name).collect();
        names.join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_as_it_is_written() {
        let read = |text: &str| Algorithms::try_from(text.to_owned()).map(String::from);
        for list in ["ES256,EdDSA,RS256,PS256", "PS512", "ES384"] {
            assert_eq!(read(list).as_deref(), Ok(list));
        }
        assert_eq!(read("ES256, RS256").as_deref(), Ok("ES256,RS256"));
        let default = String::from(Algorithms::default());
        assert_eq!(default, "ES256,EdDSA,RS256,PS256");
    }

    #[test]
    fn secrets_and_no_signature_are_no_algorithms() {
        for list in [
            "",
            "none",
            "HS256",
            "ES256,HS512",
            "es256",
            "ES256,",
            "ES256K",
        ] {
            let read = Algorithms::try_from(list.to_owned());
            assert!(read.is_err(), "{list:?}");
        }
    }
}
