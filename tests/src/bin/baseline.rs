//! The seed's design in the same language, to compare the pipeline with: one process that inserts into both collections
//! for each request, pays each order with a timer of its own, and has Socket.IO in process.
//!
//! A baseline for `cargo xtask bench`, nothing to run in earnest: what it has not paid when it ends is never paid.
//! With `NULL` in its environment it stores and pays nothing at all, which shows what the load generator can do.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, anyhow};
use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use mongodb::{
    Client, Collection, IndexModel,
    bson::{DateTime, Decimal128, Document, doc},
    error::{ErrorKind, WriteFailure},
    options::{Acknowledgment, CollectionOptions, IndexOptions, WriteConcern},
};
use serde::Deserialize;
use serde_json::{Value, json};
use socketioxide::{
    SocketIo,
    extract::{SocketRef, TryData},
};
use tokio::{net::TcpListener, time::sleep};
use uuid::Uuid;

const DELAY: Duration = Duration::from_secs(5);
const DUPLICATE_KEY: i32 = 11000;

#[derive(Clone)]
struct Orders {
    write: Collection<Document>,
    read: Collection<Document>,
    io: SocketIo,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateOrder {
    request_id: String,
    tenant_id: String,
    buyer: Buyer,
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Buyer {
    email: String,
    name: String,
}

#[derive(Deserialize)]
struct Item {
    sku: String,
    qty: i32,
    price: f64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let variable = |name: &str| {
        std::env::var(name).with_context(|| format!("{name}: run `cargo xtask bench`"))
    };
    let listener = TcpListener::bind(format!("127.0.0.1:{}", variable("PORT")?)).await?;
    if variable("NULL").is_ok() {
        let app = Router::new()
            .route("/api/orders", post(accept))
            .route("/readyz", get(async || "ready"));
        return Ok(axum::serve(listener, app).await?);
    }
    let client = Client::with_uri_str(variable("MONGO_URL")?).await?;
    let database = client
        .default_database()
        .context("MONGO_URL names no database")?;
    let durable = WriteConcern::builder()
        .w(Acknowledgment::Majority)
        .journal(true)
        .build();
    let options = CollectionOptions::builder().write_concern(durable).build();
    let write = database.collection_with_options("orders_write", options.clone());
    let read = database.collection_with_options("orders_read", options);
    let unique = |keys| {
        let options = IndexOptions::builder().unique(true).build();
        IndexModel::builder().keys(keys).options(options).build()
    };
    let plain = |keys| IndexModel::builder().keys(keys).build();
    write
        .create_indexes([
            unique(doc! { "tenantId": 1, "requestId": 1 }),
            unique(doc! { "tenantId": 1, "orderId": 1 }),
            plain(doc! { "status": 1 }),
        ])
        .await?;
    // The pipeline's, so that both have the same to do: the seed's two, and one for the list without a filter.
    read.create_indexes([
        plain(doc! { "tenantId": 1, "status": 1, "createdAt": -1, "orderId": -1 }),
        plain(doc! { "tenantId": 1, "buyerEmail": 1, "createdAt": -1, "orderId": -1 }),
        plain(doc! { "tenantId": 1, "createdAt": -1, "orderId": -1 }),
    ])
    .await?;

    let (sockets, io) = SocketIo::builder().req_path("/ws").build_layer();
    io.ns(
        "/",
        async |socket: SocketRef, TryData(auth): TryData<Value>| {
            if let Some(tenant) = auth.unwrap_or_default()["tenantId"].as_str() {
                socket.join(format!("tenant:{tenant}"));
            }
        },
    );
    let orders = Orders { write, read, io };
    let app = Router::new()
        .route("/api/orders", post(create))
        .route("/readyz", get(async || "ready"))
        .with_state(Arc::new(orders))
        .layer(sockets);
    axum::serve(listener, app).await?;
    Ok(())
}

/// Answers as if the order were stored.
async fn accept(Json(_): Json<CreateOrder>) -> Response {
    let id = format!("ord_{}", Uuid::new_v4().simple());
    (StatusCode::CREATED, Json(json!({ "orderId": id }))).into_response()
}

async fn create(State(orders): State<Arc<Orders>>, Json(order): Json<CreateOrder>) -> Response {
    let id = format!("ord_{}", Uuid::new_v4().simple());
    match store(&orders, &id, &order).await {
        Ok(true) => {}
        Ok(false) => return replay(&orders, &order).await,
        Err(error) => return failure(&error),
    }
    let tenant = order.tenant_id;
    let answer = Json(json!({ "orderId": &id }));
    tokio::spawn(async move {
        sleep(DELAY).await;
        if let Err(error) = pay(&orders, &id, &tenant).await {
            eprintln!("cannot pay {id}: {error}");
        }
    });
    (StatusCode::CREATED, answer).into_response()
}

/// Inserts into both collections; false when there is such an order.
async fn store(orders: &Orders, id: &str, order: &CreateOrder) -> Result<bool> {
    let now = DateTime::now();
    let mut total = 0.0;
    let mut items = Vec::new();
    for Item { sku, qty, price } in &order.items {
        total += f64::from(*qty) * price;
        items.push(doc! { "sku": sku, "qty": qty, "price": money(*price)? });
    }
    let buyer = doc! { "email": &order.buyer.email, "name": &order.buyer.name };
    let document = doc! {
        "_id": id, "orderId": id, "tenantId": &order.tenant_id, "requestId": &order.request_id, "status": "PENDING",
        "version": 1, "buyer": buyer, "items": items, "total": money(total)?, "createdAt": now, "updatedAt": now,
    };
    if let Err(error) = orders.write.insert_one(document).await {
        let is_known = matches!(&*error.kind, ErrorKind::Write(WriteFailure::WriteError(error)) if error.code == DUPLICATE_KEY);
        return if is_known {
            Ok(false)
        } else {
            Err(error.into())
        };
    }
    let row = doc! {
        "_id": id, "orderId": id, "tenantId": &order.tenant_id, "version": 1, "status": "PENDING",
        "buyerEmail": &order.buyer.email, "total": money(total)?, "createdAt": now,
    };
    orders.read.insert_one(row).await?;
    Ok(true)
}

fn money(amount: f64) -> Result<Decimal128> {
    format!("{amount:.2}").parse().context("an amount")
}

async fn pay(orders: &Orders, id: &str, tenant: &str) -> Result<()> {
    let paid = doc! { "$set": { "status": "PAID", "updatedAt": DateTime::now() }, "$inc": { "version": 1 } };
    orders
        .write
        .update_one(doc! { "_id": id, "status": "PENDING" }, paid)
        .await?;
    let paid = doc! { "$set": { "status": "PAID", "version": 2 } };
    orders.read.update_one(doc! { "_id": id }, paid).await?;
    let event = json!({ "orderId": id, "status": "PAID" });
    let sent = orders
        .io
        .to(format!("tenant:{tenant}"))
        .emit("order.updated", &event)
        .await;
    sent.map_err(|error| anyhow!("{error}"))
}

async fn replay(orders: &Orders, order: &CreateOrder) -> Response {
    let request = doc! { "tenantId": &order.tenant_id, "requestId": &order.request_id };
    match orders.write.find_one(request).await {
        Ok(Some(found)) => {
            let id = found.get_str("orderId").unwrap_or_default();
            (
                [("x-idempotent-replayed", "true")],
                Json(json!({ "orderId": id })),
            )
                .into_response()
        }
        Ok(None) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Err(error) => failure(&error.into()),
    }
}

fn failure(error: &anyhow::Error) -> Response {
    eprintln!("{error}");
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}
