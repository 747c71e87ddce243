//! What the store sends, and how the server means to carry it out.

use std::{
    env,
    sync::{Arc, Mutex},
};

use mongodb::{
    Client,
    bson::{Document, doc},
    event::{EventHandler, command::CommandEvent},
    options::ClientOptions,
};

use crate::Store;

/// A store on the same database that keeps the commands it sends.
pub(super) async fn watched(store: &Store) -> (Store, Arc<Mutex<Vec<Document>>>) {
    let url = env::var("ORDERS_TEST_MONGO_URL").unwrap();
    let mut options = ClientOptions::parse(url).await.unwrap();
    let sent = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&sent);
    let keep = move |event| {
        if let CommandEvent::Started(command) = event {
            keep.lock().unwrap().push(command.command);
        }
    };
    options.command_event_handler = Some(EventHandler::callback(keep));
    let client = Client::with_options(options).unwrap();
    let store = Store {
        connection: client.database(&store.database()).into(),
        ..store.clone()
    };
    (store, sent)
}

/// The server reads an index for `command`, which has a time limit, and does not sort where `in_order` is true. How it means
/// to do it.
pub(super) async fn assert_read_off_an_index(
    store: &Store,
    mut command: Document,
    in_order: bool,
) -> String {
    // The server ends what nobody waits for any more.
    assert!(command.remove("maxTimeMS").is_some(), "{command}");
    for of_the_session in ["lsid", "$db", "$clusterTime"] {
        command.remove(of_the_session);
    }
    let database = store.connection.database();
    let explain = database.run_command(doc! { "explain": &command });
    let plan = explain.await.unwrap().to_string();
    // As MongoDB says it, and as FerretDB does.
    let scans = ["IXSCAN", "Index Scan", "Index Only Scan"];
    assert!(
        scans.iter().any(|scan| plan.contains(scan)),
        "{command}: {plan}"
    );
    for slow in ["COLLSCAN", "Seq Scan"] {
        assert!(!plan.contains(slow), "{command}: {slow} in {plan}");
    }
    for sorting in ["\"SORT\"", "\"Sort\"", "Bitmap"] {
        assert!(
            !in_order || !plan.contains(sorting),
            "{command}: {sorting} in {plan}"
        );
    }
    plan
}
