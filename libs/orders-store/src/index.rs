//! Indexes as they are declared, and how the server's may differ.

use std::fmt;

use mongodb::{
    IndexModel,
    bson::{Bson, Document},
    options::IndexOptions,
};

/// An index, named after its keys as MongoDB itself would.
pub(crate) struct Index {
    pub(crate) keys: &'static [(&'static str, i32)],
    pub(crate) unique: bool,
}

/// How the server's index differs from its declaration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexDifference {
    /// The collection it is of.
    pub collection: String,
    /// The index's name.
    pub index: String,
    /// The fields that differ, each with the server's value and the declared one; `None` when there is no such index.
    pub fields: Option<String>,
}

impl fmt::Display for IndexDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "index {} of {} ", self.index, self.collection)?;
        match &self.fields {
            None => f.write_str("is missing"),
            Some(fields) => write!(f, "differs in {fields}"),
        }
    }
}

impl Index {
    /// The keys as the driver wants them.
    pub(crate) fn document(&self) -> Document {
        self.keys
            .iter()
            .map(|(field, order)| ((*field).to_owned(), (*order).into()))
            .collect()
    }

    /// The whole index as the driver wants it.
    pub(crate) fn model(&self) -> IndexModel {
        let options = IndexOptions::builder()
            .name(self.to_string())
            .unique(self.unique.then_some(true))
            .build();
        IndexModel::builder()
            .keys(self.document())
            .options(options)
            .build()
    }

    /// The fields in which the server's index differs.
    pub(crate) fn compare(&self, server: &IndexModel) -> Option<String> {
        let is_unique = server
            .options
            .as_ref()
            .and_then(|options| options.unique)
            .unwrap_or(false);
        let mut fields = Vec::new();
        if !same_keys(&server.keys, self.keys) {
            let declared = self.document();
            fields.push(format!(
                "keys (server {}, declared {declared})",
                server.keys
            ));
        }
        if is_unique != self.unique {
            let declared = self.unique;
            fields.push(format!("unique (server {is_unique}, declared {declared})"));
        }
        (!fields.is_empty()).then(|| fields.join(", "))
    }
}

/// Whether the keys are the declared ones in the same order; a shell writes their directions as floats.
fn same_keys(server: &Document, declared: &[(&str, i32)]) -> bool {
    let direction = |value: &Bson| {
        value
            .as_i32()
            .map(f64::from)
            .or_else(|| value.as_i64().map(|n| n as f64))
            .or_else(|| value.as_f64())
    };
    server.len() == declared.len()
        && server
            .iter()
            .zip(declared)
            .all(|((field, value), (name, order))| {
                field == name && direction(value) == Some(f64::from(*order))
            })
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (field, order)) in self.keys.iter().enumerate() {
            let separator = if n == 0 { "" } else { "_" };
            write!(f, "{separator}{field}_{order}")?;
        }
        Ok(())
    }
}
