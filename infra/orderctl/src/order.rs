//! `order`: what the truth and the list say of one order now.

use anyhow::Result;
use clap::Args;
use orders_contracts::{AttachmentRef, OrderId, OrderRow};
use orders_domain::projection::{Difference, StoredRow};
use serde_json::{Value, json};

use crate::{
    Context, Verdict,
    comparison::{Finding, Problem, Scope, patiently, problem},
    output::row,
};

const COLUMNS: [usize; 3] = [11, 32, 32];

/// Show what the truth (`orders_write`) and the list (`orders_read`) say of an order now
///
/// Exit code 1 if they differ, or if there is no such order. A change of this very moment may still be on its way to the
/// list.
#[derive(Args)]
pub(crate) struct Options {
    /// The order, `ord_...`
    #[arg(value_name = "ORDER")]
    order: OrderId,
}

pub(crate) async fn run(context: &Context, options: Options) -> Result<Verdict> {
    let store = context.orders().await?;
    let id = options.order.as_str();
    // The row comes before the order, as in the comparison.
    let rows = patiently(async || store.read_model().look_up(&[id]).await).await?;
    let mut orders = patiently(async || store.write_model().look_up(&[id]).await).await?;
    let (order, row) = (orders.remove(id), rows.get(id));
    let scope = Scope::any();
    let problem = problem(id, order.as_ref(), row, &scope);
    if order.is_none() && row.is_none() {
        context.output.error(format_args!("no order {id}"));
        return Ok(Verdict::Found);
    }
    let order = order.and_then(Result::ok);
    let truth = order
        .as_ref()
        .map(|order| StoredRow::from(order.latest_event()));
    let listed = row.and_then(|row| row.as_ref().ok());
    let finding = problem.map(|problem| Finding {
        id: id.to_owned(),
        order,
        problem,
    });
    let mut value = json!({
        "orderId": id, "truth": truth.as_ref().map(json_of), "list": listed.map(json_of),
    });
    value["difference"] = finding.as_ref().map_or(Value::Null, Finding::value);
    let mut text = table(truth.as_ref(), listed);
    match &finding {
        None => {}
        // The table shows them side by side.
        Some(Finding {
            problem: Problem::Row(Difference::Values(_)),
            ..
        }) => {
            text += "\nthe row has other values than the order";
        }
        Some(finding) => text += &format!("\n{}", finding.text()),
    }
    context.output.line(text, &value);
    Ok(match finding {
        None => Verdict::Fine,
        Some(_) => Verdict::Found,
    })
}

fn table(truth: Option<&StoredRow>, list: Option<&StoredRow>) -> String {
    let [name, left, right] = COLUMNS;
    let mut lines = vec![row(&[(name, ""), (left, "TRUTH"), (right, "LIST")])];
    let (truth, list) = (truth.map(fields), list.map(fields));
    for (n, field) in NAMES.iter().enumerate() {
        let of = |fields: &Option<[String; 11]>| {
            fields
                .as_ref()
                .map_or_else(|| "-".to_owned(), |fields| fields[n].clone())
        };
        lines.push(row(&[
            (name, field),
            (left, &of(&truth)),
            (right, &of(&list)),
        ]));
    }
    lines.join("\n")
}

const NAMES: [&str; 11] = [
    "order",
    "tenant",
    "version",
    "status",
    "created",
    "buyer",
    "total",
    "attachment",
    "name",
    "lines",
    "currency",
];

fn fields(stored: &StoredRow) -> [String; 11] {
    let StoredRow {
        tenant_id,
        version,
        row,
    } = stored;
    let OrderRow {
        order_id,
        status,
        created_at,
        buyer_email,
        total,
        attachment,
        buyer_name,
        item_count,
        currency,
    } = row;
    let file = attachment
        .as_ref()
        .map(|AttachmentRef { filename, .. }| filename.clone());
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    [
        order_id.to_string(),
        tenant_id.to_string(),
        version.to_string(),
        status.as_str().to_owned(),
        created_at.to_string(),
        buyer_email.clone(),
        total.to_string(),
        or_dash(file),
        or_dash(buyer_name.clone()),
        or_dash(item_count.map(|count| count.to_string())),
        or_dash(currency.map(|currency| currency.to_string())),
    ]
}

fn json_of(stored: &StoredRow) -> Value {
    let mut value = json!(stored.row);
    value["tenantId"] = json!(stored.tenant_id);
    value["version"] = json!(stored.version);
    value
}
