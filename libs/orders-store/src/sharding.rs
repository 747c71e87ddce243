//! Whether a sharded database has its orders where their batches look for them.
//!
//! Nothing here was tried against a sharded MongoDB: what it answers is as its manual says.

use mongodb::{
    Database,
    bson::{Document, doc},
};
use orders_contracts::{OrderId, Status, TenantId};
use orders_domain::projection::Change;

use crate::{
    Error, Store,
    key::{OrderKey, any_of},
    operation::{DEADLINE, within},
    read_model::advance_to,
    write_model::pending,
};

/// By what the collections are to be sharded, as `infra/mongo/shard.js` does it: by ranges, because a unique index must
/// begin with the shard key.
const KEYS: [(&str, [&str; 2]); 2] = [
    ("orders_write", ["tenantId", "requestId"]),
    ("orders_read", ["tenantId", "orderId"]),
];

/// A collection of a sharded database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardedCollection {
    /// Its name.
    pub name: &'static str,
    /// By what it is to be sharded.
    pub declared: String,
    /// By what it is sharded.
    pub key: ShardKey,
    /// The operations on the orders of one tenant that ask several shards.
    pub broadcasts: Vec<&'static str>,
}

/// By what a collection is sharded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShardKey {
    /// As it is declared.
    AsDeclared,
    /// By the tenant alone: all orders of a tenant are on one shard.
    Tenant,
    /// By something else.
    Other(String),
    /// Not at all.
    None,
}

impl Store {
    /// The two collections; `None` if the database is not sharded.
    pub async fn sharding(&self) -> Result<Option<[ShardedCollection; 2]>, Error> {
        let database = self.connection.database();
        let hello = within(DEADLINE, database.run_command(doc! { "hello": 1 })).await?;
        if !is_router(&hello) {
            return Ok(None);
        }
        let [(orders, order_key), (rows, row_key)] = KEYS;
        Ok(Some([
            look_at(&database, orders, order_key, of_orders(orders)).await?,
            look_at(&database, rows, row_key, of_rows(rows)).await?,
        ]))
    }
}

async fn look_at(
    database: &Database,
    name: &'static str,
    declared: [&str; 2],
    operations: Vec<(&'static str, Document)>,
) -> Result<ShardedCollection, Error> {
    let collections = database
        .client()
        .database("config")
        .collection::<Document>("collections");
    let namespace = format!("{}.{name}", database.name());
    let entry = within(DEADLINE, collections.find_one(doc! { "_id": namespace })).await?;
    let mut broadcasts = Vec::new();
    for (operation, command) in operations {
        let explain = doc! { "explain": command, "verbosity": "queryPlanner" };
        let explained = within(DEADLINE, database.run_command(explain)).await?;
        if shards_of(&explained)? > 1 {
            broadcasts.push(operation);
        }
    }
    Ok(ShardedCollection {
        name,
        declared: text_of(&key_of(declared)),
        key: judge(entry.as_ref(), declared),
        broadcasts,
    })
}

/// Whether the server that answered `hello` so is a `mongos`.
fn is_router(hello: &Document) -> bool {
    hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid")
}

/// By what a collection is sharded that has this entry in `config.collections`.
fn judge(entry: Option<&Document>, declared: [&str; 2]) -> ShardKey {
    let is = |flag: &str| entry.is_some_and(|entry| entry.get_bool(flag).unwrap_or(false));
    let key = entry.and_then(|entry| entry.get_document("key").ok());
    let Some(key) = key.filter(|_| !is("dropped") && !is("unsplittable")) else {
        return ShardKey::None;
    };
    // A shell writes their directions as floats.
    let is_range = |(_, direction): (&String, &mongodb::bson::Bson)| {
        direction.as_i32() == Some(1) || direction.as_f64() == Some(1.0)
    };
    let fields: Vec<&str> = key.keys().map(String::as_str).collect();
    match key.iter().all(is_range) {
        true if fields == declared => ShardKey::AsDeclared,
        true if fields == declared[..1] => ShardKey::Tenant,
        _ => ShardKey::Other(text_of(key)),
    }
}

fn key_of(fields: [&str; 2]) -> Document {
    let fields = fields.into_iter();
    fields.map(|field| (field.to_owned(), 1.into())).collect()
}

/// As `{ tenantId: 1, orderId: 1 }`.
fn text_of(key: &Document) -> String {
    let fields: Vec<_> = key
        .iter()
        .map(|(field, direction)| format!("{field}: {direction}"))
        .collect();
    format!("{{ {} }}", fields.join(", "))
}

/// How many shards an operation asks that a `mongos` explained so.
fn shards_of(explained: &Document) -> Result<usize, Error> {
    let plan = explained
        .get_document("queryPlanner")
        .and_then(|planner| planner.get_document("winningPlan"));
    let shards = plan.and_then(|plan| plan.get_array("shards"));
    shards
        .map(Vec::len)
        .map_err(|error| Error::refused(error).about("explain does not tell the shards"))
}

/// An order of a tenant that does not exist: no two shards can share it, as a chunk ends only where there are orders.
fn nobody() -> (TenantId, OrderId) {
    let tenant: TenantId = format!("doctor-{}", uuid::Uuid::new_v4())
        .parse()
        .expect("letters, digits and -");
    let request = "doctor".parse().expect("a text");
    let id = OrderId::derive(&tenant, &request);
    (tenant, id)
}

/// What the daemons do with orders.
fn of_orders(name: &str) -> Vec<(&'static str, Document)> {
    let (tenant, order_id) = &nobody();
    let keys = [OrderKey { tenant, order_id }];
    let moved = doc! { "$set": { "status": Status::Paid.as_str() } };
    let statement = doc! { "q": pending(&keys), "u": moved, "multi": true };
    vec![
        (
            "load orders",
            doc! { "find": name, "filter": any_of(&keys) },
        ),
        (
            "move orders",
            doc! { "update": name, "updates": [statement] },
        ),
    ]
}

/// What the daemons do with rows.
fn of_rows(name: &str) -> Vec<(&'static str, Document)> {
    let (tenant, order_id) = &nobody();
    let keys = [OrderKey { tenant, order_id }];
    let change = Change {
        version: 2,
        status: Status::Paid,
    };
    let statement = advance_to(change, tenant, &[order_id.as_str()]);
    let list = doc! { "tenantId": tenant.as_str() };
    let newest = doc! { "createdAt": -1, "orderId": -1 };
    vec![
        (
            "read versions",
            doc! { "find": name, "filter": any_of(&keys) },
        ),
        (
            "update rows",
            doc! { "update": name, "updates": [statement] },
        ),
        (
            "list",
            doc! { "find": name, "filter": list, "sort": newest, "limit": 10 },
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What explain answers for a sharded collection, as MongoDB's manual shows it.
    fn explained(stage: &str, shards: &[&str]) -> Document {
        let shards: Vec<Document> = shards
            .iter()
            .map(|shard| {
                doc! {
                    "shardName": shard, "connectionString": format!("{shard}/{shard}-1:27018"),
                    "serverInfo": { "host": format!("{shard}-1"), "port": 27018, "version": "8.0.4" },
                    "namespace": "orders.orders_write", "indexFilterSet": false,
                    "parsedQuery": { "tenantId": { "$eq": "t" } },
                    "winningPlan": {
                        "stage": "FETCH",
                        "inputStage": { "stage": "IXSCAN", "keyPattern": { "_id": 1 }, "indexName": "_id_" },
                    },
                    "rejectedPlans": [],
                }
            })
            .collect();
        doc! {
            "queryPlanner": { "mongosPlannerVersion": 1, "winningPlan": { "stage": stage, "shards": shards } },
            "ok": 1.0,
        }
    }

    #[test]
    fn an_explained_operation_tells_how_many_shards_it_asks() {
        for (stage, shards, count) in [
            ("SINGLE_SHARD", &["a"][..], 1),
            ("SHARD_MERGE", &["a", "b"], 2),
            ("SHARD_MERGE_SORT", &["a", "b", "c"], 3),
            ("SHARD_WRITE", &["a"], 1),
            ("SHARD_WRITE", &["a", "b"], 2),
        ] {
            let found = shards_of(&explained(stage, shards)).unwrap();
            assert_eq!(found, count, "{stage}");
        }
        let standalone =
            doc! { "queryPlanner": { "winningPlan": { "stage": "IDHACK" } }, "ok": 1.0 };
        assert!(!shards_of(&standalone).unwrap_err().is_transient());
        assert!(shards_of(&doc! { "ok": 1.0 }).is_err());
    }

    #[test]
    fn a_shard_key_is_as_declared_or_named() {
        let entry = |key: Document| {
            doc! { "_id": "orders.orders_write", "lastmodEpoch": "e", "key": key, "unique": true }
        };
        let declared = ["tenantId", "requestId"];
        let other = |key: &str| ShardKey::Other(key.to_owned());
        for (key, expected) in [
            (doc! { "tenantId": 1, "requestId": 1 }, ShardKey::AsDeclared),
            (
                doc! { "tenantId": 1.0, "requestId": 1.0 },
                ShardKey::AsDeclared,
            ),
            (doc! { "tenantId": 1 }, ShardKey::Tenant),
            (
                doc! { "tenantId": "hashed" },
                other("{ tenantId: \"hashed\" }"),
            ),
            (doc! { "_id": 1 }, other("{ _id: 1 }")),
            (
                doc! { "requestId": 1, "tenantId": 1 },
                other("{ requestId: 1, tenantId: 1 }"),
            ),
        ] {
            assert_eq!(judge(Some(&entry(key)), declared), expected);
        }
        assert_eq!(judge(None, declared), ShardKey::None);
        // Entries of older servers outlive their collections; newer ones have entries of collections on one shard.
        for flag in ["dropped", "unsplittable"] {
            let mut gone = entry(doc! { "_id": 1 });
            gone.insert(flag, true);
            assert_eq!(judge(Some(&gone), declared), ShardKey::None, "{flag}");
        }
    }

    #[test]
    fn only_a_router_says_that_the_database_is_sharded() {
        assert!(is_router(
            &doc! { "isWritablePrimary": true, "msg": "isdbgrid", "ok": 1.0 }
        ));
        assert!(!is_router(
            &doc! { "isWritablePrimary": true, "setName": "rs0", "ok": 1.0 }
        ));
        assert!(!is_router(&doc! { "isWritablePrimary": true, "ok": 1.0 }));
    }

    #[test]
    fn every_operation_names_the_tenant() {
        for (what, command) in [of_orders("orders_write"), of_rows("orders_read")].concat() {
            let text = command.to_string();
            assert!(
                text.contains("\"tenantId\": ") && text.contains("doctor-"),
                "{what}: {text}"
            );
        }
    }

    #[test]
    fn the_script_shards_by_the_declared_keys() {
        let script = include_str!("../../../infra/mongo/shard.js");
        for (name, key) in KEYS {
            let line = format!("{name}: {},", text_of(&key_of(key)));
            assert!(script.contains(&line), "no {line}");
        }
    }
}
