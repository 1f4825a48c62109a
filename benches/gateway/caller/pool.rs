//! The ideal way to make a call that takes many requests to S3: as many of them in flight as there are connections.

use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::task::JoinSet;

use super::http;
use crate::{
    Outcome,
    job::{Job, Target, Work},
};

/// Connections that share the requests of one call.
pub(super) struct Pool(Vec<http::Caller>);

/// A request of the call.
enum Part {
    Range(Range<u64>),
    Delete(Vec<String>),
}

type Parts = Arc<Mutex<dyn Iterator<Item = Part> + Send>>;

impl Pool {
    pub(super) async fn connect(target: &Target, connections: u64) -> Outcome<Self> {
        let mut callers = Vec::new();
        for _ in 0..connections {
            callers.push(http::Caller::connect(target).await?);
        }
        Ok(Self(callers))
    }

    /// Sends all requests of a call and reads their responses.
    pub(super) async fn ask(&mut self, job: &Job) -> Outcome<()> {
        let parts: Parts = match job.work {
            Work::GetRanges => Arc::new(Mutex::new(job.ranges().map(Part::Range))),
            Work::DeleteMany => Arc::new(Mutex::new(job.batches().map(Part::Delete))),
            _ => return Err("this kind of request needs no pool".into()),
        };
        let mut running = JoinSet::new();
        for caller in self.0.drain(..) {
            running.spawn(ask_each(caller, job.clone(), parts.clone()));
        }
        while let Some(caller) = running.join_next().await {
            self.0.push(caller??);
        }
        Ok(())
    }
}

/// Sends requests until there are none left. Returns the caller for the next call.
async fn ask_each(mut caller: http::Caller, job: Job, parts: Parts) -> Outcome<http::Caller> {
    loop {
        let part = parts.lock().unwrap_or_else(PoisonError::into_inner).next();
        match part {
            Some(Part::Range(range)) => caller.range(&job, &range).await?,
            Some(Part::Delete(keys)) => caller.delete(&job, &keys).await?,
            None => return Ok(caller),
        }
    }
}
