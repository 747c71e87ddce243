//! `projection`: the list against the truth.

use anyhow::Result;
use clap::Subcommand;

use crate::{Context, Verdict};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Compare
    Verify,
    /// Rebuild
    Rebuild,
}

pub(crate) async fn run(_context: &Context, _command: Command) -> Result<Verdict> {
    todo!("not written yet")
}
