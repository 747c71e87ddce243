//! `reconcile`.

use anyhow::Result;
use clap::Args;

use crate::{Context, Verdict};

/// Find and mend orders whose event, projection or payment never happened
#[derive(Args)]
pub(crate) struct Options {}

pub(crate) async fn run(_context: &Context, _options: Options) -> Result<Verdict> {
    todo!("not written yet")
}
