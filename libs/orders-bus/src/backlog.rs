use async_nats::jetstream::{
    context::ConsumerInfoErrorKind::{NotFound, StreamNotFound},
    stream::LastRawMessageErrorKind,
};
use orders_contracts::{Timestamp, streams::Consumer};

use crate::{Bus, Error};

impl Bus {
    /// When the oldest message was stored that `consumer` has not settled yet; `None` when it has settled all, or does
    /// not exist. Whatever was stored before that has been through its daemon.
    pub async fn unsettled_since(&self, consumer: &Consumer) -> Result<Option<Timestamp>, Error> {
        let name = consumer.stream.name;
        let api = |cause: String| {
            Error::api(
                format!("look up consumer {name}/{}", consumer.durable),
                cause,
            )
        };
        let stream = self.jetstream.get_stream_no_info(name).await;
        let stream = stream.map_err(|error| api(error.to_string()))?;
        let info = match stream.consumer_info(consumer.durable).await {
            Ok(info) => info,
            Err(error) if matches!(error.kind(), NotFound | StreamNotFound) => return Ok(None),
            Err(error) => return Err(api(error.to_string())),
        };
        if info.num_pending == 0 && info.num_ack_pending == 0 {
            return Ok(None);
        }
        let filter = consumer.filter.map_or_else(
            || consumer.stream.subjects.to_owned(),
            |channel| channel.of_all_tenants().to_string(),
        );
        let next = info.ack_floor.stream_sequence + 1;
        match stream.get_first_raw_message_by_subject(filter, next).await {
            Ok(oldest) => {
                let millis = oldest.time.unix_timestamp_nanos() / 1_000_000;
                Ok(i64::try_from(millis).ok().and_then(Timestamp::from_millis))
            }
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(api(error.to_string())),
        }
    }
}
