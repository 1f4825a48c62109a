//! `DeletePrefix`.

use std::{collections::VecDeque, pin::pin};

use futures::stream::StreamExt as _;
use tonic::Status;

use super::{Messages, failures::Failures};
use crate::{
    api::{convert, failure::Failure, gate::Call},
    auth::{Access, Scope},
    pb,
    store::{ObjectId, S3Store, WalkOptions, WalkPage},
};

/// What the call has done so far.
#[derive(Debug, Default)]
struct Done {
    deleted: u64,
    failed: u64,
    last_key: String,
}

/// The results. If the stream is dropped, the S3 requests are cancelled, and the objects of the batches in flight may or
/// may not have been deleted.
pub(super) fn results(
    call: Call,
    request: &pb::DeletePrefixRequest,
) -> Result<Messages<pb::DeletePrefixResponse>, Status> {
    let (store, options) = open(&call, request).map_err(|failure| call.fail(failure))?;
    Ok(if request.dry_run { count(call, store, options) } else { delete(call, store, options) })
}

fn open(call: &Call, request: &pb::DeletePrefixRequest) -> Result<(S3Store, WalkOptions), Failure> {
    let options = options(request)?;
    let scope = Scope::Prefix(&options.prefix);
    call.permit(Access::List, &request.store, scope)?;
    Ok((call.open(Access::Delete, &request.store, scope)?, options))
}

fn options(request: &pb::DeletePrefixRequest) -> Result<WalkOptions, Failure> {
    match (request.prefix.is_empty(), request.whole_store) {
        (true, false) => {
            return Err(Failure::field("prefix", "must not be empty unless `whole_store` is set"));
        }
        (false, true) => return Err(Failure::field("whole_store", "must not be set together with `prefix`")),
        _ => {}
    }
    convert::prefix_options(&request.prefix, "prefix", &request.start_after, request.max_keys)
}

fn count(call: Call, store: S3Store, options: WalkOptions) -> Messages<pb::DeletePrefixResponse> {
    let limit = options.limit;
    async_stream::stream! {
        let mut pages = pin!(store.walk(options));
        let mut done = Done::default();
        while let Some(page) = pages.next().await {
            match page {
                Ok(page) => yield Ok(done.would_delete(&page, limit)),
                Err(error) => {
                    yield Err(call.fail(error));
                    return;
                }
            }
        }
    }
    .boxed()
}

fn delete(call: Call, store: S3Store, options: WalkOptions) -> Messages<pb::DeletePrefixResponse> {
    let limit = options.limit;
    async_stream::stream! {
        let mut pages = pin!(store.walk(options));
        let mut batches = store.delete_batches();
        let (mut done, mut sent) = (Done::default(), VecDeque::<Vec<String>>::new());
        // A page that awaits memory.
        let mut waiting: Option<WalkPage> = None;
        let (mut has_more, mut failure) = (true, None);
        loop {
            if let Some(page) = waiting.take() {
                let text = page.objects.iter().map(|object| object.key.len() as u64).sum();
                match batches.room(page.objects.len(), text) {
                    Some(room) => {
                        let keys: Vec<_> = page.objects.into_iter().map(|object| object.key).collect();
                        let audited: Vec<_> = keys.iter().map(|key| (key.as_str(), "")).collect();
                        if let Err(unavailable) = call.audit_keys(&audited).await {
                            (has_more, failure) = (false, Some(unavailable));
                            continue;
                        }
                        let objects = keys.iter().map(|key| ObjectId { key: key.clone(), version: None });
                        batches.send(room, objects.collect());
                        sent.push_back(keys);
                    }
                    None => waiting = Some(page),
                }
            }
            let may_list = has_more && waiting.is_none() && batches.has_room();
            tokio::select! {
                biased;
                page = pages.next(), if may_list => match page {
                    Some(Ok(page)) => waiting = Some(page).filter(|page| !page.objects.is_empty()),
                    Some(Err(error)) => (has_more, failure) = (false, Some(error.into())),
                    None => has_more = false,
                },
                batch = batches.next(), if !sent.is_empty() => {
                    let Some((batch, keys)) = batch.zip(sent.pop_front()) else { continue };
                    let mut failures = Failures::new(&call);
                    for (key, outcome) in keys.iter().zip(&batch.outcomes) {
                        if let Err(error) = outcome {
                            failures.add(key, error);
                        }
                    }
                    yield Ok(done.deleted(&keys, failures.into_messages(), limit));
                },
                else => break,
            }
        }
        if let Some(failure) = failure {
            yield Err(call.fail(failure));
        }
    }
    .boxed()
}

impl Done {
    fn would_delete(&mut self, page: &WalkPage, limit: Option<u64>) -> pb::DeletePrefixResponse {
        self.deleted += page.objects.len() as u64;
        if let Some(last) = page.objects.last() {
            self.last_key.clone_from(&last.key);
        }
        self.message(Vec::new(), limit)
    }

    fn deleted(
        &mut self,
        keys: &[String],
        failures: Vec<pb::KeyFailure>,
        limit: Option<u64>,
    ) -> pb::DeletePrefixResponse {
        self.failed += failures.len() as u64;
        self.deleted += (keys.len() - failures.len()) as u64;
        if let Some(last) = keys.last() {
            self.last_key.clone_from(last);
        }
        self.message(failures, limit)
    }

    fn message(&self, failures: Vec<pb::KeyFailure>, limit: Option<u64>) -> pb::DeletePrefixResponse {
        pb::DeletePrefixResponse {
            deleted: convert::signed(self.deleted),
            failed: convert::signed(self.failed),
            last_key: self.last_key.clone(),
            failures,
            more: limit.is_some_and(|limit| self.deleted + self.failed >= limit),
        }
    }
}
