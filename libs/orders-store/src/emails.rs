//! Rows of version 0.1 have e-mail addresses as they were sent; filters look for their canonical form.

use mongodb::bson::{RawDocumentBuf, doc};
use orders_contracts::{Timestamp, canonical_email};

use crate::{
    Checkpoint, Error, Store,
    key::by_id,
    operation::{SCAN_DEADLINE, read, write_all},
};

/// The name of the work in its checkpoint, which stays when the work is done.
const WORK: &str = "canonical e-mail addresses";
/// Behind every order's id.
const END: &str = "~";
/// How many rows are read at once.
const PAGE: u64 = 1_000;

impl Store {
    /// Whether the e-mail addresses of all rows are known to be in their [canonical form](canonical_email).
    pub async fn has_canonical_emails(&self) -> Result<bool, Error> {
        let checkpoint = self.checkpoints().load(WORK).await?;
        Ok(checkpoint.is_some_and(|checkpoint| checkpoint.reached == END))
    }

    /// Brings the e-mail addresses of all rows into their canonical form; how many rows it changed. After an interruption,
    /// the next call goes on where this one was, in any process; when all is done, calls do nothing. Rows that change
    /// meanwhile stay as they are.
    pub async fn canonicalise_emails(&self) -> Result<u64, Error> {
        let checkpoints = self.checkpoints();
        let checkpoint = checkpoints.load(WORK).await?;
        let mut reached = checkpoint.map_or_else(String::new, |checkpoint| checkpoint.reached);
        let mut changed = 0;
        while reached != END {
            let (count, end) = self.canonicalise_page(&reached).await?;
            changed += count;
            reached = end;
            let checkpoint = Checkpoint {
                work: WORK.to_owned(),
                reached: reached.clone(),
                at: Timestamp::now(),
            };
            checkpoints.save(&checkpoint).await?;
        }
        Ok(changed)
    }

    /// Changes the rows of the page behind `after`; how many, and where it ends.
    async fn canonicalise_page(&self, after: &str) -> Result<(u64, String), Error> {
        let rows = self.read_model().rows();
        let documents = rows.clone_with_type::<RawDocumentBuf>();
        let find = documents
            .find(doc! { "_id": { "$gt": after, "$lt": END } })
            .projection(doc! { "buyerEmail": 1 })
            .sort(doc! { "_id": 1 })
            .hint(by_id());
        let page = read(SCAN_DEADLINE, find, PAGE).await?;
        let mut statements = Vec::new();
        for row in &page {
            // Without either it is no row of ours.
            let (Ok(id), Ok(email)) = (row.get_str("_id"), row.get_str("buyerEmail")) else {
                continue;
            };
            let canonical = canonical_email(email);
            if canonical != email {
                statements.push(doc! {
                    "q": { "_id": id, "buyerEmail": email },
                    "u": { "$set": { "buyerEmail": canonical } },
                });
            }
        }
        let is_full = page.len() as u64 == PAGE;
        let last = page.last().filter(|_| is_full);
        let end = last.and_then(|row| row.get_str("_id").ok()).unwrap_or(END);
        let changed = write_all(&rows, "update", "updates", statements).await?;
        Ok((changed, end.to_owned()))
    }
}
