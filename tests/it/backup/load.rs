//! Clients that order while a backup is made.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use orders_testkit::eventually;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::sleep};

use crate::pipeline::{Pipeline, order, order_id};

const CLIENTS: usize = 4;
/// How long a client waits before its next order.
const PAUSE: Duration = Duration::from_millis(10);
/// Enough orders for each part to go on during all steps of the pipeline.
const SOME: usize = 100;
/// The ids of the orders that were acknowledged, by request.
pub(super) type Acknowledged = BTreeMap<String, String>;

/// An order that is longer than an argument of a command may be, with prices of the most and the smallest digits.
pub(super) fn large(request: &str) -> Value {
    let line = |n: usize| json!({ "sku": format!("SKU-{n:0>96}"), "qty": 1, "price": 0.000_001 });
    let mut order = order("t-1", request);
    order["items"] = (0..1_000).map(line).collect();
    order["items"][0]["price"] = json!(99_999_999.123_456);
    assert!(order.to_string().len() > 128 << 10);
    order
}

/// Clients that order until they are told to stop.
pub(super) struct Load {
    acknowledged: Arc<Mutex<Acknowledged>>,
    ends: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts clients whose requests begin with `name`.
    pub(super) fn start(pipeline: &Pipeline, name: &'static str) -> Self {
        let acknowledged = Arc::new(Mutex::new(Acknowledged::new()));
        let ends = Arc::new(AtomicBool::new(false));
        let url = format!("{}/api/orders", pipeline.edge.url());
        let client = |client: usize| {
            let (acknowledged, ends) = (Arc::clone(&acknowledged), Arc::clone(&ends));
            let (http, url) = (pipeline.http.clone(), url.clone());
            tokio::spawn(async move {
                for n in 0.. {
                    if ends.load(Ordering::Relaxed) {
                        return;
                    }
                    let request = format!("{name}-{client}-{n}");
                    let body = order("t-1", &request);
                    let answer = http.post(&url).json(&body).send().await.unwrap();
                    if matches!(answer.status(), StatusCode::CREATED | StatusCode::ACCEPTED) {
                        let id = order_id(answer).await;
                        acknowledged.lock().unwrap().insert(request, id);
                    }
                    sleep(PAUSE).await;
                }
            })
        };
        let clients = (0..CLIENTS).map(client).collect();
        Self {
            acknowledged,
            ends,
            clients,
        }
    }

    pub(super) fn so_far(&self) -> Acknowledged {
        self.acknowledged.lock().unwrap().clone()
    }

    /// Waits for [`SOME`] more orders; all that are acknowledged then.
    pub(super) async fn some_more(&self) -> Acknowledged {
        let enough = self.so_far().len() + SOME;
        eventually("orders are acknowledged", async || match self.so_far() {
            all if all.len() >= enough => Ok(all),
            few => Err(few.len()),
        })
        .await
    }

    /// Stops the clients; all orders that were acknowledged.
    pub(super) async fn stop(self) -> Acknowledged {
        self.ends.store(true, Ordering::Relaxed);
        join_all(self.clients).await;
        Arc::into_inner(self.acknowledged)
            .unwrap()
            .into_inner()
            .unwrap()
    }
}
