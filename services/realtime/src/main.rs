//! realtime announces changes of the list to browsers, over Socket.IO. Run `realtime --help` for its settings.

use std::process::ExitCode;

fn main() -> ExitCode {
    realtime::main(orders_service::about!())
}
