//! Against a real server: `cargo xtask test` starts one and names it in ORDERS_TEST_MONGO_URL.

use std::{collections::HashMap, env, panic::resume_unwind};

use orders_contracts::{
    CommandId, CreateOrder, OrderEvent, OrderId, OrderRow, Status, TenantId, Timestamp,
};
use orders_domain::Order;
use tokio::task::LocalSet;

use super::*;

mod batches;
mod beginnings;
mod connection;
mod details;
mod erase;
mod exports;
mod lists;
mod orders;
mod plans;
mod rows;
mod scans;
mod sharding;
mod totals;

async fn open(url: &str) -> Result<Store, Error> {
    let settings = Mongo {
        url: url.to_owned(),
        ..Mongo::default()
    };
    Store::open(&settings, "orders-store-tests").await
}

/// Runs `test` on a database of its own, which is dropped afterwards.
async fn on_a_database<F>(test: impl FnOnce(Store) -> F)
where
    F: Future<Output = ()> + 'static,
{
    let Ok(server) = env::var("ORDERS_TEST_MONGO_URL") else {
        panic!("ORDERS_TEST_MONGO_URL is not set: run `cargo xtask test`");
    };
    let url = format!(
        "{}/store-{}",
        server.trim_end_matches('/'),
        CommandId::fresh()
    );
    let store = open(&url).await.unwrap();
    store.write_model().ensure_indexes().await.unwrap();
    store.read_model().ensure_indexes().await.unwrap();
    let local = LocalSet::new();
    let task = local.spawn_local(test(store.clone()));
    let outcome = local.run_until(task).await;
    store.connection.database().drop().await.unwrap();
    if let Err(failure) = outcome {
        resume_unwind(failure.into_panic());
    }
}

/// A page behind the end of a list of so many.
fn no_page_of(count: u64) -> OrderPage {
    OrderPage {
        items: Vec::new(),
        next: None,
        total: Total::Exactly(count),
    }
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}

fn tenant(name: &str) -> TenantId {
    name.parse().unwrap()
}

fn id(text: &str) -> OrderId {
    OrderId::derive(&tenant("t"), &text.parse().unwrap())
}

/// The order that request `request` of tenant `t` creates at `millis`.
fn order(request: &str, millis: i64) -> Order {
    let mut order = Order::create(
        CreateOrder::parse(
            br#"{"requestId":"r","tenantId":"t","buyer":{"email":"a@b.cc","name":"A"},"items":[{"sku":"S","qty":2,"price":49.99}]}"#,
            None,
            None,
        )
        .unwrap(),
        CommandId::fresh(),
        at(millis),
    );
    order.request_id = request.parse().unwrap();
    order.order_id = id(request);
    order
}

fn filter() -> ListFilter {
    ListFilter::of(tenant("t"))
}

fn list() -> ListOrders {
    ListOrders {
        filter: filter(),
        page: 1,
        after: None,
        limit: 10,
        is_expanded: false,
    }
}

/// The orders with these ids of tenant `t`, all of which can be read.
async fn load(orders: &WriteModel, ids: &[OrderId]) -> HashMap<OrderId, Order> {
    let tenant = tenant("t");
    let found = orders.load(&keys(&tenant, ids)).await.unwrap().into_iter();
    found.map(|(id, order)| (id, order.unwrap())).collect()
}

fn keys<'a>(tenant: &'a TenantId, ids: &'a [OrderId]) -> Vec<OrderKey<'a>> {
    let key = |order_id| OrderKey { tenant, order_id };
    ids.iter().map(key).collect()
}

/// Moves those of tenant `t` with these ids that are PENDING.
async fn move_pending(orders: &WriteModel, ids: &[OrderId], to: Status, now: Timestamp) -> u64 {
    let tenant = tenant("t");
    let keys = keys(&tenant, ids);
    orders.move_pending(&keys, to, now).await.unwrap()
}

/// The row of an event as lists show it.
fn plain(event: &OrderEvent) -> OrderRow {
    OrderRow::from(event.order.clone()).plain()
}

fn ids(rows: &[OrderRow]) -> Vec<&OrderId> {
    rows.iter().map(|row| &row.order_id).collect()
}

async fn insert_rows(rows: &ReadModel, events: &[OrderEvent]) -> Vec<bool> {
    rows.insert(&events.iter().collect::<Vec<_>>())
        .await
        .unwrap()
}
