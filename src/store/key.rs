//! From a caller's keys to the bucket's and back.

use super::{Error, ErrorKind, ObjectMeta, S3Store};

/// S3's limit of a key, in bytes of UTF-8
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>).
const MAX_KEY: usize = 1024;

impl S3Store {
    /// The bucket's key for a caller's: any UTF-8, never normalised.
    pub(super) fn full_key(&self, key: &str, field: &'static str) -> Result<String, Error> {
        let prefix = &self.settings().prefix;
        if key.is_empty() {
            return Err(Error::invalid_field(field, format!("{field} is empty: give 1 to {MAX_KEY} bytes")));
        }
        let length = prefix.len() + key.len();
        if length > MAX_KEY {
            let message =
                format!("{field} has {length} bytes with the store's prefix, and S3 takes {MAX_KEY}");
            return Err(Error::invalid_field(field, message));
        }
        Ok(format!("{prefix}{key}"))
    }

    /// What a listing has to begin with. Longer than any key, it finds nothing; the server is spared the question
    /// by [`S3Store::list`].
    pub(super) fn full_prefix(&self, prefix: &str) -> String {
        format!("{}{prefix}", self.settings().prefix)
    }

    /// The caller's key for the bucket's. A server that lists what was not asked for is not to be trusted.
    pub(super) fn relative(&self, key: &str) -> Result<String, Error> {
        match key.strip_prefix(self.settings().prefix.as_str()) {
            Some(key) => Ok(key.to_owned()),
            None => Err(Error::new(
                ErrorKind::BackendProtocol,
                "the server listed a key outside the store's prefix",
            )),
        }
    }

    /// Metadata as the caller of this store is to see it.
    pub(super) fn named(meta: ObjectMeta, key: &str) -> ObjectMeta {
        ObjectMeta { key: key.to_owned(), ..meta }
    }
}
