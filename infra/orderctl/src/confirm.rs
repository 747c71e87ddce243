//! How every command that changes something is confirmed.

use std::io::{IsTerminal as _, stdin};

use anyhow::{Result, bail};
use clap::Args;
use tokio::sync::oneshot;

use crate::{Context, Verdict};

#[derive(Args)]
pub(crate) struct Confirm {
    /// Do not ask for confirmation
    #[arg(long, short)]
    yes: bool,
    /// Only report what would be done; exit code 1 if there is anything to do
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
}

impl Confirm {
    pub(crate) const fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    /// Asks `question`, unless the operator has answered it already. `Err` is the verdict with which the command ends,
    /// having changed nothing.
    ///
    /// Without a terminal it fails, so nothing is changed unasked.
    pub(crate) async fn ask(
        &self,
        context: &Context,
        question: &str,
    ) -> Result<Result<(), Verdict>> {
        if self.yes {
            return Ok(Ok(()));
        }
        if self.dry_run {
            return Ok(Err(Verdict::Found));
        }
        if !stdin().is_terminal() {
            bail!("cannot ask without a terminal; pass --yes to answer \"{question}?\"");
        }
        eprint!("{question}? [y/N] ");
        let (answer, answered) = oneshot::channel();
        // A thread of its own: a read of the terminal cannot be cancelled, and must not delay the exit.
        std::thread::spawn(move || {
            let mut line = String::new();
            let _ = stdin().read_line(&mut line);
            let _ = answer.send(line);
        });
        Ok(match context.stop.run_until_cancelled(answered).await {
            Some(Ok(line)) if matches!(line.trim(), "y" | "Y" | "yes") => Ok(()),
            Some(_) => {
                context.output.note("Nothing was done.");
                Err(Verdict::Found)
            }
            None => Err(Verdict::Interrupted),
        })
    }
}
