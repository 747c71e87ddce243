use mongodb::{
    Collection,
    bson::{Document, doc},
};
use orders_contracts::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    Error,
    connection::Connection,
    document::Date,
    operation::{DEADLINE, within},
};

/// The collection `orders_checkpoints`: how far long work of an operator has got. It is in the database and not in a
/// file, so that another machine can go on with it.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    pub(crate) connection: Connection,
}

/// How far a piece of work has got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Which work.
    #[serde(rename = "_id")]
    pub work: String,
    /// The id up to which all is done.
    pub reached: String,
    /// When that was.
    #[serde(with = "Date")]
    pub at: Timestamp,
}

impl Checkpoints {
    fn checkpoints(&self) -> Collection<Checkpoint> {
        self.connection.collection("orders_checkpoints")
    }

    /// How far `work` has got; `None` when it was never begun, or is finished.
    pub async fn load(&self, work: &str) -> Result<Option<Checkpoint>, Error> {
        within(DEADLINE, self.checkpoints().find_one(named(work))).await
    }

    /// Keeps how far a piece of work has got.
    pub async fn save(&self, checkpoint: &Checkpoint) -> Result<(), Error> {
        let checkpoints = self.checkpoints();
        let replace = checkpoints
            .replace_one(named(&checkpoint.work), checkpoint)
            .upsert(true);
        within(DEADLINE, replace).await.map(drop)
    }

    /// Forgets `work`: it is finished.
    pub async fn remove(&self, work: &str) -> Result<(), Error> {
        within(DEADLINE, self.checkpoints().delete_one(named(work)))
            .await
            .map(drop)
    }
}

fn named(work: &str) -> Document {
    doc! { "_id": work }
}
