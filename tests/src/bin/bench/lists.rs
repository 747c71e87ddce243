//! Whether a list stays fast when it is long.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use tokio::{task::JoinSet, time::sleep};

use crate::{
    client::{Connection, GET},
    deployment::{Deployment, Design},
    report::{Line, Report, latencies, median, millis, record},
    site::Site,
    sockets::between,
    stock::{self, BUYERS, Stock},
};

/// How many rounds; the medians are reported.
const ROUNDS: usize = 3;
pub(crate) const CONNECTIONS: usize = 16;
pub(crate) const WARM_UP: Duration = Duration::from_secs(1);
const LENGTH: Duration = Duration::from_secs(5);
/// As many as the API shows without being asked.
const PAGE: usize = 10;
/// How many deep pages take turns.
const DEEP_PAGES: usize = 8;
/// What the goals leave out: it has to count all rows before the page.
const BY_NUMBER: &str = "page in the middle, by number";
/// The same as `FIRST`, while as many connections ask for the longest list `BY_NUMBER`.
const BESIDE: &str = "first page, beside pages in the middle by number";
const FIRST: &str = "first page";
/// How many times the latency in a short list is still the same.
const SAME: f64 = 1.5;
/// A prime above any number of rows: its multiples visit every one of them, one here, one there.
const STRIDE: usize = 1_000_000_007;

/// How one round of questions was answered.
pub(crate) struct Answers {
    pub(crate) latency: Histogram<u64>,
    /// Answers per second.
    pub(crate) rate: f64,
    /// Answers that were not 200.
    failed: usize,
}

/// What is asked of the list of `size` orders, and how it was answered, by round.
struct Question {
    what: &'static str,
    size: usize,
    paths: Arc<Vec<String>>,
    rates: Vec<f64>,
    /// In milliseconds, as `p99`.
    p50: Vec<f64>,
    p99: Vec<f64>,
    failed: usize,
}

impl Question {
    fn new(what: &'static str, size: usize, paths: Arc<Vec<String>>) -> Self {
        Self {
            what,
            size,
            paths,
            rates: Vec::new(),
            p50: Vec::new(),
            p99: Vec::new(),
            failed: 0,
        }
    }

    fn record(&mut self, round: usize, answers: &Answers) {
        let p99 = millis(&answers.latency, 0.99);
        let (size, what) = (self.size, self.what);
        eprintln!("round {round} of {ROUNDS}: {size} orders, {what}: p99 {p99:.1} ms");
        self.rates.push(answers.rate);
        self.p50.push(millis(&answers.latency, 0.5));
        self.p99.push(p99);
        self.failed += answers.failed;
    }
}

/// Loads three tenants, each ten times the one before, up to `most` rows, and asks for their lists.
pub(crate) async fn measure(site: &Site, report: &mut Report<'_>, most: usize) -> Result<()> {
    let sizes = [most / 100, most / 10, most];
    let pipeline = Deployment::start(site, Design::Pipeline(&site.ours), "pipeline").await?;
    let edge = &pipeline.target.url;
    load(&pipeline.stock, sizes).await?;
    let mut asked = Vec::new();
    for size in sizes {
        let of_size = questions(edge, size).await?.into_iter();
        asked.extend(of_size.map(|(what, paths)| Question::new(what, size, Arc::new(paths))));
    }
    // Pages by number keep the database busy, so they come last.
    for by_number in [false, true] {
        for round in 1..=ROUNDS {
            let now = asked.iter_mut();
            for question in now.filter(|question| (question.what == BY_NUMBER) == by_number) {
                ask(edge, &question.paths, WARM_UP).await?;
                let answers = ask(edge, &question.paths, LENGTH).await?;
                question.record(round, &answers);
            }
        }
    }
    let paths = |what| {
        let is = |question: &&Question| (question.what, question.size) == (what, most);
        let question = asked.iter().find(is).context("it was asked")?;
        anyhow::Ok(Arc::clone(&question.paths))
    };
    let by_number = paths(BY_NUMBER)?;
    let mut beside = Question::new(BESIDE, most, paths(FIRST)?);
    for round in 1..=ROUNDS {
        let (others, answers) = tokio::join!(ask(edge, &by_number, WARM_UP + LENGTH), async {
            sleep(WARM_UP).await;
            ask(edge, &beside.paths, LENGTH).await
        });
        others?;
        beside.record(round, &answers?);
    }
    asked.push(beside);
    pipeline.stop().await?;
    tell(report, sizes, &asked)
}

/// Writes the rows of all three tenants in one go, so that each has rows of the others around its own.
async fn load(stock: &Stock, [small, middle, large]: [usize; 3]) -> Result<()> {
    let count = small + middle + large;
    let row = move |n| {
        let place = n * STRIDE % count;
        let size = match place {
            _ if place < small => small,
            _ if place < small + middle => middle,
            _ => large,
        };
        stock::row(&tenant(size), n)
    };
    stock::fill(&stock.rows, count, row).await
}

fn tenant(size: usize) -> String {
    format!("list-{size}")
}

/// What to ask of a list of `size` orders, each with the paths that take turns.
async fn questions(edge: &str, size: usize) -> Result<Vec<(&'static str, Vec<String>)>> {
    let list = format!("/api/orders?tenantId={}", tenant(size));
    let middle = size / PAGE / 2;
    let deep: Vec<_> = (middle..middle + DEEP_PAGES)
        .map(|page| format!("{list}&page={page}"))
        .collect();
    let buyers = (0..BUYERS).map(|n| format!("{list}&buyerEmail={}", stock::buyer(n)));
    let mut questions = vec![
        (FIRST, vec![list.clone()]),
        ("of one status", vec![format!("{list}&status=PAID")]),
        ("of one buyer", buyers.collect()),
    ];
    let mut cursors = Vec::new();
    for path in &deep {
        let Some(next) = next(edge, path).await? else {
            break;
        };
        cursors.push(next);
    }
    if cursors.is_empty() {
        eprintln!("the API names no next page, so there is none to ask for by cursor");
    } else {
        questions.push(("page in the middle, by cursor", cursors));
    }
    questions.push((BY_NUMBER, deep));
    Ok(questions)
}

/// The path of the page after the one at `path`, if the answer names it.
async fn next(edge: &str, path: &str) -> Result<Option<String>> {
    let answer = Connection::open(edge).await?.send(GET, path, "").await?;
    let Some(link) = answer.headers.get("link") else {
        return Ok(None);
    };
    let mut links = link.to_str()?.split(',');
    let next = links.find(|link| link.contains("rel=\"next\""));
    Ok(next.and_then(|link| Some(between(link, "<", '>')?.to_owned())))
}

/// Asks for `paths` over all connections for `length`, each time as soon as the last answer is there.
pub(crate) async fn ask(edge: &str, paths: &Arc<Vec<String>>, length: Duration) -> Result<Answers> {
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for first in 0..CONNECTIONS {
        let mut connection = Connection::open(edge).await?;
        let paths = Arc::clone(paths);
        tasks.spawn(async move {
            let (mut latency, mut failed) = (latencies(), 0);
            // Each begins elsewhere, so that they do not all ask for the same.
            let turns = paths.iter().cycle().skip(first * paths.len() / CONNECTIONS);
            for path in turns {
                if start.elapsed() >= length {
                    break;
                }
                let asked = Instant::now();
                let answer = connection.send(GET, path, "").await?;
                record(&mut latency, asked.elapsed());
                failed += usize::from(answer.status != 200);
            }
            Ok::<_, anyhow::Error>((latency, failed))
        });
    }
    let (mut latency, mut failed) = (latencies(), 0);
    while let Some(ended) = tasks.join_next().await {
        let (of_one, failed_of_one) = ended??;
        latency.add(of_one)?;
        failed += failed_of_one;
    }
    let rate = latency.len() as f64 / start.elapsed().as_secs_f64();
    Ok(Answers {
        latency,
        rate,
        failed,
    })
}

fn tell(report: &mut Report<'_>, sizes: [usize; 3], asked: &[Question]) -> Result<()> {
    let rows: Vec<_> = asked
        .iter()
        .map(|question| {
            vec![
                question.what.to_owned(),
                question.size.to_string(),
                format!("{:.0}", median(question.rates.clone())),
                format!("{:.1}", median(question.p50.clone())),
                format!("{:.1}", median(question.p99.clone())),
                question.failed.to_string(),
            ]
        })
        .collect();
    let note = format!(
        "`GET /api/orders` of a tenant with that many orders among {} in the collection, pages of {PAGE}; {CONNECTIONS} connections, each asking again as soon as it is answered, for {} s after {} s of warm-up. The last line is asked while {CONNECTIONS} more connections ask for the one above it. Milliseconds from request to answer; medians of {ROUNDS} rounds.",
        sizes.iter().sum::<usize>(),
        LENGTH.as_secs(),
        WARM_UP.as_secs()
    );
    let head = ["list", "orders", "requests/s", "p50", "p99", "not 200"];
    report.table("Lists", &note, &head, &rows)?;

    let [small, _, large] = sizes;
    let p99 = |what: &str, size: usize| {
        let is = |question: &&Question| question.what == what && question.size == size;
        let question = asked.iter().find(is).context("every size was asked")?;
        anyhow::Ok(median(question.p99.clone()))
    };
    let mut lines = Vec::new();
    for &Question { what, size, .. } in asked {
        if size != small || what == BY_NUMBER {
            continue;
        }
        let times = p99(what, large)? / p99(what, small)?;
        report.goal(
            &format!("{what}: p99 with {large} orders, of that with {small}"),
            format!("≤ {SAME} times"),
            format!("{times:.2} times"),
            times <= SAME,
        );
        let points = sizes
            .iter()
            .map(|&size| Ok((size as f64 / 1e3, p99(what, size)?)));
        lines.push(Line {
            name: what.to_owned(),
            points: points.collect::<Result<_>>()?,
        });
    }
    let axes = ["thousands of orders in the list", "ms"];
    report.plot("lists", "p99 of one page of a list", axes, &lines)
}
