//! `migrate`: streams, consumers and indexes are made what they are declared to be, and each is named.

use std::{fmt::Display, time::Duration};

use anyhow::{Context as _, Result};
use clap::Args;
use orders_bus::{Difference, Operator};
use orders_contracts::streams::{self, Consumer};
use orders_store::{IndexDifference, Store};
use serde_json::json;

use crate::{Context, Verdict, output::Output};

/// Create or update streams, consumers and indexes
///
/// With ORDERS_AUTO_MIGRATE=false the daemons leave that to this command. Messages and documents are never touched.
#[derive(Args)]
pub(crate) struct Options {
    /// Change nothing, only tell the differences; exit code 1 when there are any
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    declared: Declared,
}

/// The settings of the daemons that their declarations depend on.
#[derive(Args)]
pub(crate) struct Declared {
    /// How many NATS servers keep a copy of each stream
    #[arg(long, env = "ORDERS_STREAMS__REPLICAS", default_value_t = 1)]
    pub(crate) replicas: usize,
    /// How long after an order was stored its payment goes through
    #[arg(long, env = "ORDERS_PAYMENT__DELAY", default_value = "5s", value_parser = humantime::parse_duration)]
    pub(crate) payment_delay: Duration,
}

impl Declared {
    /// Every durable consumer.
    pub(crate) fn consumers(&self) -> [Consumer; 4] {
        streams::consumers(self.payment_delay)
    }
}

pub(crate) async fn run(context: &Context, options: Options) -> Result<Verdict> {
    let (bus, store) = (context.bus().await?, context.store().await?);
    let mut migration = Migration {
        output: &context.output,
        check: options.check,
        differences: 0,
    };
    migration.streams(&bus, &options.declared).await?;
    migration.consumers(&bus, &options.declared).await?;
    migration.indexes(&store).await?;
    Ok(if options.check && migration.differences > 0 {
        Verdict::Found
    } else {
        Verdict::Fine
    })
}

struct Migration<'a> {
    output: &'a Output,
    check: bool,
    differences: usize,
}

impl Migration<'_> {
    async fn streams(&mut self, bus: &Operator, declared: &Declared) -> Result<()> {
        for stream in streams::ALL {
            let difference = bus.stream_difference(&stream, declared.replicas).await?;
            if self.is_to_change(difference.as_ref()) {
                bus.declare(&[stream], declared.replicas).await?;
            }
            self.tell(
                &stream_name(stream.name),
                difference.as_ref(),
                is_missing(difference.as_ref()),
            );
        }
        Ok(())
    }

    async fn consumers(&mut self, bus: &Operator, declared: &Declared) -> Result<()> {
        for consumer in declared.consumers() {
            // Before its stream is made, a consumer is missing as well.
            let difference = bus.consumer_difference(&consumer).await?;
            if self.is_to_change(difference.as_ref()) {
                bus.mend_consumer(&consumer).await?;
            }
            self.tell(
                &consumer_name(&consumer),
                difference.as_ref(),
                is_missing(difference.as_ref()),
            );
        }
        Ok(())
    }

    async fn indexes(&mut self, store: &Store) -> Result<()> {
        let (orders, rows) = (store.write_model(), store.read_model());
        let mut differences = orders.index_differences().await?;
        differences.extend(rows.index_differences().await?);
        if self.is_to_change(differences.first()) {
            let hint =
                "an index is never dropped for you: drop the one that differs, and run this again";
            orders.ensure_indexes().await.context(hint)?;
            rows.ensure_indexes().await.context(hint)?;
        }
        if differences.is_empty() {
            self.tell("indexes", None::<&IndexDifference>, false);
        }
        for difference in &differences {
            self.tell("indexes", Some(difference), difference.fields.is_none());
        }
        Ok(())
    }

    fn is_to_change<T>(&self, difference: Option<&T>) -> bool {
        !self.check && difference.is_some()
    }

    fn tell(&mut self, what: &str, difference: Option<&impl Display>, is_missing: bool) {
        let Some(difference) = difference else {
            let value = json!({ "what": what, "difference": null, "done": null });
            return self
                .output
                .line(format_args!("{what}: as declared"), &value);
        };
        self.differences += 1;
        let done = match (self.check, is_missing) {
            (true, _) => None,
            (false, true) => Some("created"),
            (false, false) => Some("updated"),
        };
        let end = done.map(|done| format!("; {done}")).unwrap_or_default();
        let difference = difference.to_string();
        self.output.line(
            format_args!("{what}: {difference}{end}"),
            &json!({ "what": what, "difference": difference, "done": done }),
        );
    }
}

fn is_missing(difference: Option<&Difference>) -> bool {
    difference == Some(&Difference::Missing)
}

pub(crate) fn stream_name(name: &str) -> String {
    format!("stream {name}")
}

pub(crate) fn consumer_name(consumer: &Consumer) -> String {
    format!("consumer {}/{}", consumer.stream.name, consumer.durable)
}
