use std::fmt::Debug;

use async_nats::jetstream::{
    ErrorCode,
    consumer::{self, AckPolicy, pull},
    context::GetStreamErrorKind,
    stream::{Config, DiscardPolicy, RetentionPolicy, StorageType},
};
use orders_contracts::streams::{Consumer, Retention, Stream};
use tracing::{info, warn};

use crate::{Bus, Error};

impl Bus {
    /// Makes the server's streams what they are declared to be, with `replicas` copies each.
    ///
    /// A difference is reported field by field and mended; fields that are not declared stay as the operator set them.
    pub async fn declare(&self, streams: &[Stream], replicas: usize) -> Result<(), Error> {
        for stream in streams {
            self.declare_stream(stream, replicas).await?;
        }
        Ok(())
    }

    async fn declare_stream(&self, stream: &Stream, replicas: usize) -> Result<(), Error> {
        let declared = stream_config(stream, replicas);
        let current = match self.jetstream.get_stream(stream.name).await {
            Ok(current) => current.cached_info().config.clone(),
            Err(error) if is_not_found(&error.kind()) => {
                self.jetstream
                    .create_stream(declared)
                    .await
                    .map_err(|error| Error::api(format!("create stream {}", stream.name), error))?;
                info!("created stream {}", stream.name);
                return Ok(());
            }
            Err(error) => return Err(Error::api(format!("look up stream {}", stream.name), error)),
        };
        let mut drift = Drift::default();
        drift.field("subjects", &current.subjects, &declared.subjects);
        drift.field("retention", &current.retention, &declared.retention);
        drift.field("discard", &current.discard, &declared.discard);
        drift.field("max_age", &current.max_age, &declared.max_age);
        drift.field("max_bytes", &current.max_bytes, &declared.max_bytes);
        drift.field("storage", &current.storage, &declared.storage);
        drift.field(
            "num_replicas",
            &current.num_replicas,
            &declared.num_replicas,
        );
        let Some(fields) = drift.report(stream.name) else {
            return Ok(());
        };
        let updated = Config {
            subjects: declared.subjects,
            retention: declared.retention,
            discard: declared.discard,
            max_age: declared.max_age,
            max_bytes: declared.max_bytes,
            storage: declared.storage,
            num_replicas: declared.num_replicas,
            ..current
        };
        match self.jetstream.update_stream(updated).await {
            Ok(_) => Ok(()),
            Err(error) => Err(Error::Drift {
                name: stream.name.to_owned(),
                fields,
                cause: error.to_string(),
            }),
        }
    }

    /// Makes the server's durable consumer what it is declared to be and returns it.
    pub(crate) async fn declare_consumer(
        &self,
        consumer: &Consumer,
    ) -> Result<consumer::Consumer<pull::Config>, Error> {
        let declared = consumer_config(consumer);
        let name = format!("{}/{}", consumer.stream.name, consumer.durable);
        let stream = self
            .jetstream
            .get_stream_no_info(consumer.stream.name)
            .await
            .map_err(|error| {
                Error::api(format!("look up stream {}", consumer.stream.name), error)
            })?;
        let current = stream.consumer_info(consumer.durable).await;
        let mut fields = None;
        if let Ok(current) = &current {
            let current = &current.config;
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
            fields = drift.report(&name);
            if fields.is_none() {
                return stream
                    .get_consumer(consumer.durable)
                    .await
                    .map_err(|error| Error::api(format!("look up consumer {name}"), error));
            }
        }
        stream
            .create_consumer(declared)
            .await
            .map_err(|error| match fields {
                Some(fields) => Error::Drift {
                    name: name.clone(),
                    fields,
                    cause: error.to_string(),
                },
                None => Error::api(format!("create consumer {name}"), error),
            })
    }
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

fn is_not_found(kind: &GetStreamErrorKind) -> bool {
    matches!(kind, GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
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

    /// Logs the differences of `name`; `None` when there are none.
    fn report(self, name: &str) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        let fields = self.0.join(", ");
        warn!("{name} differs in {fields}; updating it");
        Some(fields)
    }
}
