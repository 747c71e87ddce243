use orders_contracts::streams::{ORDERS_AUDIT, ORDERS_COMMANDS, ORDERS_EVENTS};

use super::*;

fn drift(change: impl FnOnce(&mut Config)) -> (Drift, Config) {
    let declared = stream_config(&ORDERS_EVENTS, None);
    let mut current = declared.clone();
    change(&mut current);
    let drift = stream_drift(&current, &declared);
    (drift, mended(current, declared))
}

#[test]
fn a_limit_is_raised_and_never_lowered() {
    let declared = stream_config(&ORDERS_EVENTS, None);
    assert_eq!(drift(|_| ()).0, Drift::default());
    let (low, mended) = drift(|config| config.max_bytes = 1 << 20);
    let told = "max_bytes (server 1048576, declared 4294967296)";
    assert_eq!(low.fields.as_deref(), Some(told));
    assert_eq!(mended, declared);

    for days in [0, 90] {
        let age = Duration::from_secs(days * 24 * 60 * 60);
        let (high, mended) = drift(|config| {
            config.max_age = age;
            config.duplicate_window = Duration::from_secs(1);
        });
        assert!(
            high.raised
                .is_some_and(|raised| raised.starts_with("max_age"))
        );
        assert!(
            high.fields
                .is_some_and(|fields| fields.starts_with("duplicate"))
        );
        assert_eq!(mended.max_age, age);
        assert_eq!(mended.duplicate_window, declared.duplicate_window);
    }
    let (copied, mended) = drift(|config| config.num_replicas = 3);
    assert_eq!(copied.fields, None);
    let told = "num_replicas (server 3, declared 1)";
    assert_eq!(copied.raised.as_deref(), Some(told));
    assert_eq!(mended.num_replicas, 3);
    let none = drift(|config| config.max_bytes = 0).0;
    assert!(none.fields.is_none() && none.raised.is_some());
}

#[test]
fn limits_that_lose_messages_are_differences_and_mended() {
    type Change = fn(&mut Config);
    let changes: [(&str, Change); 6] = [
        ("max_msgs", |config| config.max_messages = 10),
        ("max_msgs_per_subject", |config| {
            config.max_messages_per_subject = 1;
        }),
        ("max_msg_size", |config| config.max_message_size = 100),
        ("no_ack", |config| config.no_ack = true),
        ("sealed", |config| config.sealed = true),
        ("discard_new_per_subject", |config| {
            config.discard_new_per_subject = true;
        }),
    ];
    for (name, change) in changes {
        let (found, mended) = drift(change);
        let fields = found.fields.unwrap_or_default();
        assert!(fields.starts_with(&format!("{name} (")), "{fields}");
        assert_eq!(mended, stream_config(&ORDERS_EVENTS, None), "{name}");
    }
}

#[test]
fn what_the_server_says_by_default_is_no_difference() {
    let declared = stream_config(&ORDERS_EVENTS, None);
    let current = Config {
        max_messages: 0,
        max_messages_per_subject: 0,
        max_message_size: 0,
        ..declared.clone()
    };
    assert_eq!(stream_drift(&current, &declared), Drift::default());
}

#[test]
fn a_start_sets_no_limit_of_a_subject_where_there_was_none() {
    let declared = stream_config(&ORDERS_COMMANDS, None);
    assert!(declared.discard_new_per_subject && declared.max_messages_per_subject > 0);
    let current = Config {
        max_messages_per_subject: UNLIMITED,
        discard_new_per_subject: false,
        ..declared.clone()
    };
    let drift = stream_drift(&current, &declared);
    assert_eq!(drift.fields, None);
    assert!(drift.raised.unwrap().starts_with("max_msgs_per_subject"));
    let mended = mended(current, declared);
    assert_eq!(mended.max_messages_per_subject, UNLIMITED);
    assert!(!mended.discard_new_per_subject);
}

#[test]
fn a_stream_becomes_append_only_and_stays_so() {
    let declared = stream_config(&ORDERS_AUDIT, None);
    assert!(declared.deny_delete && declared.deny_purge);
    let old = Config {
        deny_delete: false,
        deny_purge: false,
        ..declared.clone()
    };
    let fields = stream_drift(&old, &declared).fields.unwrap();
    let told =
        "deny_delete (server false, declared true), deny_purge (server false, declared true)";
    assert_eq!(fields, told);
    assert_eq!(mended(old, declared.clone()), declared);
    // What an operator has set elsewhere cannot be taken back.
    let (found, mended) = drift(|config| config.deny_purge = true);
    assert_eq!(found, Drift::default());
    assert!(mended.deny_purge && !mended.deny_delete);
}

#[test]
fn an_id_is_added_beside_what_else_a_stream_says_of_itself() {
    let id = InstallationId::fresh();
    let declared = stream_config(&ORDERS_EVENTS, Some(&id));
    let mut current = stream_config(&ORDERS_EVENTS, None);
    current.metadata.insert("team".into(), "shop".into());
    let drift = stream_drift(&current, &declared);
    assert!(drift.is_adopted);
    let fields = drift.fields.unwrap_or_default();
    assert!(
        fields.starts_with("installation (server \"none\""),
        "{fields}"
    );
    let mended = mended(current, declared);
    assert_eq!(mended.metadata[INSTALLATION], id.as_str());
    assert_eq!(mended.metadata["team"], "shop");
}
