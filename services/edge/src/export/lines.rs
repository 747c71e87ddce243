//! The lines of an export. Pure.

use std::borrow::Cow;

use axum::body::Bytes;
use csv::{Terminator, WriterBuilder};
use orders_contracts::{OrderRow, query::ExportFormat};
use serde::Serialize;

/// The header line of CSV.
const COLUMNS: [&str; 10] = [
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

/// The last line of NDJSON, without which it is not whole.
#[derive(Debug, Serialize)]
struct Last {
    exported: u64,
    complete: bool,
}

/// Writes rows as lines, and counts them.
#[derive(Debug)]
pub(super) struct Lines {
    format: ExportFormat,
    pub(super) written: u64,
}

impl Lines {
    pub(super) fn new(format: ExportFormat) -> Self {
        Self { format, written: 0 }
    }

    /// What comes before the first row.
    pub(super) fn first(&self) -> Bytes {
        match self.format {
            ExportFormat::Csv => csv([COLUMNS]),
            ExportFormat::Ndjson => Bytes::new(),
        }
    }

    /// The lines of the next rows.
    pub(super) fn of(&mut self, rows: &[OrderRow]) -> Bytes {
        self.written += rows.len() as u64;
        match self.format {
            ExportFormat::Csv => csv(rows.iter().map(cells)),
            ExportFormat::Ndjson => ndjson(rows),
        }
    }

    /// What comes behind the last row.
    pub(super) fn last(&self) -> Bytes {
        match self.format {
            ExportFormat::Csv => Bytes::new(),
            ExportFormat::Ndjson => ndjson(&[Last {
                exported: self.written,
                complete: true,
            }]),
        }
    }
}

fn ndjson(lines: &[impl Serialize]) -> Bytes {
    let mut text = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut text, line).expect("a row can be written as JSON");
        text.push(b'\n');
    }
    text.into()
}

/// Records of RFC 4180.
fn csv<C: AsRef<str>, const N: usize>(records: impl IntoIterator<Item = [C; N]>) -> Bytes {
    let mut writer = WriterBuilder::new()
        .terminator(Terminator::CRLF)
        .from_writer(Vec::new());
    for record in records {
        let cells = record.iter().map(|cell| cell.as_ref().as_bytes());
        writer
            .write_record(cells)
            .expect("memory takes every write");
    }
    let text = writer.into_inner().expect("memory takes every write");
    text.into()
}

fn cells(row: &OrderRow) -> [Cow<'_, str>; COLUMNS.len()] {
    let file = row.attachment.as_ref();
    let cells: [Cow<'_, str>; COLUMNS.len()] = [
        row.order_id.as_str().into(),
        row.status.as_str().into(),
        row.created_at.to_string().into(),
        row.buyer_email.as_str().into(),
        row.total.to_string().into(),
        file.map_or_else(Cow::default, |file| file.filename.as_str().into()),
        file.map_or_else(Cow::default, |file| file.storage_key.as_str().into()),
        row.buyer_name
            .as_deref()
            .map_or_else(Cow::default, Cow::from),
        row.item_count
            .map_or_else(Cow::default, |count| count.to_string().into()),
        row.currency
            .map_or_else(Cow::default, |currency| currency.to_string().into()),
    ];
    cells.map(harmless)
}

/// What begins a formula; some programs take full-width signs, too.
const FORMULA: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];
/// Where other cells may begin in a cell: programs take other separators than commas by their language, and then quotes in
/// the middle of a cell do not keep lines together.
const SEPARATORS: [char; 4] = [';', '\t', '\r', '\n'];

/// A cell that no spreadsheet program takes for a formula, nor a part of it: where it would, an apostrophe comes first
/// (OWASP, CSV injection).
fn harmless(cell: Cow<'_, str>) -> Cow<'_, str> {
    let is_formula = |text: &str| text.trim_start_matches(['"', ' ']).starts_with(FORMULA);
    let first = (cell.starts_with(SEPARATORS) || is_formula(&cell)).then_some(0);
    let ends = cell.match_indices(SEPARATORS).map(|(at, _)| at + 1);
    let others = ends.filter(|end| is_formula(&cell[*end..]));
    let places: Vec<usize> = first.into_iter().chain(others).collect();
    if places.is_empty() {
        return cell;
    }
    let (mut text, mut done) = (String::with_capacity(cell.len() + places.len()), 0);
    for place in places {
        text.push_str(&cell[done..place]);
        text.push('\'');
        done = place;
    }
    text.push_str(&cell[done..]);
    text.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_part_of_a_cell_is_a_formula(cell in "[a'\" ;\t\r\n=+@＝－,-]{0,12}") {
            let written = harmless(Cow::from(&cell)).into_owned();
            for part in written.split(SEPARATORS) {
                let text = part.trim_start_matches(['"', ' ']);
                prop_assert!(!text.starts_with(FORMULA), "{cell:?} {written:?}");
            }
            prop_assert_eq!(written.replace('\'', ""), cell.replace('\'', ""));
        }
    }

    #[test]
    fn what_is_harmless_stays_as_it_is() {
        for cell in [
            "",
            "Zoë",
            "a-b; c",
            "a;b=1",
            "Smith, Jr.",
            "O'Neil",
            "1;\n2",
        ] {
            assert_eq!(harmless(cell.into()), cell);
        }
        assert_eq!(harmless("=1;=2\n\"=3".into()), "'=1;'=2\n'\"=3");
    }
}
