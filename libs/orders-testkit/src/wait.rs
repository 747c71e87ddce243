use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

/// The time limit of a condition. Long, because only a failing test waits that long.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Polls `condition` until it gives a value; panics with its last error after the limit.
pub async fn eventually<T, E: Debug>(
    what: &str,
    mut condition: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    let start = Instant::now();
    loop {
        match condition().await {
            Ok(value) => return value,
            Err(last) if start.elapsed() > LIMIT => {
                panic!("{what}: not within {LIMIT:?}; last seen: {last:?}")
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
