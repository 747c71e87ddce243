use std::{
    path::Path,
    process::Stdio,
    time::{SystemTime, UNIX_EPOCH},
};

use orders_testkit::checkout;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use tokio::process::Command;

use super::{SECRET, STANDARD, STRIPE, STRIPE_SECRET};

/// A webhook with its signature.
#[derive(Debug, Clone)]
pub(crate) struct Webhook {
    pub(super) path: &'static str,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

/// A library that signs webhooks.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    program: String,
    script: &'static str,
    way: &'static str,
    secret: String,
    /// How many seconds ago it signs.
    ago: i64,
}

impl Sender {
    /// `standardwebhooks` of npm.
    pub(crate) fn node() -> Self {
        Self {
            program: "node".to_owned(),
            script: "sign.mjs",
            way: "standard",
            secret: SECRET.to_owned(),
            ago: 0,
        }
    }

    /// `standardwebhooks` of PyPI.
    pub(super) fn python() -> Self {
        Self {
            program: std::env::var("ORDERS_TEST_PYTHON").expect("run `cargo xtask test`"),
            script: "sign.py",
            ..Self::node()
        }
    }

    /// `stripe` of npm.
    pub(super) fn stripe() -> Self {
        Self {
            way: "stripe",
            secret: STRIPE_SECRET.to_owned(),
            ..Self::node()
        }
    }

    pub(super) fn with(self, secret: &str) -> Self {
        let secret = secret.to_owned();
        Self { secret, ..self }
    }

    pub(super) fn ago(self, ago: i64) -> Self {
        Self { ago, ..self }
    }

    /// Signs one webhook with its own id.
    pub(crate) async fn sign(&self, id: &str, body: &Value) -> Webhook {
        let [webhook] = self.sign_all([(id, body.to_string())]).await;
        webhook
    }

    /// Signs webhooks, each with its id, as they are.
    pub(super) async fn sign_all<const N: usize>(
        &self,
        webhooks: [(&str, String); N],
    ) -> [Webhook; N] {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let at = now.as_secs().cast_signed() - self.ago;
        let asked: Vec<Value> = webhooks
            .iter()
            .map(|(id, body)| {
                json!({ "way": self.way, "secret": self.secret, "id": id, "at": at, "body": body })
            })
            .collect();
        let script = Path::new("tests/webhooks").join(self.script);
        let mut signer = Command::new(&self.program);
        signer.arg(checkout().join(script));
        signer.arg(Value::Array(asked).to_string());
        signer.env("PYTHONDONTWRITEBYTECODE", "1");
        let output = signer.stdin(Stdio::null()).kill_on_drop(true).output();
        let output = output.await.expect("the program runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{self:?}: {errors}");
        let signed: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        let mut signed = signed.iter();
        let path = match self.way {
            "stripe" => STRIPE,
            _ => STANDARD,
        };
        webhooks.map(|(_, body)| Webhook {
            path,
            headers: headers(signed.next().unwrap()),
            body,
        })
    }
}

fn headers(signed: &Value) -> HeaderMap {
    let pairs = signed.as_object().unwrap().iter();
    let pairs = pairs.map(|(name, value)| {
        let name: HeaderName = name.parse().unwrap();
        (
            name,
            HeaderValue::from_str(value.as_str().unwrap()).unwrap(),
        )
    });
    pairs.collect()
}
