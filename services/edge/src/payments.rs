//! Payments that come from outside: webhooks of whoever takes them. A signature is the login; what it signs becomes a
//! message in PAYMENTS, and the writer decides what that means for the order.

mod message;
mod secrets;
mod signatures;
mod standard;
mod stripe;

use axum::http::HeaderMap;
use orders_bus::{Bus, Error};
use orders_contracts::{
    FieldError, Invalid, Payment, PaymentWebhook, StripeEvent, Timestamp, TraceContext,
};
use orders_http::{name_order, name_tenant};
use orders_service::{
    Invalid as InvalidSetting, Seldom, chain,
    config::SecretFile,
    metrics::{PAYMENT_WEBHOOKS, counter},
};
use orders_webhooks::Secret;
use tokio::sync::Semaphore;
use tracing::{debug, info, warn};

pub use self::secrets::PaymentSecrets;
use self::{message::message, secrets::Secrets, signatures::Refused};
use crate::{body::JsonBody, limits::Limits, problem::Problem};

/// How many webhooks may wait for their message to be stored at once.
const AT_ONCE: usize = 256;

/// Who may tell of payments, and how they become messages.
pub(crate) struct Payments {
    bus: Bus,
    standard: Option<SecretFile<Secrets<Secret>>>,
    stripe: Option<SecretFile<Secrets<stripe::Secret>>>,
    room: Semaphore,
}

/// Which of the two ways a webhook comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// By the specification Standard Webhooks.
    Standard,
    /// As Stripe sends them.
    Stripe,
}

impl Way {
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Standard => "/api/payments/webhook",
            Self::Stripe => "/api/payments/stripe",
        }
    }

    /// Its name in metrics, and in the source of messages.
    const fn name(self) -> &'static str {
        match self {
            Self::Standard => "webhook",
            Self::Stripe => "stripe",
        }
    }
}

/// A webhook with a valid signature.
struct Verified {
    /// The same on every attempt to deliver it.
    id: String,
    payment: Payment,
}

impl Payments {
    pub(crate) fn open(settings: &PaymentSecrets, bus: Bus) -> Result<Self, InvalidSetting> {
        Ok(Self {
            bus,
            standard: settings.standard()?,
            stripe: settings.stripe()?,
            room: Semaphore::new(AT_ONCE),
        })
    }

    /// Whether webhooks may come this way.
    pub(crate) fn takes(&self, way: Way) -> bool {
        match way {
            Way::Standard => self.standard.is_some(),
            Way::Stripe => self.stripe.is_some(),
        }
    }

    /// Takes a webhook: true once its message is stored, false if it says nothing of a payment here.
    pub(crate) async fn receive(
        &self,
        way: Way,
        trace: TraceContext,
        limits: &Limits,
        headers: &HeaderMap,
        body: JsonBody,
    ) -> Result<bool, Problem> {
        let taken = self.take(way, trace, limits, headers, body).await;
        let outcome = match &taken {
            Ok(true) => "accepted",
            Ok(false) => "ignored",
            Err(problem) => problem.kind(),
        };
        counter!(PAYMENT_WEBHOOKS, "way" => way.name(), "outcome" => outcome).increment(1);
        taken
    }

    async fn take(
        &self,
        way: Way,
        trace: TraceContext,
        limits: &Limits,
        headers: &HeaderMap,
        body: JsonBody,
    ) -> Result<bool, Problem> {
        // Nobody can make the edge verify without end.
        limits.may_try(headers).await?;
        let Some(Verified { id, payment }) = self.verify(way, limits, headers, body)? else {
            debug!("a webhook says nothing of a payment of an order");
            return Ok(false);
        };
        name_tenant(payment.tenant_id());
        name_order(payment.order_id());
        let Ok(_permit) = self.room.try_acquire() else {
            return Err(Problem::overloaded("Too many payments at once, try again"));
        };
        let message = message(way, &id, payment, trace);
        self.bus.publish(message).await.map_err(not_stored)?;
        Ok(true)
    }

    /// Reads a webhook whose signature is valid, and nothing of any other.
    fn verify(
        &self,
        way: Way,
        limits: &Limits,
        headers: &HeaderMap,
        body: JsonBody,
    ) -> Result<Option<Verified>, Problem> {
        let now = Timestamp::now().millis().div_euclid(1_000);
        let signed = body.as_sent()?;
        let refuse = |refused| refuse(refused, way, limits, headers);
        match way {
            Way::Standard => {
                let secrets = self.standard.as_ref().map(SecretFile::get);
                let secrets = secrets
                    .as_deref()
                    .map_or(&[][..], |Secrets(secrets)| secrets);
                let id = standard::verify(headers, signed, secrets, now).map_err(refuse)?;
                let read = body.parse(|bytes| PaymentWebhook::parse(bytes).inspect_err(malformed));
                Ok(read?.map(|webhook| Verified {
                    id,
                    payment: webhook.payment(),
                }))
            }
            Way::Stripe => {
                let secrets = self.stripe.as_ref().map(SecretFile::get);
                let secrets = secrets
                    .as_deref()
                    .map_or(&[][..], |Secrets(secrets)| secrets);
                stripe::verify(headers, signed, secrets, now).map_err(refuse)?;
                let read = body.parse(|bytes| StripeEvent::parse(bytes).inspect_err(malformed));
                Ok(read?.map(|event| Verified {
                    id: event.id.to_string(),
                    payment: event.payment,
                }))
            }
        }
    }
}

/// Whoever sends it has a secret, so an operator should hear of it.
fn malformed(Invalid(faults): &Invalid) {
    static LINES: Seldom = Seldom::new();
    LINES.say(|unsaid| {
        let faults: Vec<String> = faults.iter().map(FieldError::for_log).collect();
        warn!(
            unsaid,
            "a webhook of a payment is malformed: {}",
            faults.join("; ")
        );
    });
}

fn refuse(refused: Refused, way: Way, limits: &Limits, headers: &HeaderMap) -> Problem {
    static LINES: Seldom = Seldom::new();
    let path = way.path();
    LINES.say(|unsaid| info!(unsaid, "{path}: a webhook was refused: {refused}"));
    match refused {
        Refused::Unsigned => {
            limits.note_failure(headers);
            Problem::unauthorized("The signature is missing or not valid")
        }
        Refused::Stale => Problem::stale(),
    }
}

fn not_stored(error: Error) -> Problem {
    if matches!(error, Error::Disconnected) {
        // The bus has logged it, once.
        debug!("a payment was not published: {error}");
        return Problem::unavailable("The payment was not accepted, send the webhook again");
    }
    static LINES: Seldom = Seldom::new();
    LINES.say(|unsaid| warn!(unsaid, "a payment may not be stored: {}", chain(&error)));
    Problem::unavailable(
        "The payment may or may not be accepted; sending the webhook again is safe",
    )
}
