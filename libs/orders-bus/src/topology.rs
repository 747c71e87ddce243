use std::fmt::Debug;

use async_nats::jetstream::{
    consumer::{self, AckPolicy, pull},
    stream::{Config, DiscardPolicy, RetentionPolicy, StorageType},
};
use orders_contracts::streams::{Consumer, Retention, Stream};
use tracing::{info, warn};

use crate::{Bus, Difference, Error, Operator, error::is_not_found};

impl Bus {
    /// Makes the server's streams match their declarations, with `replicas` copies each.
    ///
    /// Logs each difference field by field and corrects it; undeclared fields keep the operator's values. Without
    /// [`auto_migrate`](Self::auto_migrate) a difference is [`Error::Unmigrated`] instead.
    pub async fn declare(&self, streams: &[Stream], replicas: usize) -> Result<(), Error> {
        for stream in streams {
            let (current, difference) = self.compare_stream(stream, replicas).await?;
            if let Some(difference) = difference {
                self.may_migrate(stream.name, &difference)?;
                self.mend_stream(stream, replicas, current, difference)
                    .await?;
            }
        }
        Ok(())
    }

    async fn consumer_difference(&self, consumer: &Consumer) -> Result<Option<Difference>, Error> {
        Ok(match self.consumer_info(consumer).await? {
            None => Some(Difference::Missing),
            Some(current) => {
                consumer_drift(&current.config, &consumer_config(consumer)).difference()
            }
        })
    }

    /// Makes the server's durable consumer match its declaration and returns it.
    pub(crate) async fn declare_consumer(
        &self,
        consumer: &Consumer,
    ) -> Result<consumer::Consumer<pull::Config>, Error> {
        let name = name_of(consumer);
        let stream = self.stream_handle(&consumer.stream).await?;
        let Some(difference) = self.consumer_difference(consumer).await? else {
            return stream
                .get_consumer(consumer.durable)
                .await
                .map_err(|error| Error::api(format!("look up consumer {name}"), error));
        };
        self.may_migrate(&name, &difference)?;
        stream
            .create_consumer(consumer_config(consumer))
            .await
            .map_err(|error| match difference {
                Difference::Fields(fields) => Error::Drift {
                    name: name.clone(),
                    fields,
                    cause: error.into(),
                },
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

    /// The server's stream, and how it differs from its declaration.
    async fn compare_stream(
        &self,
        stream: &Stream,
        replicas: usize,
    ) -> Result<(Option<Config>, Option<Difference>), Error> {
        match self.jetstream.get_stream(stream.name).await {
            Ok(current) => {
                let current = current.cached_info().config.clone();
                let drift = stream_drift(&current, &stream_config(stream, replicas));
                Ok((Some(current), drift.difference()))
            }
            Err(error) if is_not_found(&error.kind()) => Ok((None, Some(Difference::Missing))),
            Err(error) => Err(Error::api(format!("look up stream {}", stream.name), error)),
        }
    }

    async fn mend_stream(
        &self,
        stream: &Stream,
        replicas: usize,
        current: Option<Config>,
        difference: Difference,
    ) -> Result<(), Error> {
        let declared = stream_config(stream, replicas);
        let (Some(current), Difference::Fields(fields)) = (current, difference) else {
            self.jetstream
                .create_stream(declared)
                .await
                .map_err(|error| Error::api(format!("create stream {}", stream.name), error))?;
            info!("created stream {}", stream.name);
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
            Err(error) => Err(Error::Drift {
                name: stream.name.to_owned(),
                fields,
                cause: error.into(),
            }),
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
        Ok(self.bus.compare_stream(stream, replicas).await?.1)
    }

    /// How the server's durable consumer differs from its declaration, if it does.
    pub async fn consumer_difference(
        &self,
        consumer: &Consumer,
    ) -> Result<Option<Difference>, Error> {
        self.bus.consumer_difference(consumer).await
    }

    /// Makes the server's durable consumer match its declaration.
    pub async fn mend_consumer(&self, consumer: &Consumer) -> Result<(), Error> {
        self.bus.declare_consumer(consumer).await.map(drop)
    }
}

/// A consumer's name in messages: `ORDERS_EVENTS/projector`.
fn name_of(consumer: &Consumer) -> String {
    format!("{}/{}", consumer.stream.name, consumer.durable)
}

fn stream_drift(current: &Config, declared: &Config) -> Drift {
    let mut drift = Drift::default();
    drift.field("subjects", &current.subjects, &declared.subjects);
    drift.field("retention", &current.retention, &declared.retention);
    drift.field("discard", &current.discard, &declared.discard);
    drift.field("max_age", &current.max_age, &declared.max_age);
    drift.field("max_bytes", &current.max_bytes, &declared.max_bytes);
    drift.field(
        "duplicate_window",
        &current.duplicate_window,
        &declared.duplicate_window,
    );
    drift.field("storage", &current.storage, &declared.storage);
    drift.field(
        "num_replicas",
        &current.num_replicas,
        &declared.num_replicas,
    );
    drift
}

fn consumer_drift(current: &consumer::Config, declared: &pull::Config) -> Drift {
    let mut drift = Drift::default();
    drift.field(
        "filter_subject",
        &current.filter_subject,
        &declared.filter_subject,
    );
    drift.field("ack_policy", &current.ack_policy, &declared.ack_policy);
    drift.field("ack_wait", &current.ack_wait, &declared.ack_wait);
    drift.field(
        "max_ack_pending",
        &current.max_ack_pending,
        &declared.max_ack_pending,
    );
    drift.field("max_deliver", &current.max_deliver.max(-1), &-1);
    drift.field(
        "filter_subjects",
        &current.filter_subjects,
        &declared.filter_subjects,
    );
    drift.field(
        "headers_only",
        &current.headers_only,
        &declared.headers_only,
    );
    drift.field("max_batch", &current.max_batch, &declared.max_batch);
    drift.field("max_bytes", &current.max_bytes, &declared.max_bytes);
    drift.field("max_expires", &current.max_expires, &declared.max_expires);
    drift.field("backoff", &current.backoff, &declared.backoff);
    drift
}

fn stream_config(stream: &Stream, replicas: usize) -> Config {
    let (retention, max_age, discard) = match stream.retention {
        Retention::WorkQueue => (
            RetentionPolicy::WorkQueue,
            std::time::Duration::ZERO,
            DiscardPolicy::New,
        ),
        Retention::Limits { max_age } => (RetentionPolicy::Limits, max_age, DiscardPolicy::Old),
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

/// The fields in which the server differs from the declaration.
#[derive(Default)]
struct Drift(Vec<String>);

impl Drift {
    fn field<T: PartialEq + Debug>(&mut self, name: &str, server: &T, declared: &T) {
        if server != declared {
            self.0
                .push(format!("{name} (server {server:?}, declared {declared:?})"));
        }
    }

    fn difference(self) -> Option<Difference> {
        (!self.0.is_empty()).then(|| Difference::Fields(self.0.join(", ")))
    }
}
