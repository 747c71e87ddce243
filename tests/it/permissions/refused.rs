//! What the server denies each role.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use async_nats::{Client, ConnectOptions, Event};
use orders_contracts::{Deployment, Permissions, Role};
use orders_testkit::{Stack, eventually};

const AT_ONCE: usize = 50;

/// A client with the creds of a role, and what it was told.
pub(super) struct Guest {
    pub(super) client: Client,
    events: Arc<Mutex<Vec<Event>>>,
}

/// Connects with `creds`, by their name in the folder.
pub(super) async fn connect(stack: &Stack, creds: &str) -> Guest {
    let events = Arc::new(Mutex::new(Vec::new()));
    let creds = stack.guard.as_ref().unwrap().creds(creds);
    let heard = Arc::clone(&events);
    let client = ConnectOptions::with_credentials_file(creds)
        .await
        .unwrap()
        .event_callback(move |event| {
            heard.lock().unwrap().push(event);
            std::future::ready(())
        })
        .connect(stack.nats.url())
        .await
        .unwrap();
    Guest { client, events }
}

impl Guest {
    /// What it was told.
    pub(super) fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }

    /// What it was denied.
    pub(super) fn denied(&self) -> BTreeSet<String> {
        let texts = self.events().into_iter().map(|event| event.to_string());
        texts
            .filter(|text| text.contains("Permissions Violation"))
            .collect()
    }

    /// Each of `subjects` is denied it.
    async fn is_denied(&self, what: &str, subjects: &[&str]) {
        eventually(&format!("{what} to {subjects:?} is denied"), async || {
            let denied = self.denied();
            let is_left = |subject: &&&str| {
                let expected = format!("Permissions Violation for {what} to \"{subject}\"");
                !denied.iter().any(|text| text.contains(&expected))
            };
            let left: Vec<_> = subjects.iter().filter(is_left).collect();
            match left.is_empty() {
                true => Ok(()),
                false => Err(format!("{left:?}")),
            }
        })
        .await;
    }

    pub(super) async fn may_not_say(&self, subjects: &[&str]) {
        // The client keeps only so many events that nobody has heard of yet.
        for subjects in subjects.chunks(AT_ONCE) {
            for subject in subjects {
                let sent = self.client.publish((*subject).to_owned(), "x".into());
                sent.await.unwrap();
            }
            self.is_denied("Publish", subjects).await;
        }
    }

    pub(super) async fn may_not_hear(&self, subjects: &[&str]) {
        for subjects in subjects.chunks(AT_ONCE) {
            let mut open = Vec::new();
            for subject in subjects {
                open.push(self.client.subscribe((*subject).to_owned()).await.unwrap());
            }
            self.is_denied("Subscription", subjects).await;
        }
    }
}

/// Whether `subject` is below one of `allowed`.
fn covers(allowed: &[String], subject: &str) -> bool {
    allowed.iter().any(|filter| {
        let (mut tokens, mut filters) = (subject.split('.'), filter.split('.'));
        loop {
            match (filters.next(), tokens.next()) {
                (Some(">"), Some(_)) | (None, None) => return true,
                (Some(filter), Some(token)) if filter == "*" || filter == token => {}
                _ => return false,
            }
        }
    })
}

/// The subjects that a list names, with a tenant or the like for each wildcard.
fn named(lists: impl Iterator<Item = Vec<String>>) -> BTreeSet<String> {
    let concrete = |line: String| line.replace('*', "x").replace('>', "x.y");
    lists.flatten().map(concrete).collect()
}

/// What no role may publish to.
const NOBODYS: [&str; 8] = [
    "$JS.API.STREAM.DELETE.ORDERS_EVENTS",
    "$JS.API.STREAM.PURGE.ORDERS_AUDIT",
    "$JS.API.STREAM.RESTORE.OTHERS",
    "$JS.API.CONSUMER.DELETE.ORDERS_COMMANDS.writer",
    "$JS.API.DIRECT.GET.ORDERS_EVENTS",
    "$SYS.REQ.SERVER.PING",
    "_INBOX_writer.x",
    "anything",
];

/// What no role may subscribe to.
const WIDE: [&str; 6] = [
    ">",
    "orders.>",
    "orders.evt.>",
    "_INBOX.>",
    "$JS.>",
    "*.*.*",
];

#[tokio::test]
async fn each_role_is_denied_what_only_others_may() {
    let stack = Stack::guarded("").await;
    stack
        .guard
        .as_ref()
        .unwrap()
        .orderctl(&["tap", "--tenant", "t-1"]);
    let lists = Role::ALL.map(|role| Permissions::of(role, &Deployment::default()));
    let published = named(lists.iter().map(|list| list.publish.clone()));
    let heard = named(lists.iter().map(|list| list.subscribe.clone()));
    for (role, own) in Role::ALL.into_iter().zip(&lists) {
        let creds = match role {
            Role::Tap => "tap-t-1",
            role => role.as_str(),
        };
        let guest = connect(&stack, creds).await;
        let published = published.iter().map(String::as_str).chain(NOBODYS);
        let unsaid: Vec<&str> = published
            .filter(|subject| !covers(&own.publish, subject))
            .collect();
        guest.may_not_say(&unsaid).await;
        // The lines of a tap name no tenant.
        let heard = heard.iter().filter(|subject| !subject.contains("{{"));
        let unheard: Vec<&str> = heard
            .map(String::as_str)
            .chain(WIDE)
            .filter(|subject| !covers(&own.subscribe, subject))
            .collect();
        guest.may_not_hear(&unheard).await;
        let denials = unsaid.len() + unheard.len();
        assert!(denials > 40, "{role:?} is denied only {denials}");
        assert_eq!(guest.denied().len(), denials, "{role:?}");
    }
    drop(stack);
}
