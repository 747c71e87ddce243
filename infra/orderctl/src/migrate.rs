//! `migrate`: makes streams, consumers and indexes match their declarations and reports each.

use std::{fmt::Display, time::Duration};

use anyhow::{Context as _, Result};
use clap::Args;
use orders_bus::{Difference, Operator};
use orders_contracts::{
    AuditAction, PaymentSettings,
    streams::{self, Consumer, Stream},
};
use orders_store::{IndexDifference, Store};
use serde_json::json;

use crate::{
    Context, Verdict,
    confirm::Confirm,
    output::{Output, counted},
    record::Record,
};

/// Create or update streams, consumers and indexes
///
/// Says first what differs, and asks. Daemons do the same at their start, unasked, unless ORDERS_AUTO_MIGRATE=false. The
/// limits of the streams are the daemons' settings, such as ORDERS_STREAMS__EVENTS__MAX_AGE. No message and no order is
/// changed, unless you pass --lower-limits or --adopt; rows of version 0.1 get the canonical form of their e-mail addresses.
#[derive(Args)]
pub(crate) struct Options {
    /// The same as --dry-run
    #[arg(long, conflicts_with = "yes")]
    check: bool,
    /// Also lower limits of streams that are higher than the settings; messages that no longer fit are removed at once
    #[arg(long)]
    lower_limits: bool,
    /// Make the database and the namespace part of the installation that the streams belong to, although the database
    /// belongs to none, or to one in another namespace
    #[arg(long)]
    adopt: bool,
    #[command(flatten)]
    confirm: Confirm,
    #[command(flatten)]
    pub(crate) declared: Declared,
}

/// The daemons' settings on which the declarations depend.
#[derive(Args)]
#[command(next_help_heading = "Settings of the daemons")]
pub(crate) struct Declared {
    /// The number of NATS servers that keep a copy of each stream
    #[arg(long, env = "ORDERS_STREAMS__REPLICAS", default_value_t = 1)]
    pub(crate) replicas: usize,
    /// The time from storing an order to its payment
    #[arg(long, env = "ORDERS_PAYMENT__DELAY", default_value = "5s", value_parser = humantime::parse_duration)]
    pub(crate) payment_delay: Duration,
    /// The most orders that wait for their payment at once
    #[arg(
        long,
        env = "ORDERS_PAYMENT__MAX_ACK_PENDING",
        default_value_t = 50_000
    )]
    max_ack_pending: u32,
}

impl Declared {
    /// Every durable consumer.
    pub(crate) fn consumers(&self) -> [Consumer; 4] {
        streams::consumers(&PaymentSettings {
            delay: self.payment_delay,
            max_ack_pending: self.max_ack_pending,
        })
    }
}

pub(crate) async fn run(context: &Context, options: Options) -> Result<Verdict> {
    let (bus, store) = (context.bus().await?, context.store().await?);
    let streams = bus.installation(&streams::ALL).await?;
    let namespace = &context.deployment().namespace;
    if options.adopt && store.needs_adoption(namespace, streams.as_ref()).await? {
        let adopted = "is to be adopted; the rest of the plan follows when it is";
        let value = json!({ "what": "database", "difference": adopted });
        context
            .output
            .line(format_args!("database: {adopted}"), &value);
        if options.check {
            return Ok(Verdict::Found);
        }
        let question = "Adopt the database";
        if let Err(verdict) = options.confirm.ask(context, question).await? {
            return Ok(verdict);
        }
        let action = AuditAction::Migrated;
        let record = Record::begin(context, Some(&bus), action, "database", None).await?;
        let adopted = store.adopt(namespace, streams.as_ref()).await;
        let ended = adopted.as_ref().ok().map(|()| Verdict::Fine);
        record.end(ended, "adopted".to_owned()).await?;
        adopted?;
    }
    let differences = Differences::find(context, &bus, &store, &options).await?;
    differences.report(&context.output, &bus);
    let count = differences.count();
    if count == 0 {
        return Ok(Verdict::Fine);
    }
    if options.check {
        return Ok(Verdict::Found);
    }
    let question = format!("Make {}", counted(count, "change"));
    if let Err(verdict) = options.confirm.ask(context, &question).await? {
        return Ok(verdict);
    }
    let what = counted(count, "difference");
    let record = match bus.has_audit().await? {
        true => Record::begin(context, Some(&bus), AuditAction::Migrated, &what, None).await?,
        false => Record::later(context, &bus, AuditAction::Migrated, &what),
    };
    let bar = context.output.busy("migrating");
    let changes = Box::pin(differences.mend(context, &bus, &store));
    let mended = context.stop.run_until_cancelled(changes).await;
    bar.finish_and_clear();
    let verdict = mended.map_or(Ok(Verdict::Interrupted), |mended| {
        mended.map(|()| Verdict::Fine)
    });
    let ended = verdict.as_ref().ok().copied();
    record
        .end(ended, "brought into line with what is declared".to_owned())
        .await?;
    verdict
}

/// How the servers differ from the declarations.
struct Differences {
    /// Neither the streams nor the database belong to an installation.
    is_new: bool,
    streams: Vec<(Stream, Option<Difference>)>,
    consumers: Vec<(Consumer, Option<Difference>)>,
    indexes: Vec<IndexDifference>,
    /// Limits that are higher than declared.
    raised: Vec<(Stream, String)>,
    /// Whether those are to be lowered.
    lowers: bool,
    /// Rows may have e-mail addresses that are not in canonical form.
    has_old_rows: bool,
}

impl Differences {
    async fn find(
        context: &Context,
        bus: &Operator,
        store: &Store,
        options: &Options,
    ) -> Result<Self> {
        let known = bus.installation(&streams::ALL).await?;
        let is_new = known.is_none() && store.installation().await?.is_none();
        if !is_new {
            let namespace = &context.deployment().namespace;
            bus.join(store.join(namespace, known.as_ref()).await?);
        }
        let (mut streams, mut consumers) = (Vec::new(), Vec::new());
        let mut raised = Vec::new();
        for stream in streams::ALL {
            let difference = bus.stream_difference(&stream).await?;
            streams.push((stream, difference));
            let limits = bus.raised_limits(&stream).await?;
            raised.extend(limits.map(|limits| (stream, limits)));
        }
        for consumer in options.declared.consumers() {
            // While its stream is missing, a consumer is too.
            let difference = bus.consumer_difference(&consumer).await?;
            consumers.push((consumer, difference));
        }
        let mut indexes = store.write_model().index_differences().await?;
        indexes.extend(store.read_model().index_differences().await?);
        Ok(Self {
            is_new,
            streams,
            consumers,
            indexes,
            raised,
            lowers: options.lower_limits,
            has_old_rows: !store.has_canonical_emails().await?,
        })
    }

    fn count(&self) -> u64 {
        let streams = self
            .streams
            .iter()
            .filter(|(_, difference)| difference.is_some());
        let consumers = self
            .consumers
            .iter()
            .filter(|(_, difference)| difference.is_some());
        let raised = if self.lowers { self.raised.len() } else { 0 };
        let others = usize::from(self.is_new) + usize::from(self.has_old_rows);
        (streams.count() + consumers.count() + self.indexes.len() + raised + others) as u64
    }

    fn report(&self, output: &Output, bus: &Operator) {
        let report = |what: &str, difference: Option<&dyn Display>| {
            let difference = difference.map(ToString::to_string);
            let text = difference.as_deref().unwrap_or("as declared");
            let value = json!({ "what": what, "difference": difference });
            output.line(format_args!("{what}: {text}"), &value);
        };
        let missing: &dyn Display = &Difference::Missing;
        report("installation", self.is_new.then_some(missing));
        for (stream, difference) in &self.streams {
            let difference = difference
                .as_ref()
                .map(|difference| difference as &dyn Display);
            report(&stream_name(&bus.server_name(stream)), difference);
        }
        for (stream, limits) in &self.raised {
            let kept = if self.lowers {
                ""
            } else {
                "; kept, --lower-limits lowers it"
            };
            let higher = format!("is higher in {limits}{kept}");
            report(&stream_name(&bus.server_name(stream)), Some(&higher));
        }
        for (consumer, difference) in &self.consumers {
            let difference = difference
                .as_ref()
                .map(|difference| difference as &dyn Display);
            report(&consumer_name(consumer), difference);
        }
        for difference in &self.indexes {
            report("indexes", Some(difference));
        }
        if self.indexes.is_empty() {
            report("indexes", None);
        }
        let old: &dyn Display = &"e-mail addresses may not be in canonical form";
        report("rows", self.has_old_rows.then_some(old));
    }

    /// Makes the changes one by one, and reports each.
    async fn mend(&self, context: &Context, bus: &Operator, store: &Store) -> Result<()> {
        let report = |what: &str, done: &str| {
            let value = json!({ "what": what, "done": done });
            context.output.line(format_args!("{what}: {done}"), &value);
        };
        let done = |what: &str, is_new: bool| {
            report(what, if is_new { "created" } else { "updated" });
        };
        if self.is_new {
            bus.join(store.join(&context.deployment().namespace, None).await?);
            done("installation", true);
        }
        for (stream, difference) in &self.streams {
            if let Some(difference) = difference {
                bus.declare(&[*stream]).await?;
                let name = stream_name(&bus.server_name(stream));
                done(&name, *difference == Difference::Missing);
            }
        }
        if self.lowers {
            for (stream, _) in &self.raised {
                bus.lower_limits(stream).await?;
                report(&stream_name(&bus.server_name(stream)), "lowered");
            }
        }
        for (consumer, difference) in &self.consumers {
            if let Some(difference) = difference {
                bus.mend_consumer(consumer).await?;
                done(&consumer_name(consumer), *difference == Difference::Missing);
            }
        }
        if !self.indexes.is_empty() {
            let hint =
                "orderctl never drops an index: drop the one that differs, then run this again";
            store.write_model().ensure_indexes().await.context(hint)?;
            store.read_model().ensure_indexes().await.context(hint)?;
            for IndexDifference {
                collection,
                index,
                fields,
            } in &self.indexes
            {
                done(&format!("index {index} of {collection}"), fields.is_none());
            }
        }
        if self.has_old_rows {
            store.canonicalise_emails().await?;
            done("rows", false);
        }
        Ok(())
    }
}

pub(crate) fn stream_name(name: &str) -> String {
    format!("stream {name}")
}

pub(crate) fn consumer_name(consumer: &Consumer) -> String {
    format!("consumer {consumer}")
}
