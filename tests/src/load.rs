//! A closed-loop load: each worker does one thing after the other, as careful clients do.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fastrand::Rng;
use futures_util::future::join_all;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::history::{Answer, History, Operation, Outcome, What, now};

/// How many tenants there are.
pub const TENANTS: usize = 12;
/// How many operations are on their way at most.
const WORKERS: u64 = 16;
/// How long a worker thinks between two operations, in milliseconds, at most.
const THINK: u64 = 260;
/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(8);

/// One order as a client wants it.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Whose it is.
    pub tenant: String,
    /// The id of its request.
    pub request: String,
    /// The body of its request.
    pub body: Value,
    /// Its id, once an edge has named it.
    pub order: Option<String>,
}

/// The clients' view of the pipeline.
pub struct Clients {
    edges: Vec<String>,
    http: reqwest::Client,
    history: Arc<History>,
    wishes: Mutex<Vec<Wish>>,
}

impl Clients {
    /// Clients who know these edges.
    pub fn new(edges: Vec<String>, history: Arc<History>) -> Self {
        let http = reqwest::Client::builder()
            .timeout(PATIENCE)
            .build()
            .expect("a client");
        Self {
            edges,
            http,
            history,
            wishes: Mutex::default(),
        }
    }

    fn wishes(&self) -> MutexGuard<'_, Vec<Wish>> {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One of the latest wishes, or of the orders that an edge has named.
    fn recall(&self, rng: &mut Rng, named: bool) -> Option<Wish> {
        let wishes = self.wishes();
        let from = wishes.len().saturating_sub(400);
        let candidates = || {
            wishes[from..]
                .iter()
                .filter(|wish| !named || wish.order.is_some())
        };
        let count = candidates().count();
        if count == 0 {
            return None;
        }
        candidates().nth(rng.usize(..count)).cloned()
    }

    /// Any order that was named so far, for asking whether it still is the same.
    pub fn known(&self, rng: &mut Rng) -> Option<Wish> {
        let wishes = self.wishes();
        let known: Vec<&Wish> = wishes.iter().filter(|wish| wish.order.is_some()).collect();
        (!known.is_empty()).then(|| known[rng.usize(..known.len())].clone())
    }

    /// Posts a wish to one edge.
    pub async fn create(&self, edge: usize, wish: &Wish) -> Operation {
        let post = self.http.post(format!("{}/api/orders", self.edges[edge]));
        let what = What::Create {
            tenant: wish.tenant.clone(),
            request: wish.request.clone(),
        };
        let operation = self.ask(edge, what, post.json(&wish.body)).await;
        if operation.outcome == Outcome::Ok {
            let mut wishes = self.wishes();
            match wishes
                .iter_mut()
                .rev()
                .find(|known| known.request == wish.request)
            {
                Some(known) => known.order.clone_from(&operation.answer.order),
                None => wishes.push(Wish {
                    order: operation.answer.order.clone(),
                    ..wish.clone()
                }),
            }
        }
        operation
    }

    /// Asks every edge for an order that was named before: within `limit`, it must say that it is the same one.
    pub async fn replays(&self, known: &Wish, limit: Duration) -> Result<(), String> {
        for edge in 0..self.edges.len() {
            let start = Instant::now();
            loop {
                let Answer { status, order, .. } = self.create(edge, known).await.answer;
                match status {
                    200 if order == known.order => break,
                    200 | 201 => {
                        return Err(format!(
                            "a replay of {} {} answered {status} {order:?}, not {:?}",
                            known.tenant, known.request, known.order
                        ));
                    }
                    _ if start.elapsed() < limit => sleep(Duration::from_millis(100)).await,
                    status => {
                        return Err(format!(
                            "no replay within {limit:?}, the last answer was {status}"
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    async fn ask(&self, edge: usize, what: What, request: RequestBuilder) -> Operation {
        let start = now();
        let (outcome, mut answer) = match request.send().await {
            Err(_) => (Outcome::Unknown, Answer::default()),
            Ok(response) => {
                let status = response.status();
                let header = |name| response.headers().get(name).cloned();
                let listed = header("x-projected").is_some_and(|value| value == "true");
                let retry_after = header("retry-after").is_some();
                let body: Option<Value> = response.json().await.ok();
                let outcome = match status {
                    _ if body.is_none() => Outcome::Unknown,
                    status if status.is_success() => Outcome::Ok,
                    StatusCode::SERVICE_UNAVAILABLE => Outcome::Unknown,
                    status if status.is_client_error() => Outcome::Fail,
                    _ => Outcome::Unknown,
                };
                let order = body.and_then(|body| {
                    let order = body
                        .get("orderId")
                        .or_else(|| body["items"][0].get("orderId"));
                    Some(order?.as_str()?.to_owned())
                });
                let answer = Answer {
                    edge,
                    status: status.as_u16(),
                    order,
                    listed,
                    retry_after,
                };
                (outcome, answer)
            }
        };
        answer.edge = edge;
        let operation = Operation {
            what,
            start,
            end: now(),
            outcome,
            answer,
        };
        self.history.add(&operation);
        operation
    }

    /// One step of a worker.
    async fn act(&self, rng: &mut Rng, number: u64) {
        let edge = rng.usize(..self.edges.len());
        let other = (edge + 1) % self.edges.len();
        match rng.u32(..100) {
            0..60 => {
                let wish = wish(rng, number);
                let created = self.create(edge, &wish).await;
                if created.answer.listed && rng.bool() {
                    self.read(other, &wish.tenant, created.answer.order.as_deref())
                        .await;
                }
            }
            60..65 => {
                // The same at the same time, at every edge.
                let wish = wish(rng, number);
                let posts = [edge, other, edge, other].map(|edge| self.create(edge, &wish));
                join_all(posts).await;
            }
            65..80 => {
                if let Some(wish) = self.recall(rng, false) {
                    self.create(edge, &wish).await;
                }
            }
            80..90 => {
                if let Some(wish) = self.recall(rng, true) {
                    self.cancel(edge, &wish).await;
                }
            }
            _ => self.list(edge, &tenant(rng.usize(..TENANTS))).await,
        }
    }

    async fn cancel(&self, edge: usize, wish: &Wish) {
        let Some(order) = wish.order.clone() else {
            return;
        };
        let url = format!("{}/api/orders/{order}/cancel", self.edges[edge]);
        let post = self
            .http
            .post(url)
            .json(&json!({ "tenantId": wish.tenant }));
        let what = What::Cancel {
            tenant: wish.tenant.clone(),
            order,
        };
        self.ask(edge, what, post).await;
    }

    async fn list(&self, edge: usize, tenant: &str) {
        let url = format!("{}/api/orders?tenantId={tenant}&limit=50", self.edges[edge]);
        let what = What::List {
            tenant: tenant.to_owned(),
        };
        self.ask(edge, what, self.http.get(url)).await;
    }

    async fn read(&self, edge: usize, tenant: &str, order: Option<&str>) {
        let Some(order) = order else { return };
        let url = format!(
            "{}/api/orders?tenantId={tenant}&q={order}",
            self.edges[edge]
        );
        let what = What::Read {
            tenant: tenant.to_owned(),
            order: order.to_owned(),
        };
        self.ask(edge, what, self.http.get(url)).await;
    }
}

/// The name of a tenant.
pub fn tenant(n: usize) -> String {
    format!("t-{n}")
}

fn wish(rng: &mut Rng, number: u64) -> Wish {
    let (tenant, request) = (tenant(rng.usize(..TENANTS)), format!("r-{number}"));
    let item = |n: u32, rng: &mut Rng| json!({ "sku": format!("SKU-{n}"), "qty": rng.u32(1..5), "price": f64::from(rng.u32(1..100_000)) / 100.0 });
    let items: Vec<Value> = (0..rng.u32(1..4)).map(|n| item(n, rng)).collect();
    let buyer = format!("buyer-{}@example.com", rng.u32(..50));
    let body = json!({
        "requestId": request, "tenantId": tenant,
        "buyer": { "email": buyer, "name": "Buyer" }, "items": items,
    });
    Wish {
        tenant,
        request,
        body,
        order: None,
    }
}

/// The running load.
pub struct Load {
    stop: Arc<AtomicBool>,
    workers: JoinSet<()>,
}

impl Load {
    /// Starts it; `seed` decides who does what.
    pub fn start(clients: &Arc<Clients>, seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut workers = JoinSet::new();
        for worker in 0..WORKERS {
            let (clients, stop) = (Arc::clone(clients), Arc::clone(&stop));
            let mut rng = Rng::with_seed(seed.wrapping_mul(1_000_003).wrapping_add(worker));
            workers.spawn(async move {
                let mut number = worker;
                while !stop.load(Ordering::Relaxed) {
                    clients.act(&mut rng, number).await;
                    number += WORKERS;
                    sleep(Duration::from_millis(rng.u64(..THINK))).await;
                }
            });
        }
        Self { stop, workers }
    }

    /// Lets every worker finish what it does.
    pub async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.workers.join_all().await;
    }
}
