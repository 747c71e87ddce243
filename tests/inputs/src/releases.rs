//! What each release has written, in `releases`: this one reads all of it, and so the release before it is never left
//! behind. `unreleased` is what this release writes, as `tests/it/skew` checks; it gets the name of the release.

use std::{collections::BTreeSet, fs, path::PathBuf};

use orders_contracts::{
    Answer, AuditEntry, Body, Channel, Envelope, FeedEntry, FieldError, Metadata, OrderCommand,
    OrderEvent, Payment, Revocation, Subject, may_be_newer,
};

/// The examples of one kind of all releases: the release, the name, the text.
fn examples(kind: &str) -> Vec<(String, String, String)> {
    let releases = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("releases");
    let mut examples = Vec::new();
    for release in fs::read_dir(releases).unwrap() {
        let release = release.unwrap();
        for file in fs::read_dir(release.path().join(kind)).unwrap() {
            let path = file.unwrap().path();
            examples.push((
                release.file_name().into_string().unwrap(),
                path.file_stem().unwrap().to_str().unwrap().to_owned(),
                fs::read_to_string(&path).unwrap(),
            ));
        }
    }
    examples
}

/// Reads a message as the daemon does that it is for: its subject, its headers, an empty line, its body.
fn message(text: &str) -> Result<Option<Channel>, String> {
    let (head, body) = text.split_once("\n\n").expect("an empty line");
    let (subject, headers) = head.split_once('\n').unwrap_or((head, ""));
    let body = body.trim_end().as_bytes();
    if Subject::parse_revocation(subject).is_some() {
        let read = serde_json::from_slice::<Revocation>(body);
        return read.map(|_| None).map_err(|error| error.to_string());
    }
    if subject.starts_with("orders.audit.") {
        let read = serde_json::from_slice::<AuditEntry>(body);
        return read.map(|_| None).map_err(|error| error.to_string());
    }
    let Some((channel, tenant)) = Channel::parse(subject) else {
        return Err(format!("{subject} is unknown"));
    };
    let lines = headers.lines().filter_map(|line| line.split_once(": "));
    let get = |name: &str| lines.clone().find(|(known, _)| *known == name);
    let metadata = Metadata::parse(channel, |name| get(name).map(|(_, value)| value));
    let metadata = metadata.map_err(|invalid| invalid.to_string())?;
    let envelope = Envelope {
        channel,
        tenant: &tenant,
        metadata: &metadata,
    };
    let read: Result<(), Vec<FieldError>> = match channel {
        Channel::CreateOrder | Channel::CancelOrder => OrderCommand::read(body, envelope).map(drop),
        Channel::OrderCreated | Channel::OrderUpdated => OrderEvent::read(body, envelope).map(drop),
        Channel::OrderPaid | Channel::PaymentFailed => Payment::read(body, envelope).map(drop),
        Channel::FeedCreated | Channel::FeedUpdated => {
            let read = serde_json::from_slice::<FeedEntry>(body);
            return read
                .map(|_| Some(channel))
                .map_err(|error| error.to_string());
        }
    };
    read.map(|()| Some(channel))
        .map_err(|faults| format!("{faults:?}"))
}

/// Whether no daemon could read the message; operators see it as it is.
fn is_given_up(name: &str) -> bool {
    name.starts_with("orders.dlq") || name.starts_with("orders.dropped")
}

#[test]
fn the_messages_of_all_releases_are_read() {
    let mut seen = BTreeSet::new();
    for (release, name, text) in examples("messages") {
        if is_given_up(&name) {
            continue;
        }
        match message(&text) {
            Ok(channel) => seen.extend(channel.map(Channel::template)),
            Err(error) => panic!("{name} of {release}: {error}"),
        }
    }
    assert_eq!(seen, Channel::ALL.map(Channel::template).into());
}

#[test]
fn the_replies_of_all_releases_are_read() {
    let replies = examples("replies");
    assert!(replies.len() >= 8, "{}", replies.len());
    for (release, name, text) in replies {
        if let Err(error) = serde_json::from_str::<Vec<Answer>>(&text) {
            panic!("{name} of {release}: {error}");
        }
    }
}

#[test]
fn members_that_a_later_release_adds_are_ignored_or_left_to_it() {
    for (release, name, text) in examples("messages") {
        if is_given_up(&name) {
            continue;
        }
        let at = text.find("\n\n{").expect("an object") + 3;
        let (head, body) = text.split_at(at);
        let newer = format!("{head}\"ofTomorrow\":{{\"a\":[1]}},{body}");
        let subject = head.lines().next().expect("a subject");
        match message(&newer) {
            // A client asked for it.
            Err(_) if subject.starts_with("orders.cmd.") => {
                let (_, body) = newer.split_once("\n\n").expect("an empty line");
                assert!(may_be_newer(subject, None, body.as_bytes()), "{name}");
            }
            Err(error) => panic!("{name} of {release}: {error}"),
            Ok(_) => assert!(!subject.starts_with("orders.cmd."), "{name}"),
        }
    }
}
