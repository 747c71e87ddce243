//! `revoke`: tokens that are refused from now on.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use orders_contracts::{
    AuditAction, Claim, Revocable, Revocation, Timestamp, streams::REVOCATIONS,
};
use serde_json::json;

use crate::{Context, Verdict, confirm::Confirm, output::shown, record::Record};

/// The issuer of API keys.
const API_KEYS: &str = "api-key";

/// Refuse the tokens of a person, a session, or one token, before they expire
///
/// Daemons that check tokens know of it within moments: they refuse requests with such a token and close its sockets.
/// A subject may log in again once the leeway has passed; a session or a token never comes back. Nothing takes a
/// revocation back. An API key counts again after a day, so remove its entry from the file, too.
#[derive(Args)]
pub(crate) struct Options {
    /// The `iss` of the tokens, exactly as they have it; `api-key` for an API key
    #[arg(long)]
    issuer: String,
    #[command(flatten)]
    which: Which,
    /// The daemons' `ORDERS_AUTH__LEEWAY`: so far the clock of the issuer may be ahead, so the subject's tokens of that
    /// time are refused, too
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    leeway: Duration,
    #[command(flatten)]
    confirm: Confirm,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// All tokens with this `sub`; the id of an API key
    #[arg(long)]
    subject: Option<String>,
    /// All tokens with this `sid`
    #[arg(long, value_name = "SID")]
    session: Option<String>,
    /// The token with this `jti`
    #[arg(long, value_name = "JTI")]
    token: Option<String>,
}

impl Which {
    fn claim(&self) -> (Claim, &str) {
        let values = [
            (Claim::Subject, &self.subject),
            (Claim::Session, &self.session),
            (Claim::Token, &self.token),
        ];
        let mut given = values
            .into_iter()
            .filter_map(|(claim, value)| Some((claim, value.as_deref()?)));
        given.next().expect("clap asks for one of them")
    }
}

pub(crate) async fn run(context: &Context, options: Options) -> Result<Verdict> {
    let (claim, value) = options.which.claim();
    let issuer = &options.issuer;
    let bus = context.bus().await?;
    if bus.stream_state(&REVOCATIONS).await?.is_none() {
        bail!("the stream REVOCATIONS is missing; run `orderctl migrate`");
    }
    let what = format!("{} {value} of {issuer}", claim.as_str());
    let is_key = issuer == API_KEYS;
    let question = match is_key {
        true => format!("Revoke {what} for a day, in which you remove its entry from the file"),
        false => format!("Revoke {what}"),
    };
    if let Err(verdict) = options.confirm.ask(context, &question).await? {
        return Ok(verdict);
    }
    // The audit keeps nothing personal, and a subject may be an e-mail address.
    let name = Revocable::new(issuer, claim, value);
    let target = format!("{} {} of {issuer}", claim.as_str(), name.value);
    let record = Record::begin(context, Some(&bus), AuditAction::Revoked, &target, None).await?;
    let revocation = Revocation::at(Timestamp::now().later(options.leeway), claim);
    let until = shown(revocation.until);
    let revoked = bus.revoke(name, revocation).await;
    let (verdict, detail) = match &revoked {
        Ok(()) => (
            Some(Verdict::Fine),
            format!("tokens issued until {} are refused", revocation.before),
        ),
        Err(_) => (None, "not stored".to_owned()),
    };
    record.end(verdict, detail).await?;
    revoked?;
    let refused = match claim {
        Claim::Subject => format!(
            "tokens issued until {} UTC are refused",
            shown(revocation.before)
        ),
        Claim::Session => "its tokens are refused".to_owned(),
        Claim::Token => "it is refused".to_owned(),
    };
    let text = match is_key {
        true => format!(
            "{what}: the key is refused until {until} UTC; before then, remove its entry from ORDERS_AUTH__API_KEYS_FILE"
        ),
        false => format!("{what}: {refused}; they have all expired by {until} UTC"),
    };
    let value = json!({
        "issuer": issuer, "claim": claim.as_str(), "value": value,
        "before": revocation.before, "until": revocation.until,
    });
    context.output.line(text, &value);
    Ok(Verdict::Fine)
}
