//! The edge serves the HTTP API. Run `edge --help` for its settings, `edge --openapi` for its description.

use std::process::ExitCode;

fn main() -> ExitCode {
    let about = orders_service::about!().print(
        "openapi",
        "Print the OpenAPI document and exit",
        edge::openapi,
    );
    edge::main(about)
}
