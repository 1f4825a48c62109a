//! Maps callers' keys to keys in the bucket and back.

use super::{Error, ErrorKind, Field, S3Store};

/// S3's maximum length of a key, in bytes of UTF-8
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>).
const MAX_KEY: usize = 1024;

impl S3Store {
    /// Returns the key in the bucket for a caller's key, which may be any UTF-8 and is never normalised.
    pub(super) fn full_key(&self, key: &str, field: Field) -> Result<String, Error> {
        let prefix = &self.settings().prefix;
        if key.is_empty() {
            return Err(Error::invalid_field(field, format!("is empty: must have 1 to {MAX_KEY} bytes")));
        }
        let length = prefix.len() + key.len();
        if length > MAX_KEY {
            let message = format!("has {length} bytes with the store's prefix, but S3 allows only {MAX_KEY}");
            return Err(Error::invalid_field(field, message));
        }
        Ok(format!("{prefix}{key}"))
    }

    /// Returns the prefix in the bucket for a caller's prefix. It may be longer than any key, and then matches nothing.
    pub(super) fn full_prefix(&self, prefix: &str) -> String {
        format!("{}{prefix}", self.settings().prefix)
    }

    /// Returns the caller's key for a key in the bucket; `None` if the key is outside the store's prefix.
    pub(super) fn relative(&self, key: &str) -> Option<String> {
        key.strip_prefix(self.settings().prefix.as_str()).map(str::to_owned)
    }

    /// Returns the caller's key for the key at which a listing continues.
    pub(super) fn relative_marker(&self, key: &str) -> Result<String, Error> {
        let outside = "the S3 server continues a listing outside the store's prefix";
        self.relative(key).ok_or_else(|| Error::new(ErrorKind::BackendProtocol, outside))
    }
}
