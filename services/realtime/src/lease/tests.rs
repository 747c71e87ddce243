use proptest::prelude::*;

use super::*;

const GRACE: Duration = Duration::from_secs(33);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_764_500_000_000 + seconds * 1_000).unwrap()
}

fn identity(subject: &str, tenants: &[&str], scopes: &[Scope]) -> Identity {
    Identity {
        issuer: "https://login.example".to_owned(),
        subject: subject.to_owned(),
        client: None,
        session: None,
        token_id: None,
        tenants: tenants.iter().map(|text| text.parse().unwrap()).collect(),
        scopes: scopes.to_vec(),
        operator: false,
        issued_at: Default::default(),
        expires_at: None,
    }
}

#[test]
fn a_client_is_asked_once_and_leaves_after_the_grace() {
    let mut lease = Lease::new(Some(at(100)), GRACE, at(0));
    assert_eq!(lease.wait(at(0)), Duration::from_secs(70));
    assert_eq!(lease.due(at(69)), None);
    assert_eq!(lease.due(at(70)), Some(Due::Notice(at(100))));
    // Until the client has been told.
    assert_eq!(lease.due(at(71)), Some(Due::Notice(at(100))));
    lease.noticed();
    assert_eq!(lease.due(at(71)), None);
    assert_eq!(lease.wait(at(71)), Duration::from_secs(62));
    assert_eq!(lease.due(at(132)), None);
    assert_eq!(lease.due(at(133)), Some(Due::End));
    // The clock jumped, as when a machine wakes up.
    assert_eq!(lease.due(at(9_999)), Some(Due::End));
}

#[test]
fn credentials_that_never_expire_are_verified_again() {
    let lease = Lease::new(None, GRACE, at(0));
    let end = 3_600 + 33;
    assert_eq!(lease.wait(at(0)), Duration::from_secs(3_633));
    assert_eq!(lease.due(at(end - 1)), None);
    assert_eq!(lease.due(at(end)), Some(Due::End));
}

#[test]
fn another_token_is_taken_every_ten_seconds() {
    let mut lease = Lease::new(Some(at(100)), GRACE, at(0));
    lease.noticed();
    assert_eq!(lease.try_refresh(at(80)), Ok(()));
    lease.renew(Some(at(400)), at(80));
    assert_eq!(lease.due(at(369)), None);
    assert_eq!(lease.due(at(370)), Some(Due::Notice(at(400))));
    assert_eq!(lease.try_refresh(at(89)), Err(RefreshRefusal::TooSoon));
    assert_eq!(lease.try_refresh(at(90)), Ok(()));
    // An attempt counts even if its token was refused.
    assert_eq!(lease.try_refresh(at(91)), Err(RefreshRefusal::TooSoon));
}

#[test]
fn only_the_same_subject_may_stay_in_the_room() {
    let read = [Scope::OrdersRead];
    let holder = identity("u1", &["a", "b"], &read);
    let tenant = "a".parse().unwrap();
    let other_issuer = Identity {
        issuer: "https://other.example".to_owned(),
        ..identity("u1", &["a"], &read)
    };
    for (next, expected) in [
        (identity("u1", &["a"], &read), Ok(())),
        (identity("u1", &["c", "a"], &read), Ok(())),
        (identity("u2", &["a"], &read), Err(RefreshRefusal::Subject)),
        (identity("U1", &["a"], &read), Err(RefreshRefusal::Subject)),
        (other_issuer, Err(RefreshRefusal::Subject)),
        (identity("u1", &["b"], &read), Err(RefreshRefusal::Tenant)),
        (identity("u1", &[], &read), Err(RefreshRefusal::Tenant)),
        (
            identity("u1", &["a"], &[Scope::OrdersCreate]),
            Err(RefreshRefusal::Scope),
        ),
    ] {
        assert_eq!(may_follow(&holder, &next, &tenant), expected, "{next:?}");
    }
}

/// What happens to a socket.
#[derive(Debug, Clone)]
enum Step {
    Pass(u64),
    Refresh { lasts: Option<u64> },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let pass = (0_u64..200_000).prop_map(Step::Pass);
    let refresh = prop::option::of(0_u64..400_000).prop_map(|lasts| Step::Refresh { lasts });
    prop::collection::vec(prop_oneof![3 => pass, 1 => refresh], 1..40)
}

proptest! {
    /// A driver that sleeps for as long as it is told misses nothing and is never early, whatever the client sends.
    #[test]
    fn nothing_is_due_before_the_wait_and_something_is_after_it(
        lasts in prop::option::of(0_u64..400_000),
        grace in 0_u64..305_000,
        steps in steps(),
    ) {
        let after = |now: Timestamp, millis| now.later(Duration::from_millis(millis));
        let mut now = at(0);
        let grace = Duration::from_millis(grace);
        let mut expires_at = lasts.map(|lasts| after(now, lasts));
        let mut lease = Lease::new(expires_at, grace, now);
        let mut taken: Option<Timestamp> = None;
        let mut notices = 0;
        for step in steps {
            match step {
                Step::Pass(millis) => {
                    let (wait, end) = (lease.wait(now), after(now, millis));
                    if end < now.later(wait) {
                        prop_assert!(matches!(lease.due(end), None | Some(Due::Notice(_))));
                        if lease.due(now).is_none() {
                            prop_assert_eq!(lease.due(end), None);
                        }
                    } else {
                        prop_assert!(lease.due(end).is_some());
                    }
                    now = end;
                }
                Step::Refresh { lasts } => match lease.try_refresh(now) {
                    Ok(()) => {
                        prop_assert!(taken.is_none_or(|taken| now.since(taken) >= PAUSE));
                        taken = Some(now);
                        expires_at = lasts.map(|lasts| after(now, lasts));
                        lease.renew(expires_at, now);
                        notices = 0;
                    }
                    Err(refusal) => {
                        prop_assert_eq!(refusal, RefreshRefusal::TooSoon);
                        prop_assert!(taken.is_some_and(|taken| now.since(taken) < PAUSE));
                    }
                },
            }
            match lease.due(now) {
                Some(Due::End) => {
                    // Never before the token expired and the grace passed.
                    prop_assert!(expires_at.is_none_or(|expires_at| now >= expires_at.later(grace)));
                    break;
                }
                Some(Due::Notice(moment)) => {
                    prop_assert_eq!(Some(moment), expires_at);
                    prop_assert!(moment.since(now) <= NOTICE);
                    lease.noticed();
                    notices += 1;
                    prop_assert_eq!(notices, 1, "a client is asked once for each token");
                }
                None => {}
            }
        }
    }
}
