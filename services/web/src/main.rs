//! The front end serves the pages for browsers. Run `web --help` for its settings.

use std::process::ExitCode;

fn main() -> ExitCode {
    web::main(orders_service::about!())
}
