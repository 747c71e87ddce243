//! realtime tells browsers, over Socket.IO, what changes in the list. Run `realtime --help` for its settings.

use std::process::ExitCode;

fn main() -> ExitCode {
    orders_service::main(orders_service::about!(), realtime::run)
}
