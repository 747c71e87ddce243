//! The dead letters that a command is about, and how they are listed.

use std::{collections::BTreeSet, fmt};

use anyhow::{Result, bail};
use orders_bus::{DeadLetterFilter, Operator};
use orders_contracts::{DeadLetter, TenantId};

use crate::{
    Context,
    output::{cut, row, shown},
};

/// The columns of the list, and the indentation of the second line of each dead letter.
const COLUMNS: [usize; 5] = [8, 19, 17, 13, 15];
const INDENT: usize = 10;
const WIDTH: usize = 80;
/// The head of the list.
pub(super) const HEAD: &str =
    "SEQUENCE  GIVEN UP (UTC)       DAEMON             REASON         TENANT";

/// Dead letters that existed when this was created.
pub(super) struct Letters<'a> {
    context: &'a Context,
    bus: &'a Operator,
    choice: Choice,
    /// The newest dead letter at that time.
    pub(super) up_to: u64,
}

enum Choice {
    Matching(DeadLetterFilter),
    These(Vec<DeadLetter>),
}

impl<'a> Letters<'a> {
    /// Those that match `filter`.
    pub(super) async fn matching(
        context: &'a Context,
        bus: &'a Operator,
        filter: DeadLetterFilter,
    ) -> Result<Self> {
        Ok(Self {
            context,
            bus,
            choice: Choice::Matching(filter),
            up_to: bus.last_dead_letter().await?,
        })
    }

    /// Those with these sequences; it is an error if one does not exist.
    pub(super) async fn numbered(
        context: &'a Context,
        bus: &'a Operator,
        sequences: BTreeSet<u64>,
    ) -> Result<Self> {
        let up_to = bus.last_dead_letter().await?;
        let (mut found, mut unknown) = (Vec::new(), Vec::new());
        for sequence in sequences {
            match bus.dead_letter(sequence).await? {
                Some(content) => found.push(content.letter),
                None => unknown.push(sequence.to_string()),
            }
        }
        if !unknown.is_empty() {
            bail!("no dead letter {}", unknown.join(", "));
        }
        Ok(Self {
            context,
            bus,
            choice: Choice::These(found),
            up_to,
        })
    }

    /// Calls `handle` with each page; false if Ctrl-C came first.
    pub(super) async fn each_page(
        &self,
        mut handle: impl AsyncFnMut(Vec<DeadLetter>) -> Result<()>,
    ) -> Result<bool> {
        match &self.choice {
            Choice::These(letters) => handle(letters.clone()).await?,
            Choice::Matching(filter) => {
                let mut reached = 0;
                while reached < self.up_to && !self.context.stop.is_cancelled() {
                    let page = self.bus.dead_letters(filter, reached, self.up_to).await?;
                    reached = page.reached;
                    handle(page.letters).await?;
                }
            }
        }
        Ok(!self.context.stop.is_cancelled())
    }
}

/// A dead letter as two lines of the list.
pub(super) struct Line<'a>(pub(super) &'a DeadLetter);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = self.0;
        let [sequence, time, daemon, reason, tenant] = COLUMNS;
        let cells = [
            (sequence, format!("{:>sequence$}", letter.sequence)),
            (time, shown(letter.time)),
            (daemon, letter.daemon.clone()),
            (reason, letter.reason.clone()),
            (
                tenant,
                letter
                    .tenant
                    .as_ref()
                    .map_or("~", TenantId::as_str)
                    .to_owned(),
            ),
        ];
        let cells = cells
            .each_ref()
            .map(|(width, text)| (*width, text.as_str()));
        writeln!(f, "{}", row(&cells))?;
        let order = letter
            .order_id
            .as_deref()
            .unwrap_or(&letter.original_position);
        let again = letter
            .redrive_of
            .map_or_else(String::new, |sequence| format!(" (redriven as {sequence})"));
        let why = format!("{order}{again}: {}", letter.error);
        write!(f, "{:INDENT$}{}", "", cut(&why, WIDTH - INDENT))
    }
}
