//! The contracts of the orders pipeline: everything that crosses a process boundary, and nothing else.
//!
//! * [`CreateOrder`] and [`CancelOrder`] are commands; only their `parse` and `read` make them, so every value is valid, in
//!   the edge as in the writer.
//! * The streams carry [`OrderEvent`], [`OrderPaid`], [`PaymentFailed`] and [`FeedEntry`]; the edge receives [`Reply`].
//! * [`PaymentWebhook`] and [`StripeEvent`] tell of payments from outside.
//! * [`Body`] reads the body of a message and checks it against its [`Envelope`].
//! * The HTTP API reads [`query`], answers [`OrderList`], [`OrderRow`], [`OrderDetails`], [`OrderRef`], [`OrderState`] and
//!   [`ProblemDetails`], and names its headers in [`http_header`].
//! * Socket.IO clients receive [`socket`] events, followers by plain HTTP [`sse`] events; both resume from an [`Offset`].
//! * Operators read a [`DeadLetter`]; an [`AuditEntry`] records what they do. [`DaemonHealth`] is what a daemon tells them
//!   about itself.
//! * [`Whose`] tells whether a message holds the data of a buyer or of a tenant.
//! * A [`Revocation`] says of something [`Revocable`] that its tokens are refused.
//! * [`Metadata`] is the header part of every message: CloudEvents 1.0 (binary mode) and W3C trace context.
//! * [`Subject`] is built from typed ids only; [`streams`] declares streams and durable consumers, and a [`Deployment`]
//!   is what an installation chooses for them. [`Permissions`] is what each [`Role`] may do on NATS.
//!
//! No I/O, no async, no driver types.

mod audit;
mod body;
mod command;
mod currency;
mod dead_letter;
mod deployment;
mod details;
mod email;
mod event;
mod filter;
mod health;
mod http;
pub mod http_header;
mod ids;
mod input;
mod metadata;
mod money;
mod newer;
mod offset;
mod payment;
mod period;
mod permissions;
mod personal;
pub mod query;
mod reply;
mod revocation;
mod row;
mod schema;
pub mod socket;
pub mod sse;
pub mod streams;
mod subject;
mod timestamp;
mod trace;
mod unsaid;
mod upload;

pub use audit::{AuditAction, AuditEntry, AuditResult, Erasure};
pub use body::{Body, Envelope, OrderCommand};
pub use command::{Buyer, CancelOrder, CreateOrder, Item, MAX_ITEMS};
pub use currency::Currency;
pub use dead_letter::DeadLetter;
pub use deployment::{
    Deployment, LogLimits, Namespace, PaymentSettings, QueueLimits, StreamSettings,
};
pub use details::{OrderBuyer, OrderDetails, OrderFile, OrderItem, OrderLine, StatusChange};
pub use email::canonical_email;
pub use event::{FeedEntry, OrderEvent, OrderSnapshot};
pub use health::DaemonHealth;
pub use http::{
    Fault, OrderList, OrderRef, OrderState, PaymentAnswer, PresignedUpload, ProblemDetails,
    ReceivedUpload, TotalRelation,
};
pub use ids::{
    CommandId, InstallationId, OrderId, PaymentText, ReplyTo, RequestId, TenantId, Unparsable,
};
pub use input::{FieldError, Invalid, is_email};
pub use metadata::{Metadata, header};
pub use money::{InvalidMoney, Money};
pub use newer::may_be_newer;
pub use offset::Offset;
pub use payment::{
    OrderPaid, Payment, PaymentData, PaymentFailed, PaymentKind, PaymentWebhook, StripeEvent,
};
pub use permissions::{HEALTH_INBOX, Permissions, Role, TAP_SUBSCRIPTIONS};
pub use personal::{Person, StoredMessage, Whose};
pub use reply::{Answer, Refusal, Reply};
pub use revocation::{Claim, ClaimHash, Revocable, Revocation};
pub use row::{AttachmentRef, OrderRow, Status};
pub use schema::schema_settings;
pub use subject::{Channel, Subject};
pub use timestamp::Timestamp;
pub use trace::TraceContext;
pub use unsaid::without_value;
pub use upload::{Attachment, PresignUpload};
