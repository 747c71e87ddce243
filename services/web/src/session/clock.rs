//! When a session ends, and when its tokens or its cookie have to be renewed.

use serde::{Deserialize, Serialize};

/// How long a session may last, in seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Without a visit.
    pub(crate) idle: u64,
    /// From its login on.
    pub(crate) absolute: u64,
}

/// The moments of a session, in seconds since 1970.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Times {
    /// Its login.
    pub(crate) started: u64,
    /// The last visit that its cookie knows of.
    pub(crate) seen: u64,
    /// The end of its access token.
    pub(crate) expires: u64,
}

/// What a request finds to do before it is handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing: the cookie stays as it is.
    Nothing,
    /// To note the visit in the cookie.
    Note,
    /// To get a new access token.
    Refresh,
    /// To log in again.
    Login,
}

/// How long an access token has to last for a request.
const TO_SPARE: u64 = 60;
/// A visit is noted when this part of the idle time has passed.
const NOTES: u64 = 6;

impl Limits {
    /// When a session ends, unless there is another visit.
    pub(crate) fn end(&self, times: &Times) -> u64 {
        let idle = times.seen.saturating_add(self.idle);
        idle.min(times.started.saturating_add(self.absolute))
    }

    /// What is due `now`. What a page does on its own is no visit, and keeps no session alive.
    pub(crate) fn due(&self, times: &Times, now: u64, is_visit: bool) -> Due {
        if now >= self.end(times) {
            Due::Login
        } else if now.saturating_add(TO_SPARE) >= times.expires {
            Due::Refresh
        } else if is_visit && now.saturating_sub(times.seen) >= self.idle / NOTES {
            Due::Note
        } else {
            Due::Nothing
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits {
        idle: 1_800,
        absolute: 43_200,
    };

    #[test]
    fn what_is_due_when() {
        let times = |seen, expires| Times {
            started: 1_000,
            seen,
            expires,
        };
        for (times, now, is_visit, due) in [
            (times(1_000, 9_000), 1_000, true, Due::Nothing),
            (times(1_000, 9_000), 1_299, true, Due::Nothing),
            (times(1_000, 9_000), 1_300, true, Due::Note),
            (times(1_000, 9_000), 1_300, false, Due::Nothing),
            (times(1_000, 9_000), 2_799, false, Due::Nothing),
            (times(1_000, 9_000), 2_800, true, Due::Login),
            (times(1_000, 1_600), 1_539, false, Due::Nothing),
            (times(1_000, 1_600), 1_540, false, Due::Refresh),
            (times(1_000, 1_600), 1_900, true, Due::Refresh),
            // However often it is used.
            (times(44_000, 99_000), 44_199, true, Due::Nothing),
            (times(44_000, 99_000), 44_200, true, Due::Login),
            // A clock that was set back.
            (times(1_000, 9_000), 900, true, Due::Nothing),
        ] {
            assert_eq!(LIMITS.due(&times, now, is_visit), due, "{times:?} at {now}");
        }
    }

    proptest! {
        #[test]
        fn no_session_outlives_its_limits(
            started in 0..1_000_000_u64, seen in 0..1_000_000_u64, expires: u64, now: u64, is_visit: bool,
        ) {
            let times = Times { started, seen, expires };
            let is_over = LIMITS.due(&times, now, is_visit) == Due::Login;
            let is_late = now >= started + LIMITS.absolute || now >= seen + LIMITS.idle;
            prop_assert_eq!(is_over, is_late);
            prop_assert_eq!(is_over, now >= LIMITS.end(&times));
        }

        #[test]
        fn whoever_keeps_visiting_stays(pauses in prop::collection::vec(0..1_500_u64, 1..28)) {
            let mut times = Times { started: 0, seen: 0, expires: u64::MAX };
            let mut now = 0;
            for pause in pauses {
                now += pause;
                match LIMITS.due(&times, now, true) {
                    Due::Note => times.seen = now,
                    due => prop_assert_eq!(due, Due::Nothing),
                }
            }
        }
    }
}
