//! `dlq`: dead letters.

use anyhow::Result;
use clap::Subcommand;

use crate::{Context, Verdict};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// List dead letters
    List,
}

pub(crate) async fn run(_context: &Context, _command: Command) -> Result<Verdict> {
    todo!("not written yet")
}
