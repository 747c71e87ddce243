//! The contracts of the orders pipeline: everything that crosses a process boundary, and nothing else.
//!
//! * [`CreateOrder`] and [`CancelOrder`] are commands; they come into being only through their `parse`, so a value
//!   of theirs is always valid, at the edge as in the writer.
//! * [`OrderEvent`], [`OrderPaid`] and [`FeedEntry`] are what the streams carry; [`Reply`] is what the edge is told.
//! * [`Body`] reads the body of a message and checks it against its [`Envelope`].
//! * [`OrderList`], [`OrderRow`], [`OrderRef`] and [`ProblemDetails`] are what the HTTP API answers.
//! * [`Metadata`] is the header part of every message: CloudEvents 1.0 (binary mode) and W3C trace context.
//! * [`Subject`] can be built from typed ids only; [`streams`] declares streams and durable consumers.
//!
//! No I/O, no async, no driver types.

mod body;
mod command;
mod event;
mod http;
mod ids;
mod input;
mod metadata;
mod money;
mod reply;
mod row;
pub mod streams;
mod subject;
mod timestamp;
mod trace;

pub use body::{Body, Envelope, OrderCommand};
pub use command::{Attachment, Buyer, CancelOrder, CreateOrder, Item, MAX_ITEMS, PresignUpload};
pub use event::{FeedEntry, OrderEvent, OrderPaid};
pub use http::{Fault, OrderList, OrderRef, ProblemDetails, TotalRelation};
pub use ids::{CommandId, InvalidId, OrderId, ReplyTo, RequestId, TenantId};
pub use input::{FieldError, Invalid, is_email};
pub use metadata::{Metadata, MetadataError, header};
pub use money::{InvalidMoney, Money};
pub use reply::{Answer, Refusal, Reply};
pub use row::{AttachmentRef, OrderRow, Status};
pub use subject::{Channel, Subject};
pub use timestamp::Timestamp;
pub use trace::TraceContext;
