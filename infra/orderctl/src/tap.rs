//! `tap`.

use anyhow::Result;
use clap::Args;

use crate::{Context, Verdict};

/// Follow one order or tenant across all streams
#[derive(Args)]
pub(crate) struct Options {}

pub(crate) async fn run(_context: &Context, _options: Options) -> Result<Verdict> {
    todo!("not written yet")
}
