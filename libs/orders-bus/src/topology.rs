//! Streams and consumers on the server, compared with their declarations and corrected.

mod drift;

use async_nats::jetstream::{
    ErrorCode,
    consumer::{self, pull},
    context::{CreateStreamError, CreateStreamErrorKind},
    stream::Config,
};
use futures_util::TryStreamExt;
use orders_contracts::streams::{Consumer, Stream};
use tracing::{info, warn};

use self::drift::{
    Drift, consumer_config, consumer_drift, mended, mended_consumer, stream_config, stream_drift,
};
use crate::{Bus, Difference, Error, Operator};

impl Bus {
    /// Makes the server's streams match their declarations.
    ///
    /// Logs each difference field by field and corrects it; undeclared fields keep the operator's values, and a limit
    /// that the operator raised stays. If this process may not [migrate](orders_contracts::Deployment::auto_migrate), a
    /// difference is [`Error::Unmigrated`] instead. Streams of another installation are [`Error::Foreign`]; then nothing
    /// is changed.
    pub async fn declare(&self, streams: &[Stream]) -> Result<(), Error> {
        let mut found = Vec::with_capacity(streams.len());
        for stream in streams {
            let current = self.stream_info(stream).await?.map(|info| info.config);
            if let Some(config) = &current {
                self.recognise(config)?;
            }
            found.push((stream, current));
        }
        for (stream, current) in found {
            self.mend_stream(stream, current).await?;
        }
        Ok(())
    }

    /// Makes the server's stream, which is `current` there, match its declaration.
    pub(crate) async fn mend_stream(
        &self,
        stream: &Stream,
        mut current: Option<Config>,
    ) -> Result<(), Error> {
        let declared = self.stream_config(stream);
        if current.is_none() {
            self.may_migrate(&declared.name, &Difference::Missing)?;
            match self.jetstream.create_stream(&declared).await {
                Ok(_) => {
                    info!("created stream {}", declared.name);
                    return Ok(());
                }
                // Another process was faster, and may not know the installation yet.
                Err(error) if exists(&error) => {
                    current = self.stream_info(stream).await?.map(|info| info.config);
                }
                Err(error) => {
                    return Err(Error::api(
                        format!("create stream {}", declared.name),
                        error,
                    ));
                }
            }
        }
        let Some(current) = current else {
            return Err(Error::api(
                format!("create stream {}", declared.name),
                "it vanished",
            ));
        };
        self.recognise(&current)?;
        let drift = stream_drift(&current, &declared);
        if let Some(limits) = &drift.raised {
            let name = &declared.name;
            warn!("{name} keeps {limits}; to lower it, run `orderctl migrate --lower-limits`");
        }
        let Some(fields) = drift.fields else {
            return Ok(());
        };
        self.may_migrate(&declared.name, &Difference::Fields(fields.clone()))?;
        match self.installation.get().filter(|_| drift.is_adopted) {
            Some(id) => info!("{} belongs to installation {id} from now on", declared.name),
            None => warn!("{} differs in {fields}; updating it", declared.name),
        }
        self.update_stream(mended(current, declared), fields).await
    }

    async fn update_stream(&self, updated: Config, fields: String) -> Result<(), Error> {
        let name = updated.name.clone();
        let updated = self.jetstream.update_stream(updated).await;
        updated
            .map(drop)
            .map_err(|error| Error::drift(name, fields, error))
    }

    /// The consumer as the server has it, and how that differs from its declaration.
    async fn compare_consumer(
        &self,
        consumer: &Consumer,
    ) -> Result<(Option<consumer::Config>, Option<Difference>), Error> {
        let Some(info) = self.consumer_info(consumer).await? else {
            return Ok((None, Some(Difference::Missing)));
        };
        let drift = consumer_drift(&info.config, &self.consumer_config(consumer));
        let difference = drift.fields.map(Difference::Fields);
        Ok((Some(info.config), difference))
    }

    /// Makes the server's durable consumer match its declaration and returns it.
    pub(crate) async fn declare_consumer(
        &self,
        consumer: &Consumer,
    ) -> Result<consumer::Consumer<pull::Config>, Error> {
        let name = self.name_of_consumer(consumer);
        let stream = self.stream_handle(&consumer.stream).await?;
        let (current, difference) = self.compare_consumer(consumer).await?;
        let Some(difference) = difference else {
            return stream
                .get_consumer(consumer.durable)
                .await
                .map_err(|error| Error::api(format!("look up consumer {name}"), error));
        };
        self.may_migrate(&name, &difference)?;
        if let Difference::Fields(fields) = &difference {
            warn!("{name} differs in {fields}; updating it");
        }
        let declared = self.consumer_config(consumer);
        let updated = match current {
            Some(current) => mended_consumer(&current, declared),
            None => declared,
        };
        stream
            .create_consumer(updated)
            .await
            .map_err(|error| match difference {
                Difference::Fields(fields) => Error::drift(name, fields, error),
                Difference::Missing => Error::api(format!("create consumer {name}"), error),
            })
    }

    /// Fails unless this process may correct a difference of `name`.
    fn may_migrate(&self, name: &str, difference: &Difference) -> Result<(), Error> {
        if !self.deployment.auto_migrate {
            return Err(Error::Unmigrated {
                name: name.to_owned(),
                difference: difference.clone(),
            });
        }
        Ok(())
    }

    fn stream_config(&self, stream: &Stream) -> Config {
        let settings = &self.deployment.streams;
        Config {
            name: self.name_of(stream).into_owned(),
            subjects: vec![self.subject(stream.subjects)],
            num_replicas: settings.replicas,
            ..stream_config(&settings.limit(stream), self.installation.get())
        }
    }

    fn consumer_config(&self, consumer: &Consumer) -> pull::Config {
        let filter = consumer.filter.map(|channel| channel.of_all_tenants());
        let filter = filter.map(|filter| self.subject(filter.as_str()));
        consumer_config(consumer, filter.unwrap_or_default())
    }

    async fn compare_stream(&self, stream: &Stream) -> Result<Option<(Config, Drift)>, Error> {
        let Some(info) = self.stream_info(stream).await? else {
            return Ok(None);
        };
        self.recognise(&info.config)?;
        let drift = stream_drift(&info.config, &self.stream_config(stream));
        Ok(Some((info.config, drift)))
    }
}

impl Operator {
    /// How the server's stream differs from its declaration, if it does, apart from limits that an operator raised.
    pub async fn stream_difference(&self, stream: &Stream) -> Result<Option<Difference>, Error> {
        Ok(match self.bus.compare_stream(stream).await? {
            None => Some(Difference::Missing),
            Some((_, drift)) => drift.fields.map(Difference::Fields),
        })
    }

    /// The limits of the server's stream that are higher than declared, each with the server's value and the declared
    /// one. No start lowers them.
    pub async fn raised_limits(&self, stream: &Stream) -> Result<Option<String>, Error> {
        let compared = self.bus.compare_stream(stream).await?;
        Ok(compared.and_then(|(_, drift)| drift.raised))
    }

    /// Lowers the limits of the server's stream to the declared ones. What does not fit is gone at once.
    pub async fn lower_limits(&self, stream: &Stream) -> Result<(), Error> {
        let Some((current, Drift { raised, .. })) = self.bus.compare_stream(stream).await? else {
            return Ok(());
        };
        let Some(fields) = raised else { return Ok(()) };
        let declared = self.bus.stream_config(stream);
        if let Some(limit) = stream.max_of_subject {
            self.fits(stream, u64::from(limit)).await?;
        }
        let lowered = Config {
            max_age: declared.max_age,
            max_bytes: declared.max_bytes,
            duplicate_window: declared.duplicate_window,
            max_messages_per_subject: declared.max_messages_per_subject,
            num_replicas: declared.num_replicas,
            discard_new_per_subject: declared.discard_new_per_subject,
            ..current
        };
        self.bus.update_stream(lowered, fields).await
    }

    /// Fails if a subject of `stream` holds more messages than `limit`: the server would remove the oldest of them.
    async fn fits(&self, stream: &Stream, limit: u64) -> Result<(), Error> {
        let name = self.bus.name_of(stream);
        let failed =
            |cause: async_nats::Error| Error::api(format!("count what {name} holds"), cause);
        let handle = self.bus.stream_handle(stream).await?;
        let subjects = handle.info_with_subjects(">").await;
        let mut subjects = subjects.map_err(|error| failed(error.into()))?;
        while let Some((subject, count)) = subjects
            .try_next()
            .await
            .map_err(|error| failed(error.into()))?
        {
            if count as u64 > limit {
                let cause = format!(
                    "{subject} has {count} messages, and more than {limit} would be lost; run it again when they are handled"
                );
                return Err(Error::api(format!("lower the limits of {name}"), cause));
            }
        }
        Ok(())
    }

    /// How the server's durable consumer differs from its declaration, if it does.
    pub async fn consumer_difference(
        &self,
        consumer: &Consumer,
    ) -> Result<Option<Difference>, Error> {
        Ok(self.bus.compare_consumer(consumer).await?.1)
    }

    /// Makes the server's durable consumer match its declaration.
    pub async fn mend_consumer(&self, consumer: &Consumer) -> Result<(), Error> {
        self.bus.declare_consumer(consumer).await.map(drop)
    }
}

fn exists(error: &CreateStreamError) -> bool {
    matches!(error.kind(), CreateStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NAME_EXIST)
}
