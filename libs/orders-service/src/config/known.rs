//! Variables that look like settings and are none.

use std::collections::BTreeSet;

/// The settings of all daemons, because one environment serves all of them.
const ALL: &str = include_str!("../../../../schemas/settings.md");

/// The variables of the Procfile, of orderctl and of tests; each that begins with `ORDERS_TEST_` is one too.
const OTHERS: [&str; 6] = [
    "ORDERS_CHAOS_DATABASE",
    "ORDERS_FAILPOINT",
    "ORDERS_OPERATOR",
    "ORDERS_POISON",
    "ORDERS_PROFILE",
    "ORDERS_WEB_PORT",
];

/// Says which setting the variable `name` was meant to be, unless it is one, of any daemon; `own` are those of this one.
pub(super) fn check(name: &str, value: &str, own: &[String]) -> Result<(), String> {
    let is_ours = name.starts_with("ORDERS_") && !name.starts_with("ORDERS_TEST_");
    if !is_ours || OTHERS.contains(&name) || is_service_link(name, value) {
        return Ok(());
    }
    let all = ALL
        .lines()
        .filter_map(|row| row.strip_prefix("| `")?.split('`').next());
    let known: BTreeSet<&str> = all.chain(own.iter().map(String::as_str)).collect();
    if known.contains(name) {
        return Ok(());
    }
    let bare = |name: &str| name.trim_start_matches("ORDERS_").to_uppercase();
    let likeness = |known: &str| strsim::normalized_damerau_levenshtein(&bare(name), &bare(known));
    let nearest = known
        .into_iter()
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let nearest = nearest.unwrap_or_default();
    Err(format!(
        "no daemon has this setting; did you mean {nearest}?"
    ))
}

/// Kubernetes and Docker describe every service by variables; those of a service called `orders-edge` begin with
/// `ORDERS_EDGE_`.
fn is_service_link(name: &str, value: &str) -> bool {
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.contains("_PORT_") && (name.contains("_TCP") || name.contains("_UDP"))
        || name.ends_with("_PORT") && (value.starts_with("tcp://") || value.starts_with("udp://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_variable_is_told_the_nearest() {
        for (name, nearest) in [
            ("ORDERS_PAYMENT_DELAY", "ORDERS_PAYMENT__DELAY"),
            ("ORDERS_STREAM__REPLICA", "ORDERS_STREAMS__REPLICAS"),
            ("ORDERS_MONGO_URL", "MONGO_URL"),
            ("ORDERS_PORT", "PORT"),
            ("ORDERS_own", "ORDERS_OWN"),
        ] {
            let error = check(name, "3001", &["ORDERS_OWN".to_owned()]).unwrap_err();
            assert_eq!(
                error,
                format!("no daemon has this setting; did you mean {nearest}?")
            );
        }
    }

    #[test]
    fn what_others_set_is_fine() {
        for (name, value) in [
            ("ORDERS_EDGE_URL", "x"),
            ("ORDERS_OWN", "x"),
            ("ORDERS_WEB_PORT", "3000"),
            ("ORDERS_TEST_BIN_DIR", "x"),
            ("ORDERS_EDGE_SERVICE_HOST", "10.0.0.1"),
            ("ORDERS_EDGE_SERVICE_PORT_HTTP", "80"),
            ("ORDERS_PORT", "tcp://10.0.0.1:80"),
            ("ORDERS_EDGE_PORT_3001_TCP_ADDR", "10.0.0.1"),
            ("OTHER", "x"),
        ] {
            assert_eq!(
                check(name, value, &["ORDERS_OWN".to_owned()]),
                Ok(()),
                "{name}"
            );
        }
    }
}
