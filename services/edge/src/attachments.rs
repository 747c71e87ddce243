//! The files of orders, where uploads go to a bucket: what a client may send there, whether an order may have it, and where
//! it is found later.

mod answer;
mod compare;

use std::time::Duration;

use data_encoding::HEXLOWER;
use orders_contracts::{
    Attachment, CreateOrder, PresignUpload, PresignedUpload, TenantId, Timestamp,
};
use orders_service::{
    Invalid, Seldom, chain,
    metrics::{ATTACHMENTS_VERIFIED, FOREIGN_ATTACHMENTS, counter},
};
use orders_uploads::{Error, Scan, Storage, StorageKey, Stored, ToSend, UploadSettings, Verdict};
use tokio::sync::Semaphore;
use tracing::warn;

pub(crate) use self::answer::{no_attachment, not_stored};
use self::compare::{differences, single_spaced};
use crate::problem::Problem;

/// How many requests look at files at once. The storage may take 2 s for each.
const AT_ONCE: usize = 128;

/// The bucket of uploads.
pub(crate) struct Attachments {
    storage: Storage,
    looks: Semaphore,
}

impl Attachments {
    /// The bucket of the settings, unless uploads are a mock.
    pub(crate) fn open(settings: &UploadSettings) -> Result<Option<Self>, Invalid> {
        let storage = Storage::open(settings)?;
        Ok(storage.map(|storage| Self {
            storage,
            looks: Semaphore::new(AT_ONCE),
        }))
    }

    /// Where and how to send a file, if the settings allow it.
    pub(crate) fn presign(&self, upload: &PresignUpload) -> Result<PresignedUpload, Problem> {
        let (limit, types) = (self.storage.max_size, self.storage.types.as_ref());
        let wrong = compare::forbidden(upload, limit, types);
        if !wrong.is_empty() {
            return Err(Problem::validation(wrong));
        }
        let sha256 = upload.sha256.as_deref();
        let sha256 = sha256.and_then(|hex| HEXLOWER.decode(hex.as_bytes()).ok());
        let key = StorageKey::fresh(&upload.tenant_id, &upload.filename);
        let content_type = single_spaced(&upload.content_type);
        let file = ToSend {
            content_type: &content_type,
            size: upload.size,
            sha256: sha256.as_deref(),
        };
        let presigned = self.storage.presign_put(&key, file);
        Ok(PresignedUpload {
            url: presigned.url,
            storage_key: key.to_string(),
            expires_in_seconds: seconds(self.storage.ttl),
            headers: presigned.headers,
        })
    }

    /// Refuses an order with a file that its tenant has not uploaded as the order says; notes what the bucket has.
    pub(crate) async fn verify(&self, order: &mut CreateOrder) -> Result<(), Problem> {
        let tenant = &order.tenant_id;
        let Some(file) = &mut order.attachment else {
            return Ok(());
        };
        let verified = self.verified(tenant, file).await;
        let outcome = match &verified {
            Ok(_) => "ok",
            Err(problem) => problem.kind(),
        };
        counter!(ATTACHMENTS_VERIFIED, "outcome" => outcome).increment(1);
        let stored = verified?;
        file.etag = Some(stored.etag);
        file.version = stored.version;
        Ok(())
    }

    async fn verified(&self, tenant: &TenantId, file: &Attachment) -> Result<Stored, Problem> {
        let key = StorageKey::parse(&file.storage_key).filter(|key| key.tenant() == tenant);
        let key = key.ok_or_else(Problem::foreign_attachment)?;
        let stored = self.look_up(&key, None).await?;
        let stored = stored.filter(|stored| stored.is_fresh(Timestamp::now()));
        let stored = stored.ok_or_else(answer::missing)?;
        let differences = differences(file, &stored);
        if !differences.is_empty() {
            return Err(answer::mismatch(differences));
        }
        self.is_clean(&key, stored.version.as_deref()).await?;
        Ok(stored)
    }

    /// The URL from which the file of an order of `tenant` can be downloaded, as long as it is the one that was verified.
    pub(crate) async fn link(
        &self,
        tenant: &TenantId,
        file: &Attachment,
    ) -> Result<String, Problem> {
        let key = StorageKey::parse(&file.storage_key).filter(|key| key.tenant() == tenant);
        // Without an entity tag nobody has verified it: uploads were a mock then.
        let (Some(key), Some(etag)) = (key, &file.etag) else {
            return Err(answer::never_stored());
        };
        let version = file.version.as_deref();
        let stored = self.look_up(&key, version).await?;
        if stored.is_none_or(|stored| stored.etag != *etag) {
            return Err(answer::gone());
        }
        self.is_clean(&key, version).await?;
        let (filename, content_type) = (&file.filename, &file.content_type);
        Ok(self
            .storage
            .presign_get(&key, version, filename, content_type))
    }

    /// Refuses a file that a scanner has not found clean, if it has to. This comes after [`look_up`](Self::look_up): a file
    /// that is overwritten in between has no tags.
    async fn is_clean(&self, key: &StorageKey, version: Option<&str>) -> Result<(), Problem> {
        if self.storage.scan == Scan::Off {
            return Ok(());
        }
        match self.within(self.storage.verdict(key, version)).await? {
            Verdict::Clean => Ok(()),
            Verdict::Pending => Err(answer::not_scanned()),
            Verdict::Infected | Verdict::Unscannable => Err(answer::not_clean()),
        }
    }

    async fn look_up(
        &self,
        key: &StorageKey,
        version: Option<&str>,
    ) -> Result<Option<Stored>, Problem> {
        self.within(self.storage.look_up(key, version)).await
    }

    /// What the storage says, unless too many ask it already.
    async fn within<T>(&self, ask: impl Future<Output = Result<T, Error>>) -> Result<T, Problem> {
        let Ok(_permit) = self.looks.try_acquire() else {
            let detail = "Too many files are looked at, try again";
            return Err(Problem::overloaded(detail));
        };
        ask.await.map_err(|error| {
            static LINES: Seldom = Seldom::new();
            LINES.say(|unsaid| warn!(unsaid, "cannot look at uploads: {}", chain(&error)));
            Problem::unavailable(
                "The storage of files does not answer, try again; nothing was stored",
            )
        })
    }
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

/// Refuses an order with a file that its tenant has not uploaded. Of anybody it is only noted, because the mock of uploads
/// stores nothing and takes any key.
pub(crate) fn check_uploader(order: &CreateOrder, is_known: bool) -> Result<(), Problem> {
    let Some(attachment) = &order.attachment else {
        return Ok(());
    };
    let uploader = attachment.uploader();
    let is_foreign = match is_known {
        true => uploader != Some(order.tenant_id.as_str()),
        false => uploader.is_some_and(|uploader| uploader != order.tenant_id.as_str()),
    };
    if !is_foreign {
        return Ok(());
    }
    counter!(FOREIGN_ATTACHMENTS).increment(1);
    if is_known {
        return Err(Problem::foreign_attachment());
    }
    warn!("the attachment of an order is another tenant's upload");
    Ok(())
}
