//! The writer turns commands and payments into stored orders and events. Run `writer --help` for its settings.

use std::process::ExitCode;

fn main() -> ExitCode {
    orders_service::main(orders_service::about!(), writer::run)
}
