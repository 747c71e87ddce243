//! What is said of a file, against what may be and what is.

use data_encoding::HEXLOWER;
use orders_contracts::{Attachment, FieldError, PresignUpload};
use orders_uploads::{MediaTypes, Stored};

/// What forbids to send a file.
pub(super) fn forbidden(
    upload: &PresignUpload,
    max_size: u64,
    types: Option<&MediaTypes>,
) -> Vec<FieldError> {
    let mut wrong = Vec::new();
    if upload.size > max_size {
        let rule = format!("must not be greater than {max_size}");
        wrong.push(FieldError::new(&["size"], rule));
    }
    if let Some(types) = types
        && !types.have(&upload.content_type)
    {
        let rule = format!("must be one of {}", String::from(types.clone()));
        wrong.push(FieldError::new(&["contentType"], rule));
    }
    wrong
}

/// A media type as signatures have it.
pub(super) fn single_spaced(content_type: &str) -> String {
    let parts: Vec<_> = content_type.split_whitespace().collect();
    parts.join(" ")
}

/// What an order says otherwise than the bucket has it.
pub(super) fn differences(said: &Attachment, stored: &Stored) -> Vec<FieldError> {
    let mut wrong = Vec::new();
    let mut differs = |field: &str, rule: String| {
        wrong.push(FieldError::new(&["attachment", field], rule));
    };
    if single_spaced(&said.content_type) != single_spaced(&stored.content_type) {
        let rule = "must be the media type that the file was uploaded with";
        differs("contentType", rule.to_owned());
    }
    if said.size != stored.size {
        let rule = format!("must be {}, as the uploaded file is", stored.size);
        differs("size", rule);
    }
    let hash = stored.sha256.as_deref().map(|hash| HEXLOWER.encode(hash));
    if said.sha256.is_some() && said.sha256 != hash {
        let rule = match hash {
            Some(_) => "must be the one that the file was uploaded with",
            None => "must be given when the upload is presigned, too",
        };
        differs("sha256", rule.to_owned());
    }
    wrong
}

#[cfg(test)]
mod tests {
    use orders_contracts::Timestamp;

    use super::*;

    fn said() -> Attachment {
        Attachment {
            filename: "a.pdf".to_owned(),
            content_type: "application/pdf".to_owned(),
            size: 6,
            storage_key: "k".to_owned(),
            sha256: None,
            etag: None,
            version: None,
        }
    }

    fn stored() -> Stored {
        Stored {
            size: 6,
            content_type: "application/pdf".to_owned(),
            etag: "e".to_owned(),
            version: None,
            sha256: None,
            at: Timestamp::now(),
        }
    }

    fn told(said: &Attachment, stored: &Stored) -> Vec<String> {
        let wrong = differences(said, stored);
        wrong.into_iter().map(|error| error.message).collect()
    }

    #[test]
    fn a_file_is_as_its_order_says() {
        assert_eq!(told(&said(), &stored()), Vec::<String>::new());
        let spaced = Attachment {
            content_type: " text/plain;   charset=utf-8".to_owned(),
            ..said()
        };
        let as_signed = Stored {
            content_type: "text/plain; charset=utf-8".to_owned(),
            ..stored()
        };
        assert_eq!(told(&spaced, &as_signed), Vec::<String>::new());
        let other = Stored {
            size: 7,
            content_type: "text/html".to_owned(),
            ..stored()
        };
        assert_eq!(
            told(&said(), &other),
            [
                "attachment.contentType must be the media type that the file was uploaded with",
                "attachment.size must be 7, as the uploaded file is",
            ]
        );
    }

    #[test]
    fn a_hash_counts_if_the_order_has_one() {
        let hashed = |byte: Option<u8>| Stored {
            sha256: byte.map(|byte| vec![byte; 32]),
            ..stored()
        };
        let with_hash = Attachment {
            sha256: Some("07".repeat(32)),
            ..said()
        };
        assert_eq!(told(&said(), &hashed(Some(7))), Vec::<String>::new());
        assert_eq!(told(&with_hash, &hashed(Some(7))), Vec::<String>::new());
        for (stored, rule) in [
            (
                hashed(Some(8)),
                "must be the one that the file was uploaded with",
            ),
            (
                hashed(None),
                "must be given when the upload is presigned, too",
            ),
        ] {
            let expected = format!("attachment.sha256 {rule}");
            assert_eq!(told(&with_hash, &stored), [expected]);
        }
    }

    #[test]
    fn only_what_the_settings_allow_is_presigned() {
        let upload = |size, content_type: &str| PresignUpload {
            tenant_id: "t".parse().unwrap(),
            filename: "a".to_owned(),
            content_type: content_type.to_owned(),
            size,
            sha256: None,
        };
        let types = MediaTypes::try_from("image/*".to_owned()).unwrap();
        let fields = |upload: &PresignUpload| {
            let wrong = forbidden(upload, 10, Some(&types));
            wrong
                .into_iter()
                .map(|error| error.message)
                .collect::<Vec<_>>()
        };
        assert!(fields(&upload(10, "image/png")).is_empty());
        assert_eq!(
            fields(&upload(11, "text/plain")),
            [
                "size must not be greater than 10",
                "contentType must be one of image/*",
            ]
        );
        assert!(forbidden(&upload(10, "text/plain"), 10, None).is_empty());
    }
}
