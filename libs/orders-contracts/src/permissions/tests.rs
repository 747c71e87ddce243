use super::*;

/// Whether `subject`, which may have wildcards of its own, is below one of `allowed`.
fn covers(allowed: &[String], subject: &str) -> bool {
    allowed.iter().any(|filter| {
        let (mut tokens, mut filters) = (subject.split('.'), filter.split('.'));
        loop {
            match (filters.next(), tokens.next()) {
                (Some(">"), Some(_)) | (None, None) => return true,
                (Some("*"), Some(token)) if token != ">" => {}
                (Some(filter), Some(token)) if filter == token => {}
                _ => return false,
            }
        }
    })
}

fn of(role: Role) -> Permissions {
    Permissions::of(role, &Deployment::default())
}

fn in_shop(role: Role) -> Permissions {
    let deployment = Deployment {
        namespace: "shop".to_owned().try_into().unwrap(),
        ..Deployment::default()
    };
    Permissions::of(role, &deployment)
}

/// The only roles that may publish to `subject`.
fn publishers(subject: &str) -> Vec<&'static str> {
    let may = |role: &Role| covers(&of(*role).publish, subject);
    Role::ALL
        .into_iter()
        .filter(may)
        .map(Role::as_str)
        .collect()
}

#[test]
fn each_subject_has_the_publishers_it_needs_and_no_others() {
    for (subject, expected) in [
        ("orders.cmd.t-1.create", vec!["edge", "operator"]),
        ("orders.cmd.t-1.other", vec![]),
        ("orders.evt.t-1.created", vec!["writer", "operator"]),
        (
            "payments.evt.t-1.paid",
            vec!["edge", "payment-simulator", "operator"],
        ),
        ("payments.evt.t-1.failed", vec!["edge", "operator"]),
        ("orders.feed.t-1.updated", vec!["projector"]),
        ("orders.dlq.writer.t-1", vec!["writer", "operator"]),
        ("orders.dlq.projector.~", vec!["projector", "operator"]),
        (
            "orders.audit.t-1.dropped",
            vec!["migrator", "operator", "erase"],
        ),
        ("orders.dropped.writer.t-1", vec!["operator"]),
        ("orders.auth.revoked.i.sub.v", vec!["web", "operator"]),
        ("orders.health", vec!["operator"]),
        ("orders.metrics", vec!["operator"]),
        ("_INBOX_edge.e.c", vec!["writer", "projector"]),
        ("_INBOX_edgeapi.e.c", vec![]),
        ("_INBOX_writer.x", vec![]),
        ("$JS.API.STREAM.CREATE.ORDERS_EVENTS", vec!["migrator"]),
        ("$JS.API.STREAM.UPDATE.REVOCATIONS", vec!["migrator"]),
        ("$JS.API.STREAM.DELETE.ORDERS_EVENTS", vec![]),
        ("$JS.API.STREAM.DELETE.ORDERS_FEED", vec!["backup"]),
        ("$JS.API.STREAM.SNAPSHOT.ORDERS_COMMANDS", vec!["backup"]),
        ("$JS.API.STREAM.RESTORE.ORDERS_AUDIT", vec!["backup"]),
        ("$JS.SNAPSHOT.RESTORE.ORDERS_AUDIT.x", vec!["backup"]),
        (
            "$JS.API.CONSUMER.RESET.ORDERS_EVENTS.projector",
            vec!["backup"],
        ),
        ("$JS.API.STREAM.PURGE.ORDERS_EVENTS", vec!["erase"]),
        ("$JS.API.STREAM.PURGE.ORDERS_AUDIT", vec![]),
        ("$JS.API.STREAM.MSG.DELETE.ORDERS_EVENTS", vec!["erase"]),
        (
            "$JS.API.STREAM.MSG.DELETE.ORDERS_DLQ",
            vec!["operator", "erase"],
        ),
        ("$JS.API.STREAM.MSG.DELETE.ORDERS_AUDIT", vec![]),
        (
            "$JS.API.CONSUMER.MSG.NEXT.ORDERS_COMMANDS.writer",
            vec!["writer"],
        ),
        (
            "$JS.API.CONSUMER.INFO.ORDERS_COMMANDS.writer",
            vec!["edge", "writer", "migrator", "operator", "erase", "backup"],
        ),
        (
            "$JS.API.CONSUMER.INFO.ORDERS_EVENTS.projector",
            vec![
                "writer",
                "projector",
                "migrator",
                "operator",
                "erase",
                "backup",
            ],
        ),
        (
            "$JS.API.STREAM.MSG.GET.ORDERS_EVENTS",
            vec![
                "payment-simulator",
                "writer",
                "projector",
                "operator",
                "erase",
            ],
        ),
        ("$JS.API.CONSUMER.CREATE.ORDERS_COMMANDS", vec!["migrator"]),
        (
            "$JS.API.CONSUMER.CREATE.ORDERS_FEED",
            vec!["realtime", "migrator", "operator", "erase"],
        ),
        (
            "$JS.ACK.ORDERS_EVENTS.projector.1.2.3.4.0",
            vec!["projector"],
        ),
        (
            "$JS.ACK.hub.h4sh.ORDERS_EVENTS.projector.1.2.3.4.0.t",
            vec!["projector"],
        ),
        ("$KV.x.y", vec![]),
        ("$SYS.REQ.CLAIMS.UPDATE", vec![]),
    ] {
        assert_eq!(publishers(subject), expected, "{subject}");
    }
}

#[test]
fn nobody_hears_the_answers_to_another_or_messages_outside_a_stream() {
    for role in Role::ALL {
        let heard = of(role).subscribe;
        for other in Role::ALL.into_iter().filter(|other| *other != role) {
            let inbox = format!("{}.x", other.inbox());
            assert!(!covers(&heard, &inbox), "{role:?} hears {inbox}");
        }
        for subject in [
            ">",
            "_INBOX.x",
            "$JS.>",
            "orders.>",
            "orders.evt.t-1.created",
        ] {
            assert!(!covers(&heard, subject), "{role:?} hears {subject}");
        }
        let hears_replies = covers(&heard, "_INBOX_edge.e.c");
        assert_eq!(hears_replies, role == Role::Edge, "{role:?}");
        let hears_daemons = covers(&heard, &format!("{HEALTH_INBOX}.x"));
        assert_eq!(hears_daemons, role == Role::Operator, "{role:?}");
    }
}

#[test]
fn a_tap_publishes_nothing_and_hears_its_tenant() {
    let Permissions { publish, subscribe } = in_shop(Role::Tap);
    assert!(publish.is_empty());
    let expected = [
        "shop.orders.evt.{{name()}}.>",
        "shop.orders.feed.{{name()}}.>",
    ];
    assert_eq!(subscribe, expected);
}

#[test]
fn an_installation_has_no_right_in_another() {
    let outside = ["$JS.API.INFO", "$SRV."];
    for role in Role::ALL {
        let Permissions { publish, subscribe } = in_shop(role);
        for line in publish.iter().chain(&subscribe) {
            let is_outside = outside.iter().any(|start| line.starts_with(start));
            let is_of_server = line.starts_with("$JS.") && line.contains(".shop_");
            let is_own = line.starts_with("shop.");
            assert!(is_outside || is_of_server || is_own, "{role:?}: {line}");
        }
    }
}

#[test]
fn no_line_is_there_twice() {
    for role in Role::ALL {
        let Permissions { publish, subscribe } = of(role);
        for lines in [publish, subscribe] {
            let mut sorted = lines.clone();
            sorted.sort();
            sorted.dedup();
            assert_eq!(sorted.len(), lines.len(), "{role:?}: {lines:?}");
        }
    }
}
