//! Lists keys: one page, or all of them.

use futures::stream::{self, Stream};
use tokio_util::task::AbortOnDropHandle;

use super::{
    Error, ErrorKind, Field, ListOptions, ListPage, ObjectMeta, PageMemory, S3Store, WalkOptions, WalkPage,
    progress::Progress,
};
use crate::s3::{Continuation, ListQuery};

/// S3's maximum page size.
const PAGE: u16 = 1000;

impl S3Store {
    /// Returns one page of keys, in UTF-8 byte order. A listing can be abandoned at any time, because S3 keeps no state
    /// for it.
    pub async fn list(&self, options: &ListOptions) -> Result<ListPage, Error> {
        self.list_in(options, self.page_memory()).await
    }

    async fn list_in(&self, options: &ListOptions, mut memory: PageMemory) -> Result<ListPage, Error> {
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
        let relative = |meta: ObjectMeta| Some(ObjectMeta { key: self.relative(&meta.key)?, ..meta });
        let objects: Vec<_> = listed.objects.into_iter().filter_map(relative).collect();
        let prefixes = listed.common_prefixes.iter();
        let common_prefixes: Vec<_> = prefixes.filter_map(|prefix| self.relative(prefix)).collect();
        let skipped = listed.unreadable + entries - objects.len() - common_prefixes.len();
        self.report_unreadable("ListObjectsV2", skipped);
        let next = listed.continuation.map(|next| self.marker(next)).transpose()?;
        let names = objects.iter().map(|object| object.key.as_str());
        progress.page(next.as_deref(), names.chain(common_prefixes.iter().map(String::as_str)))?;
        let continuation = next.map(|next| progress.with(&next));
        Ok(ListPage { objects, common_prefixes, skipped, continuation, memory })
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

    /// Returns every object under a prefix, page by page. While the caller uses a page, the next one is fetched, if
    /// there is memory for it; no more than one page is fetched ahead. Drop a page before polling for the next: it
    /// holds memory.
    pub fn walk(&self, options: WalkOptions) -> impl Stream<Item = Result<WalkPage, Error>> + Send + 'static {
        let first = ListOptions {
            prefix: options.prefix,
            start_after: options.start_after,
            page_size: options
                .limit
                .and_then(|limit| u16::try_from(limit).ok())
                .map_or(PAGE, |limit| limit.clamp(1, PAGE)),
            ..ListOptions::default()
        };
        let walk = Walk { next: Some(Next::Now), store: self.clone(), options: first, limit: options.limit };
        stream::try_unfold(walk, Walk::page)
    }

    /// Fetches a page before the caller asks for it, if there is memory for it.
    fn fetch_ahead(&self, options: ListOptions) -> Fetching {
        let store = self.clone();
        AbortOnDropHandle::new(self.inner.tasks.spawn(async move {
            let memory = store.page_memory_ahead();
            store.list_in(&options, memory).await
        }))
    }
}

/// The error for a page token that Longshore did not issue.
pub(super) fn invalid_page_token() -> Error {
    Error::invalid_field(Field::PageToken, "must be a `next_page_token` that Longshore returned")
}

type Fetching = AbortOnDropHandle<Result<ListPage, Error>>;

/// The next page.
enum Next {
    /// It is already being fetched.
    Ahead(Fetching),
    /// It is fetched when the caller asks for it.
    Now,
}

struct Walk {
    store: S3Store,
    options: ListOptions,
    limit: Option<u64>,
    next: Option<Next>,
}

impl Walk {
    async fn page(mut self) -> Result<Option<(WalkPage, Self)>, Error> {
        while let Some(next) = self.next.take() {
            let page = self.fetched(next).await?;
            let ListPage { mut objects, skipped, continuation, memory, .. } = page;
            if let Some(limit) = &mut self.limit {
                objects.truncate(usize::try_from(*limit).unwrap_or(usize::MAX));
                *limit -= objects.len() as u64;
            }
            if continuation.is_some() && self.limit != Some(0) {
                self.options.continuation = continuation;
                self.next = Some(Next::Ahead(self.store.fetch_ahead(self.options.clone())));
            }
            if !objects.is_empty() || skipped > 0 {
                return Ok(Some((WalkPage { objects, skipped, memory }, self)));
            }
        }
        Ok(None)
    }

    async fn fetched(&self, next: Next) -> Result<ListPage, Error> {
        if let Next::Ahead(fetching) = next {
            let fetched = fetching.await;
            match fetched.map_err(|_| Error::new(ErrorKind::Internal, "the listing task was stopped"))? {
                // There was no memory to fetch ahead. The caller asks for the page now, so wait for memory.
                Err(error) if error.kind() == ErrorKind::MemoryExhausted => {}
                page => return page,
            }
        }
        self.store.list(&self.options).await
    }
}
