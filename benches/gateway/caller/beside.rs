//! Calls that a caller makes on its connections in addition to its job.

use std::{
    iter::repeat_n,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::grpc::Caller;
use crate::{
    Outcome,
    job::{Beside, GIB, Job, KIB, Work},
};

/// The time to wait for calls to stall before the job starts.
const SETTLE: Duration = Duration::from_secs(3);

/// The pause between two Heads on a single connection. With more connections, each one pauses longer, so that the total
/// rate stays the same.
const PAUSE: Duration = Duration::from_millis(20);

/// The number of stalled uploads on each connection. Together, they send more bytes than a small connection window
/// allows.
const UPLOADS: usize = 20;

/// The running calls. They are cancelled on drop.
pub(super) struct Calls {
    beside: Option<Beside>,
    running: JoinSet<Outcome<Vec<Duration>>>,
    stop: CancellationToken,
}

impl Calls {
    /// Starts the calls on each connection.
    pub(super) fn begin(job: &Job, channels: &[Channel]) -> Self {
        let (mut running, stop) = (JoinSet::new(), CancellationToken::new());
        let pause = PAUSE * u32::try_from(channels.len()).unwrap_or(u32::MAX);
        let count = if job.beside == Some(Beside::SilentUploads) { UPLOADS } else { 1 };
        for channel in job.beside.iter().flat_map(|_| channels).flat_map(|channel| repeat_n(channel, count)) {
            let (channel, token, stop) = (channel.clone(), job.token.clone(), stop.clone());
            match job.beside {
                Some(Beside::Heads) => running.spawn(heads(channel, token, pause, stop)),
                Some(beside) => running.spawn(async move {
                    tokio::select! {
                        () = stop.cancelled() => Ok(Vec::new()),
                        ended = stalled(beside, channel, token) => ended,
                    }
                }),
                None => continue,
            };
        }
        Self { beside: job.beside, running, stop }
    }

    /// Waits until the calls have stalled. Heads do not stall, so there is no wait for them.
    pub(super) async fn settle(&mut self) {
        if self.beside.is_some_and(|beside| beside != Beside::Heads) {
            tokio::time::sleep(SETTLE).await;
        }
    }

    /// Stops the calls. Returns the latencies of the Heads, in ascending order.
    pub(super) async fn end(mut self) -> Outcome<Vec<Duration>> {
        self.stop.cancel();
        let mut latencies = Vec::new();
        while let Some(call) = self.running.join_next().await {
            latencies.append(&mut call??);
        }
        latencies.sort_unstable();
        Ok(latencies)
    }
}

/// Sends one Head after another. A Head that is unfinished at the end counts with the time it has taken so far.
async fn heads(
    channel: Channel,
    token: String,
    pause: Duration,
    stop: CancellationToken,
) -> Outcome<Vec<Duration>> {
    let job = Job { token, ..Job::new(Work::Head, 4 * KIB, 1) };
    let mut caller = Caller::new(channel, &job);
    let mut latencies = Vec::new();
    while !stop.is_cancelled() {
        let start = Instant::now();
        tokio::select! {
            () = stop.cancelled() => {}
            answer = caller.ask(&job) => answer.map_err(|error| format!("a Head beside the job: {error}"))?,
        }
        latencies.push(start.elapsed());
        tokio::time::sleep(pause).await;
    }
    Ok(latencies)
}

/// Makes a call that never completes. If the server ends a silent upload, another one follows.
async fn stalled(beside: Beside, channel: Channel, token: String) -> Outcome<Vec<Duration>> {
    let work = if beside == Beside::SilentUploads { Work::Upload } else { Work::Get };
    let store = if beside == Beside::SilentUploads { "silent" } else { "default" };
    let job = Job { token, checksums: false, ..Job::new(work, GIB, 1).store(store) };
    let mut caller = Caller::new(channel, &job);
    loop {
        match beside {
            Beside::UnreadGet => {
                let _unread = caller.begin(&job).await?;
                std::future::pending::<()>().await;
            }
            Beside::UnreadWalk => {
                let _unread = caller.begin_walk(&job).await?;
                std::future::pending::<()>().await;
            }
            Beside::SilentUploads | Beside::Heads => {
                if caller.ask(&job).await.is_ok() {
                    return Err("an upload to a server that never reads succeeded".into());
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
