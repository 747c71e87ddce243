//! `tap`: shows the messages about an order or a tenant as one timeline over all streams.

use std::{
    collections::HashSet,
    fmt,
    pin::{Pin, pin},
    time::Duration,
};

use anyhow::Result;
use clap::Args;
use futures_util::{
    Stream, StreamExt, TryStreamExt,
    stream::{Peekable, select_all},
};
use orders_bus::{Error, Operator, Passage, TapFilter};
use orders_contracts::{
    OrderId, TenantId, Timestamp,
    streams::{self, ORDERS_COMMANDS},
};
use serde_json::{Value, json};

use crate::{
    Context, Verdict,
    comparison::patiently,
    output::{Output, cut, plain, row},
};

const COLUMNS: [usize; 6] = [12, 9, 22, 15, 9, 3];
const HEAD: &str = "TIME (UTC)    AFTER      STREAM:SEQUENCE         MESSAGE          STATUS     V";

/// Follow one order or tenant across all streams
///
/// Prints the stored messages in the order of time, then new ones as they arrive, until Ctrl-C. A command leaves its
/// stream once it is handled, so new commands are only overheard and have no sequence. Exit code 1 if there is nothing.
#[derive(Args)]
pub(crate) struct Options {
    /// The order, `ord_...`
    #[arg(required_unless_present = "tenant", value_name = "ORDER")]
    order: Option<OrderId>,
    /// The tenant; of an order, the database knows it
    #[arg(long)]
    tenant: Option<TenantId>,
    /// End after the stored messages
    #[arg(long)]
    no_follow: bool,
}

pub(crate) async fn run(context: &Context, options: Options) -> Result<Verdict> {
    let bus = context.bus().await?;
    let tenant = match (options.tenant, &options.order) {
        (None, Some(order)) => tenant_of(context, order).await,
        (tenant, _) => tenant,
    };
    let filter = TapFilter {
        tenant,
        order: options.order,
    };
    let mut timeline = Timeline::new(&context.output);
    // Opened before the past is read, so that no command is missed in between.
    let commands = bus.passing(&ORDERS_COMMANDS, &filter).await?;
    let (mut ends, mut messages) = (Vec::new(), 0);
    for stream in &streams::ALL {
        let state = bus.stream_state(stream).await?;
        messages += state.map_or(0, |state| state.messages);
        ends.push((stream, state.map_or(0, |state| state.last)));
    }

    let bar = context.output.progress("messages", messages);
    let read = |count| bar.inc(count);
    let past = ends
        .iter()
        .map(|(stream, end)| Box::pin(bus.past(stream, &filter, *end, &read).peekable()))
        .collect();
    let replayed = timeline.past(past);
    let replayed = context.stop.run_until_cancelled(replayed).await;
    bar.finish_and_clear();
    match replayed {
        None => return Ok(Verdict::Interrupted),
        Some(replayed) => replayed?,
    }
    if timeline.first.is_none() {
        let what = match (&filter.order, &filter.tenant) {
            (Some(order), _) => order.to_string(),
            (None, tenant) => tenant
                .as_ref()
                .map_or_else(String::new, ToString::to_string),
        };
        context
            .output
            .note(format_args!("no stream holds anything of {what}"));
    }
    if !options.no_follow {
        let follow = follow(&bus, &filter, &ends, commands, &mut timeline);
        // Ctrl-C is the only way to end it, so it is no interruption.
        context.stop.run_until_cancelled(follow).await;
    }
    Ok(match timeline.first {
        Some(_) => Verdict::Fine,
        None => Verdict::Found,
    })
}

/// The tenant of an order, as the database knows it. Without it, the messages of all tenants have to be read.
async fn tenant_of(context: &Context, order: &OrderId) -> Option<TenantId> {
    let all = "searching the messages of all tenants";
    let id = order.as_str();
    let found = async {
        let store = context.store().await?;
        let orders = store.write_model();
        let mut found = patiently(async || orders.look_up(&[id]).await).await?;
        anyhow::Ok(found.remove(id).transpose()?)
    };
    match found.await {
        Ok(Some(order)) => return Some(order.tenant_id),
        Ok(None) => context
            .output
            .note(format_args!("{id} is not stored; {all}")),
        Err(error) => context.output.note(format_args!("{error:#}; {all}")),
    }
    None
}

async fn follow(
    bus: &Operator,
    filter: &TapFilter,
    ends: &[(&streams::Stream, u64)],
    commands: impl Stream<Item = Passage>,
    timeline: &mut Timeline<'_>,
) {
    let kept = ends
        .iter()
        .filter(|(stream, _)| **stream != ORDERS_COMMANDS)
        .map(|(stream, end)| bus.coming(stream, filter, *end).boxed_local());
    let commands = pin!(commands);
    let mut live = select_all(kept.chain([commands.boxed_local()]));
    while let Some(passage) = live.next().await {
        timeline.live(&passage);
    }
}

/// Prints messages, each with the time since the first.
struct Timeline<'a> {
    output: &'a Output,
    first: Option<Timestamp>,
    /// What the lines above the next one are about.
    heading: String,
    /// The `ce-id`s of stored commands that were printed: they may be overheard as well.
    commands: HashSet<String>,
}

impl<'a> Timeline<'a> {
    fn new(output: &'a Output) -> Self {
        Self {
            output,
            first: None,
            heading: String::new(),
            commands: HashSet::new(),
        }
    }

    /// Prints the messages of all streams, each already in the order of time, in that order.
    async fn past<S>(&mut self, mut streams: Vec<Pin<Box<Peekable<S>>>>) -> Result<()>
    where
        S: Stream<Item = Result<Passage, Error>>,
    {
        loop {
            let mut earliest: Option<(Timestamp, usize)> = None;
            for (n, stream) in streams.iter_mut().enumerate() {
                let time = match stream.as_mut().peek().await {
                    None => continue,
                    // An error comes first.
                    Some(Err(_)) => Timestamp::from_millis(0),
                    Some(Ok(passage)) => Some(passage.time),
                };
                let head = time.map(|time| (time, n));
                earliest = earliest.into_iter().chain(head).min();
            }
            let Some((_, n)) = earliest else {
                return Ok(());
            };
            if let Some(passage) = streams[n].try_next().await? {
                if passage.stream == ORDERS_COMMANDS.name {
                    self.commands.extend(passage.id.clone());
                }
                self.print(&passage);
            }
        }
    }

    fn live(&mut self, passage: &Passage) {
        let is_known = passage.sequence.is_none()
            && passage
                .id
                .as_ref()
                .is_some_and(|id| self.commands.contains(id));
        if !is_known {
            self.print(passage);
        }
    }

    fn print(&mut self, passage: &Passage) {
        let first = *self.first.get_or_insert(passage.time);
        let line = Line {
            passage,
            since_first: passage.time.since(first),
            body: serde_json::from_slice(&passage.body).unwrap_or_default(),
        };
        if self.heading.is_empty() {
            self.output.remark(HEAD);
        }
        let heading = line.heading();
        if self.heading != heading {
            self.output.remark(&heading);
            self.heading = heading;
        }
        self.output.line(&line, &line.json());
    }
}

struct Line<'a> {
    passage: &'a Passage,
    since_first: Duration,
    body: Value,
}

impl Line<'_> {
    fn status(&self) -> Option<&str> {
        let row = self.body.get("order").unwrap_or(&self.body);
        row.get("status")?.as_str()
    }

    fn version(&self) -> Option<u64> {
        self.body.get("version")?.as_u64()
    }

    fn json(&self) -> Value {
        let passage = self.passage;
        json!({
            "time": passage.time,
            "sinceFirstMs": self.since_first.as_millis() as u64,
            "stream": passage.stream,
            "sequence": passage.sequence,
            "subject": passage.subject,
            "type": passage.message_type,
            "id": passage.id,
            "orderId": passage.order_id,
            "status": self.status(),
            "version": self.version(),
            "reason": passage.reason,
            "traceId": passage.trace_id,
        })
    }
}

impl Line<'_> {
    /// What many lines have in common: the day, the order and the trace.
    fn heading(&self) -> String {
        let passage = self.passage;
        let time = passage.time.to_string();
        format!(
            "{} {} trace {}",
            time.split('T').next().unwrap_or_default(),
            cut(passage.order_id.as_deref().unwrap_or("-"), 30),
            passage.trace_id.as_deref().unwrap_or("-"),
        )
    }
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let passage = self.passage;
        let time = passage.time.to_string();
        let time = time
            .split('T')
            .nth(1)
            .unwrap_or_default()
            .trim_end_matches('Z');
        let sequence = passage
            .sequence
            .map_or_else(|| "-".to_owned(), |sequence| sequence.to_string());
        let place = format!("{}:{sequence}", passage.stream);
        let after = format!("+{:.3}s", self.since_first.as_secs_f64());
        let version = self
            .version()
            .map_or_else(|| "-".to_owned(), |version| version.to_string());
        let kind = passage.message_type.as_deref().unwrap_or("-");
        let kind = kind.trim_start_matches("com.example.");
        let kind = kind.trim_start_matches("orders.");
        let kind = kind.trim_end_matches(".v1");
        let [times, afters, places, kinds, statuses, versions] = COLUMNS;
        let cells = [
            (times, time),
            (afters, &after),
            (places, &place),
            (kinds, kind),
            (statuses, self.status().unwrap_or("-")),
            (versions, &version),
        ];
        f.write_str(&row(&cells))?;
        match &passage.reason {
            Some(reason) => write!(f, "\n              given up: {}", plain(reason)),
            None => Ok(()),
        }
    }
}
