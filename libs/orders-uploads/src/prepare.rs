//! Making a bucket ready for uploads.

use std::fmt::Write as _;

use bytes::Bytes;
use http::StatusCode;
use rusty_s3::Method;
use serde_json::json;

use crate::{
    Error, Storage, StorageKey,
    bucket::{Ask, LONG_DEADLINE},
};

/// What was done to a bucket, in words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prepared {
    /// What it has now.
    pub done: Vec<String>,
    /// What this storage does not know, so that it has to be done by its own means.
    pub unknown: Vec<&'static str>,
}

impl Prepared {
    /// Notes what became of one step; `Err` if it failed for another reason than that the storage does not know it.
    fn note(
        &mut self,
        outcome: Result<(), Error>,
        done: String,
        unknown: &'static str,
    ) -> Result<(), Error> {
        match outcome {
            Ok(()) => self.done.push(done),
            Err(error) if error.is_not_implemented() => self.unknown.push(unknown),
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

impl Storage {
    /// Makes the bucket unless it is there, has it keep versions, and lets pages of `origins` send files to it. With
    /// `edge`, that principal may do what an edge needs.
    pub async fn prepare(&self, origins: &[String], edge: Option<&str>) -> Result<Prepared, Error> {
        let mut prepared = Prepared::default();
        if self.make().await? {
            prepared
                .done
                .push(format!("the bucket {} is made", self.name()));
        }
        let versions =
            "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
        let outcome = self.configure("versioning", versions.into()).await;
        prepared.note(outcome, "it keeps versions".to_owned(), "versions")?;
        if !origins.is_empty() {
            let outcome = self.configure("cors", cors(origins)).await;
            let done = format!("pages of {} may send files to it", origins.join(", "));
            prepared.note(outcome, done, "CORS")?;
        }
        if let Some(principal) = edge {
            let outcome = self.configure("policy", self.policy(principal)).await;
            let done = format!("{principal} may do what an edge needs");
            prepared.note(outcome, done, "bucket policies")?;
        }
        Ok(prepared)
    }

    /// Makes the bucket; false if it is there.
    async fn make(&self) -> Result<bool, Error> {
        let ask = |method, body| Ask {
            method,
            object: None,
            query: &[],
            body,
        };
        let head = ask(Method::Head, Bytes::new());
        let answer = self.send(head, &[], LONG_DEADLINE).await?;
        if answer.status != StatusCode::NOT_FOUND {
            answer.accepted()?;
            return Ok(false);
        }
        // The first region must not be named.
        let body = match self.region() {
            "us-east-1" => Bytes::new(),
            region => format!(
                "<CreateBucketConfiguration><LocationConstraint>{}</LocationConstraint></CreateBucketConfiguration>",
                escaped(region)
            )
            .into(),
        };
        self.change(ask(Method::Put, body)).await?;
        Ok(true)
    }

    async fn configure(&self, what: &str, body: String) -> Result<(), Error> {
        self.change(Ask {
            method: Method::Put,
            object: None,
            query: &[(what, "")],
            body: body.into(),
        })
        .await
    }

    /// What an edge needs: to sign uploads and downloads, to look at files and their tags, and to be told that one is
    /// missing, which takes the right to list.
    fn policy(&self, principal: &str) -> String {
        let bucket = format!("arn:aws:s3:::{}", self.name());
        let files = format!("{bucket}/{}*", StorageKey::ALL);
        let principal = json!({ "AWS": [principal] });
        let actions = [
            "s3:PutObject",
            "s3:GetObject",
            "s3:GetObjectVersion",
            "s3:GetObjectTagging",
            "s3:GetObjectVersionTagging",
        ];
        json!({
            "Version": "2012-10-17",
            "Statement": [
                { "Effect": "Allow", "Principal": &principal, "Action": actions, "Resource": [files] },
                { "Effect": "Allow", "Principal": &principal, "Action": ["s3:ListBucket"], "Resource": [bucket] },
            ],
        })
        .to_string()
    }
}

/// Browsers may send files from `origins`, with the headers that are signed.
fn cors(origins: &[String]) -> String {
    let mut rule = String::new();
    for origin in origins {
        let _ = write!(rule, "<AllowedOrigin>{}</AllowedOrigin>", escaped(origin));
    }
    for header in ["content-type", "x-amz-checksum-sha256"] {
        let _ = write!(rule, "<AllowedHeader>{header}</AllowedHeader>");
    }
    format!(
        "<CORSConfiguration><CORSRule>{rule}<AllowedMethod>PUT</AllowedMethod><MaxAgeSeconds>600</MaxAgeSeconds></CORSRule></CORSConfiguration>"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
