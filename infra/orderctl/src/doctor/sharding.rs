//! Whether a sharded database has its orders where their batches look for them.

use orders_service::chain;
use orders_store::{Error, ShardKey, ShardedCollection, Store};

use super::report::{Diagnosis, Report};

/// Says nothing of a database that is not sharded.
pub(super) async fn judge(store: &Store, report: &mut Report<'_>) {
    match store.sharding().await {
        Ok(None) => {}
        Ok(Some(collections)) => {
            for collection in &collections {
                let check = format!("sharding of {}", collection.name);
                report.add(&check, diagnosis(collection));
            }
        }
        Err(error) => report.add("sharding", unknown(&error)),
    }
}

fn unknown(error: &Error) -> Diagnosis {
    let found = format!("cannot be told: {}", chain(error));
    Diagnosis::yellow(
        found,
        "give the user of orderctl the role clusterMonitor in admin",
    )
}

fn diagnosis(collection: &ShardedCollection) -> Diagnosis {
    let ShardedCollection {
        name,
        declared,
        key,
        broadcasts,
    } = collection;
    let script = "run infra/mongo/shard.js with mongosh";
    match key {
        ShardKey::None => Diagnosis::yellow(
            "not sharded: all its orders are on one shard",
            format!("{script}, to shard it by {declared}"),
        ),
        ShardKey::Other(key) => Diagnosis::red(
            format!("sharded by {key}, but batches look for {declared}"),
            format!("reshard it: sh.reshardCollection(\"DATABASE.{name}\", {declared})"),
        ),
        _ if !broadcasts.is_empty() => Diagnosis::red(
            format!(
                "what one tenant's orders need asks several shards: {}",
                broadcasts.join(", ")
            ),
            "upgrade MongoDB, or report a bug: these filters name the tenant",
        ),
        ShardKey::Tenant => Diagnosis::yellow(
            "sharded by tenant: all orders of a tenant are on one shard",
            format!("{script}, which refines the key to {declared}"),
        ),
        ShardKey::AsDeclared => Diagnosis::green(format!("by {declared}, one shard asked")),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::report::Colour, *};

    #[test]
    fn a_collection_is_sharded_as_declared_or_there_is_a_remedy() {
        let of = |key, broadcasts: &[&'static str]| {
            diagnosis(&ShardedCollection {
                name: "orders_read",
                declared: "{ tenantId: 1, orderId: 1 }".to_owned(),
                key,
                broadcasts: broadcasts.to_vec(),
            })
        };
        for (key, broadcasts, colour, said) in [
            (
                ShardKey::AsDeclared,
                &[][..],
                Colour::Green,
                "by { tenantId: 1, orderId: 1 }",
            ),
            (
                ShardKey::AsDeclared,
                &["list"],
                Colour::Red,
                "several shards: list",
            ),
            (ShardKey::Tenant, &[], Colour::Yellow, "on one shard"),
            (
                ShardKey::Tenant,
                &["list", "update rows"],
                Colour::Red,
                "list, update rows",
            ),
            (ShardKey::None, &[], Colour::Yellow, "not sharded"),
            (
                ShardKey::Other("{ _id: 1 }".to_owned()),
                &["list"],
                Colour::Red,
                "by { _id: 1 }",
            ),
        ] {
            let diagnosis = of(key, broadcasts);
            assert_eq!(diagnosis.colour, colour, "{diagnosis:?}");
            assert!(diagnosis.found.contains(said), "{diagnosis:?}");
        }
    }
}
