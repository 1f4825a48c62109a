//! `CopyPrefix`.

use std::{pin::pin, time::Duration};

use futures::{
    FutureExt as _,
    stream::{self, BoxStream, StreamExt as _},
};
use tokio::time::{MissedTickBehavior, interval};
use tonic::Status;

use super::{Messages, failures::Failures};
use crate::{
    api::{convert, failure::Failure, gate::Call},
    pb,
    store::{CopyOptions, Error, S3Store, WalkOptions, WriteMode},
};

/// The longest time without a message, so that proxies do not cut the call.
const INTERVAL: Duration = Duration::from_secs(5);

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

/// The copy of one object: its key in the source.
type Copying = (String, Result<(), Error>);

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
    let limit = plan.source.limit;
    async_stream::stream! {
        let mut outcomes = pin!(outcomes(plan).ready_chunks(MOST));
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sum = pb::CopyPrefixResponse::default();
        loop {
            let chunk = tokio::select! {
                biased;
                chunk = outcomes.next() => match chunk {
                    Some(chunk) => chunk,
                    None => break,
                },
                _ = ticks.tick() => Vec::new(),
            };
            let (mut failures, mut ended) = (Failures::new(&call), None);
            for outcome in chunk {
                match outcome {
                    Ok((key, Ok(()))) => {
                        sum.copied += 1;
                        sum.last_key = key;
                    }
                    Ok((key, Err(error))) => {
                        sum.failed += 1;
                        failures.add(&key, &error);
                        sum.last_key = key;
                    }
                    Err(error) => ended = Some(error),
                }
            }
            sum.more = limit.is_some_and(|limit| convert::signed(limit) <= sum.copied + sum.failed);
            yield Ok(pb::CopyPrefixResponse { failures: failures.into_messages(), ..sum.clone() });
            if let Some(error) = ended {
                yield Err(call.fail(error));
                return;
            }
        }
    }
    .boxed()
}

/// The outcome for each object, in the order of their keys, and at last the failure of the listing, if it fails.
fn outcomes(plan: Plan) -> BoxStream<'static, Result<Copying, Error>> {
    let most = plan.to.settings().transfer.max_concurrency.max(1);
    let pages = plan.from.walk(plan.source.clone());
    let objects = pages.flat_map(|page| match page {
        // The page's memory is given back once all of its objects have been taken.
        Ok(page) => {
            let memory = page.memory;
            let keys = page.objects.into_iter().map(|object| Ok(object.key));
            stream::iter(keys)
                .chain(stream::once(async move { drop(memory) }).filter_map(|()| async { None }))
                .boxed()
        }
        Err(error) => stream::iter([Err(error)]).boxed(),
    });
    let copying = objects.map(move |key| {
        let plan = plan.clone();
        async move {
            let key = key?;
            let copied = if plan.dry_run { Ok(()) } else { plan.copy(&key).await };
            Ok((key, copied))
        }
        .boxed()
    });
    copying.buffered(most).boxed()
}

impl Plan {
    async fn copy(&self, key: &str) -> Result<(), Error> {
        let rest = key.strip_prefix(&self.source.prefix).unwrap_or(key);
        let options = CopyOptions { mode: self.mode.clone(), ..CopyOptions::default() };
        let destination = format!("{}{rest}", self.destination);
        self.to.copy_from(&self.from, key, &destination, options).await.map(drop)
    }
}
