//! `GET /api/orders/export`.

use std::{
    io::Read,
    iter,
    time::{Duration, Instant},
};

use flate2::read::GzDecoder;
use http_body_util::{BodyExt, Empty};
use hyper::{
    HeaderMap, Request, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1::handshake,
    http::response::Parts,
};
use hyper_util::rt::TokioIo;
use mongodb::bson::{DateTime, Decimal128, Document, doc};
use orders_testkit::{Setup, Stack, eventually};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use super::{create, get, whole};
use crate::{lists::next, pipeline::Pipeline};

/// The first line of CSV.
const HEAD: [&str; 10] = [
    "orderId",
    "status",
    "createdAt",
    "buyerEmail",
    "total",
    "attachmentFilename",
    "attachmentStorageKey",
    "buyerName",
    "itemCount",
    "currency",
];
/// So many rows do not fit between the edge and a client that reads nothing.
const MANY: u64 = 8_000;

/// Asks the edge for an export, and reads no more than the head of the answer.
async fn open(pipeline: &Pipeline, query: &str, headers: &[(&str, &str)]) -> (Parts, Incoming) {
    let socket = TcpSocket::new_v4().unwrap();
    // Little fits between the edge and a client that reads nothing.
    socket.set_recv_buffer_size(16 << 10).unwrap();
    let edge = ([127, 0, 0, 1], pipeline.edge.port()).into();
    let stream = socket.connect(edge).await.unwrap();
    let (mut edge, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get(format!("/api/orders/export?{query}")).header("host", "localhost");
    let request = headers.iter().fold(request, |request, (name, value)| {
        request.header(*name, *value)
    });
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    edge.send_request(request).await.unwrap().into_parts()
}

/// A whole export: its headers, its text, and the number of rows in its trailer.
async fn export(pipeline: &Pipeline, query: &str) -> (HeaderMap, String, u64) {
    let (head, body) = open(pipeline, query, &[("te", "trailers")]).await;
    assert_eq!(head.status, StatusCode::OK, "{query}");
    let body = body.collect().await.expect("the export is whole");
    let rows = body.trailers().expect("a trailer")["x-export-rows"]
        .to_str()
        .unwrap();
    let rows = rows.parse().unwrap();
    (
        head.headers,
        String::from_utf8(body.to_bytes().to_vec()).unwrap(),
        rows,
    )
}

/// The records of a CSV file, without its header.
fn records(text: &str) -> Vec<Vec<String>> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    assert_eq!(reader.headers().unwrap(), &HEAD[..]);
    let record = |record: csv::Result<csv::StringRecord>| {
        record.unwrap().iter().map(str::to_owned).collect()
    };
    reader.records().map(record).collect()
}

/// The rows of an NDJSON file, which has to be whole.
fn rows(text: &str) -> Vec<Value> {
    let mut lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect();
    let last = lines.pop().expect("a last line");
    assert_eq!(last, json!({ "exported": lines.len(), "complete": true }));
    lines
}

/// Puts `count` rows of t-1 into the list, every third of them paid.
async fn fill(stack: &Stack, count: u64) {
    let rows = stack.database().await.collection::<Document>("orders_read");
    let total: Decimal128 = "99.98".parse().unwrap();
    let row = |n: u64| {
        let digits = format!("{n:026}");
        let letters = digits.bytes().map(|digit| char::from(digit - b'0' + b'a'));
        let id = format!("ord_{}", letters.collect::<String>());
        let status = if n.is_multiple_of(3) {
            "PAID"
        } else {
            "PENDING"
        };
        // Two at each moment.
        let created = DateTime::from_millis(1_756_198_800_000 + i64::try_from(n / 2).unwrap());
        // Compressed it is nearly as long.
        let key: String = iter::repeat_with(fastrand::alphanumeric)
            .take(1_000)
            .collect();
        let file = doc! { "filename": "a.pdf", "storageKey": key };
        doc! {
            "_id": &id, "orderId": &id, "tenantId": "t-1", "version": 1, "status": status,
            "buyerEmail": format!("buyer-{n}@example.com"), "total": total, "createdAt": created,
            "attachment": file, "buyerName": format!("Buyer {n}"), "itemCount": 2, "currency": "EUR",
        }
    };
    let all: Vec<Document> = (0..count).map(row).collect();
    for part in all.chunks(1_000) {
        rows.insert_many(part).ordered(false).await.unwrap();
    }
}

/// All rows of a list, page by page.
async fn listed(pipeline: &Pipeline, query: &str) -> Vec<Value> {
    let mut rows = Vec::new();
    let mut path = Some(format!("/api/orders?{query}&expand=summary&limit=100"));
    while let Some(asked) = path {
        let response = pipeline.get(&asked).await;
        path = next(&response);
        let page: Value = response.json().await.unwrap();
        rows.extend(page["items"].as_array().expect("items").iter().cloned());
    }
    rows
}

#[tokio::test]
async fn an_export_has_every_row_of_the_list() {
    let pipeline = Pipeline::start("1h").await;
    fill(&pipeline.stack, 4_000).await;
    create(&pipeline, &whole("t-1", "r1")).await;
    pipeline.create("t-1", "r2").await;
    pipeline.create("t-2", "r1").await;

    for (filter, count) in [
        ("tenantId=t-1", 4_002),
        ("tenantId=t-1&status=PAID", 1_334),
        ("tenantId=t-1&status=PENDING&q=buyer-39", 72),
        ("tenantId=t-1&requestId=r1", 1),
        ("tenantId=t-1&buyerEmail=ALICE@example.com", 2),
        ("tenantId=t-2", 1),
        ("tenantId=t-3", 0),
    ] {
        let expected = listed(&pipeline, filter).await;
        assert_eq!(expected.len(), count, "{filter}");
        let (headers, text, counted) = export(&pipeline, &format!("{filter}&format=ndjson")).await;
        assert_eq!(
            (rows(&text), counted),
            (expected.clone(), count as u64),
            "{filter}"
        );
        assert_eq!(headers["content-type"], "application/x-ndjson");

        let (headers, text, counted) = export(&pipeline, &format!("{filter}&format=csv")).await;
        assert_eq!(
            headers["content-type"],
            "text/csv; charset=utf-8; header=present"
        );
        let records = records(&text);
        assert_eq!((records.len(), counted), (count, count as u64), "{filter}");
        for (record, row) in records.iter().zip(&expected) {
            let cell = |value: &Value| match value {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                number => number.to_string(),
            };
            let file = &row["attachment"];
            let mut cells: Vec<String> = HEAD.map(|name| cell(&row[name])).into();
            cells[5] = cell(&file["filename"]);
            cells[6] = cell(&file["storageKey"]);
            assert_eq!(record, &cells);
        }
    }
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn an_export_is_a_file_that_may_come_compressed() {
    let pipeline = Pipeline::start("1h").await;
    fill(&pipeline.stack, 300).await;
    let query = "tenantId=t-1&format=csv";
    let path = format!("/api/orders/export?{query}");
    let (headers, plain, _) = export(&pipeline, query).await;
    let name = headers["content-disposition"].to_str().unwrap();
    let day = name
        .strip_prefix("attachment; filename=\"orders-t-1-")
        .and_then(|rest| rest.strip_suffix(".csv\""));
    assert!(
        day.is_some_and(|day| day.len() == "2025-08-26".len()),
        "{name}"
    );
    assert_eq!(headers["cache-control"], "no-store");
    assert!(plain.ends_with("\r\n") && !plain.starts_with('\u{feff}'));
    // It is the default.
    let default = pipeline.get("/api/orders/export?tenantId=t-1").await;
    assert_eq!(default.text().await.unwrap(), plain);

    let packed = get(&pipeline, &path, &[("accept-encoding", "gzip")]).await;
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    let mut varies = packed.headers().get_all("vary").iter();
    assert!(varies.any(|names| names.to_str().unwrap().contains("accept-encoding")));
    let packed = packed.bytes().await.unwrap();
    let mut text = String::new();
    GzDecoder::new(&packed[..])
        .read_to_string(&mut text)
        .unwrap();
    assert!(packed.len() < plain.len());
    assert_eq!(text, plain);

    let url = format!("{}{path}", pipeline.edge.url());
    let head = pipeline.http.head(url).send().await.unwrap();
    assert_eq!(
        (head.status(), &head.headers()["content-type"]),
        (StatusCode::OK, &headers["content-type"])
    );
    // Without an end of its own, half a file would pass for a whole one.
    let ask = async |query: &str| {
        let mut edge = TcpStream::connect(("127.0.0.1", pipeline.edge.port()))
            .await
            .unwrap();
        let request = format!("GET /api/orders/export?{query} HTTP/1.0\r\n\r\n");
        edge.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        edge.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let refused = ask(query).await;
    assert!(refused.starts_with("HTTP/1.0 505 "), "{refused}");
    let taken = ask("tenantId=t-1&format=ndjson").await;
    assert!(taken.starts_with("HTTP/1.0 200 "), "{taken}");
    let (_, body) = taken.split_once("\r\n\r\n").unwrap();
    assert_eq!(rows(body).len(), 300);
    pipeline.stack.clean_up().await;
}

#[tokio::test]
async fn what_clients_have_written_is_no_formula_in_a_spreadsheet() {
    let pipeline = Pipeline::start("1h").await;
    let mut sent = whole("t-1", "r1");
    sent["buyer"] = json!({ "email": "+alice@example.com", "name": "=HYPERLINK(\"http://evil.example\",\"x\")" });
    sent["attachment"]["filename"] = "@a, b.pdf".into();
    sent["attachment"]["storageKey"] = "-1".into();
    create(&pipeline, &sent).await;
    let (_, csv, _) = export(&pipeline, "tenantId=t-1&format=csv").await;
    let cells = &records(&csv)[0];
    assert_eq!(cells[3], "'+alice@example.com");
    assert_eq!(
        cells[5..8],
        [
            "'@a, b.pdf",
            "'-1",
            "'=HYPERLINK(\"http://evil.example\",\"x\")"
        ]
    );
    // Programs get what was written.
    let (_, ndjson, _) = export(&pipeline, "tenantId=t-1&format=ndjson").await;
    let row = &rows(&ndjson)[0];
    assert_eq!(
        (&row["buyerName"], &row["buyerEmail"]),
        (&sent["buyer"]["name"], &sent["buyer"]["email"])
    );
    assert_eq!(row["attachment"]["filename"], "@a, b.pdf");
    pipeline.stack.clean_up().await;
}

/// What comes of an export before it breaks off.
async fn broken(mut body: Incoming) -> Vec<u8> {
    let mut text = Vec::new();
    loop {
        match body.frame().await {
            Some(Ok(frame)) => text.extend(frame.into_data().expect("no trailer")),
            Some(Err(_)) => return text,
            None => panic!("it ends as if it were whole"),
        }
    }
}

/// The database dies when the first rows are on their way.
#[tokio::test]
async fn an_export_that_breaks_off_does_not_look_whole() {
    let stack = Stack::start().await;
    let (gate, through_gate) = stack.database_gate().await;
    let edge = |edge: Setup| edge.env("MONGO_URL", &through_gate);
    let pipeline = Pipeline::start_on(stack, "1h", edge).await;
    fill(&pipeline.stack, MANY).await;
    let begin = async |format: &str, encoding: &str| {
        let query = format!("tenantId=t-1&format={format}");
        let headers = [("te", "trailers"), ("accept-encoding", encoding)];
        eventually("an export begins", async || {
            let (head, body) = open(&pipeline, &query, &headers).await;
            if head.status == StatusCode::OK {
                Ok(body)
            } else {
                Err(head.status)
            }
        })
        .await
    };
    for encodings in [["identity", "identity"], ["gzip", "zstd"]] {
        let csv = begin("csv", encodings[0]).await;
        let ndjson = begin("ndjson", encodings[1]).await;
        gate.close();
        let (csv, ndjson) = tokio::join!(broken(csv), broken(ndjson));
        gate.open();
        assert!(csv.len() > 100_000 && ndjson.len() > 100_000);
        if encodings[0] == "identity" {
            assert!(csv.starts_with(b"orderId,"));
            assert!(!String::from_utf8_lossy(&ndjson).contains("complete"));
        }
    }
    let log = pipeline.edge.log();
    assert!(log.contains("an export ends too early"), "{log}");
    drop(begin("csv", "identity").await);
    let (_, text, counted) = export(&pipeline, "tenantId=t-1&format=ndjson").await;
    assert_eq!((rows(&text).len() as u64, counted), (MANY, MANY));
    pipeline.stack.clean_up().await;
}

/// They hold places for exports until they are cut, and nothing else waits for them.
#[tokio::test]
async fn clients_that_stop_reading_are_cut_and_hold_up_nobody_else() {
    let pipeline = Pipeline::start("1h").await;
    fill(&pipeline.stack, MANY).await;
    pipeline.create("t-2", "r1").await;
    let query = "tenantId=t-1&format=ndjson";
    pipeline
        .get_json("/api/orders?tenantId=t-1&limit=100")
        .await;
    let before = pipeline.edge.peak_memory();
    let stuck = [
        open(&pipeline, query, &[]).await,
        open(&pipeline, query, &[]).await,
    ];
    assert!(stuck.iter().all(|(head, _)| head.status == StatusCode::OK));

    let refused = pipeline.get(&format!("/api/orders/export?{query}")).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers().contains_key("retry-after"));
    let problem: Value = refused.json().await.unwrap();
    assert_eq!(problem["violated-policies"], json!(["tenant-exports"]));
    let (_, text, _) = export(&pipeline, "tenantId=t-2&format=ndjson").await;
    assert_eq!(rows(&text).len(), 1);
    for _ in 0..20 {
        let asked = Instant::now();
        let list = pipeline.get_json("/api/orders?tenantId=t-1").await;
        assert_eq!(list["total"], MANY);
        assert!(asked.elapsed() < Duration::from_secs(2));
    }
    // Both files together are longer.
    let grown = pipeline.edge.peak_memory() - before;
    assert!(grown < 16 << 10, "{grown} KiB");

    eventually("both are cut", async || {
        let metrics = pipeline.get("/metrics").await.text().await.unwrap();
        let abandoned = metrics
            .lines()
            .filter(|line| line.starts_with("orders_exports_total{"))
            .find(|line| line.contains("outcome=\"abandoned\""));
        match abandoned {
            Some(line) if line.ends_with(" 2") => Ok(()),
            other => Err(other.map(str::to_owned)),
        }
    })
    .await;
    let (_, text, _) = export(&pipeline, &format!("{query}&status=CANCELLED")).await;
    assert_eq!(rows(&text).len(), 0);
    for (_, body) in stuck {
        assert!(body.collect().await.is_err(), "it is not whole");
    }
    pipeline.stack.clean_up().await;
}
