//! `erase`: removes the personal data of a buyer, or all of a tenant, from the database and from the streams.
//!
//! First both models, or a replay would bring back what the streams lost; then the messages; then it looks again, because
//! what a daemon had in hand meanwhile comes later. Every step can be repeated, so an interrupted run can too.

mod search;
mod work;

use std::time::Duration;

use anyhow::{Result, bail};
use clap::{ArgGroup, Args};
use data_encoding::HEXLOWER;
use orders_contracts::{
    AuditAction, AuditEntry, Erasure, OrderId, Person, TenantId, Whose, canonical_email, is_email,
};
use orders_store::Store;
use orders_uploads::Storage;
use ring::hmac;
use serde_json::json;

use self::{
    search::{Found, Search},
    work::{Erased, Erasing},
};
use crate::{Context, Verdict, comparison::patiently, confirm::Confirm, record::Record};

/// Erase the personal data of a buyer, or all of a tenant, for good
///
/// Looks first, says what it found and asks. A buyer's orders stay, with their totals and without name, e-mail address and
/// file, which is removed in all its versions; messages that have these are removed and overwritten. Of a tenant nothing stays but the audit. Then it looks
/// again, until nothing is found. Exit code 1 if something is left, such as what a stopped daemon has in hand.
#[derive(Args)]
#[command(group(ArgGroup::new("whose").args(["buyer_email", "all"]).required(true)))]
pub(crate) struct Options {
    /// The tenant
    #[arg(long)]
    tenant: TenantId,
    /// The buyer's e-mail address, in any spelling
    #[arg(long, value_name = "EMAIL", value_parser = email)]
    buyer_email: Option<String>,
    /// Only this order of the buyer
    #[arg(long, value_name = "ORDER", requires = "buyer_email")]
    order: Option<OrderId>,
    /// All of the tenant
    #[arg(long)]
    all: bool,
    /// How long to wait for what the daemons have in hand
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    wait: Duration,
    #[command(flatten)]
    confirm: Confirm,
}

fn email(text: &str) -> Result<String, &'static str> {
    match is_email(text) {
        true => Ok(canonical_email(text)),
        false => Err("must be an e-mail address"),
    }
}

pub(crate) async fn run(context: &Context, options: Options) -> Result<Verdict> {
    let (bus, store) = context.servers().await?;
    if !bus.has_audit().await? {
        bail!(
            "the stream ORDERS_AUDIT, which must record this, is missing; run `orderctl migrate`"
        );
    }
    let tenant = options.tenant;
    let whose = match options.buyer_email {
        None => Whose::Tenant(tenant),
        Some(email) => Whose::Buyer(Person {
            tenant,
            email,
            order: options.order,
        }),
    };
    let storage = Storage::open(&context.servers.uploads)?;
    if storage.is_none() {
        know_of_files(&store, &whose).await?;
    }
    let search = Search {
        context,
        bus: &bus,
        store: &store,
        storage: storage.as_ref(),
        whose: &whose,
    };
    let Some(found) = search.run().await? else {
        return Ok(Verdict::Interrupted);
    };
    context.output.line(
        format_args!("found {found}"),
        &json!({ "found": found.value() }),
    );
    if storage.is_none() {
        let mock = "Attachments: uploads are a mock that stores nothing.";
        context.output.remark(mock);
    }
    if found.is_empty() {
        return Ok(Verdict::Fine);
    }
    if let Err(verdict) = options
        .confirm
        .ask(context, &question(&whose, &found))
        .await?
    {
        return Ok(verdict);
    }

    let entry = entry(context, &store, &whose).await?;
    let record = Record::begin_with(context, Some(&bus), entry).await?;
    let mut work = Erasing::new(search, record.entry(), options.wait);
    let outcome = work.run(found).await;
    let Erased { changed, left } = work.erased();
    let verdict = match &outcome {
        Err(_) => None,
        Ok(true) if left.is_empty() => Some(Verdict::Fine),
        Ok(true) => Some(Verdict::Found),
        Ok(false) => Some(Verdict::Interrupted),
    };
    record.end(verdict, format!("erased {changed}")).await?;
    let left_text = match left.is_empty() {
        true => String::new(),
        false => format!("; run it again for {}", left.join(" and ")),
    };
    context.output.line(
        format_args!("erased {changed}{left_text}"),
        &json!({ "erased": changed.value(), "left": left }),
    );
    outcome?;
    Ok(verdict.unwrap_or(Verdict::Interrupted))
}

/// Fails if there are files in a bucket that this run knows nothing of: it would erase what names them.
async fn know_of_files(store: &Store, whose: &Whose) -> Result<()> {
    let (orders, tenant) = (store.write_model(), whose.tenant());
    if patiently(async || orders.has_files(tenant).await).await? {
        bail!(
            "orders of {tenant} have files in a bucket; set ORDERS_UPLOADS__MODE=s3 and the rest as the edge has them, with a \
             key that may remove files"
        );
    }
    Ok(())
}

async fn entry(context: &Context, store: &Store, whose: &Whose) -> Result<AuditEntry> {
    let (target, buyer) = match whose {
        Whose::Tenant(_) => ("all of a tenant", None),
        Whose::Buyer(Person { email, .. }) => {
            let key = patiently(async || store.audit_key().await).await?;
            let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
            let hash = hmac::sign(&key, email.as_bytes());
            (
                "personal data of a buyer",
                Some(HEXLOWER.encode(hash.as_ref())),
            )
        }
    };
    Ok(AuditEntry {
        tenant: Some(whose.tenant().clone()),
        erasure: buyer.map(|buyer| Erasure {
            buyer: Some(buyer),
            orders: Vec::new(),
        }),
        ..AuditEntry::new(AuditAction::Erased, &context.actor, target)
    })
}

fn question(whose: &Whose, found: &Found) -> String {
    let tenant = whose.tenant();
    match whose {
        Whose::Buyer(_) => format!("Erase for good what is personal in these {found} of {tenant}"),
        Whose::Tenant(_) => format!("Remove for good all {found} of tenant {tenant}"),
    }
}
