//! `DeletePrefix`.

use std::{collections::VecDeque, pin::pin};

use futures::stream::StreamExt as _;
use tonic::Status;

use super::{
    Messages,
    failures::Failures,
    prefix_progress::{Done, ticks},
};
use crate::{
    api::{convert, failure::Failure, gate::Call},
    auth::{Access, Scope},
    pb,
    store::{ObjectId, S3Store, WalkOptions, WalkPage},
};

/// The results. If the stream is dropped, the S3 requests are cancelled, and the objects of the batches in flight may or
/// may not have been deleted.
pub(super) fn results(
    call: Call,
    request: &pb::DeletePrefixRequest,
) -> Result<Messages<pb::DeletePrefixResponse>, Status> {
    let (store, options) = open(&call, request).map_err(|failure| call.fail(failure))?;
    Ok(delete(call, store, options, request.dry_run))
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
        (false, true) => {
            return Err(Failure::field("whole_store", "must not be set together with `prefix`"));
        }
        _ => {}
    }
    convert::prefix_options(&request.prefix, "prefix", &request.start_after, request.max_keys)
}

fn delete(
    call: Call,
    store: S3Store,
    options: WalkOptions,
    dry_run: bool,
) -> Messages<pb::DeletePrefixResponse> {
    let mut done = Done::new(options.limit);
    async_stream::stream! {
        let mut pages = pin!(store.walk(options));
        let mut batches = store.delete_batches();
        let mut sent = VecDeque::<Vec<String>>::new();
        // A page that awaits room for its batch.
        let mut waiting: Option<WalkPage> = None;
        let (mut has_more, mut failure) = (true, None);
        let mut ticks = ticks();
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
                    Some(Ok(page)) => {
                        done.skipped(page.skipped);
                        if dry_run {
                            for object in &page.objects {
                                done.succeeded(&object.key);
                            }
                            yield Ok(message(&done, Vec::new()));
                        } else {
                            waiting = Some(page).filter(|page| !page.objects.is_empty());
                        }
                    }
                    Some(Err(error)) => (has_more, failure) = (false, Some(error.into())),
                    None => has_more = false,
                },
                batch = batches.next(), if !sent.is_empty() => {
                    let Some((batch, keys)) = batch.zip(sent.pop_front()) else { continue };
                    let mut failures = Failures::new(&call);
                    for (key, outcome) in keys.iter().zip(&batch.outcomes) {
                        match outcome {
                            Ok(_) => done.succeeded(key),
                            Err(error) => {
                                done.failed(key);
                                failures.add(key, error);
                            }
                        }
                    }
                    yield Ok(message(&done, failures.into_messages()));
                },
                _ = ticks.tick(), if has_more || !sent.is_empty() => yield Ok(message(&done, Vec::new())),
                else => break,
            }
        }
        if let Some(failure) = failure {
            yield Err(call.fail(failure));
        }
    }
    .boxed()
}

fn message(done: &Done, failures: Vec<pb::KeyFailure>) -> pb::DeletePrefixResponse {
    pb::DeletePrefixResponse {
        deleted: done.count(),
        failed: done.failures(),
        last_key: done.last_key().to_owned(),
        failures,
        more: done.has_reached_limit(),
        skipped: done.left_out(),
    }
}
