//! `uploads`: the bucket of uploaded files.

mod init;
mod scan;
mod sweep;

use anyhow::Result;
use clap::Subcommand;

use crate::{Context, Verdict};

#[derive(Subcommand)]
pub(crate) enum Command {
    Init(init::Options),
    Sweep(sweep::Options),
    Scan(scan::Options),
}

pub(crate) async fn run(context: &Context, command: Command) -> Result<Verdict> {
    match command {
        Command::Init(options) => init::run(context, options).await,
        Command::Sweep(options) => sweep::run(context, options).await,
        Command::Scan(options) => scan::run(context, options).await,
    }
}
