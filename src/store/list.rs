//! Lists a page of keys.

use super::{Error, Field, ListOptions, ListPage, ObjectMeta, PageMemory, S3Store, progress::Progress};
use crate::s3::{Continuation, ListQuery};

impl S3Store {
    /// Returns one page of keys, in UTF-8 byte order. A listing can be abandoned at any time, because S3 keeps no state
    /// for it.
    pub async fn list(&self, options: &ListOptions) -> Result<ListPage, Error> {
        self.list_in(options, self.page_memory()).await
    }

    /// Returns one page of keys, in memory that was reserved for it.
    pub(super) async fn list_in(
        &self,
        options: &ListOptions,
        mut memory: PageMemory,
    ) -> Result<ListPage, Error> {
        let prefix = self.full_prefix(&options.prefix);
        let start_after = match options.start_after.as_str() {
            "" => String::new(),
            key => self.full_prefix(key),
        };
        let (mut progress, continuation) = self.continuation(options.continuation.as_deref())?;
        let listing = ListQuery {
            prefix: &prefix,
            delimiter: &options.delimiter,
            start_after: &start_after,
            max_keys: options.page_size,
            continuation: continuation.as_ref(),
        };
        let listed = self.client().list_objects(listing, &mut memory).await?;
        let entries = listed.objects.len() + listed.common_prefixes.len();
        let (mut objects, mut skipped_at) = (Vec::with_capacity(listed.objects.len()), listed.unreadable_at);
        for meta in listed.objects {
            match self.relative(&meta.key) {
                Some(key) => objects.push(ObjectMeta { key, ..meta }),
                None => skipped_at.push(objects.len()),
            }
        }
        let prefixes = listed.common_prefixes.iter();
        let common_prefixes: Vec<_> = prefixes.filter_map(|prefix| self.relative(prefix)).collect();
        let skipped = listed.unreadable + entries - objects.len() - common_prefixes.len();
        self.report_unreadable("ListObjectsV2", skipped);
        let next = listed.continuation.map(|next| self.marker(next)).transpose()?;
        let names = objects.iter().map(|object| object.key.as_str());
        progress.page(next.as_deref(), names.chain(common_prefixes.iter().map(String::as_str)))?;
        let continuation = next.map(|next| progress.with(&next));
        Ok(ListPage { objects, common_prefixes, skipped, skipped_at, continuation, memory })
    }

    /// Counts and logs entries of a page that were left out.
    pub(super) fn report_unreadable(&self, operation: &'static str, entries: usize) {
        if entries > 0 {
            self.client().metrics().entries_skipped(operation, entries as u64);
            let bucket = &*self.settings().bucket.bucket;
            tracing::warn!(
                operation,
                entries,
                bucket,
                "left entries out of a listing: they cannot be read or lie outside the store's prefix"
            );
        }
    }

    /// Encodes a continuation as text. S3's tokens are printable, so a leading NUL marks a key.
    fn marker(&self, continuation: Continuation) -> Result<String, Error> {
        match continuation {
            Continuation::Token(token) => Ok(token),
            Continuation::After(key) => Ok(format!("\0{}", self.relative_marker(&key)?)),
        }
    }

    fn continuation(&self, text: Option<&str>) -> Result<(Progress, Option<Continuation>), Error> {
        let Some(text) = text else { return Ok((Progress::default(), None)) };
        let (progress, marker) = Progress::parse(text).ok_or_else(invalid_page_token)?;
        let continuation = match marker.strip_prefix('\0') {
            Some(key) => Continuation::After(self.full_prefix(key)),
            None => Continuation::Token(marker.to_owned()),
        };
        Ok((progress, Some(continuation)))
    }
}

/// The error for a page token that Longshore did not issue.
pub(super) fn invalid_page_token() -> Error {
    Error::invalid_field(Field::PageToken, "must be a `next_page_token` that Longshore returned")
}
