//! The workloads that the servers run.

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures::future::try_join_all;

use super::{
    Outcome,
    client::{Client, Payload},
    servers::Server,
};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const SMALL: usize = 4 * KIB;
const LARGE: usize = 64 * MIB;

/// Number of small objects to read.
const OBJECTS: usize = 1_000;

/// Number of keys for large objects. Large objects replace each other, so that the disk does not fill up.
const LARGE_KEYS: usize = 3;

/// A workload: one row of the table.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) name: &'static str,
    pub(super) size: usize,
    kind: Kind,
    callers: usize,
    /// How long callers send requests.
    during: Duration,
    /// Maximum number of requests of all callers together.
    requests: usize,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Put,
    PutUnsigned,
    Get,
}

pub(super) const WORK: &[Work] = &[
    Work::small("Put 4 KiB, 1 caller", Kind::Put, 1),
    Work::small("Put 4 KiB, 16 callers", Kind::Put, 16),
    Work::small("Get 4 KiB, 1 caller", Kind::Get, 1),
    Work::small("Get 4 KiB, 16 callers", Kind::Get, 16),
    Work::large("Put 64 MiB, payload unsigned", Kind::PutUnsigned),
    Work::large("Put 64 MiB, payload signed", Kind::Put),
    Work::large("Get 64 MiB", Kind::Get),
];

impl Work {
    const fn small(name: &'static str, kind: Kind, callers: usize) -> Self {
        Self { name, size: SMALL, kind, callers, during: Duration::from_secs(3), requests: usize::MAX }
    }

    const fn large(name: &'static str, kind: Kind) -> Self {
        Self { name, size: LARGE, kind, callers: 1, during: Duration::from_secs(60), requests: 10 }
    }

    /// Whether its rate is reported in bytes rather than in requests.
    pub(super) fn is_large(&self) -> bool {
        self.size == LARGE
    }
}

static PAYLOADS: LazyLock<[Payload; 2]> = LazyLock::new(|| [SMALL, LARGE].map(Payload::random));

/// The measurements of one run of a workload.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) elapsed: Duration,
    /// The server's CPU time.
    pub(super) cpu: Duration,
    pub(super) peak: u64,
    pub(super) latencies: Vec<Duration>,
}

/// Writes the objects that will be read.
pub(super) async fn prepare(server: &Server) -> Outcome<()> {
    let mut client = Client::connect(&server.endpoint).await?;
    for index in 0..OBJECTS {
        client.put(&read_key(SMALL, index), &PAYLOADS[0]).await?;
    }
    client.put(&read_key(LARGE, 0), &PAYLOADS[1]).await
}

fn read_key(size: usize, index: usize) -> String {
    let index = if size == LARGE { 0 } else { index };
    format!("read/{size}/{index}")
}

/// Runs a workload once.
pub(super) async fn measure(server: &Server, work: &'static Work, round: usize) -> Outcome<Measured> {
    let clients = try_join_all((0..work.callers).map(|_| Client::connect(&server.endpoint))).await?;
    let payload = PAYLOADS[usize::from(work.is_large())].clone();
    let payload = if let Kind::PutUnsigned = work.kind { payload.unsigned() } else { payload };
    let made = Arc::new(AtomicUsize::new(0));
    let processes = server.processes();
    processes.forget_peak()?;
    let (cpu, began) = (processes.cpu()?, Instant::now());
    let callers = clients.into_iter().map(|client| {
        let (made, payload, ends) = (Arc::clone(&made), payload.clone(), began + work.during);
        let key = move |number| key(work, round, number);
        tokio::spawn(call(client, work.kind, work.size, key, payload, made, (ends, work.requests)))
    });
    let callers: Vec<_> = callers.collect();
    let mut latencies = Vec::new();
    for caller in try_join_all(callers).await? {
        latencies.extend(caller?);
    }
    let (elapsed, cpu) = (began.elapsed(), processes.cpu()? - cpu);
    Ok(Measured { elapsed, cpu, peak: processes.peak()?, latencies })
}

fn key(work: &Work, round: usize, number: usize) -> String {
    match work.kind {
        Kind::Get => read_key(work.size, fastrand::usize(..OBJECTS)),
        _ if work.is_large() => format!("large/{}", number % LARGE_KEYS),
        _ => format!("small/{}/{round}/{number}", work.callers),
    }
}

/// Sends one request after the other, until the time is up or all callers together have sent the maximum number.
async fn call(
    mut client: Client,
    kind: Kind,
    size: usize,
    key: impl Fn(usize) -> String,
    payload: Payload,
    made: Arc<AtomicUsize>,
    (ends, requests): (Instant, usize),
) -> Outcome<Vec<Duration>> {
    let mut latencies = Vec::new();
    while Instant::now() < ends {
        let number = made.fetch_add(1, Ordering::Relaxed);
        if number >= requests {
            break;
        }
        let key = key(number);
        let began = Instant::now();
        match kind {
            Kind::Put | Kind::PutUnsigned => client.put(&key, &payload).await?,
            Kind::Get => {
                let read = client.get(&key).await?;
                if read != size {
                    return Err(format!("read {read} bytes of an object of {size} bytes").into());
                }
            }
        }
        latencies.push(began.elapsed());
    }
    Ok(latencies)
}
