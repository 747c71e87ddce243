//! Uploads to a bucket of a real S3 server.

mod browser;
mod erased;
mod refused;
mod scanned;
mod settings;
mod stored;
mod swept;

use orders_testkit::{S3Server, Setup, Stack};
use reqwest::{Response, StatusCode, redirect};
use serde_json::{Value, json};

use crate::{
    orderctl::{Said, orderctl},
    pipeline::{Pipeline, order},
};

/// A pipeline whose uploads go to a bucket.
struct Bucket {
    pipeline: Pipeline,
    s3: S3Server,
}

impl Bucket {
    async fn start() -> Self {
        Self::start_with(|edge| edge).await
    }

    /// Starts it, the edge with changes to its setup.
    async fn start_with(change: impl FnOnce(Setup) -> Setup) -> Self {
        let stack = Stack::start().await;
        let s3 = S3Server::start(stack.folder(), "http://localhost:3000").await;
        Self::start_on(stack, s3, change).await
    }

    /// Starts it with a bucket that keeps no versions.
    async fn without_versions() -> Self {
        let stack = Stack::start().await;
        let origin = "http://localhost:3000";
        let s3 = S3Server::start_without_versions(stack.folder(), origin).await;
        Self::start_on(stack, s3, |edge| edge).await
    }

    async fn start_on(stack: Stack, s3: S3Server, change: impl FnOnce(Setup) -> Setup) -> Self {
        let pipeline = Pipeline::start_on(stack, "200ms", |edge| change(s3.used_by(edge))).await;
        Self { pipeline, s3 }
    }

    /// Asks where to upload a PDF of `size` bytes.
    async fn presign(&self, tenant: &str, size: usize) -> Value {
        let file = json!({
            "tenantId": tenant, "filename": "invoice.pdf", "contentType": "application/pdf", "size": size,
        });
        let answer = self.pipeline.post("/api/uploads/presign", &file).await;
        assert_eq!(answer.status(), StatusCode::CREATED);
        answer.json().await.unwrap()
    }

    /// Sends `content` where and how an answer says.
    async fn put(&self, presigned: &Value, content: &[u8]) -> Response {
        let headers = presigned["headers"].as_object().unwrap();
        let mut put = self.pipeline.http.put(presigned["url"].as_str().unwrap());
        for (name, value) in headers {
            if name != "Content-Length" {
                put = put.header(name, value.as_str().unwrap());
            }
        }
        put.body(content.to_vec()).send().await.unwrap()
    }

    /// Uploads `content` and returns the attachment of an order with it.
    async fn upload(&self, tenant: &str, content: &[u8]) -> Value {
        let presigned = self.presign(tenant, content.len()).await;
        let put = self.put(&presigned, content).await;
        assert_eq!(put.status(), StatusCode::OK, "{:?}", put.text().await);
        attachment(&presigned, content.len())
    }

    /// Creates an order with this attachment.
    async fn order(&self, tenant: &str, request: &str, attachment: &Value) -> Response {
        let mut order = order(tenant, request);
        order["attachment"] = attachment.clone();
        self.pipeline.post("/api/orders", &order).await
    }

    /// Creates an order with this attachment, which must be new, and returns its id.
    async fn ordered(&self, tenant: &str, request: &str, attachment: &Value) -> String {
        let answer = self.order(tenant, request, attachment).await;
        let status = answer.status();
        let body: Value = answer.json().await.unwrap();
        assert_eq!(status, StatusCode::CREATED, "{body}");
        body["orderId"].as_str().unwrap().to_owned()
    }

    /// Asks for the file of an order, without following where it leads.
    async fn attachment(&self, tenant: &str, id: &str) -> Response {
        let client = reqwest::Client::builder().redirect(redirect::Policy::none());
        let path = format!("/api/orders/{id}/attachment?tenantId={tenant}");
        let url = format!("{}{path}", self.pipeline.edge.url());
        client.build().unwrap().get(url).send().await.unwrap()
    }

    /// Downloads the file of an order.
    async fn download(&self, tenant: &str, id: &str) -> Response {
        let answer = self.attachment(tenant, id).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        let url = answer.headers()["location"].to_str().unwrap();
        self.pipeline.http.get(url).send().await.unwrap()
    }

    /// Runs `orderctl` as whoever may remove and tag uploads.
    async fn orderctl(&self, args: &[&str]) -> Said {
        let mut command = orderctl(&self.pipeline.stack, args);
        command.envs(self.s3.operator());
        Said::of(command.output().await.unwrap())
    }

    /// How many orders the tenant has.
    async fn count(&self, tenant: &str) -> Value {
        let path = format!("/api/orders?tenantId={tenant}");
        self.pipeline.get_json(&path).await["total"].clone()
    }

    async fn clean_up(self) {
        self.pipeline.stack.clean_up().await;
    }
}

/// The attachment of an order with the PDF that was sent where an answer says.
fn attachment(presigned: &Value, size: usize) -> Value {
    json!({
        "filename": "Rechnung Mai.pdf", "contentType": "application/pdf", "size": size,
        "storageKey": presigned["storageKey"],
    })
}

/// The status and the type of a problem, and the fields that are at fault.
async fn problem(answer: Response) -> (u16, String, Vec<String>) {
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap();
    let kind = body["type"].as_str().unwrap_or_default();
    let kind = kind.rsplit(':').next().unwrap_or_default().to_owned();
    let faults = body["errors"].as_array().into_iter().flatten();
    let pointer = |fault: &Value| fault["pointer"].as_str().unwrap_or_default().to_owned();
    (status, kind, faults.map(pointer).collect())
}
