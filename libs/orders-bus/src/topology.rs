use std::{fmt::Debug, time::Duration};

use async_nats::jetstream::{
    consumer::{self, AckPolicy, pull},
    stream::{Config, DiscardPolicy, RetentionPolicy, StorageType},
};
use orders_contracts::streams::{Consumer, Retention, Stream};
use tracing::{info, warn};

use crate::{Bus, Difference, Error, Operator};

impl Bus {
    /// Makes the server's streams match their declarations, with `replicas` copies each.
    ///
    /// Logs each difference field by field and corrects it; undeclared fields keep the operator's values. Without
    /// [`auto_migrate`](Self::auto_migrate) a difference is [`Error::Unmigrated`] instead.
    pub async fn declare(&self, streams: &[Stream], replicas: usize) -> Result<(), Error> {
        for stream in streams {
            let declared = stream_config(stream, replicas);
            let current = self.stream_info(stream).await?.map(|info| info.config);
            if let Some(difference) = stream_difference(current.as_ref(), &declared) {
                self.may_migrate(stream.name, &difference)?;
                self.mend_stream(declared, current, difference).await?;
            }
        }
        Ok(())
    }

    /// Makes the server's durable consumer match its declaration and returns it.
    pub(crate) async fn declare_consumer(
        &self,
        consumer: &Consumer,
    ) -> Result<consumer::Consumer<pull::Config>, Error> {
        let (name, declared) = (consumer.to_string(), consumer_config(consumer));
        let stream = self.stream_handle(&consumer.stream).await?;
        let current = self.consumer_info(consumer).await?.map(|info| info.config);
        let Some(difference) = consumer_difference(current.as_ref(), &declared) else {
            let current = stream.get_consumer(consumer.durable).await;
            return current.map_err(|error| Error::api(format!("look up consumer {name}"), error));
        };
        self.may_migrate(&name, &difference)?;
        let created = stream.create_consumer(declared).await;
        created.map_err(|error| match difference {
            Difference::Fields(fields) => Error::drift(name, fields, error),
            Difference::Missing => Error::api(format!("create consumer {name}"), error),
        })
    }

    /// Fails unless this process may correct a difference of `name`.
    fn may_migrate(&self, name: &str, difference: &Difference) -> Result<(), Error> {
        if !self.auto_migrate {
            return Err(Error::Unmigrated {
                name: name.to_owned(),
                difference: difference.clone(),
            });
        }
        if let Difference::Fields(fields) = difference {
            warn!("{name} differs in {fields}; updating it");
        }
        Ok(())
    }

    async fn mend_stream(
        &self,
        declared: Config,
        current: Option<Config>,
        difference: Difference,
    ) -> Result<(), Error> {
        let name = declared.name.clone();
        let (Some(current), Difference::Fields(fields)) = (current, difference) else {
            let created = self.jetstream.create_stream(declared).await;
            created.map_err(|error| Error::api(format!("create stream {name}"), error))?;
            info!("created stream {name}");
            return Ok(());
        };
        let updated = Config {
            subjects: declared.subjects,
            retention: declared.retention,
            discard: declared.discard,
            max_age: declared.max_age,
            max_bytes: declared.max_bytes,
            duplicate_window: declared.duplicate_window,
            storage: declared.storage,
            num_replicas: declared.num_replicas,
            ..current
        };
        match self.jetstream.update_stream(updated).await {
            Ok(_) => Ok(()),
            Err(error) => Err(Error::drift(name, fields, error)),
        }
    }
}

impl Operator {
    /// How the server's stream differs from its declaration, if it does.
    pub async fn stream_difference(
        &self,
        stream: &Stream,
        replicas: usize,
    ) -> Result<Option<Difference>, Error> {
        let current = self.stream_info(stream).await?.map(|info| info.config);
        let declared = stream_config(stream, replicas);
        Ok(stream_difference(current.as_ref(), &declared))
    }

    /// How the server's durable consumer differs from its declaration, if it does.
    pub async fn consumer_difference(
        &self,
        consumer: &Consumer,
    ) -> Result<Option<Difference>, Error> {
        let current = self.consumer_info(consumer).await?.map(|info| info.config);
        let declared = consumer_config(consumer);
        Ok(consumer_difference(current.as_ref(), &declared))
    }

    /// Makes the server's durable consumer match its declaration.
    pub async fn mend_consumer(&self, consumer: &Consumer) -> Result<(), Error> {
        self.declare_consumer(consumer).await.map(drop)
    }
}

/// Compares the named fields of the server's configuration with the declared ones.
macro_rules! compare {
    ($server:expr, $declared:expr; $($field:ident),+) => {{
        let fields = [$(differing(stringify!($field), &$server.$field, &$declared.$field)),+];
        let fields: Vec<String> = fields.into_iter().flatten().collect();
        (!fields.is_empty()).then(|| Difference::Fields(fields.join(", ")))
    }};
}

fn differing<T: PartialEq + Debug>(field: &str, server: &T, declared: &T) -> Option<String> {
    (server != declared).then(|| format!("{field} (server {server:?}, declared {declared:?})"))
}

fn stream_difference(server: Option<&Config>, declared: &Config) -> Option<Difference> {
    let Some(server) = server else {
        return Some(Difference::Missing);
    };
    compare!(server, declared; subjects, retention, discard, max_age, max_bytes, duplicate_window, storage,
        num_replicas)
}

fn consumer_difference(
    server: Option<&consumer::Config>,
    declared: &pull::Config,
) -> Option<Difference> {
    let Some(server) = server else {
        return Some(Difference::Missing);
    };
    compare!(server, declared; filter_subject, ack_policy, ack_wait, max_ack_pending, max_deliver, filter_subjects,
        headers_only, max_batch, max_bytes, max_expires, backoff)
}

fn stream_config(stream: &Stream, replicas: usize) -> Config {
    use RetentionPolicy::{Limits, WorkQueue};
    let (retention, max_age, discard) = match stream.retention {
        Retention::WorkQueue => (WorkQueue, Duration::ZERO, DiscardPolicy::New),
        Retention::Limits { max_age } => (Limits, max_age, DiscardPolicy::Old),
    };
    Config {
        name: stream.name.to_owned(),
        subjects: vec![stream.subjects.to_owned()],
        retention,
        discard,
        max_age,
        max_bytes: i64::try_from(stream.max_bytes).expect("declared sizes fit"),
        duplicate_window: stream.duplicate_window,
        storage: StorageType::File,
        num_replicas: replicas,
        ..Config::default()
    }
}

fn consumer_config(consumer: &Consumer) -> pull::Config {
    pull::Config {
        durable_name: Some(consumer.durable.to_owned()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: consumer.ack_wait,
        max_ack_pending: i64::from(consumer.max_ack_pending),
        max_deliver: -1,
        filter_subject: consumer
            .filter
            .map_or_else(String::new, |channel| channel.of_all_tenants().to_string()),
        ..pull::Config::default()
    }
}
