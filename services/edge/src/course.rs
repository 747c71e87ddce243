//! Where the time of a slow create goes.

use std::time::{Duration, Instant};

use orders_contracts::Channel;
use orders_http::Arrived;
use orders_service::Seldom;
use tracing::info;

/// How long a create may take: 99 % are to be faster.
const OBJECTIVE: Duration = Duration::from_millis(250);
/// The most lines in a minute. While the pipeline has too much to do, every create is slow.
const LINES: u32 = 600;

/// The course of a command from the arrival of its request. When it ends, or its client leaves, a slow create is logged.
#[derive(Debug)]
pub(crate) struct Course {
    channel: Channel,
    arrived: Instant,
    admitted: Instant,
    published: Option<Instant>,
    decided: Option<Instant>,
}

impl Course {
    /// Begins with the command's turn.
    pub(crate) fn begin(channel: Channel, Arrived(arrived): Arrived) -> Self {
        Self {
            channel,
            arrived,
            admitted: Instant::now(),
            published: None,
            decided: None,
        }
    }

    /// JetStream has stored the command.
    pub(crate) fn published(&mut self) {
        self.published = Some(Instant::now());
    }

    /// The writer has replied, perhaps before JetStream has.
    pub(crate) fn decided(&mut self) {
        self.decided = Some(Instant::now());
    }

    /// The milliseconds until it was admitted, from then until it was published, decided and projected, and of all. What
    /// comes last may not have been reached: it was waited for until `end`.
    fn parts(&self, end: Instant) -> ([Option<u64>; 4], u64) {
        let millis = |moment: Instant| moment.duration_since(self.arrived).as_millis() as u64;
        let end = Some(end);
        let last = match (self.published, self.decided) {
            (_, Some(_)) => [self.published, self.decided, end],
            (Some(_), None) => [self.published, end, None],
            (None, None) => [end, None, None],
        };
        let mut before = 0;
        let [published, decided, projected] = last;
        let parts = [Some(self.admitted), published, decided, projected].map(|moment| {
            let moment = millis(moment?);
            Some(moment - std::mem::replace(&mut before, moment))
        });
        (parts, before)
    }
}

impl Drop for Course {
    fn drop(&mut self) {
        static SLOW: Seldom = Seldom::up_to(LINES);
        let end = Instant::now();
        if self.channel != Channel::CreateOrder || end.duration_since(self.arrived) <= OBJECTIVE {
            return;
        }
        let ([admitted_ms, published_ms, decided_ms, projected_ms], duration_ms) = self.parts(end);
        SLOW.say(|unsaid| {
            info!(
                unsaid,
                duration_ms,
                admitted_ms,
                published_ms,
                decided_ms,
                projected_ms,
                "a create took {duration_ms} ms"
            );
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_add_up_whatever_was_reached() {
        let arrived = Instant::now();
        let at = |micros| arrived + Duration::from_micros(micros);
        let end = at(900_900);
        let parts = |published, decided| {
            let course = Course {
                channel: Channel::CancelOrder,
                arrived,
                admitted: at(3_600),
                published,
                decided,
            };
            let (parts, all) = course.parts(end);
            assert_eq!((all, parts.iter().flatten().sum::<u64>()), (900, 900));
            parts
        };
        let (published, decided) = (Some(at(10_700)), Some(at(700_200)));
        let all = [Some(3), Some(7), Some(690), Some(200)];
        assert_eq!(parts(published, decided), all);
        // The reply came first.
        assert_eq!(parts(None, decided), [Some(3), None, Some(697), Some(200)]);
        assert_eq!(parts(published, None), [Some(3), Some(7), Some(890), None]);
        assert_eq!(parts(None, None), [Some(3), Some(897), None, None]);
    }
}
