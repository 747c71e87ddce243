//! `doctor`.

use anyhow::Result;
use clap::Args;

use crate::{Context, Verdict};

/// Check everything: green, or a remedy, for each line
#[derive(Args)]
pub(crate) struct Options {}

pub(crate) async fn run(_context: &Context, _options: Options) -> Result<Verdict> {
    todo!("not written yet")
}
