//! Revocations: tokens that are refused although they have not expired.

use std::{fmt, str::FromStr, time::Duration};

use data_encoding::BASE32_NOPAD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Timestamp, Unparsable};

/// The bytes that are kept of a hash: nobody finds a second value with the same.
const KEPT: usize = 16;

/// The claim of a token by which tokens are revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Claim {
    /// `sub`: all tokens of a person or a machine.
    Subject,
    /// `sid`: all tokens of one session at the identity provider.
    Session,
    /// `jti`: one token.
    Token,
}

impl Claim {
    /// Every claim.
    pub const ALL: [Self; 3] = [Self::Subject, Self::Session, Self::Token];

    /// Its name in tokens.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Subject => "sub",
            Self::Session => "sid",
            Self::Token => "jti",
        }
    }
}

/// The hash of a claim's value: one token of a subject, which names nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClaimHash([u8; KEPT]);

impl ClaimHash {
    /// The hash of `value`.
    pub fn of(value: &str) -> Self {
        let hash = Sha256::digest(value.as_bytes());
        let mut kept = [0; KEPT];
        kept.copy_from_slice(&hash[..KEPT]);
        Self(kept)
    }
}

/// 26 characters of lower-case base32.
impl fmt::Display for ClaimHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE32_NOPAD.encode(&self.0).to_ascii_lowercase())
    }
}

impl FromStr for ClaimHash {
    type Err = Unparsable;

    fn from_str(text: &str) -> Result<Self, Unparsable> {
        let read = || {
            let bytes = BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes());
            let hash = Self(bytes.ok()?.try_into().ok()?);
            (hash.to_string() == text).then_some(hash)
        };
        read().ok_or(Unparsable("must be 26 characters of base32"))
    }
}

/// What can be revoked: the tokens of one issuer that have the same value in a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Revocable {
    /// The hash of their `iss`.
    pub issuer: ClaimHash,
    /// The claim.
    pub claim: Claim,
    /// The hash of its value.
    pub value: ClaimHash,
}

impl Revocable {
    /// The tokens of `issuer` that have `value` in `claim`.
    pub fn new(issuer: &str, claim: Claim, value: &str) -> Self {
        Self {
            issuer: ClaimHash::of(issuer),
            claim,
            value: ClaimHash::of(value),
        }
    }
}

/// As the end of a subject: `{issuer's hash}.{sub|sid|jti}.{value's hash}`.
impl fmt::Display for Revocable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.issuer, self.claim.as_str(), self.value)
    }
}

impl FromStr for Revocable {
    type Err = Unparsable;

    fn from_str(text: &str) -> Result<Self, Unparsable> {
        let read = || {
            let (issuer, rest) = text.split_once('.')?;
            let (claim, value) = rest.split_once('.')?;
            Some(Self {
                issuer: issuer.parse().ok()?,
                claim: Claim::ALL
                    .into_iter()
                    .find(|known| known.as_str() == claim)?,
                value: value.parse().ok()?,
            })
        };
        read().ok_or(Unparsable("must name what is revoked"))
    }
}

/// The body of `orders.auth.revoked.{issuer's hash}.{sub|sid|jti}.{value's hash}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Revocation {
    /// Tokens that were issued at this moment or earlier are refused.
    pub before: Timestamp,
    /// When all of them have expired, so that nobody has to know of the revocation any more.
    pub until: Timestamp,
}

impl Revocation {
    /// The longest that a token is accepted after it was issued: a day, and the largest leeway.
    pub const LONGEST: Duration = Duration::from_secs(24 * 60 * 60 + 5 * 60);

    /// The revocation of `claim` at the moment `now`.
    ///
    /// A subject may log in again, so its later tokens are good. A session or a token that has ended does not come back:
    /// whatever is issued for it meanwhile, or by a clock that is ahead, is refused too.
    pub fn at(now: Timestamp, claim: Claim) -> Self {
        let until = now.later(Self::LONGEST);
        Self {
            before: match claim {
                Claim::Subject => now,
                Claim::Session | Claim::Token => until,
            },
            until,
        }
    }

    /// Whether it revokes a token that was issued at `issued_at`.
    pub fn covers(&self, issued_at: Timestamp) -> bool {
        issued_at <= self.before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Subject;

    const ISSUER: &str = "https://issuer.example";

    fn moment(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn subjects_name_what_is_revoked_and_nobody() {
        for claim in Claim::ALL {
            // What a client chooses never reaches the subject.
            for value in ["alice", "", ">", "*.*", "a b\n", "\u{1F600}"] {
                let what = Revocable::new(ISSUER, claim, value);
                let subject = Subject::revocation(&what);
                assert_eq!(subject.as_str().split('.').count(), 6, "{subject}");
                assert_eq!(Subject::parse_revocation(subject.as_str()), Some(what));
            }
        }
        let subject = Subject::revocation(&Revocable::new(ISSUER, Claim::Subject, "alice"));
        // Pinned: with another hash, daemons of two versions would not know each other's revocations.
        assert_eq!(
            subject.as_str(),
            "orders.auth.revoked.762vvt77ds6bw6fnw5kwloz76y.sub.fpmansl7byak6gq7ymzi7j3dve"
        );
        for other in [
            "orders.evt.t-1.created",
            "orders.auth.revoked.a.sub.b",
            "orders.auth.revoked.>",
        ] {
            assert_eq!(Subject::parse_revocation(other), None, "{other}");
        }
        let upper = subject.as_str().replace("762vvt", "762VVT");
        assert_eq!(Subject::parse_revocation(&upper), None);
    }

    #[test]
    fn values_claims_and_issuers_are_kept_apart() {
        let alice = Revocable::new(ISSUER, Claim::Subject, "alice");
        for other in [
            Revocable::new(ISSUER, Claim::Subject, "Alice"),
            Revocable::new(ISSUER, Claim::Session, "alice"),
            Revocable::new("https://issuer.example/", Claim::Subject, "alice"),
        ] {
            assert_ne!(alice, other);
        }
    }

    #[test]
    fn a_subject_may_come_back_and_a_session_may_not() {
        let now = moment("2026-11-30T12:00:00.000Z");
        let (earlier, later) = (
            moment("2026-11-30T11:59:59.000Z"),
            moment("2026-11-30T12:00:01.000Z"),
        );
        for claim in Claim::ALL {
            let revocation = Revocation::at(now, claim);
            assert!(revocation.covers(earlier) && revocation.covers(now));
            assert_eq!(revocation.covers(later), claim != Claim::Subject);
            assert_eq!(revocation.until.since(now), Revocation::LONGEST);
        }
    }
}
