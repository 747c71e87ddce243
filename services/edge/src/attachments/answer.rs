//! What clients are told of files that they cannot have.

use axum::http::StatusCode;
use orders_contracts::FieldError;

use crate::problem::Problem;

/// The type and the title of a file that is not there.
const MISSING: (&str, &str) = (
    "urn:orders:problem:attachment-missing",
    "The attachment is not there",
);
/// The type and the title of a file that is not the one that the order was accepted with.
const GONE: (&str, &str) = (
    "urn:orders:problem:attachment-gone",
    "The attachment is not there any more",
);
/// The type and the title of a file that differs from what an order says of it.
const MISMATCH: (&str, &str) = (
    "urn:orders:problem:attachment-mismatch",
    "The uploaded file is not as the attachment says",
);
/// The type and the title of a file that may become clean.
const NOT_SCANNED: (&str, &str) = (
    "urn:orders:problem:attachment-not-scanned",
    "The attachment has not been scanned yet",
);
/// The type and the title of a file that will not.
const NOT_CLEAN: (&str, &str) = (
    "urn:orders:problem:attachment-not-clean",
    "The scanner has not found the attachment clean",
);
/// How long a scan may take, in seconds.
const SCAN: u64 = 5;

/// To an order with a file that was not uploaded, or too long ago.
pub(super) fn missing() -> Problem {
    let detail =
        "attachment.storageKey must be of a file that was uploaded within the last 23 hours";
    let errors = vec![FieldError::new(
        &["attachment", "storageKey"],
        "must be of a file that was uploaded within the last 23 hours",
    )];
    Problem::of_kind(StatusCode::UNPROCESSABLE_ENTITY, MISSING, detail).about(errors)
}

/// To an order with a file that was uploaded otherwise.
pub(super) fn mismatch(errors: Vec<FieldError>) -> Problem {
    let detail = errors
        .first()
        .map_or_else(String::new, |error| error.message.clone());
    Problem::of_kind(StatusCode::UNPROCESSABLE_ENTITY, MISMATCH, &detail).about(errors)
}

/// To an order with a file that the scanner has not come to, and to whoever wants to download it. The same request may
/// succeed soon, so it conflicts with the present state alone.
pub(super) fn not_scanned() -> Problem {
    let detail = "The file has not been scanned for malware yet, try again";
    Problem::of_kind(StatusCode::CONFLICT, NOT_SCANNED, detail).retry(SCAN)
}

/// To an order with a file in which the scanner found something, and to whoever wants to download it.
pub(super) fn not_clean() -> Problem {
    let detail = "The scanner found something in the file, or could not look through it";
    Problem::of_kind(StatusCode::UNPROCESSABLE_ENTITY, NOT_CLEAN, detail)
}

/// To a download of a file that was removed, or overwritten after its order was accepted. What was ordered does not come
/// back, so it is gone rather than not found.
pub(super) fn gone() -> Problem {
    let detail = "The file that the order was accepted with was removed or overwritten";
    Problem::of_kind(StatusCode::GONE, GONE, detail)
}

/// To a download of a file that the bucket never had.
pub(super) fn never_stored() -> Problem {
    let detail = "The file was not uploaded to the bucket";
    Problem::of_kind(StatusCode::NOT_FOUND, MISSING, detail)
}

/// To a download of a file while uploads are a mock.
pub(crate) fn not_stored() -> Problem {
    let detail = "Uploads are a mock, which stores no files";
    Problem::of_kind(StatusCode::NOT_FOUND, MISSING, detail)
}

/// To a download from an order without a file.
pub(crate) fn no_attachment() -> Problem {
    let detail = "The order has no attachment";
    Problem::of_kind(StatusCode::NOT_FOUND, MISSING, detail)
}
