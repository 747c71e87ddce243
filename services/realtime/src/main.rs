//! realtime announces changes of the list to browsers, over Socket.IO. Run `realtime --help` for its settings.

use std::process::ExitCode;

fn main() -> ExitCode {
    orders_service::main(orders_service::about!(), realtime::run)
}
