//! Who has answered before and does so no more.

use std::{collections::BTreeMap, time::Duration};

use orders_contracts::DaemonHealth;
use tokio::time::Instant;

/// How long a process that answers no more is shown: it may have been stopped on purpose.
const SHOWN: Duration = Duration::from_secs(300);

/// The processes that have answered, by their ids.
#[derive(Default)]
pub(super) struct Roll(BTreeMap<String, (Instant, DaemonHealth)>);

/// A process that answers no more.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Silent {
    pub(super) health: DaemonHealth,
    /// Since its last answer.
    pub(super) since: Duration,
}

impl Roll {
    /// Notes who has answered at a moment.
    pub(super) fn note<'a>(
        &mut self,
        at: Instant,
        answers: impl Iterator<Item = (&'a String, &'a DaemonHealth)>,
    ) {
        let mut new = Vec::new();
        for (id, health) in answers {
            match self.0.get_mut(id) {
                Some(known) => *known = (at, health.clone()),
                None => new.push((id, health)),
            }
        }
        for (id, health) in new {
            self.replace(health, at);
            self.0.insert(id.clone(), (at, health.clone()));
        }
        self.0.retain(|_, (last, _)| at - *last <= SHOWN);
    }

    /// A new process takes the place of a silent one of the same name: it was started again.
    fn replace(&mut self, new: &DaemonHealth, now: Instant) {
        let is_it = |(last, old): &(Instant, DaemonHealth)| {
            *last < now && old.daemon == new.daemon && old.instance == new.instance
        };
        let longest = self.0.iter().filter(|(_, entry)| is_it(entry));
        let longest = longest.min_by_key(|(_, (last, _))| *last);
        if let Some(id) = longest.map(|(id, _)| id.clone()) {
            self.0.remove(&id);
        }
    }

    /// Those that did not answer at `now`, the last moment that was noted.
    pub(super) fn silent(&self, now: Instant) -> Vec<Silent> {
        let silent = self.0.values().filter(|(last, _)| *last < now);
        let silent = silent.map(|(last, health)| Silent {
            health: health.clone(),
            since: now - *last,
        });
        silent.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_answers_no_more_is_named_until_it_is_started_again_or_forgotten() {
        let of = |id: &str, instance: &str| {
            let health = DaemonHealth {
                daemon: "writer".to_owned(),
                instance: instance.to_owned(),
                version: "0.1.0".to_owned(),
                problem: None,
                id: Some(id.to_owned()),
                uptime_seconds: Some(1),
                asked_at: None,
                answered_at: None,
            };
            (id.to_owned(), health)
        };
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut roll = Roll::default();
        let mut silent = |seconds, answers: &[(String, DaemonHealth)]| {
            roll.note(at(seconds), answers.iter().map(|(id, health)| (id, health)));
            let silent = roll.silent(at(seconds)).into_iter();
            Vec::from_iter(silent.map(|silent| (silent.health.id.unwrap(), silent.since.as_secs())))
        };
        let gone = |id: &str, seconds| vec![(id.to_owned(), seconds)];
        // Two processes of one name, and a third.
        let (one, two, other) = (of("a", "writer"), of("b", "writer"), of("c", "writer.2"));
        let nobody = silent(0, &[one.clone(), two, other.clone()]).is_empty();
        assert!(nobody);
        assert_eq!(silent(2, &[one.clone(), other.clone()]), gone("b", 2));
        assert_eq!(silent(4, &[one.clone(), other]), gone("b", 4));
        let next = of("d", "writer");
        assert_eq!(silent(6, &[one.clone(), next.clone()]), gone("c", 2));
        assert_eq!(
            silent(8, &[one.clone(), next.clone(), of("e", "writer")]),
            gone("c", 4)
        );
        assert_eq!(
            silent(304, &[one.clone(), next.clone()]),
            [gone("c", 300), gone("e", 296),].concat()
        );
        assert_eq!(silent(306, &[one, next]), gone("e", 298));
    }
}
