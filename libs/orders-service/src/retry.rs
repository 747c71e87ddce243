//! Trying again until something works.

use std::fmt::Display;

use tracing::{info, warn};

use crate::Backoff;

/// Makes `attempt` until it succeeds, or fails with an error that `is_transient` says will never go away.
///
/// It has no limit: daemons wait for what is away. Drop it to give up, at a shutdown for example.
pub async fn retry<T, E, F>(
    what: &str,
    is_transient: impl Fn(&E) -> bool,
    mut attempt: impl FnMut() -> F,
) -> Result<T, E>
where
    E: Display,
    F: Future<Output = Result<T, E>>,
{
    let mut backoff = Backoff::new();
    let mut failures = 0_u32;
    loop {
        match attempt().await {
            Err(error) if is_transient(&error) => {
                failures += 1;
                // The first one is news; after that a sign of life now and then is enough.
                if failures == 1 || failures.is_multiple_of(10) {
                    warn!(failures, "cannot {what}: {error}; trying on");
                }
                tokio::time::sleep(backoff.pause()).await;
            }
            result => {
                if failures > 0 && result.is_ok() {
                    info!("could {what} after {failures} failures");
                }
                return result;
            }
        }
    }
}

/// For [`retry`]: every error may go away.
pub fn always<E>(_: &E) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_goes_on_until_it_works_or_never_will() {
        let mut attempts = 0;
        let works_at_last = retry("count", always, || {
            attempts += 1;
            ready(if attempts < 20 {
                Err("not yet")
            } else {
                Ok(attempts)
            })
        });
        assert_eq!(works_at_last.await, Ok(20));

        let refused = retry(
            "count",
            |error| *error != "never",
            || ready(Err::<(), _>("never")),
        );
        assert_eq!(refused.await, Err("never"));
    }
}
