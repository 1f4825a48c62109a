//! Listing keys: one page, or all of them.

use futures::stream::{self, Stream};
use tokio_util::task::AbortOnDropHandle;

use super::{Error, ListOptions, ListPage, ObjectMeta, S3Store, WalkOptions};
use crate::s3::{Continuation, Listing};

/// The most that S3 puts on a page.
const PAGE: u16 = 1000;

impl S3Store {
    /// One page of keys, in UTF-8 byte order. Beginning anew costs nothing: a page holds no state in S3.
    pub async fn list(&self, options: &ListOptions) -> Result<ListPage, Error> {
        let prefix = self.full_prefix(&options.prefix);
        let start_after = match options.start_after.as_str() {
            "" => String::new(),
            key => self.full_prefix(key),
        };
        let continuation = options.continuation.as_deref().map(|text| self.continuation(text));
        let listing = Listing {
            prefix: &prefix,
            delimiter: &options.delimiter,
            start_after: &start_after,
            max_keys: options.page_size,
            continuation: continuation.as_ref(),
        };
        let mut memory = self.inner.budget.reservation();
        let listed = self.client().list_objects(listing, self.deadline, &mut memory).await?;
        let relative = |meta: ObjectMeta| {
            let key = self.relative(&meta.key)?;
            Ok(ObjectMeta { key, ..meta })
        };
        Ok(ListPage {
            objects: listed.objects.into_iter().map(relative).collect::<Result<_, Error>>()?,
            common_prefixes: listed
                .common_prefixes
                .iter()
                .map(|prefix| self.relative(prefix))
                .collect::<Result<_, _>>()?,
            continuation: listed.continuation.map(|next| self.continuation_text(next)).transpose()?,
        })
    }

    /// The text of a continuation. A token of S3 is visible text, so a key is told from it by the NUL before it.
    fn continuation_text(&self, continuation: Continuation) -> Result<String, Error> {
        match continuation {
            Continuation::Token(token) => Ok(token),
            Continuation::After(key) => Ok(format!("\0{}", self.relative(&key)?)),
        }
    }

    fn continuation(&self, text: &str) -> Continuation {
        match text.strip_prefix('\0') {
            Some(key) => Continuation::After(self.full_prefix(key)),
            None => Continuation::Token(text.to_owned()),
        }
    }

    /// Every object below a prefix, page by page; the next page is fetched while the last is used, and no other.
    pub fn walk(
        &self,
        options: WalkOptions,
    ) -> impl Stream<Item = Result<Vec<ObjectMeta>, Error>> + Send + 'static {
        let first = ListOptions {
            prefix: options.prefix,
            start_after: options.start_after,
            page_size: options
                .limit
                .and_then(|limit| u16::try_from(limit).ok())
                .map_or(PAGE, |limit| limit.clamp(1, PAGE)),
            ..ListOptions::default()
        };
        let walk = Walk {
            next: Some(self.fetch(first.clone())),
            store: self.clone(),
            options: first,
            limit: options.limit,
        };
        stream::try_unfold(walk, Walk::page)
    }

    fn fetch(&self, options: ListOptions) -> Fetching {
        let store = self.clone();
        AbortOnDropHandle::new(self.inner.tasks.spawn(async move { store.list(&options).await }))
    }
}

type Fetching = AbortOnDropHandle<Result<ListPage, Error>>;

struct Walk {
    store: S3Store,
    options: ListOptions,
    limit: Option<u64>,
    next: Option<Fetching>,
}

impl Walk {
    async fn page(mut self) -> Result<Option<(Vec<ObjectMeta>, Self)>, Error> {
        while let Some(fetching) = self.next.take() {
            let page = fetching
                .await
                .map_err(|_| Error::new(super::ErrorKind::Internal, "a listing was stopped"))??;
            let mut objects = page.objects;
            if let Some(limit) = &mut self.limit {
                objects.truncate(usize::try_from(*limit).unwrap_or(usize::MAX));
                *limit -= objects.len() as u64;
            }
            if page.continuation.is_some() && self.limit != Some(0) {
                self.options.continuation = page.continuation;
                self.next = Some(self.store.fetch(self.options.clone()));
            }
            if !objects.is_empty() {
                return Ok(Some((objects, self)));
            }
        }
        Ok(None)
    }
}
