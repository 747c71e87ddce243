use crate::{
    Subject, TenantId,
    streams::{ORDERS_DLQ, ORDERS_DROPPED, Stream},
};

impl Subject {
    /// The filter for everything that `stream` holds of one tenant, or of all tenants.
    pub fn filter(stream: &Stream, tenant: Option<&TenantId>) -> Self {
        let prefix = stream.subjects.trim_end_matches('>');
        Self(match tenant {
            None => stream.subjects.to_owned(),
            Some(tenant) if [ORDERS_DLQ, ORDERS_DROPPED].contains(stream) => {
                format!("{prefix}*.{tenant}")
            }
            Some(tenant) => format!("{prefix}{tenant}.*"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::{ORDERS_EVENTS, PAYMENTS};

    #[test]
    fn filters_name_the_tenant() {
        let tenant: TenantId = "t-1".parse().unwrap();
        for (stream, filter) in [
            (ORDERS_EVENTS, "orders.evt.t-1.*"),
            (PAYMENTS, "payments.evt.t-1.*"),
            (ORDERS_DLQ, "orders.dlq.*.t-1"),
            (ORDERS_DROPPED, "orders.dropped.*.t-1"),
        ] {
            assert_eq!(Subject::filter(&stream, Some(&tenant)).as_str(), filter);
            assert_eq!(Subject::filter(&stream, None).as_str(), stream.subjects);
        }
    }
}
