//! Shared by the HTTP services: [`Front`] finds out who calls and by which host, [`Forward`] forwards requests to another
//! service, [`observe`] traces, logs and counts requests, [`Intake`] reads their bodies within bounds, and
//! [`discard_unread`] drains those that nobody reads.

mod access;
mod correlation;
mod firsts;
mod forward;
mod front;
mod intake;
mod misdirected;
mod observe;
mod origin;
mod prefix;
mod proxies;
mod unread;

pub use access::{Access, PublicUrl};
pub use correlation::CorrelationId;
pub use firsts::Firsts;
pub use forward::{Forward, Unanswered, Until};
pub use front::{Front, Misdirected, is_local, is_secure, reached};
pub use intake::{Intake, Unread, Whole};
pub use misdirected::refuse_misdirected;
pub use observe::{Arrived, name_order, name_tenant, observe};
pub use origin::{Origin, Origins};
pub use prefix::{below, prefix};
pub use proxies::TrustedProxies;
pub use unread::discard_unread;
