//! Many uploads that share a memory budget, in simulated time.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::join_all;
use proptest::prelude::*;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    Error, ErrorKind, MemoryBudget, MemorySettings, SpeedRecord, TenantBudget, transfer::filling::Filling,
};
use crate::{tasks::Tasks, telemetry::Metrics};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
static CHUNK: [u8; 256 * 1024] = [0; 256 * 1024];

/// A caller that sends `at_once` bytes as fast as the server takes them, and then `chunk` bytes after each `pause`.
#[derive(Debug, Clone, Copy)]
struct Caller {
    size: u64,
    at_once: u64,
    chunk: u64,
    pause: Duration,
}

impl Caller {
    /// Sends 256 KiB every two milliseconds.
    fn fast(size: u64) -> Self {
        Self { size, at_once: 0, chunk: 256 * KIB, pause: Duration::from_millis(2) }
    }

    /// Sends 1 MiB at once, and then 1 KiB a second.
    fn slow() -> Self {
        Self { size: 64 * MIB, at_once: MIB, chunk: KIB, pause: Duration::from_secs(1) }
    }
}

/// What the uploads share besides memory.
#[derive(Debug, Clone)]
struct Server {
    part: u64,
    /// How long S3 takes for a part.
    s3: Duration,
    /// A processor that handles 1 GiB of chunks a second; `None` if its time does not count.
    processor: Option<Arc<Mutex<u64>>>,
    tasks: Tasks,
}

impl Server {
    fn new(part: u64) -> Self {
        Self { part, s3: Duration::from_millis(20), processor: None, tasks: Tasks::default() }
    }

    async fn work(&self, bytes: u64) {
        let Some(processor) = &self.processor else { return };
        let mut done = processor.lock().await;
        *done += bytes;
        if *done >= MIB {
            *done -= MIB;
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Runs one upload, with one part in flight while the next one fills.
    async fn upload(&self, budget: TenantBudget, caller: Caller) -> Result<(), Error> {
        self.upload_on(&SpeedRecord::default(), budget, caller).await
    }

    /// Runs the same upload on a connection with this record.
    async fn upload_on(
        &self,
        connection: &SpeedRecord,
        budget: TenantBudget,
        caller: Caller,
    ) -> Result<(), Error> {
        let (mut filling, mut sent) = (Filling::new(budget, connection.clone(), None), 0);
        let mut in_flight: Option<AbortOnDropHandle<()>> = None;
        while sent < caller.size {
            let chunk =
                caller.chunk.max(if sent < caller.at_once { 64 * KIB } else { 0 }).min(caller.size - sent);
            if sent >= caller.at_once {
                tokio::select! {
                    biased;
                    error = filling.watch() => return Err(error),
                    () = sleep(caller.pause) => {}
                }
            }
            let room = self.part.min(caller.size - (sent - filling.len()));
            filling.push(Bytes::from_static(&CHUNK[..usize::try_from(chunk).unwrap()]), room, None).await?;
            self.work(chunk).await;
            sent += chunk;
            while filling.len() >= self.part || sent == caller.size && filling.len() > 0 {
                let full = filling.take(self.part).await;
                let s3 = self.s3;
                let part = async move {
                    sleep(s3).await;
                    drop(full);
                };
                if let Some(before) = in_flight.replace(AbortOnDropHandle::new(self.tasks.spawn(part))) {
                    before.await.unwrap();
                }
            }
        }
        if let Some(last) = in_flight {
            last.await.unwrap();
        }
        Ok(())
    }
}

fn budget(bytes: u64, wait: Duration, idle_timeout: Duration) -> MemoryBudget {
    MemoryBudget::new(MemorySettings { budget: bytes, wait, idle_timeout }, Metrics::default())
}

/// A tenant that may use all of a budget.
fn tenant(bytes: u64, wait: Duration, idle_timeout: Duration) -> TenantBudget {
    budget(bytes, wait, idle_timeout).share(None)
}

const MINUTE: Duration = Duration::from_mins(1);

/// Returns how long 8 callers take for `count` fast uploads each, one after the other, of 512 MiB per caller.
async fn fast_uploads(server: &Server, budget: &TenantBudget, count: u64) -> Duration {
    let begun = Instant::now();
    let callers = (0..8).map(async |_| {
        let connection = SpeedRecord::default();
        for _ in 0..count {
            let caller = Caller::fast(512 * MIB / count);
            server.upload_on(&connection, budget.clone(), caller).await.unwrap();
        }
    });
    join_all(callers).await;
    begun.elapsed()
}

/// Runs a thousand callers with slow uploads, which start again when they are rejected.
async fn slow_uploads(server: &Server, budget: &TenantBudget, connections: usize) {
    let connections: Vec<_> = std::iter::repeat_with(SpeedRecord::default).take(connections).collect();
    let callers = (0..1000).map(async |number| {
        loop {
            let connection = &connections[number % connections.len()];
            let ended = server.upload_on(connection, budget.clone(), Caller::slow()).await;
            assert_eq!(ended.unwrap_err().kind(), ErrorKind::MemoryExhausted);
            sleep(Duration::from_secs(1)).await;
        }
    });
    join_all(callers).await;
}

#[tokio::test(start_paused = true)]
async fn a_thousand_slow_uploads_do_not_slow_down_fast_ones() {
    let server = Server::new(8 * MIB);
    for (wait, share, connections, count) in [
        (MINUTE / 2, None, 20, 8),
        (MINUTE / 2, None, 1000, 8),
        (MINUTE / 2, None, 1000, 1),
        (10 * MINUTE, None, 20, 2),
        (MINUTE / 2, Some(256 * MIB), 20, 8),
        (MINUTE / 2, Some(256 * MIB), 1000, 1),
    ] {
        let bytes = share.map_or(256 * MIB, |share| 2 * share);
        let tenant = || budget(bytes, wait, MINUTE).share(share);
        let alone = fast_uploads(&server, &tenant(), count).await;
        let budget = tenant();
        let fast = async {
            sleep(Duration::from_secs(15)).await;
            fast_uploads(&server, &budget, count).await
        };
        let slow = slow_uploads(&server, &budget, connections);
        let beside = tokio::select! {
            time = fast => time,
            () = slow => unreachable!("they never end"),
        };
        assert!(
            alone.as_secs_f64() >= 0.8 * beside.as_secs_f64(),
            "{wait:?}, {share:?}, {connections}, {count}: {alone:?} alone, {beside:?} beside"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_concurrent_uploads_finish_and_waste_little_time() {
    let s3 = Duration::from_millis(3);
    let server = Server { processor: Some(Arc::default()), s3, ..Server::new(8 * MIB) };
    let mut times = Vec::new();
    for bytes in [1 << 40, 256 * MIB, 16 * MIB] {
        let budget = tenant(bytes, 10 * MINUTE, MINUTE);
        let begun = Instant::now();
        let uploads = (0..1000).map(|_| {
            server.upload(budget.clone(), Caller { pause: Duration::ZERO, ..Caller::fast(12 * MIB) })
        });
        for uploaded in join_all(uploads).await {
            uploaded.unwrap();
        }
        times.push(begun.elapsed().as_secs_f64());
    }
    assert!(times.iter().all(|time| *time <= 1.5 * times[0]), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn an_idle_upload_ends_only_while_others_wait_for_memory() {
    let server = Server::new(8 * MIB);
    let budget = tenant(16 * MIB, 10 * MINUTE, MINUTE);
    let silent = Caller { pause: 1000 * MINUTE, ..Caller::slow() };
    let silent = join_all((0..3).map(|_| server.upload(budget.clone(), silent)));
    let mut silent = std::pin::pin!(silent);
    assert!(timeout(100 * MINUTE, &mut silent).await.is_err(), "no other call waited");
    let parts = async {
        let mut parts = Vec::new();
        loop {
            let mut part = budget.reservation();
            part.next_part(8 * MIB).await.unwrap();
            parts.push(part);
        }
    };
    let ended: Vec<_> = tokio::select! {
        ended = silent => ended,
        () = parts => unreachable!("the memory runs out"),
    };
    assert!(ended.iter().all(|ended| ended.as_ref().unwrap_err().kind() == ErrorKind::UploadIdle));
}

fn callers() -> impl Strategy<Value = Caller> {
    let sizes = prop_oneof![1..MIB, 1..20 * MIB, 1..64 * MIB];
    let chunks = prop_oneof![1..KIB, KIB..CHUNK.len() as u64];
    let pauses = prop_oneof![Just(0_u64), 1_u64..20, 1_u64..2_000, Just(100_000)];
    (sizes, 0..10 * MIB, chunks, pauses).prop_map(|(size, at_once, chunk, pause)| {
        // Simulated time costs real time, too: limit callers to a few hundred chunks, or to a few chunks if their
        // pauses are long.
        let most = if pause > 10_000 { 5 } else { 400 };
        let chunk = chunk.max(size / most).min(CHUNK.len() as u64);
        let size = size.min(at_once + most * chunk);
        Caller { size, at_once, chunk, pause: Duration::from_millis(pause) }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// This holds for any callers, budget and part size.
    #[test]
    fn every_upload_ends_some_succeed_and_all_memory_is_given_back(
        callers in proptest::collection::vec((callers(), 0_u64..2_000, 0_usize..3), 1..60),
        (mebibytes, part) in (16_u64..80, prop_oneof![Just(5_u64), Just(8), 5..40_u64, Just(128)]),
        share in proptest::option::of(1_u64..80),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let budget = budget(mebibytes * MIB, MINUTE, MINUTE);
            let shares = [budget.share(None), budget.share(share.map(|share| share * MIB)), budget.share(Some(20 * MIB))];
            let server = Server::new(part * MIB);
            let uploads = callers.iter().map(|(caller, begins, share)| {
                let (server, share) = (server.clone(), shares[*share].clone());
                async move {
                    sleep(Duration::from_millis(*begins)).await;
                    server.upload(share, *caller).await
                }
            });
            let mut uploads = std::pin::pin!(join_all(uploads));
            let ended = loop {
                tokio::select! {
                    ended = &mut uploads => break ended,
                    () = sleep(Duration::from_millis(97)) => assert!(budget.reserved() <= mebibytes * MIB),
                }
            };
            let failed = ended.iter().filter_map(|ended| ended.as_ref().err().map(Error::kind));
            let failed: Vec<_> = failed.collect();
            assert!(failed.len() < callers.len(), "at least one succeeds");
            assert!(failed.iter().all(|kind| matches!(kind, ErrorKind::MemoryExhausted | ErrorKind::UploadIdle)));
            assert_eq!(budget.reserved(), 0);
            assert!(!budget.is_contended());
        });
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_the_server_holds_back_gives_memory_back_and_is_not_ended() {
    let budget = tenant(16 * MIB, MINUTE * 60, MINUTE);
    let megabyte = || Bytes::from(vec![0; 1 << 20]);
    let mut held_back = Filling::new(budget.clone(), SpeedRecord::default(), None);
    held_back.push(megabyte(), 12 * MIB, None).await.unwrap();
    let mut other = Filling::new(budget.clone(), SpeedRecord::default(), None);
    tokio::select! {
        pushed = other.push(megabyte(), 12 * MIB, None) => pushed.unwrap(),
        never = held_back.hold_back() => match never {},
    }
    // A third upload waits, and the caller may have been held back for a long time.
    let mut third = Filling::new(budget, SpeedRecord::default(), None);
    tokio::select! {
        _ = third.push(megabyte(), 12 * MIB, None) => panic!("no memory is free"),
        never = held_back.hold_back() => match never {},
        () = sleep(MINUTE * 10) => {}
    }
    drop(other);
    held_back.push(megabyte(), 12 * MIB, None).await.unwrap();
    assert_eq!(held_back.len(), 2 * MIB);
    assert!(tokio::time::timeout(Duration::from_secs(1), held_back.watch()).await.is_err());
}
