//! `CopyPrefix`.

use std::{pin::pin, sync::Arc};

use futures::{
    FutureExt as _,
    stream::{self, BoxStream, StreamExt as _},
};
use tonic::Status;

use super::{
    Messages,
    failures::Failures,
    prefix_progress::{Done, ticks},
};
use crate::{
    api::{convert, failure::Failure, gate::Call},
    pb,
    store::{CopyOptions, Error, S3Store, WalkOptions, WalkPage, WriteMode},
};

/// How many objects a message is about at most.
const MOST: usize = 1_000;

/// What is copied, and where.
#[derive(Debug, Clone)]
struct Plan {
    from: S3Store,
    to: S3Store,
    source: WalkOptions,
    destination: String,
    mode: WriteMode,
    dry_run: bool,
}

/// What happens in the course of the call.
enum Event {
    /// The listing has left out this many entries.
    Skipped(usize),
    /// The outcome for an object, by its key in the source.
    Copied(String, Result<(), Error>),
}

/// The results. If the stream is dropped, the S3 requests are cancelled.
pub(super) fn results(
    call: Call,
    request: pb::CopyPrefixRequest,
) -> Result<Messages<pb::CopyPrefixResponse>, Status> {
    let plan = plan(&call, request).map_err(|failure| call.fail(failure))?;
    Ok(copies(call, plan))
}

fn plan(call: &Call, request: pb::CopyPrefixRequest) -> Result<Plan, Failure> {
    let source = request.source.ok_or_else(|| Failure::field("source", "must be set"))?;
    let destination = request.destination.ok_or_else(|| Failure::field("destination", "must be set"))?;
    let options =
        convert::prefix_options(&source.prefix, "source.prefix", &request.start_after, request.max_keys)?;
    convert::within_a_key(&destination.prefix, "destination.prefix")?;
    let mode = convert::mode(request.mode)?;
    if matches!(mode, WriteMode::Update { .. }) {
        return Err(Failure::field("mode", "must be overwrite or create"));
    }
    call.record_conditions(convert::mode_name(&mode));
    let (to, from) =
        call.open_copy_prefix((&destination.store, &destination.prefix), (&source.store, &source.prefix))?;
    if to.overlaps(&destination.prefix, &from, &source.prefix) {
        let message =
            "must not begin with the source's prefix, nor the source's with it: copies could be copied again";
        return Err(Failure::field("destination.prefix", message));
    }
    let to = to.copying_at_most(call.max_object_size());
    let destination = destination.prefix;
    Ok(Plan { from, to, source: options, destination, mode, dry_run: request.dry_run })
}

fn copies(call: Call, plan: Plan) -> Messages<pb::CopyPrefixResponse> {
    let (call, mut done) = (Arc::new(call), Done::new(plan.source.limit));
    async_stream::stream! {
        let mut events = pin!(events(Arc::clone(&call), plan).ready_chunks(MOST));
        let mut ticks = ticks();
        loop {
            let chunk = tokio::select! {
                biased;
                chunk = events.next() => match chunk {
                    Some(chunk) => chunk,
                    None => break,
                },
                _ = ticks.tick() => Vec::new(),
            };
            let (mut failures, mut ended) = (Failures::new(&call), None);
            for event in chunk {
                match event {
                    Ok(Event::Skipped(entries)) => done.skipped(entries),
                    Ok(Event::Copied(key, Ok(()))) => done.succeeded(&key),
                    Ok(Event::Copied(key, Err(error))) => {
                        done.failed(&key);
                        failures.add(&key, &error);
                    }
                    Err(failure) => ended = Some(failure),
                }
            }
            yield Ok(message(&done, failures.into_messages()));
            if let Some(failure) = ended {
                yield Err(call.fail(failure));
                return;
            }
        }
    }
    .boxed()
}

fn message(done: &Done, failures: Vec<pb::KeyFailure>) -> pb::CopyPrefixResponse {
    pb::CopyPrefixResponse {
        copied: done.count(),
        failed: done.failures(),
        last_key: done.last_key().to_owned(),
        failures,
        more: done.has_reached_limit(),
        skipped: done.left_out(),
    }
}

/// The outcome for each object, in the order of the listing, and at last the failure of the listing or of the audit log,
/// if one of them fails.
fn events(call: Arc<Call>, plan: Plan) -> BoxStream<'static, Result<Event, Failure>> {
    let most = plan.to.settings().transfer.max_concurrency.max(1);
    let pages = plan.from.walk(plan.source.clone());
    let is_effective = !plan.dry_run;
    let pages = pages.then(move |page| {
        let call = Arc::clone(&call);
        async move {
            let page = page?;
            if is_effective {
                let keys: Vec<_> = page.objects.iter().map(|object| (object.key.as_str(), "")).collect();
                call.audit_keys(&keys).await?;
            }
            Ok(page)
        }
    });
    let copying = pages.flat_map(steps).map(move |step| {
        let plan = plan.clone();
        async move {
            match step? {
                Step::Skipped(entries) => Ok(Event::Skipped(entries)),
                Step::Copy(key) if plan.dry_run => Ok(Event::Copied(key, Ok(()))),
                Step::Copy(key) => {
                    let copied = plan.copy(&key).await;
                    Ok(Event::Copied(key, copied))
                }
            }
        }
        .boxed()
    });
    copying.buffered(most).boxed()
}

/// What a page of the listing leads to.
enum Step {
    Skipped(usize),
    Copy(String),
}

/// The steps of a page, whose memory is given back once all of them have been taken.
fn steps(page: Result<WalkPage, Failure>) -> BoxStream<'static, Result<Step, Failure>> {
    let page = match page {
        Ok(page) => page,
        Err(failure) => return stream::iter([Err(failure)]).boxed(),
    };
    let WalkPage { objects, skipped, memory } = page;
    let objects = objects.into_iter().map(|object| Step::Copy(object.key));
    let steps = (skipped > 0).then_some(Step::Skipped(skipped)).into_iter().chain(objects);
    let held = (steps, memory);
    stream::unfold(held, |(mut steps, memory)| async move { Some((Ok(steps.next()?), (steps, memory))) })
        .boxed()
}

impl Plan {
    async fn copy(&self, key: &str) -> Result<(), Error> {
        let rest = key.strip_prefix(&self.source.prefix).unwrap_or(key);
        let options = CopyOptions { mode: self.mode.clone(), ..CopyOptions::default() };
        let destination = format!("{}{rest}", self.destination);
        self.to.copy_from(&self.from, key, &destination, options).await.map(drop)
    }
}
