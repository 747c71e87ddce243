use futures_util::FutureExt;
use http_body_util::BodyExt;
use tokio::time::advance;

use super::*;

fn row(more: &str) -> OrderRow {
    let text = format!(
        r#"{{"orderId":"ord_qz74bke6iblutmfkqfvmtezzkq","status":"PENDING","createdAt":"2025-08-26T09:00:00.000Z","buyerEmail":"a@b.cc","total":99.98{more}}}"#
    );
    serde_json::from_str(&text).unwrap()
}

fn export(rows: Vec<Result<Vec<OrderRow>, StoreError>>, format: ExportFormat) -> Body {
    let place = Exports::default().enter(&"t".parse().unwrap()).unwrap();
    body(stream::iter(rows).boxed(), format, place)
}

/// The text of a whole export, and the number in its trailer.
async fn whole(
    rows: Vec<Result<Vec<OrderRow>, StoreError>>,
    format: ExportFormat,
) -> (String, String) {
    let whole = export(rows, format).collect().await.unwrap();
    let rows = whole.trailers().unwrap()[ROWS].to_str().unwrap().to_owned();
    (String::from_utf8(whole.to_bytes().to_vec()).unwrap(), rows)
}

const HEAD: &str = "orderId,status,createdAt,buyerEmail,total,attachmentFilename,attachmentStorageKey,buyerName,itemCount,currency\r\n";
const START: &str = "ord_qz74bke6iblutmfkqfvmtezzkq,PENDING,2025-08-26T09:00:00.000Z,a@b.cc,99.98,";

#[tokio::test]
async fn every_row_is_a_line_and_the_number_of_rows_comes_last() {
    let all = row(
        r#","attachment":{"filename":"a, b.pdf","storageKey":"k\"1"},"buyerName":"Zoë\u202f","itemCount":2,"currency":"EUR""#,
    );
    let rows = || {
        vec![
            Ok(vec![row(""), all.clone()]),
            Ok(vec![]),
            Ok(vec![row("")]),
        ]
    };
    let (csv, count) = whole(rows(), ExportFormat::Csv).await;
    let expected = format!(
        "{HEAD}{START},,,,\r\n{START}\"a, b.pdf\",\"k\"\"1\",Zoë\u{202f},2,EUR\r\n{START},,,,\r\n"
    );
    assert_eq!((csv, count.as_str()), (expected, "3"));

    let (ndjson, count) = whole(rows(), ExportFormat::Ndjson).await;
    let line = |row: &OrderRow| serde_json::to_string(row).unwrap();
    let expected = format!(
        "{}\n{}\n{0}\n{{\"exported\":3,\"complete\":true}}\n",
        line(&row("")),
        line(&all)
    );
    assert_eq!((ndjson, count.as_str()), (expected, "3"));

    let none = whole(vec![], ExportFormat::Csv).await;
    assert_eq!(none, (HEAD.to_owned(), "0".to_owned()));
    let none = whole(vec![], ExportFormat::Ndjson).await;
    let last = "{\"exported\":0,\"complete\":true}\n";
    assert_eq!(none, (last.to_owned(), "0".to_owned()));
}

#[tokio::test]
async fn no_cell_is_a_formula_and_a_client_of_ndjson_gets_what_is_there() {
    for (name, cell) in [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\\t=1", "'\t'=1"),
        ("\\r=1", "\"'\r'=1\""),
        ("\\n=1", "\"'\n'=1\""),
        ("＝1", "'＝1"),
        ("=a,\\\"b\\\"", "\"'=a,\"\"b\"\"\""),
        ("'=1", "'=1"),
        ("a=1", "a=1"),
        (" =1", "' =1"),
    ] {
        let row = row(&format!(r#","buyerName":"{name}""#));
        let (csv, _) = whole(vec![Ok(vec![row.clone()])], ExportFormat::Csv).await;
        assert_eq!(csv, format!("{HEAD}{START},,{cell},,\r\n"), "{name}");
        let (ndjson, _) = whole(vec![Ok(vec![row.clone()])], ExportFormat::Ndjson).await;
        let read: OrderRow = serde_json::from_str(ndjson.lines().next().unwrap()).unwrap();
        assert_eq!(read, row);
    }
}

#[tokio::test]
async fn what_ends_too_early_fails_without_a_last_line() {
    for format in [ExportFormat::Csv, ExportFormat::Ndjson] {
        let mut body = export(vec![Ok(vec![row("")]), Err(StoreError::Busy)], format);
        let mut text = Vec::new();
        let failure = loop {
            match body.frame().await.expect("it fails before its end") {
                Ok(frame) => text.extend(frame.into_data().expect("no trailer")),
                Err(failure) => break failure,
            }
        };
        let text = String::from_utf8(text).unwrap();
        assert!(
            text.contains("ord_") && !text.contains("complete"),
            "{text}"
        );
        assert_eq!(failure.to_string(), "rows cannot be read");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_may_be_slow_but_not_too_slow() {
    let rows = || (0..9).map(|_| Ok(vec![row("")])).collect();
    let mut body = export(rows(), ExportFormat::Ndjson);
    while let Some(frame) = body.frame().await {
        frame.unwrap();
        advance(TAKEN_WITHIN).await;
    }
    let mut body = export(rows(), ExportFormat::Ndjson);
    body.frame().await.unwrap().unwrap();
    body.frame().await.unwrap().unwrap();
    advance(TAKEN_WITHIN + Duration::from_millis(1)).await;
    let cut = body.frame().await.unwrap().unwrap_err();
    assert_eq!(cut.to_string(), "the client reads too slowly");
}

/// The database is slow, and not the client.
#[tokio::test(start_paused = true)]
async fn a_client_does_not_pay_for_the_database() {
    let slow = stream::once(tokio::time::sleep(TAKEN_WITHIN * 2)).map(|()| Ok(vec![row("")]));
    let place = Exports::default().enter(&"t".parse().unwrap()).unwrap();
    let body = body(slow.boxed(), ExportFormat::Csv, place);
    assert!(body.collect().await.is_ok());
}

#[tokio::test]
async fn an_export_keeps_its_place_to_its_end() {
    let exports = Exports::default();
    let enter = || exports.enter(&"t".parse().unwrap());
    let first = body(
        stream::iter([Ok(vec![row("")])]).boxed(),
        ExportFormat::Csv,
        enter().unwrap(),
    );
    let abandoned = body(
        stream::pending().boxed(),
        ExportFormat::Csv,
        enter().unwrap(),
    );
    assert_eq!(enter().err(), Some(Full::Tenant));
    drop(abandoned);
    let mut waits = body(
        stream::pending().boxed(),
        ExportFormat::Csv,
        enter().unwrap(),
    );
    waits.frame().await.unwrap().unwrap();
    assert!(waits.frame().now_or_never().is_none());
    first.collect().await.unwrap();
    assert!(enter().is_ok());
}
