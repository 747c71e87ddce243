//! `migrate`.

use anyhow::Result;
use clap::Args;

use crate::{Context, Verdict};

/// Create or update indexes and streams
#[derive(Args)]
pub(crate) struct Options {}

pub(crate) async fn run(_context: &Context, _options: Options) -> Result<Verdict> {
    todo!("not written yet")
}
