//! The highest rate that is held for a short while: quicker than `throughput`, and for two builds by turns.

use std::{collections::HashMap, time::Duration};

use anyhow::Result;

use crate::{
    deployment::{Build, Design},
    report::{Report, millis},
    rounds::compare,
    site::Site,
    throughput::{CREATE_LIMIT_MS, hold, load_new, search},
};

/// Where the search begins.
const FIRST_RATE: f64 = 1_250.0;
const LENGTH: Duration = Duration::from_secs(15);
/// From one rate to the next.
const STEP: f64 = 1.04;

/// Searches that rate in each round, from that of the round before.
pub(crate) async fn measure(site: &Site, report: &mut Report<'_>, rounds: usize) -> Result<()> {
    let note = format!(
        "The highest rate held for {} s, every order answered 201, listed, paid and announced by Socket.IO, create p99 below {CREATE_LIMIT_MS} ms, payments not falling behind; rates are {:.0} % apart. Databases, nats-server and daemons are new for each rate.",
        LENGTH.as_secs(),
        (STEP - 1.0) * 100.0
    );
    let text = ["Highest held rate", &*note];
    let mut rates = HashMap::new();
    compare(site, report, rounds, text, async |build: &Build| {
        let attempt = async |rate| load_new(site, Design::Pipeline(build), rate, LENGTH).await;
        let start = match rates.get(&build.name) {
            Some(rate) => *rate,
            None => search(attempt, FIRST_RATE).await?,
        };
        let held = hold(attempt, start, STEP).await?;
        eprintln!("{}: {:.0} orders/s are held", build.name, held.rate);
        rates.insert(build.name.clone(), held.rate);
        Ok(vec![
            ("orders/s".to_owned(), held.rate),
            (
                "create p99 there, ms".to_owned(),
                millis(&held.run.create, 0.99),
            ),
        ])
    })
    .await
}
