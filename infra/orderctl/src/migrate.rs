//! `migrate`: makes streams, consumers and indexes match their declarations and reports each.

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
/// Daemons do the same at their start, unless ORDERS_AUTO_MIGRATE=false. Messages and documents are never changed.
#[derive(Args)]
pub(crate) struct Options {
    /// Only report differences; exit code 1 if there are any
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    declared: Declared,
}

/// The daemons' settings on which the declarations depend.
#[derive(Args)]
pub(crate) struct Declared {
    /// The number of NATS servers that keep a copy of each stream
    #[arg(long, env = "ORDERS_STREAMS__REPLICAS", default_value_t = 1)]
    pub(crate) replicas: usize,
    /// The time from storing an order to its payment
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
            if self.must_change(difference.as_ref()) {
                bus.declare(&[stream], declared.replicas).await?;
            }
            self.report(
                &stream_name(stream.name),
                difference.as_ref(),
                is_missing(difference.as_ref()),
            );
        }
        Ok(())
    }

    async fn consumers(&mut self, bus: &Operator, declared: &Declared) -> Result<()> {
        for consumer in declared.consumers() {
            // While its stream is missing, a consumer is too.
            let difference = bus.consumer_difference(&consumer).await?;
            if self.must_change(difference.as_ref()) {
                bus.mend_consumer(&consumer).await?;
            }
            self.report(
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
        if self.must_change(differences.first()) {
            let hint =
                "orderctl never drops an index: drop the one that differs, then run this again";
            orders.ensure_indexes().await.context(hint)?;
            rows.ensure_indexes().await.context(hint)?;
        }
        if differences.is_empty() {
            self.report("indexes", None::<&IndexDifference>, false);
        }
        for difference in &differences {
            self.report("indexes", Some(difference), difference.fields.is_none());
        }
        Ok(())
    }

    fn must_change<T>(&self, difference: Option<&T>) -> bool {
        !self.check && difference.is_some()
    }

    fn report(&mut self, what: &str, difference: Option<&impl Display>, is_missing: bool) {
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
    format!("consumer {consumer}")
}
