//! The access key, in a file that may change at any time.

use std::path::Path;

use orders_service::{Invalid, config::SecretFile};
use rusty_s3::Credentials;

/// The access key as its file has it now.
pub(crate) type AccessKey = SecretFile<Credentials>;

/// The access key in `file`.
pub(crate) fn open(file: &Path) -> Result<AccessKey, Invalid> {
    SecretFile::open("uploads.access_key_file", file, parse)
}

fn parse(text: &str) -> Result<Credentials, String> {
    let parts = text.trim().split_once(':');
    let is_part = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_graphic());
    match parts.filter(|(id, secret)| is_part(id) && is_part(secret)) {
        Some((id, secret)) => Ok(Credentials::new(id, secret)),
        None => Err("must be ID:SECRET".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_an_id_and_a_secret() {
        let key = parse("AKIA1:se/cret+1=\n").unwrap();
        assert_eq!((key.key(), key.secret()), ("AKIA1", "se/cret+1="));
        for bad in ["", "secret", ":secret", "id:", "id:se cret"] {
            assert_eq!(parse(bad).unwrap_err(), "must be ID:SECRET", "{bad}");
        }
    }
}
