//! The writer carries out commands and payments: it stores orders and publishes events. Run `writer --help` for its settings.

use std::process::ExitCode;

fn main() -> ExitCode {
    writer::main(orders_service::about!())
}
