//! Lists all keys below a prefix.
//!
//! A listing that turns out to be long is split into segments: consecutive ranges of keys, which are listed at the same
//! time, each page by page, and returned in order. [`plan`] decides what is requested, without I/O, and this file sends
//! the requests. The boundaries between segments are estimated: [`pace`] measures how far the latest pages reached on a
//! scale, which is the [`numbers`] in keys or the [`siblings`] of a directory. [`waste`] bounds what wrong estimates
//! cost.

mod numbers;
mod pace;
mod plan;
mod segment;
mod siblings;
#[cfg(test)]
mod simulation;
mod waste;

use std::{future::poll_fn, mem::size_of, pin::Pin, sync::atomic::Ordering, task::Poll};

use futures::stream::{self, Stream};
use tokio_util::task::AbortOnDropHandle;

use self::plan::{Plan, Request};
use super::{
    Error, ErrorKind, ListOptions, ListPage, ObjectMeta, PageMemory, S3Store, WalkOptions, WalkPage,
    budget::{ReadsAhead, Reclaimable},
};

/// S3's maximum page size.
const PAGE: u16 = 1000;
/// The number of bytes to reserve for a page that is requested ahead, until the size of pages is known.
const PAGE_BYTES: u64 = 256 * 1024;
/// How many requests a walk sends ahead, per allowed request in flight, before only the very next page is requested
/// ahead. This credit is refilled when the caller has to wait.
const CREDIT: usize = 2;
/// A page far ahead is requested only if there is memory for this many more listing pages.
const SPARE_PAGES: u64 = 8;
/// The end of the names of directory buckets (S3 Express), which list keys in no particular order.
const DIRECTORY_BUCKET_SUFFIX: &str = "--x-s3";

impl S3Store {
    /// Returns every object under a prefix, page by page, in key order (in the server's order, if it does not list keys
    /// in order). While the caller uses a page, the next one is fetched, if there is memory for it. If the caller is
    /// faster than S3, and the listing is long, more pages are fetched at the same time. Drop a page before polling for
    /// the next: it holds memory.
    pub fn walk(&self, options: WalkOptions) -> impl Stream<Item = Result<WalkPage, Error>> + Send + 'static {
        let walk = Reclaimable::new(&self.inner.budget, Walk::new(self.clone(), options));
        stream::try_unfold(walk, async |walk| {
            let page = walk.in_use().await.page().await?;
            Ok(page.map(|page| (page, walk)))
        })
    }

    /// Remembers that the server does not list keys in order, so that later walks list one page at a time.
    fn remember_unordered(&self) {
        if !self.inner.lists_in_any_order.swap(true, Ordering::Relaxed) {
            let bucket = &*self.settings().bucket.bucket;
            tracing::warn!(
                bucket,
                "the S3 server does not list keys in ascending order, so walks list one page at a time"
            );
        }
    }

    /// How many requests for a listing may be in flight.
    fn parallelism(&self, asked: Option<usize>) -> usize {
        let settings = self.settings();
        let in_any_order = settings.bucket.bucket.ends_with(DIRECTORY_BUCKET_SUFFIX)
            || self.inner.lists_in_any_order.load(Ordering::Relaxed);
        let most = settings.transfer.max_concurrency;
        if in_any_order { 1 } else { asked.unwrap_or(most).clamp(1, most.max(1)) }
    }
}

#[derive(Debug)]
struct Walk {
    store: S3Store,
    plan: Plan,
    requests: Vec<Sent>,
    /// How many more requests may be sent ahead before only the next page is requested ahead.
    credit: usize,
    /// The number of bytes to reserve for a page that is requested ahead.
    page_bytes: u64,
}

/// A request in flight. Dropping it cancels it.
#[derive(Debug)]
struct Sent {
    id: u64,
    /// Whether it may use only memory that is free, because it was sent before the caller waited for its page.
    is_ahead: bool,
    task: AbortOnDropHandle<Result<(ListPage, u64), Error>>,
}

impl Walk {
    fn new(store: S3Store, options: WalkOptions) -> Self {
        let first = ListOptions {
            prefix: options.prefix,
            start_after: options.start_after,
            page_size: options
                .limit
                .and_then(|limit| u16::try_from(limit).ok())
                .map_or(PAGE, |limit| limit.clamp(1, PAGE)),
            ..ListOptions::default()
        };
        let plan = Plan::new(first, options.limit, store.parallelism(options.parallelism));
        Self { store, plan, requests: Vec::new(), credit: 0, page_bytes: PAGE_BYTES }
    }

    /// The next page; `None` after the last one.
    async fn page(&mut self) -> Result<Option<WalkPage>, Error> {
        self.receive(false).await?;
        let mut waits = false;
        loop {
            self.requests.retain(|sent| self.plan.needs(sent.id));
            if let Some(page) = self.plan.take() {
                self.request_ahead();
                return Ok(Some(page));
            }
            if self.plan.is_done() {
                return Ok(None);
            }
            if !waits {
                waits = true;
                self.credit = CREDIT * self.plan.parallelism();
            }
            if self.requests.len() < self.plan.parallelism()
                && let Some(request) = self.plan.request_next()
            {
                let memory = self.store.page_memory();
                self.send(request, memory, false);
            }
            self.request_ahead();
            self.receive(true).await?;
        }
    }

    /// Sends requests for pages that the caller is not waiting for yet.
    fn request_ahead(&mut self) {
        while self.requests.len() < self.plan.parallelism() {
            let Some(memory) = self.page_memory_ahead() else { return };
            // Other walks and reads need some of this memory, too.
            let far =
                self.credit > 0 && self.store.inner.budget.has_room_ahead(SPARE_PAGES * self.page_bytes);
            let Some(request) = self.plan.request_ahead(far) else { return };
            self.credit = self.credit.saturating_sub(1);
            self.send(request, memory, true);
        }
    }

    /// Memory for a page ahead, if necessary that of idle calls.
    fn page_memory_ahead(&self) -> Option<PageMemory> {
        let memory = self.store.page_memory_ahead(self.page_bytes);
        memory.or_else(|| {
            let has_room = !self.plan.is_done() && self.store.inner.budget.reclaim_ahead(self.page_bytes);
            has_room.then(|| self.store.page_memory_ahead(self.page_bytes))?
        })
    }

    fn send(&mut self, Request { id, options }: Request, memory: PageMemory, is_ahead: bool) {
        let store = self.store.clone();
        let task = AbortOnDropHandle::new(self.store.inner.tasks.spawn(async move {
            let mut page = store.list_in(&options, memory).await?;
            let needed = page.memory.used();
            page.memory.shrink(size_of_page(&page));
            Ok((page, needed))
        }));
        self.requests.push(Sent { id, is_ahead, task });
    }

    /// Records the pages that have arrived, and waits for at least one if `waits`.
    async fn receive(&mut self, waits: bool) -> Result<(), Error> {
        let requests = &mut self.requests;
        let arrived = poll_fn(|context| {
            let mut arrived = Vec::new();
            requests.retain_mut(|sent| match Pin::new(&mut sent.task).poll(context) {
                Poll::Ready(page) => {
                    arrived.push((sent.id, sent.is_ahead, page));
                    false
                }
                Poll::Pending => true,
            });
            if waits && arrived.is_empty() { Poll::Pending } else { Poll::Ready(arrived) }
        });
        for (id, is_ahead, page) in arrived.await {
            let stopped = |_| Err(Error::new(ErrorKind::Internal, "the listing task was stopped"));
            match page.unwrap_or_else(stopped) {
                Ok((page, needed)) => {
                    // A little more than the latest pages needed. Short pages say nothing about full ones.
                    self.page_bytes = (needed / 8 * 9).max(self.page_bytes / 8 * 7);
                    let recorded = self.plan.listed(id, page);
                    if self.plan.is_unordered() {
                        self.store.remember_unordered();
                    }
                    recorded?;
                }
                Err(error) => {
                    // A page for which there was no memory is requested again when the caller waits for it.
                    let lacked_memory = is_ahead && error.kind() == ErrorKind::MemoryExhausted;
                    if lacked_memory {
                        self.plan.wasted_page();
                    }
                    if self.plan.failed(id) && !lacked_memory {
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    }
}

impl ReadsAhead for Walk {
    fn give_up(&mut self) {
        self.plan.give_up();
        self.requests.retain(|sent| self.plan.needs(sent.id));
    }
}

/// The number of bytes that a page takes in memory.
fn size_of_page(page: &ListPage) -> u64 {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::capacity);
    let object = |object: &ObjectMeta| {
        object.key.capacity() + text(&object.properties.etag) + text(&object.properties.storage_class)
    };
    let objects =
        page.objects.capacity() * size_of::<ObjectMeta>() + page.objects.iter().map(object).sum::<usize>();
    let prefixes = page.common_prefixes.iter().map(|prefix| size_of::<String>() + prefix.capacity());
    (objects + prefixes.sum::<usize>()) as u64
}
