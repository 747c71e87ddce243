//! A load at a steady rate: a request begins at its time, unless too many are under way. So a machine that cannot answer as
//! many gets fewer, and none that it would have to refuse.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use orders_testkit::{Balancer, aloud};
use reqwest::{Client, ClientBuilder, RequestBuilder};
use serde_json::{Value, json};
use tokio::{
    task::{JoinError, JoinHandle, JoinSet},
    time::{MissedTickBehavior, interval},
};

use crate::pipeline::order;

/// The time between two requests: 200 a second.
const EVERY: Duration = Duration::from_millis(5);
/// The most requests under way, which is what the edge takes of one tenant: a quarter of its `max_in_flight`.
const MOST: usize = 64;

/// The requests under way.
pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    running: JoinHandle<Answers>,
}

/// How many answers of each kind there were: by what was asked, and the status or what went wrong.
#[derive(Debug)]
pub(crate) struct Answers {
    kinds: BTreeMap<String, usize>,
    lasted: Duration,
}

impl Answers {
    fn count(&self, kind: &str) -> usize {
        self.kinds.get(kind).copied().unwrap_or_default()
    }

    /// Checks that none was refused or broken, and that some orders were created during each of the `restarts`. Says how
    /// many requests a second there were, because that depends on the machine.
    pub(crate) fn are_good(&self, restarts: usize) {
        let good = ["create 201", "create 202", "look 200", "presign 201"];
        let good: usize = good.iter().map(|good| self.count(good)).sum();
        let sum: usize = self.kinds.values().sum();
        let rate = sum as f64 / self.lasted.as_secs_f64();
        aloud(format_args!(
            "{restarts} restarts at {rate:.0} requests/s: {:?}",
            self.kinds
        ));
        assert_eq!(good, sum, "{self:?}");
        assert!(self.count("create 201") > restarts, "{self:?}");
    }
}

impl Traffic {
    /// Half of the clients keep their connections, the others make a new one for each request.
    pub(crate) fn start(url: &str) -> Self {
        Self::from([Client::builder(), anew()], url)
    }

    /// All clients make a new connection for each request.
    pub(crate) fn anew(url: &str) -> Self {
        Self::from([anew(), anew()], url)
    }

    fn from(clients: [ClientBuilder; 2], url: &str) -> Self {
        let clients = clients.map(|client| client.build().expect("a client"));
        let stop = Arc::new(AtomicBool::new(false));
        let running = tokio::spawn(run(clients, url.to_owned(), Arc::clone(&stop)));
        Self { stop, running }
    }

    /// Waits for the last answers.
    pub(crate) async fn stop(self) -> Answers {
        self.stop.store(true, Ordering::Relaxed);
        self.running.await.expect("the load runs")
    }
}

fn anew() -> ClientBuilder {
    Client::builder().pool_max_idle_per_host(0)
}

async fn run(clients: [Client; 2], url: String, stop: Arc<AtomicBool>) -> Answers {
    let began = Instant::now();
    let asker = Arc::new(Asker {
        url,
        latest: Mutex::default(),
    });
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut requests = JoinSet::new();
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    let mut count = |kind: Result<String, JoinError>| {
        *kinds.entry(kind.expect("no panic")).or_default() += 1;
    };
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        if requests.len() == MOST
            && let Some(kind) = requests.join_next().await
        {
            count(kind);
        }
        let client = &clients[number as usize % 2];
        let (what, request) = asker.request(client, number);
        let asker = Arc::clone(&asker);
        requests.spawn(async move { asker.ask(what, request).await });
        number += 1;
        while let Some(kind) = requests.try_join_next() {
            count(kind);
        }
    }
    let lasted = began.elapsed();
    while let Some(kind) = requests.join_next().await {
        count(kind);
    }
    Answers { kinds, lasted }
}

struct Asker {
    url: String,
    /// The id of the latest order that was created.
    latest: Mutex<Option<String>>,
}

impl Asker {
    /// One of ten creates an order, three look at one, six ask for an upload.
    fn request(&self, http: &Client, number: u64) -> (&'static str, RequestBuilder) {
        let Self { url, latest } = self;
        let latest = latest.lock().unwrap().clone();
        match (number / 2 % 10, latest) {
            (0, _) => {
                let body = order("t-1", &format!("r-{number}"));
                ("create", http.post(format!("{url}/api/orders")).json(&body))
            }
            (1..=3, Some(id)) => {
                let look = format!("{url}/api/orders/{id}?tenantId=t-1");
                ("look", http.get(look))
            }
            _ => {
                let file = json!({ "tenantId": "t-1", "filename": "a.pdf", "contentType": "application/pdf", "size": 1 });
                let presign = format!("{url}/api/uploads/presign");
                ("presign", http.post(presign).json(&file))
            }
        }
    }

    async fn ask(&self, what: &str, request: RequestBuilder) -> String {
        let outcome = match request.send().await {
            Err(error) => format!("{error:?}"),
            Ok(response) => {
                let status = response.status().as_u16();
                let server = response.headers().get(Balancer::SERVED_BY).cloned();
                match response.json::<Value>().await {
                    Ok(body) => {
                        if what == "create" && status == 201 {
                            let id = body["orderId"].as_str().map(str::to_owned);
                            *self.latest.lock().unwrap() = id;
                        }
                        status.to_string()
                    }
                    Err(_) => format!("{status} and no JSON from {server:?}"),
                }
            }
        };
        format!("{what} {outcome}")
    }
}
