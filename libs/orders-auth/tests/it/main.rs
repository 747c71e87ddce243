//! Tokens against a real issuer.

mod attacks;
mod key_set;
mod logins;
mod verified;

use std::time::Duration;

use orders_auth::{AuthSettings, Mode, Refusal, Verifier};
use orders_testkit::{Issuer, eventually};
use tokio::task::AbortHandle;

/// A verifier that trusts an issuer, and runs.
struct Running {
    issuer: Issuer,
    verifier: Verifier,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Running {
    /// Starts both, with changed settings, and waits for the keys.
    async fn start(change: impl FnOnce(&mut AuthSettings)) -> Self {
        let running = Self::with(Issuer::start().await, change);
        running.has_keys().await;
        running
    }

    fn with(issuer: Issuer, change: impl FnOnce(&mut AuthSettings)) -> Self {
        let mut settings = AuthSettings {
            mode: Mode::Jwt,
            issuer: Some(issuer.url()),
            ..AuthSettings::default()
        };
        change(&mut settings);
        let verifier = Verifier::new(&settings).expect("valid settings");
        let running = verifier.clone();
        let task = tokio::spawn(async move { running.run().await }).abort_handle();
        Self {
            issuer,
            verifier,
            task,
        }
    }

    async fn has_keys(&self) {
        eventually("the keys arrive", async || self.verifier.ready()).await;
    }

    /// The actor of the token, or why it is refused.
    async fn actor(&self, token: &str) -> Result<String, Refusal> {
        let identity = self.verifier.verify(token).await?;
        Ok(identity.actor())
    }

    /// What the issuer's subject `u1` is called.
    fn u1(&self) -> String {
        format!("{}|u1", self.issuer.url())
    }
}

const MINUTE: Duration = Duration::from_secs(60);
