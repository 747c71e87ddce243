//! Whether the database answers, and how soon.

use std::time::{Duration, Instant};

use orders_store::{Error, Store};

use super::report::Diagnosis;

/// A create waits for some answers, one after the other, and should take less than 250 ms.
const SLOW: Duration = Duration::from_millis(100);
/// The quickest of so many answers counts: any of them may be late by chance.
const TRIES: u32 = 3;

pub(super) async fn judge(store: &Store) -> Result<Diagnosis, Error> {
    let version = store.server_version().await?;
    let mut quickest = Duration::MAX;
    for _ in 0..TRIES {
        let asked = Instant::now();
        store.probe().await?;
        quickest = quickest.min(asked.elapsed());
    }
    Ok(speed(&version, quickest))
}

fn speed(version: &str, quickest: Duration) -> Diagnosis {
    let found = format!("{version}, answers within {} ms", quickest.as_millis());
    if quickest < SLOW {
        return Diagnosis::green(found);
    }
    let remedy = "look at the load of its host and at the network in between; creates, lists and payments wait for it";
    Diagnosis::yellow(found, remedy)
}

#[cfg(test)]
mod tests {
    use super::{super::report::Colour, *};

    #[test]
    fn a_slow_database_is_told() {
        for (millis, colour, found) in [
            (3, Colour::Green, "8.0.1, answers within 3 ms"),
            (600, Colour::Yellow, "8.0.1, answers within 600 ms"),
        ] {
            let told = speed("8.0.1", Duration::from_millis(millis));
            assert_eq!((told.colour, told.found.as_str()), (colour, found));
        }
    }
}
