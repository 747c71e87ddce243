//! Uploaded files in an S3 bucket. The only crate that knows rusty-s3.
//!
//! * [`UploadSettings`] says whether uploads are a mock or go to a bucket; [`Storage`] is that bucket.
//! * A [`StorageKey`] is made by [`StorageKey::fresh`] or read by [`StorageKey::parse`], which takes no other shape, so a
//!   client's text leads to no other tenant's files and to nothing else in the bucket.
//! * [`Storage::presign_put`] and [`Storage::presign_get`] sign URLs for clients; everything else is a request of ours,
//!   with a deadline.
//! * [`Clamd`] scans a file, and [`Storage::tag`] says so in the bucket.

mod bucket;
mod clamd;
mod client;
mod content_type;
mod error;
mod key;
mod list;
mod prepare;
mod scan;
mod secret;
mod settings;
mod stored;
mod xml;

pub use self::{
    bucket::{Presigned, Storage, ToSend},
    clamd::{Clamd, Scanned},
    content_type::MediaTypes,
    error::Error,
    key::StorageKey,
    list::{Entry, Listing},
    prepare::Prepared,
    scan::Verdict,
    settings::{Endpoint, Mode, Scan, UploadSettings},
    stored::Stored,
};
