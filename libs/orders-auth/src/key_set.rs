//! The provider's keys, as they were last fetched.

use std::{
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use jsonwebtoken::Algorithm;
use orders_service::chain;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, timeout},
};
use tracing::{info, warn};

use crate::{
    Algorithms, NotReady, Reason, Refusal,
    cooldown::{Backoff, Cooldown, Turn},
    jwks::{Key, Keys},
    source::Source,
};

/// The time between two fetches.
const REFRESH: Duration = Duration::from_secs(600);
/// How long keys count when no fetch succeeds any more.
const LONGEST_AGE: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a request waits for a fetch: two exchanges with the provider, each of 5 s at most.
const PATIENCE: Duration = Duration::from_secs(11);

/// Keys that are fetched in [`KeySet::run`] and nowhere else: a fetch must not end with the request that wanted it.
#[derive(Debug)]
pub(crate) struct KeySet {
    source: Source,
    counting: Algorithms,
    state: RwLock<State>,
    cooldown: Mutex<Cooldown>,
    wanted: Notify,
    /// Changes when a fetch that requests wanted has ended.
    ended: watch::Sender<()>,
}

#[derive(Debug)]
struct State {
    found: Option<Found>,
    /// Why there are none, or none newer.
    failure: Option<String>,
    next: Instant,
}

#[derive(Debug)]
struct Found {
    keys: Arc<Keys>,
    generation: Generation,
    at: Instant,
}

/// Which keys verified a token: others do not speak for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Generation(u64);

impl State {
    /// The keys, unless they are too old.
    fn current(&self, now: Instant) -> Option<&Found> {
        let found = self.found.as_ref();
        found.filter(|found| now < found.at + LONGEST_AGE)
    }

    /// The keys of a fetch; the same ones as before remain of the same generation.
    fn replace(&mut self, keys: Keys, now: Instant) -> bool {
        let last = self.found.as_ref();
        let is_same = last.is_some_and(|last| *last.keys == keys);
        let last = last.map_or(0, |last| last.generation.0);
        self.found = Some(Found {
            keys: Arc::new(keys),
            generation: Generation(if is_same { last } else { last + 1 }),
            at: now,
        });
        self.failure = None;
        !is_same
    }
}

impl KeySet {
    pub(crate) fn new(source: Source, counting: Algorithms) -> Self {
        Self {
            source,
            counting,
            state: RwLock::new(State {
                found: None,
                failure: None,
                next: Instant::now(),
            }),
            cooldown: Mutex::default(),
            wanted: Notify::new(),
            ended: watch::Sender::new(()),
        }
    }

    /// Fetches the keys now, every ten minutes and when a request wants it, without end.
    pub(crate) async fn run(&self) {
        let mut backoff = Backoff::default();
        loop {
            // Those who ask during a fetch want the next one: this one may have read an older set.
            let wanted = self.cooldown().is_claimed();
            let pause = match self.fetch().await {
                Ok(()) => {
                    backoff = Backoff::default();
                    REFRESH
                }
                Err(reason) => {
                    let pause = backoff.next();
                    let issuer = self.source.issuer();
                    warn!(
                        "no new keys from the issuer {issuer}: {reason}; asking again in {pause:?}"
                    );
                    self.write(|state| {
                        state.failure = Some(reason);
                        state.next = Instant::now() + pause;
                    });
                    pause
                }
            };
            if wanted {
                self.cooldown().end();
                self.ended.send_replace(());
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = self.wanted.notified() => {}
            }
        }
    }

    async fn fetch(&self) -> Result<(), String> {
        let document = self.source.fetch().await.map_err(|error| chain(&error))?;
        let keys = Keys::read(&document, &self.counting)?;
        let count = keys.count();
        if self.write(|state| state.replace(keys, Instant::now())) {
            info!("{count} keys from the issuer {}", self.source.issuer());
        }
        Ok(())
    }

    /// The key that a token's header means, perhaps after a fetch.
    pub(crate) async fn find(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<(Key, Generation), Refusal> {
        let unknown = Refusal::Invalid(Reason::Key);
        if let Some(found) = self.look_up(id, algorithm)? {
            return Ok(found);
        }
        // Before the claim, so no end is missed.
        let mut ended = self.ended.subscribe();
        let turn = self.cooldown().claim(Instant::now());
        if turn == Turn::Fetch {
            self.wanted.notify_one();
        }
        if turn != Turn::Refuse {
            let _ = timeout(PATIENCE, ended.changed()).await;
        }
        self.look_up(id, algorithm)?.ok_or(unknown)
    }

    fn look_up(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Option<(Key, Generation)>, Refusal> {
        self.read(|state| {
            let now = Instant::now();
            let Some(found) = state.current(now) else {
                let pause = state.next.saturating_duration_since(now);
                return Err(Refusal::NoKeys {
                    retry_after: pause.max(Duration::from_secs(1)),
                });
            };
            let key = found.keys.find(id, algorithm);
            Ok(key.map(|key| (key.clone(), found.generation)))
        })
    }

    /// The generation of the keys that count now.
    pub(crate) fn generation(&self) -> Option<Generation> {
        self.read(|state| state.current(Instant::now()).map(|found| found.generation))
    }

    pub(crate) fn ready(&self) -> Result<(), NotReady> {
        self.read(|state| match state.current(Instant::now()) {
            Some(_) => Ok(()),
            None => {
                let failure = state.failure.clone();
                Err(NotReady(
                    failure.unwrap_or_else(|| "not fetched yet".to_owned()),
                ))
            }
        })
    }

    fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.write().unwrap_or_else(PoisonError::into_inner))
    }

    fn cooldown(&self) -> std::sync::MutexGuard<'_, Cooldown> {
        self.cooldown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn keys(id: &str) -> Keys {
        let point = "04N0xi21hshyvBp7I167sbE_bXqyqkAPfefdklMO7wY";
        let key = json!({"kty": "EC", "crv": "P-256", "x": point, "y": point, "kid": id});
        let document = json!({"keys": [key]}).to_string();
        Keys::read(document.as_bytes(), &Algorithms::default()).unwrap()
    }

    #[test]
    fn keys_count_for_a_day_and_the_same_ones_are_of_one_generation() {
        let start = Instant::now();
        let mut state = State {
            found: None,
            failure: Some("it answers 500".to_owned()),
            next: start,
        };
        assert!(state.current(start).is_none());
        assert!(state.replace(keys("a"), start));
        assert_eq!(state.failure, None);
        let generation = |state: &State, now| state.current(now).map(|found| found.generation);
        let first = generation(&state, start).unwrap();
        assert_eq!(
            generation(&state, start + LONGEST_AGE - Duration::from_secs(1)),
            Some(first)
        );
        assert_eq!(generation(&state, start + LONGEST_AGE), None);

        let later = start + Duration::from_secs(60);
        assert!(!state.replace(keys("a"), later));
        assert_eq!(generation(&state, start + LONGEST_AGE), Some(first));
        assert!(state.replace(keys("b"), later));
        assert_ne!(generation(&state, later), Some(first));
    }
}
