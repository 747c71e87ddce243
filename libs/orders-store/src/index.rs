//! Indexes as they are declared, and how the server's may differ.

use std::fmt;

use mongodb::{
    IndexModel,
    bson::{Bson, Document},
    options::IndexOptions,
};

/// An index, named after its keys as MongoDB itself would.
pub(crate) struct Index {
    keys: &'static [(&'static str, i32)],
    unique: Unique,
}

/// Whether no two documents may have the same values.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unique {
    No,
    Yes,
    /// Yes, unless the server cannot have it so: MongoDB shards a collection only if each of its unique indexes begins with
    /// the shard key. It must follow from other indexes.
    IfPossible,
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
    pub(crate) const fn on(keys: &'static [(&'static str, i32)]) -> Self {
        Self {
            keys,
            unique: Unique::No,
        }
    }

    pub(crate) const fn unique_on(keys: &'static [(&'static str, i32)]) -> Self {
        Self {
            unique: Unique::Yes,
            ..Self::on(keys)
        }
    }

    pub(crate) const fn unique_if_possible_on(keys: &'static [(&'static str, i32)]) -> Self {
        Self {
            unique: Unique::IfPossible,
            ..Self::on(keys)
        }
    }

    const fn is_unique(&self) -> bool {
        !matches!(self.unique, Unique::No)
    }

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
            .unique(self.is_unique().then_some(true))
            .build();
        IndexModel::builder()
            .keys(self.document())
            .options(options)
            .build()
    }

    /// The fields in which the server's index differs.
    pub(crate) fn compare(&self, server: &IndexModel) -> Option<String> {
        let options = server.options.as_ref();
        let is_unique = options.is_some_and(|options| options.unique == Some(true));
        let mut fields = Vec::new();
        if !same_keys(&server.keys, self.keys) {
            let declared = self.document();
            fields.push(format!(
                "keys (server {}, declared {declared})",
                server.keys
            ));
        }
        let declared = self.is_unique();
        if is_unique != declared && self.unique != Unique::IfPossible {
            fields.push(format!("unique (server {is_unique}, declared {declared})"));
        }
        (!fields.is_empty()).then(|| fields.join(", "))
    }
}

/// Whether the keys are the declared ones in the same order; a shell writes their directions as floats.
fn same_keys(server: &Document, declared: &[(&str, i32)]) -> bool {
    let direction = |value: &Bson| match *value {
        Bson::Int32(n) => Some(f64::from(n)),
        Bson::Int64(n) => Some(n as f64),
        Bson::Double(n) => Some(n),
        _ => None,
    };
    let server = server.iter();
    let server = server.map(|(field, value)| (field.as_str(), direction(value)));
    let declared = declared.iter();
    server.eq(declared.map(|(field, order)| (*field, Some(f64::from(*order)))))
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
