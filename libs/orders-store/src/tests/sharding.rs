//! What can be tried of sharding without a sharded database.

use mongodb::{
    IndexModel,
    bson::{Document, doc},
    options::IndexOptions,
};

use super::*;

#[tokio::test]
async fn a_database_that_is_not_sharded_says_so() {
    on_a_database(|store| async move {
        assert_eq!(store.sharding().await.unwrap(), None);
    })
    .await;
}

/// A sharded `orders_write` cannot have a unique index that does not begin with its shard key.
#[tokio::test]
async fn the_index_by_order_need_not_be_unique() {
    on_a_database(|store| async move {
        let orders = store.connection.collection::<Document>("orders_write");
        orders.drop().await.unwrap();
        let name = "tenantId_1_orderId_1".to_owned();
        let plain = IndexModel::builder()
            .keys(doc! { "tenantId": 1, "orderId": 1 })
            .options(IndexOptions::builder().name(name).build())
            .build();
        orders.create_index(plain).await.unwrap();
        let model = store.write_model();
        model.ensure_indexes().await.unwrap();
        assert_eq!(model.index_differences().await.unwrap(), []);
        let careful = store.clone().auto_migrate(false).write_model();
        careful.ensure_indexes().await.unwrap();
    })
    .await;
}
