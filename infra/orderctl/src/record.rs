//! What a command changes, recorded in ORDERS_AUDIT: before it begins, and what became of it.

use std::env;

use anyhow::Result;
use orders_bus::Operator;
use orders_contracts::{AuditAction, AuditEntry, AuditResult, TenantId};
use orders_service::config::Nats;

use crate::{Context, Verdict};

/// Who runs this: the name of the login at NATS, if it has one, and what they say or the user of the system.
pub(crate) fn actor(said: Option<&str>, nats: &Nats) -> String {
    let name = said.map_or_else(user, str::to_owned);
    let login = nats.connection().ok().and_then(|(_, login)| login);
    match login.and_then(|login| orders_bus::login_name(&login)) {
        Some(login) => format!("{login} ({name})"),
        None => name,
    }
}

/// `user@host`, as far as known.
fn user() -> String {
    let user = env::var("USER").or_else(|_| env::var("LOGNAME"));
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    format!("{}@{host}", user.unwrap_or_else(|_| "unknown".to_owned()))
}

/// The record of one command.
pub(crate) struct Record<'a> {
    bus: Option<&'a Operator>,
    entry: AuditEntry,
}

impl<'a> Record<'a> {
    /// Records that `action` on `target` begins. Without NATS, or without the stream yet, that cannot be, and the operator is
    /// told.
    pub(crate) async fn begin(
        context: &Context,
        bus: Option<&'a Operator>,
        action: AuditAction,
        target: &str,
        tenant: Option<TenantId>,
    ) -> Result<Self> {
        let entry = AuditEntry {
            tenant,
            ..AuditEntry::new(action, &context.actor, target)
        };
        Self::begin_with(context, bus, entry).await
    }

    /// Records only the end of `action`, which makes the stream itself.
    pub(crate) fn later(
        context: &Context,
        bus: &'a Operator,
        action: AuditAction,
        target: &str,
    ) -> Self {
        let entry = AuditEntry::new(action, &context.actor, target);
        let bus = Some(bus);
        Self { bus, entry }
    }

    /// Does the same with an entry.
    pub(crate) async fn begin_with(
        context: &Context,
        bus: Option<&'a Operator>,
        entry: AuditEntry,
    ) -> Result<Self> {
        let entry = AuditEntry {
            result: AuditResult::Begun,
            ..entry
        };
        let has_audit = match bus {
            Some(bus) => bus.has_audit().await?,
            None => false,
        };
        match bus.filter(|_| has_audit) {
            Some(bus) => bus.record(&entry).await?,
            None => context
                .output
                .note("ORDERS_AUDIT cannot record this: NATS or the stream is missing"),
        }
        Ok(Self { bus, entry })
    }

    /// The entry that began it.
    pub(crate) fn entry(&self) -> AuditEntry {
        self.entry.clone()
    }

    /// Records what became of it, in `detail` in words; no verdict means that it failed.
    pub(crate) async fn end(self, verdict: Option<Verdict>, detail: String) -> Result<()> {
        let Some(bus) = self.bus else {
            return Ok(());
        };
        let result = match verdict {
            Some(Verdict::Fine) => AuditResult::Done,
            Some(Verdict::Found | Verdict::Interrupted) => AuditResult::Incomplete,
            None => AuditResult::Failed,
        };
        if bus.has_audit().await? {
            bus.record(&AuditEntry {
                at: orders_contracts::Timestamp::now(),
                result,
                detail: Some(detail),
                ..self.entry
            })
            .await?;
        }
        Ok(())
    }
}
