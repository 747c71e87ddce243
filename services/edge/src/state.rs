use orders_store::ReadModel;

use crate::{commands::Commands, config::OnMismatch};

/// Everything that the handlers work with.
pub(crate) struct AppState {
    pub(crate) commands: Commands,
    pub(crate) rows: ReadModel,
    /// The URL by which clients reach the edge, without a slash at its end.
    pub(crate) public_url: String,
    pub(crate) on_mismatch: OnMismatch,
}
