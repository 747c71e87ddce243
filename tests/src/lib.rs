//! What the programs and tests of this package share: a load of careful clients, and a checker that knows nothing of the
//! pipeline's own code.

pub mod check;
pub mod history;
pub mod load;
pub mod promises;
pub mod report;
pub mod sockets;
