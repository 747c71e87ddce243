//! A sample of the list against the truth.

use std::time::Duration;

use anyhow::Result;
use orders_bus::Operator;
use orders_store::Store;
use uuid::Uuid;

use super::report::{Diagnosis, Report};
use crate::{
    Context,
    comparison::{Finding, Findings, Scope, compare, patiently},
    finding::{Counts, Extent, List},
    output::counted,
};

/// The number of orders in a sample.
const SIZE: u64 = 1_000;

pub(super) async fn judge(
    context: &Context,
    store: &Store,
    bus: Option<&Operator>,
    lasting: Duration,
    report: &mut Report<'_>,
) -> Result<()> {
    let orders = patiently(async || store.write_model().count(None).await).await?;
    let scope = Scope {
        lasting,
        after: if orders > SIZE {
            somewhere()
        } else {
            String::new()
        },
        most: SIZE,
        ..Scope::any()
    };
    let mut sample = Sample::default();
    let scanned = compare(context, store, bus, &scope, &mut sample).await?;
    let Sample(counts) = sample;
    let found = format!("{} of about {}", Extent(scanned), counted(orders, "order"));
    report.add(
        "sample of the list",
        match counts.total() {
            0 => Diagnosis::green(format!("no difference in {found}")),
            total => Diagnosis::red(
                format!(
                    "{}{} in {found}",
                    counted(total, "difference"),
                    List(&counts)
                ),
                "run orderctl projection verify for all of them, then orderctl projection rebuild",
            ),
        },
    );
    Ok(())
}

/// A place among the ids, which are random themselves. From the last of the alphabet few would follow.
fn somewhere() -> String {
    let [first, second, ..] = *Uuid::new_v4().as_bytes();
    let letter = |byte: u8, among: u8| char::from(b'a' + byte % among);
    format!("ord_{}{}", letter(first, 24), letter(second, 26))
}

#[derive(Default)]
struct Sample(Counts);

impl Findings for Sample {
    async fn found(&mut self, findings: Vec<Finding>) -> Result<()> {
        for finding in &findings {
            self.0.add(finding.kind(), 1);
        }
        Ok(())
    }
}
