use std::{path::PathBuf, str::FromStr};

use orders_service::{Invalid, config::SecretFile};
use orders_webhooks::Secret;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::stripe;

/// The most secrets of a file: each costs a look at the whole body.
const MOST: usize = 8;

/// The settings for payments that come from outside.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct PaymentSecrets {
    /// The file with the secrets of `POST /api/payments/webhook`, `whsec_...`, one a line, several while they are rotated;
    /// read again when it changes. Without it, there is no such path.
    pub webhook_secrets_file: Option<PathBuf>,
    /// The file with the signing secrets of the endpoint `POST /api/payments/stripe` at Stripe, one a line, several while they
    /// are rolled; read again when it changes. Without it, there is no such path.
    pub stripe_secrets_file: Option<PathBuf>,
}

/// The secrets of a file, any of which may have signed.
#[derive(Debug)]
pub(super) struct Secrets<T>(pub(super) Vec<T>);

impl PaymentSecrets {
    /// Whether payments may come from outside.
    pub(crate) fn are_set(&self) -> bool {
        self.webhook_secrets_file.is_some() || self.stripe_secrets_file.is_some()
    }

    pub(super) fn standard(&self) -> Result<Option<SecretFile<Secrets<Secret>>>, Invalid> {
        open(
            "payment.webhook_secrets_file",
            self.webhook_secrets_file.as_ref(),
        )
    }

    pub(super) fn stripe(&self) -> Result<Option<SecretFile<Secrets<stripe::Secret>>>, Invalid> {
        open(
            "payment.stripe_secrets_file",
            self.stripe_secrets_file.as_ref(),
        )
    }
}

fn open<T: FromStr<Err: ToString>>(
    setting: &'static str,
    file: Option<&PathBuf>,
) -> Result<Option<SecretFile<Secrets<T>>>, Invalid> {
    file.map(|file| SecretFile::open(setting, file, parse))
        .transpose()
}

fn parse<T: FromStr<Err: ToString>>(text: &str) -> Result<Secrets<T>, String> {
    let lines = text.lines().map(str::trim).enumerate();
    let secrets = lines.filter(|(_, line)| !line.is_empty());
    let secrets = secrets.map(|(at, line)| {
        let read = line.parse::<T>();
        read.map_err(|rule| format!("line {}: {}", at + 1, rule.to_string()))
    });
    let secrets: Vec<T> = secrets.collect::<Result<_, _>>()?;
    match secrets.len() {
        1..=MOST => Ok(Secrets(secrets)),
        _ => Err(format!("must have 1 to {MOST} secrets, one a line")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

    #[test]
    fn a_file_has_one_to_eight_secrets() {
        for (text, count) in [
            (SECRET.to_owned(), 1),
            (format!("{SECRET}\r\n\n  {SECRET}\n"), 2),
            (format!("{SECRET}\n").repeat(8), 8),
        ] {
            assert_eq!(parse::<Secret>(&text).unwrap().0.len(), count);
        }
        for (text, said) in [
            (String::new(), "must have 1 to 8 secrets, one a line"),
            (
                format!("{SECRET}\n").repeat(9),
                "must have 1 to 8 secrets, one a line",
            ),
            (
                format!("{SECRET}\nhunter2"),
                "line 2: a secret must be whsec_ and the base64 of 24 to 64 bytes",
            ),
        ] {
            assert_eq!(parse::<Secret>(&text).unwrap_err(), said);
        }
        let error = parse::<stripe::Secret>("sk_live_1").unwrap_err();
        assert_eq!(
            error,
            "line 1: a signing secret of Stripe begins with whsec_"
        );
    }
}
