//! Bodies in every form.

use std::io::Write;

use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};

use super::*;

const CHUNKED: &str =
    "POST /api/orders HTTP/1.1\r\nhost: h\r\nconnection: close\r\ntransfer-encoding: chunked\r\n";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

impl Site {
    pub(super) async fn bodies(&self) {
        for port in self.ports() {
            let order = |name: &str| order("t-bodies", &format!("{name}-{port}")).to_string();
            let labels = [
                "application/json; charset=utf8",
                "application/json; charset=UTF8",
                "application/json; charset=us-ascii",
                "application/json;",
            ];
            for (n, label) in labels.iter().enumerate() {
                let headers = format!("content-type: {label}\r\n");
                let body = order(&format!("label-{n}"));
                let request = post("/api/orders", &headers, body.as_bytes());
                let answer = send(port, &request).await;
                assert_eq!(answer.status, 201, "{label}: {}", answer.body);
            }
            let marked = format!("\u{feff}{}", order("marked"));
            let chunks = order("chunked");
            let (first, rest) = chunks.split_at(40);
            let chunked = format!(
                "{CHUNKED}{JSON}\r\n28;a=b\r\n{first}\r\n{:x}\r\n{rest}\r\n0\r\n\r\n",
                rest.len()
            );
            let old = order("old");
            let old = format!(
                "POST /api/orders HTTP/1.0\r\ncontent-length: {}\r\n{JSON}\r\n{old}",
                old.len()
            );
            let gzipped = format!("{JSON}content-encoding: gzip\r\n");
            let deflated = format!("{JSON}content-encoding: deflate\r\n");
            for (name, request) in [
                (
                    "a byte order mark",
                    post("/api/orders", JSON, marked.as_bytes()),
                ),
                (
                    "gzip",
                    post("/api/orders", &gzipped, &gzip(order("gzip").as_bytes())),
                ),
                (
                    "deflate",
                    post(
                        "/api/orders",
                        &deflated,
                        &deflate(order("deflate").as_bytes()),
                    ),
                ),
                ("chunks", chunked.into_bytes()),
                ("HTTP/1.0 without a host", old.into_bytes()),
                (
                    "a slash too many",
                    post("/api/orders/", JSON, order("slash").as_bytes()),
                ),
            ] {
                let answer = send(port, &request).await;
                assert_eq!(answer.status, 201, "{name}: {}", answer.body);
            }

            let latin = order("latin").replace("Alice", "Alic\u{e9}");
            let latin: Vec<u8> = latin.chars().map(|c| u8::try_from(c).unwrap()).collect();
            let at = latin.iter().position(|&byte| byte == 0xe9).unwrap();
            let brotli = format!("{JSON}content-encoding: br\r\n");
            let bomb = gzip(&vec![b' '; 8 << 20]);
            let broken = format!("{CHUNKED}{JSON}\r\nzz\r\n");
            let short = format!("{CHUNKED}{JSON}\r\n5\r\n{{}}\r\n0\r\n\r\n");
            for (request, status, reason) in [
                (
                    post(
                        "/api/orders",
                        "content-type: application/json; charset=latin1\r\n",
                        b"{}",
                    ),
                    415,
                    "The charset must be utf-8, not latin1".to_owned(),
                ),
                (
                    post("/api/orders", JSON, &latin),
                    400,
                    format!("byte {at} is not"),
                ),
                (
                    post("/api/orders", &brotli, b"{}"),
                    415,
                    "gzip, deflate, not br".to_owned(),
                ),
                (
                    post("/api/orders", &gzipped, &bomb),
                    413,
                    "must not exceed 512 KiB".to_owned(),
                ),
                (
                    broken.into_bytes(),
                    400,
                    "The body ended too early".to_owned(),
                ),
                (
                    short.into_bytes(),
                    400,
                    "The body ended too early".to_owned(),
                ),
            ] {
                let answer = send(port, &request).await;
                assert_eq!(answer.status, status, "{reason}: {}", answer.body);
                let problem = answer.json();
                assert!(
                    problem["detail"].as_str().unwrap().contains(&reason),
                    "{problem}"
                );
                let is_coding = reason.ends_with("not br");
                assert_eq!(
                    answer.header("accept-encoding") == "gzip, deflate",
                    is_coding
                );
            }
        }
        // A form whose chunks are broken, too.
        let form = "content-type: application/x-www-form-urlencoded\r\n";
        let form = format!("{CHUNKED}{form}\r\nzz\r\n").replace("/api/orders", "/orders/new");
        assert_eq!(send(self.web.port(), form.as_bytes()).await.status, 400);
    }
}
