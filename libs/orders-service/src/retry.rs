//! Trying again until something works.

use std::{error::Error, time::Duration};

use backon::{ExponentialBuilder, Retryable};
use tracing::{debug, info, warn};

use crate::{Seldom, chain};

/// Pauses between half and all of 100 ms, doubling up to 5 s, without end: jitter adds up to the same again.
const BACKOFF: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(50))
    .with_max_delay(Duration::from_millis(2500))
    .with_jitter()
    .without_max_times();

/// Makes `attempt` until it succeeds, or fails with an error that `is_transient` says will never go away.
///
/// There is no limit: daemons wait for what is away. To give up, at a shutdown for example, drop the future.
pub async fn retry<T, E, F>(
    what: &str,
    is_transient: impl Fn(&E) -> bool,
    attempt: impl FnMut() -> F,
) -> Result<T, E>
where
    E: Error + 'static,
    F: Future<Output = Result<T, E>>,
{
    let mut failures = 0_u32;
    let lines = Seldom::new();
    let result = attempt
        .retry(BACKOFF)
        .when(is_transient)
        .notify(|error, _| {
            failures += 1;
            lines.say(|_| warn!(failures, "cannot {what}: {}; retrying", chain(error)));
            debug!(failures, "cannot {what}: {error:?}");
        })
        .await;
    if failures > 0 && result.is_ok() {
        info!("{what}: succeeded after {failures} failures");
    }
    result
}

/// For [`retry`]: every error may go away.
pub fn always<E>(_: &E) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, fmt, future::ready};

    use backon::BackoffBuilder as _;

    use super::*;

    #[test]
    fn pauses_double_up_to_five_seconds_with_jitter() {
        let mut pauses = BACKOFF.build();
        for expected in [100, 200, 400, 800, 1600, 3200, 5000, 5000] {
            let pause = pauses.next().expect("there is no last one").as_millis();
            assert!(
                (expected / 2..=expected).contains(&pause),
                "{pause} ms is not within half of {expected} ms"
            );
        }
        let first: HashSet<_> = (0..20).map(|_| BACKOFF.build().next()).collect();
        assert!(first.len() > 1, "no jitter in {first:?}");
        assert!(BACKOFF.build().nth(1000).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn it_goes_on_until_it_works_or_never_will() {
        let mut attempts = 0;
        let works_at_last = retry("count", always, || {
            attempts += 1;
            ready(if attempts < 20 {
                Err(fmt::Error)
            } else {
                Ok(attempts)
            })
        });
        assert_eq!(works_at_last.await, Ok(20));

        let refused = retry("count", |_| false, || ready(Err::<(), _>(fmt::Error)));
        assert_eq!(refused.await, Err(fmt::Error));
    }
}
