//! What a batch asks for: its tenants' documents, off the index of ids.

use mongodb::bson::{Document, doc};
use orders_domain::projection::RowVersion;

use super::{
    plans::{assert_read_off_an_index, watched},
    *,
};

/// The filter of a find, or of the one statement of an update.
fn filter_of(command: &Document) -> Document {
    let statement = command.get_array("updates").ok().and_then(|updates| {
        assert_eq!(updates.len(), 1, "{command}");
        updates[0].as_document()?.get_document("q").ok()
    });
    let filter = statement.or_else(|| command.get_document("filter").ok());
    filter.expect("a find or an update").clone()
}

#[tokio::test]
async fn batches_name_their_tenants_and_are_read_off_the_index_of_ids() {
    on_a_database(|store| async move {
        // Of the same tenant, so an index that begins with it leads to all of them.
        let all: Vec<Order> = (0..500).map(|n| order(&format!("r{n}"), n)).collect();
        store.write_model().insert(&all).await.unwrap();
        let events: Vec<_> = all.iter().map(Order::created_event).collect();
        insert_rows(&store.read_model(), &events).await;

        let (watched, sent) = watched(&store).await;
        let (orders, rows) = (watched.write_model(), watched.read_model());
        let batch: Vec<OrderKey<'_>> = all[..20].iter().map(OrderKey::from).collect();
        assert_eq!(orders.load(&batch).await.unwrap().len(), 20);
        let moved = orders.move_pending(&batch, Status::Paid, at(9)).await;
        assert_eq!(moved.unwrap(), 20);
        assert_eq!(rows.versions(&batch).await.unwrap().len(), 20);
        let paid: Vec<_> = all[..20]
            .iter()
            .map(|order| order.clone().moved(Status::Paid, at(9)).latest_event())
            .collect();
        let paid: Vec<&OrderEvent> = paid.iter().collect();
        assert_eq!(rows.advance(&paid).await.unwrap(), 20);

        let commands = std::mem::take(&mut *sent.lock().unwrap());
        assert_eq!(commands.len(), 4, "{commands:?}");
        for command in commands {
            let filter = filter_of(&command);
            assert_eq!(filter.get_document("_id").unwrap().len(), 1, "{filter}");
            assert!(filter.contains_key("tenantId"), "{filter}");
            let (_, collection) = command.iter().next().unwrap();
            let mut find = doc! {
                "find": collection, "filter": filter, "limit": 20, "maxTimeMS": 1_000,
            };
            if let Some(hint) = command.get("hint") {
                find.insert("hint", hint);
            }
            let plan = assert_read_off_an_index(&store, find, false).await;
            // As MongoDB names the index, and as FerretDB does.
            let names = [r#""indexName": "_id_""#, r#""Index Name": "_id_""#];
            assert!(names.iter().any(|name| plan.contains(name)), "{plan}");
            for other in ["tenantId_1", "status_1"] {
                assert!(!plan.contains(other), "{other} in {plan}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_batch_finds_the_orders_of_its_tenants_only() {
    on_a_database(|store| async move {
        let ours = order("a", 1);
        let orders = store.write_model();
        orders.insert(std::slice::from_ref(&ours)).await.unwrap();
        let rows = store.read_model();
        insert_rows(&rows, &[ours.created_event()]).await;

        let (u, id) = (tenant("u"), [ours.order_id.clone()]);
        let theirs = keys(&u, &id);
        assert!(orders.load(&theirs).await.unwrap().is_empty());
        let moved = orders.move_pending(&theirs, Status::Paid, at(2)).await;
        assert_eq!(moved.unwrap(), 0);
        // A row is told all the same, so that nobody takes it for one that is missing.
        let version = RowVersion {
            tenant_id: tenant("t"),
            version: 1,
        };
        let found = rows.versions(&theirs).await.unwrap();
        assert_eq!(found, HashMap::from([(ours.order_id.clone(), version)]));
    })
    .await;
}
