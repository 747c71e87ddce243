use anyhow::Result;
use clap::Args;
use serde_json::json;

use crate::{Context, Verdict};

/// Make the bucket ready: that it exists, keeps versions, and takes files from the pages
///
/// Changes nothing that is there already, so it may be run again. The key in ORDERS_UPLOADS__ACCESS_KEY_FILE must be
/// allowed to do all this. Encryption, and that the public has no access, stay the storage's own defaults.
#[derive(Args)]
pub(crate) struct Options {
    /// An origin whose pages may send files, such as https://shop.example; may be given several times
    #[arg(long, value_name = "ORIGIN")]
    origin: Vec<String>,
    /// Whose key the edge has: an ARN, or with other storages the name of the user. It may do what an edge needs, by a policy
    /// that replaces the bucket's
    #[arg(long, value_name = "PRINCIPAL")]
    edge: Option<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Result<Verdict> {
    let storage = context.storage()?;
    let prepared = storage
        .prepare(&options.origin, options.edge.as_deref())
        .await?;
    for done in &prepared.done {
        context.output.line(done, &json!({ "done": done }));
    }
    for unknown in &prepared.unknown {
        context.output.line(
            format_args!("this storage has no requests for {unknown}: see its own documents"),
            &json!({ "unknown": unknown }),
        );
    }
    Ok(match prepared.unknown.is_empty() {
        true => Verdict::Fine,
        false => Verdict::Found,
    })
}
