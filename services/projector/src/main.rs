//! The projector turns events into the rows of the list, and publishes the feed. Run `projector --help` for its settings.

use std::process::ExitCode;

fn main() -> ExitCode {
    projector::main(orders_service::about!())
}
