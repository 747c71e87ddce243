//! Exports: all orders of a list in one answer.

use std::sync::Arc;

use axum::{
    extract::{RawQuery, State},
    http::{StatusCode, Version, header},
    response::{IntoResponse, Response},
};
use orders_contracts::{
    TenantId, Timestamp,
    query::{self, ExportFormat},
};
use orders_service::metrics::{EXPORTS, counter};
use tokio::time::sleep;

use super::orders::unreadable;
use crate::{
    deadlines::REFUSAL,
    export::{self, Full},
    guard::Caller,
    limits::Cost,
    problem::Problem,
    state::AppState,
};

/// When to try again, in seconds, once there are too many exports.
const RETRY: u64 = 5;

/// `GET /api/orders/export`
pub(crate) async fn show(
    State(edge): State<Arc<AppState>>,
    caller: Caller,
    cost: Cost,
    version: Version,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let asked = query::export(&query.unwrap_or_default(), caller.only_tenant())?;
    let tenant = &asked.filter.tenant;
    caller.act_for(tenant)?;
    cost.charge(&edge, tenant).await?;
    if asked.format == ExportFormat::Csv && version < Version::HTTP_11 {
        return Err(unmarked());
    }
    let place = match edge.exports.enter(tenant) {
        Ok(place) => place,
        Err(full) => return Err(shed(full).await),
    };
    let rows = edge.rows.export(&asked.filter).await.map_err(unreadable)?;
    let headers = [
        (header::CONTENT_TYPE, media_type(asked.format).to_owned()),
        (
            header::CONTENT_DISPOSITION,
            disposition(tenant, asked.format),
        ),
        (header::TRAILER, export::ROWS.to_string()),
    ];
    Ok((headers, export::body(rows, asked.format, place)).into_response())
}

fn media_type(format: ExportFormat) -> &'static str {
    match format {
        ExportFormat::Csv => "text/csv; charset=utf-8; header=present",
        ExportFormat::Ndjson => "application/x-ndjson",
    }
}

/// A file of the server's naming: nothing of it needs quotes or encoding.
fn disposition(tenant: &TenantId, format: ExportFormat) -> String {
    let (now, format) = (Timestamp::now().to_string(), format.as_str());
    let day = now.split('T').next().unwrap_or_default();
    format!("attachment; filename=\"orders-{tenant}-{day}.{format}\"")
}

/// Before HTTP/1.1 a body ends where its connection does, so half a file would pass for a whole one. NDJSON has a last
/// line.
fn unmarked() -> Problem {
    let detail = "CSV takes HTTP/1.1, which tells the end of a file from a broken connection; or ask for format=ndjson";
    Problem::new(StatusCode::HTTP_VERSION_NOT_SUPPORTED, detail)
}

async fn shed(full: Full) -> Problem {
    counter!(EXPORTS, "outcome" => "refused").increment(1);
    match full {
        Full::All => {
            Problem::overloaded("Too many exports are under way; try again when one is done")
        }
        Full::Tenant => {
            // A client that tries again at once would take the processors from all others.
            sleep(REFUSAL).await;
            let detail =
                "Too many exports of this tenant are under way; try again when one is done";
            Problem::too_much("tenant-exports", RETRY, detail)
        }
    }
}
