//! Writes the JSON Schema of every command and event below the folder it is given: `cargo xtask schemas` calls it.

use std::{fs, path::Path};

use orders_contracts::{CancelOrder, CreateOrder, FeedEntry, OrderEvent, OrderPaid, Reply};
use schemars::{JsonSchema, Schema, generate::SchemaSettings};

fn main() -> std::io::Result<()> {
    let out = std::env::args().nth(1).expect("usage: schemas OUT_DIR");
    let out = Path::new(&out);
    write(
        out,
        "commands/create-order.v1.json",
        &schema::<CreateOrder>(),
    )?;
    write(
        out,
        "commands/cancel-order.v1.json",
        &schema::<CancelOrder>(),
    )?;
    write(out, "events/order-event.v1.json", &schema::<OrderEvent>())?;
    write(out, "events/order-paid.v1.json", &schema::<OrderPaid>())?;
    write(out, "events/feed-entry.v1.json", &schema::<FeedEntry>())?;
    write(out, "replies/reply.v1.json", &schema::<Reply>())
}

fn schema<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<T>()
}

fn write(out: &Path, name: &str, schema: &Schema) -> std::io::Result<()> {
    let path = out.join(name);
    fs::create_dir_all(path.parent().expect("every name has a folder"))?;
    let text = serde_json::to_string_pretty(schema).map_err(std::io::Error::other)?;
    fs::write(path, text + "\n")
}
