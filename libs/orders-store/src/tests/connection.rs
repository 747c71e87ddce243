//! What the URL decides, and the indexes.

use std::{error::Error as _, sync::Arc};

use mongodb::{
    Collection, IndexModel,
    bson::{Document, doc},
    options::IndexOptions,
};
use orders_contracts::{InstallationId, Namespace};
use orders_service::chain;

use super::*;
use crate::connection::{POOL_SIZE, durable};

#[tokio::test]
async fn the_url_cannot_weaken_what_a_write_promises() {
    let url = "mongodb://h/d?w=1&journal=false&readPreference=secondary&maxPoolSize=3";
    let store = open(url).await.unwrap();
    let orders: Collection<Document> = store.connection.collection("orders_write");
    assert_eq!(store.connection.database().name(), "d");
    assert_eq!(orders.write_concern(), Some(&durable()));
    assert_eq!(orders.selection_criteria(), None);
}

#[tokio::test]
async fn all_read_models_of_a_store_share_one_permit_for_each_connection() {
    for (url, connections) in [
        ("mongodb://h/?maxPoolSize=3", 3),
        ("mongodb://h/", POOL_SIZE as usize),
    ] {
        let store = open(url).await.unwrap();
        let (one, other) = (store.read_model(), store.clone().read_model());
        assert_eq!(one.reads.all.available_permits(), connections);
        let _permit = one.reads.all.try_acquire().unwrap();
        assert_eq!(other.reads.all.available_permits(), connections - 1);
        assert!(Arc::ptr_eq(&one.reads.deep, &other.reads.deep));
    }
}

#[tokio::test]
async fn an_absent_server_is_unavailable_and_a_wrong_url_is_refused() {
    // Nothing listens on port 1.
    let url = "mongodb://user:secret@127.0.0.1:1/?serverSelectionTimeoutMS=100";
    let store = open(url).await.unwrap();
    assert_eq!(store.connection.database().name(), "orders");
    let (t, a) = (tenant("t"), [id("a")]);
    let error = store.write_model().load(&keys(&t, &a)).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    let unready = store.probe().await.unwrap_err();
    assert_eq!(
        unready.source().unwrap().to_string(),
        "cannot reach MongoDB at 127.0.0.1:1: connection refused (MONGO_URL)"
    );

    for url in [
        "",
        "localhost",
        "mongodb://u:q?zq@h/",
        "mongodb://u:q/zq@h",
        "mongodb://h:x",
    ] {
        let error = open(url).await.unwrap_err();
        assert!(!error.is_transient(), "{url}");
        let cause = chain(error.source().unwrap());
        assert!(
            cause.starts_with("MONGO_URL: ") && !cause.contains('q'),
            "{cause}"
        );
    }
    let compressed = open("mongodb://u:p@h/?compressors=zstd").await;
    assert_eq!(
        compressed.unwrap_err().source().unwrap().to_string(),
        "MONGO_URL: `compressors` is not supported; leave it out"
    );
}

#[tokio::test]
async fn indexes_can_be_ensured_again_and_a_differing_one_is_named() {
    on_a_database(|store| async move {
        store.write_model().ensure_indexes().await.unwrap();
        store.read_model().ensure_indexes().await.unwrap();

        let orders: Collection<Document> = store.connection.collection("orders_write");
        orders.drop().await.unwrap();
        let name = "tenantId_1_requestId_1".to_owned();
        let not_unique = IndexModel::builder()
            .keys(doc! { "tenantId": 1, "requestId": 1 })
            .options(IndexOptions::builder().name(name).build())
            .build();
        orders.create_index(not_unique).await.unwrap();
        let careful = store.clone().auto_migrate(false).write_model();
        let error = careful.ensure_indexes().await.unwrap_err();
        assert!(!error.may_pass(), "{error}");
        let differences = careful.index_differences().await.unwrap();
        let told: Vec<_> = differences.iter().map(ToString::to_string).collect();
        let expected = [
            "index tenantId_1_requestId_1 of orders_write differs in unique (server false, declared true)",
            "index tenantId_1_orderId_1 of orders_write is missing",
            "index status_1_createdAt_1_orderId_1 of orders_write is missing",
        ];
        assert_eq!(told, expected);

        let error = store.write_model().ensure_indexes().await.unwrap_err();
        assert!(!error.is_transient(), "{error}");
        let named = "index tenantId_1_requestId_1 of orders_write";
        assert_eq!(error.source().unwrap().to_string(), named);
    })
    .await;
}

#[tokio::test]
async fn a_database_belongs_to_one_installation() {
    on_a_database(|store| async move {
        let here = Namespace::default();
        let elsewhere = Namespace::try_from("shop".to_owned()).unwrap();
        let foreign = InstallationId::fresh();

        // What looks new beside streams that are in use is the wrong database, more often than not.
        let unknown = store.join(&here, Some(&foreign)).await.unwrap_err();
        assert!(!unknown.may_pass() && unknown.to_string().contains("--adopt"));
        let careful = store.clone().auto_migrate(false);
        let unmigrated = careful.join(&here, None).await.unwrap_err();
        assert!(unmigrated.to_string().contains("orderctl migrate"));
        assert_eq!(store.installation().await.unwrap(), None);

        let ours = store.join(&here, None).await.unwrap();
        assert_eq!(
            store.join(&here, None).await.unwrap(),
            ours,
            "streams are new"
        );
        assert_eq!(careful.join(&here, Some(&ours)).await.unwrap(), ours);
        let two = store.join(&here, Some(&foreign)).await.unwrap_err();
        let Error::Mismatch(Mismatch::TwoInstallations { theirs, .. }) = two else {
            panic!("{two}");
        };
        assert_eq!(theirs, foreign);
        let moved = store.join(&elsewhere, None).await.unwrap_err();
        assert!(!moved.may_pass() && moved.to_string().contains("ORDERS_NAMESPACE is \"shop\""));

        store.set_told("streams").await.unwrap();
        let stranger = store.adopt(&elsewhere, Some(&foreign)).await.unwrap_err();
        assert!(stranger.to_string().contains("belongs to installation"));
        assert_eq!(
            store.join(&here, None).await.unwrap(),
            ours,
            "nothing changed"
        );
        assert!(!store.needs_adoption(&here, Some(&ours)).await.unwrap());
        store.adopt(&elsewhere, Some(&ours)).await.unwrap();
        let told = store.installation().await.unwrap().unwrap().told;
        assert_eq!(told.as_deref(), Some("streams"));
        assert_eq!(
            store.join(&elsewhere, None).await.unwrap(),
            ours,
            "an id stays"
        );
    })
    .await;
}
