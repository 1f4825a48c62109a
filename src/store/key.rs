//! From a caller's keys to the bucket's and back.

use super::{Error, ErrorKind, S3Store};

/// S3's limit of a key, in bytes of UTF-8
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>).
const MAX_KEY: usize = 1024;

impl S3Store {
    /// The bucket's key for a caller's: any UTF-8, never normalised.
    pub(super) fn full_key(&self, key: &str, field: &'static str) -> Result<String, Error> {
        let prefix = &self.settings().prefix;
        if key.is_empty() {
            return Err(Error::invalid_field(field, format!("is empty: give 1 to {MAX_KEY} bytes")));
        }
        let length = prefix.len() + key.len();
        if length > MAX_KEY {
            let message = format!("has {length} bytes with the store's prefix, and S3 takes {MAX_KEY}");
            return Err(Error::invalid_field(field, message));
        }
        Ok(format!("{prefix}{key}"))
    }

    /// What a listing has to begin with. Longer than any key, it finds nothing; the server is spared the question
    /// by [`S3Store::list`].
    pub(super) fn full_prefix(&self, prefix: &str) -> String {
        format!("{}{prefix}", self.settings().prefix)
    }

    /// The caller's key for the bucket's; `None` for one outside of the store's prefix, which is another store's.
    pub(super) fn relative(&self, key: &str) -> Option<String> {
        key.strip_prefix(self.settings().prefix.as_str()).map(str::to_owned)
    }

    /// The caller's key for that at which a listing goes on.
    pub(super) fn relative_marker(&self, key: &str) -> Result<String, Error> {
        let outside = "the server continues a listing outside of the store's prefix";
        self.relative(key).ok_or_else(|| Error::new(ErrorKind::BackendProtocol, outside))
    }
}
