//! What it costs to ask who calls: a pipeline in mode `off` and one in mode `jwt`, by turns.

use std::{process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use orders_testkit::Issuer;
use tokio::process::Command;

use crate::{
    deployment::{Deployment, Design, Settings},
    load::{DELAY, Run, TENANTS, Target, burst, paced},
    report::{Report, latencies, median, millis},
    rounds::{Figures, by_name, number, ratio},
    site::{Site, usage},
    throughput::brief,
    users::{REQUESTS, USERS, Users},
};

const RATE: f64 = 150.0;
const LENGTH: Duration = Duration::from_secs(20);
const BURST: usize = 20_000;
/// The share of orders that may be answered with anything but 201, or not be listed in time: a slow machine lists
/// the end of a burst late.
const REFUSED_LIMIT: f64 = 0.05;
/// Where the figures have a create's median, and each burst's orders per second.
const P50: usize = 0;
const BURSTS: [(&str, usize); 2] = [("burst", 2), ("burst with new tokens", 4)];
/// How much longer a create may take at the median, in milliseconds.
const MORE_LIMIT: f64 = 1.0;
/// The least share of the orders per second that must remain.
const LEAST_RATIO: f64 = 0.85;

/// One of the modes, and what its users send in both bursts.
struct Mode {
    name: &'static str,
    settings: Settings,
    users: Users,
    renewing: Users,
    found: Vec<Figures>,
}

impl Mode {
    fn off() -> Self {
        Self {
            name: "off",
            settings: vec![("ORDERS_AUTH__MODE", "off".to_owned())],
            users: Users::Unproven,
            renewing: Users::Unproven,
            found: Vec::new(),
        }
    }

    fn jwt(issuer: &Issuer) -> Self {
        Self {
            name: "jwt",
            settings: vec![
                ("ORDERS_AUTH__MODE", "jwt".to_owned()),
                ("ORDERS_AUTH__ISSUER", issuer.url()),
                // The default of 100 requests/s for a tenant, and 25 for a subject, would refuse most of the load. With
                // the highest rate all requests are still counted.
                ("ORDERS_LIMITS__TENANT_RATE", "1000000".to_owned()),
            ],
            users: Users::with_one_token(issuer),
            renewing: Users::with_new_tokens(issuer),
            found: Vec::new(),
        }
    }

    /// Measures a new deployment.
    async fn measure(&self, site: &Site, issuer: &Issuer) -> Result<Figures> {
        let design = Design::Guarded(&site.ours, &self.settings, &self.users);
        let deployment = Deployment::start(site, design, &site.ours.name).await?;
        revoke_another(site, &deployment, issuer).await?;
        deployment.all_paid().await?;

        eprintln!("{RATE} orders/s for {} s", LENGTH.as_secs());
        let run = paced(&deployment.target, RATE, LENGTH).await?;
        check(&run)?;
        let mut create = latencies();
        for [second, _] in run.seconds.iter().skip(DELAY.as_secs() as usize) {
            create += second;
        }
        let [p50, p99] = [0.5, 0.99].map(|quantile| millis(&create, quantile));
        let mut figures = vec![
            (format!("{RATE} orders/s: create p50, ms"), p50),
            (format!("{RATE} orders/s: create p99, ms"), p99),
        ];
        deployment.all_paid().await?;

        let renewing = Target {
            users: Some(self.renewing.clone()),
            pays: false,
            ..Target::new(self.name, &deployment.target.url)
        };
        for ((what, _), target) in BURSTS.into_iter().zip([&deployment.target, &renewing]) {
            eprintln!("{what}: {BURST} orders at once");
            let before = edge()?;
            let run = burst(target, BURST).await?;
            let cpu = edge()?.saturating_sub(before);
            check(&run)?;
            let cpu = cpu.as_secs_f64() * 1e3 / run.orders as f64;
            figures.push((format!("{what}: orders/s"), run.rate()));
            figures.push((format!("{what}: CPU of the edge for an order, ms"), cpu));
            deployment.all_paid().await?;
        }
        deployment.stop().await?;
        Ok(figures)
    }
}

/// Measures each mode once in each of `rounds` rounds.
pub(crate) async fn measure(site: &Site, report: &mut Report<'_>, rounds: usize) -> Result<()> {
    let issuer = Issuer::start().await;
    let mut modes = [Mode::off(), Mode::jwt(&issuer)];
    for round in 1..=rounds {
        for mode in &mut modes {
            eprintln!("round {round} of {rounds}: mode {}", mode.name);
            let figures = mode.measure(site, &issuer).await?;
            mode.found.push(figures);
        }
        // Whoever is second finds what the first has left in the database server and the machine.
        modes.reverse();
    }
    modes.sort_by_key(|mode| mode.name != "off");
    let [off, jwt] = modes.map(|mode| mode.found);
    tell(report, &off, &jwt)
}

/// Revokes the tokens of somebody who sends nothing: while nothing is revoked, no token is looked for among it.
async fn revoke_another(site: &Site, deployment: &Deployment, issuer: &Issuer) -> Result<()> {
    let status = Command::new(site.ours.binaries.join("orderctl"))
        .args(["revoke", "--yes", "--subject", "another"])
        .args(["--issuer", &issuer.url()])
        .envs(deployment.env.iter().map(|(name, value)| (name, value)))
        .stdout(Stdio::null())
        .status()
        .await
        .context("starting orderctl")?;
    ensure!(status.success(), "orderctl revoke: {status}");
    Ok(())
}

/// The CPU time of the edge so far.
fn edge() -> Result<Duration> {
    let usage = usage()?;
    Ok(usage.get("edge").context("the edge runs")?.cpu)
}

fn check(run: &Run) -> Result<()> {
    eprintln!("  {}", brief(run));
    ensure!(
        run.refused as f64 <= run.orders as f64 * REFUSED_LIMIT,
        "{} of {} orders were refused or not listed",
        run.refused,
        run.orders
    );
    Ok(())
}

fn tell(report: &mut Report<'_>, off: &[Figures], jwt: &[Figures]) -> Result<()> {
    let note = format!(
        "{USERS} users of {TENANTS} tenants share 256 connections; in mode jwt each request has a token signed with ES256, and one subject, who sends nothing, is revoked. Create: from when the request was due until it was answered, after the first {} of {} s. Burst: {BURST} orders, each sent as soon as one before is answered, with one token for each user; then once more with a new token after every {REQUESTS} requests over a connection. In mode jwt the edge also counts requests and says in each answer what is left; the limit is too high to be met. Databases, nats-server and daemons are new for each round. Medians of {} alternating rounds; difference and ratio are the medians of the rounds' own, behind them the least and the greatest ratio.",
        DELAY.as_secs(),
        LENGTH.as_secs(),
        off.len(),
    );
    let (mut rows, mut differences, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for ((name, off), (_, jwt)) in by_name(off).zip(by_name(jwt)) {
        let pairs = || jwt.iter().zip(&off);
        let difference = median(pairs().map(|(jwt, off)| jwt - off).collect());
        differences.push(difference);
        ratios.push(median(pairs().map(|(jwt, off)| jwt / off).collect()));
        let shown = match name.ends_with("ms") {
            true => format!("{difference:+.3}"),
            false => String::new(),
        };
        let [ratio, range] = ratio(&jwt, &off);
        let [off, jwt] = [off, jwt].map(|values| number(median(values)));
        rows.push(vec![name, off, jwt, shown, ratio, range]);
    }
    let head = ["", "off", "jwt", "difference, ms", "ratio", "range"];
    report.table("Identity", &note, &head, &rows)?;

    report.goal(
        "mode jwt: create p50 beyond that of mode off",
        format!("≤ {MORE_LIMIT} ms"),
        format!("{:.2} ms", differences[P50]),
        differences[P50] <= MORE_LIMIT,
    );
    for (what, at) in BURSTS {
        report.goal(
            &format!("mode jwt: {what}, of mode off's"),
            format!("≥ {LEAST_RATIO}"),
            format!("{:.2}", ratios[at]),
            ratios[at] >= LEAST_RATIO,
        );
    }
    Ok(())
}
