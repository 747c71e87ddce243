//! `doctor`: checks everything that the pipeline depends on and changes nothing.

mod clocks;
mod consumers;
mod daemons;
mod database;
mod letters;
mod report;
mod sample;
mod server;
mod sharding;
mod streams;

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use orders_bus::Operator;
use orders_contracts::streams::ALL;
use orders_store::Store;
use tokio::time::sleep;

use self::report::{Diagnosis, Report};
use crate::{
    Context, Verdict,
    look::Look,
    migrate::{Declared, consumer_name, stream_name},
};

/// Check servers, daemons, clocks, streams, consumers, indexes, dead letters and a sample of the list; exit code 1 if a
/// check is red
#[derive(Args)]
pub(crate) struct Options {
    /// The URL of the NATS server's monitoring, the only place that tells how it syncs to disk and how full its disk is
    #[arg(
        long,
        env = "NATS_MONITOR_URL",
        default_value = "http://localhost:8222",
        help_heading = "Connection"
    )]
    nats_monitor: String,
    /// The URL of the front end, the only daemon that is not connected to NATS
    #[arg(
        long,
        env = "WEB_URL",
        default_value = "http://localhost:3000",
        help_heading = "Connection"
    )]
    web_url: String,
    /// How long to watch whether consumers make progress
    #[arg(long, default_value = "2s", value_parser = humantime::parse_duration)]
    look: Duration,
    #[command(flatten)]
    pub(crate) declared: Declared,
}

pub(crate) async fn run(context: &Context, options: Options) -> Result<Verdict> {
    let mut report = Report::new(&context.output);
    let bus = match context.bus().await {
        Ok(bus) => {
            of_bus(context, &bus, &options, &mut report).await?;
            Some(bus)
        }
        Err(error) => {
            report.add("nats", server::unreachable(&error));
            None
        }
    };
    report.add("web", daemons::web(&options.web_url).await);
    match context.store().await {
        Ok(store) => of_store(context, &store, bus.as_ref(), &options, &mut report).await?,
        Err(error) => report.add(
            "database",
            Diagnosis::red(
                format!("{error:#}"),
                "start MongoDB, or correct --mongo-url",
            ),
        ),
    }
    Ok(match (context.stop.is_cancelled(), report.is_red) {
        (true, _) => Verdict::Interrupted,
        (false, true) => Verdict::Found,
        (false, false) => Verdict::Fine,
    })
}

async fn of_bus(
    context: &Context,
    bus: &Operator,
    options: &Options,
    report: &mut Report<'_>,
) -> Result<()> {
    report.add("nats", server::version(&bus.server().version));
    server::monitor(
        bus,
        &options.nats_monitor,
        options.declared.replicas,
        report,
    )
    .await;
    for stream in ALL {
        let difference = bus.stream_difference(&stream).await?;
        let raised = bus.raised_limits(&stream).await?;
        report.add(
            &stream_name(stream.name),
            streams::settings(difference.as_ref(), raised),
        );
    }
    for consumer in options.declared.consumers() {
        let difference = bus.consumer_difference(&consumer).await?;
        report.add(
            &consumer_name(&consumer),
            Diagnosis::drift(difference.as_ref()),
        );
    }
    let bar = context.output.busy("watching streams and consumers");
    let look = async || Look::at(bus, options.declared.consumers()).await.whole();
    let before = look().await?;
    let pause = context.stop.run_until_cancelled(sleep(options.look));
    let (daemons, _) = tokio::join!(bus.daemons(), pause);
    let after = look().await?;
    bar.finish_and_clear();
    let daemons = daemons?;
    daemons::judge(&daemons, report);
    clocks::judge(bus, &daemons, report).await;
    streams::judge(&before, &after, report);
    consumers::judge(&context.deployment().namespace, &before, &after, report);
    letters::judge(&after, report);
    Ok(())
}

async fn of_store(
    context: &Context,
    store: &Store,
    bus: Option<&Operator>,
    options: &Options,
    report: &mut Report<'_>,
) -> Result<()> {
    report.add("database", database::judge(store).await?);
    if !store.has_orders().await? {
        let found = format!("no orders_write in database {}", store.database());
        report.add(
            "orders",
            Diagnosis::red(found, "correct --mongo-url, or start writer"),
        );
        return Ok(());
    }
    for (collection, differences) in [
        (
            "orders_write",
            store.write_model().index_differences().await?,
        ),
        ("orders_read", store.read_model().index_differences().await?),
    ] {
        let check = format!("indexes of {collection}");
        if differences.is_empty() {
            report.add(&check, Diagnosis::green("as declared"));
        }
        for difference in &differences {
            report.add(&check, Diagnosis::drift(Some(difference)));
        }
    }
    sharding::judge(store, report).await;
    sample::judge(context, store, bus, options.look, report).await
}
