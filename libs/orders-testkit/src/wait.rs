use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

/// How long a condition may take. Long, because only a failing test ever waits for it.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Waits until `condition` gives a value, asking again and again; panics with what it said last.
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
