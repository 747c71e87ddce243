//! Limits of the operating system.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{debug, warn};

/// Raises the soft limit on open files to the hard one: each client is a file, or two.
///
/// The soft limit, often 1,024, exists for programs that use `select`.
pub(crate) fn allow_many_files() {
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, all) {
        Ok(()) => debug!("at most {:?} open files", all.current),
        Err(error) => warn!("at most {:?} open files: {error}", limit.current),
    }
}
