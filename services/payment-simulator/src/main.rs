//! The payment-simulator pays every created order after a delay. Run `payment-simulator --help` for its settings.

use std::process::ExitCode;

fn main() -> ExitCode {
    payment_simulator::main(orders_service::about!())
}
