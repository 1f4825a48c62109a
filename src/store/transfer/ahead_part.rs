//! A part of a read, which arrives over its own connection and waits in memory until the caller takes it.

use std::{
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, stream::BoxStream};
use tokio::{
    sync::{
        Notify,
        mpsc::{self, error::TryRecvError},
    },
    time::Instant,
};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    store::{Error, ErrorKind, Reservation},
    tasks::Tasks,
};

/// How many bytes are reserved at a time. A part that gets no memory stops reading, and S3's bytes wait in the kernel.
const STEP: u64 = 256 * 1024;

/// Pieces smaller than this are copied into one buffer. Each piece keeps the buffer it was read into alive, and many
/// small pieces would thus hold several times the reserved memory. TLS returns 16 KiB at a time.
const SMALL: usize = 32 * 1024;
/// That buffer is passed on once it has this many bytes.
const GATHERED: usize = 128 * 1024;

/// The bytes of one range, in order.
pub(super) type Pieces = BoxStream<'static, Result<Bytes, Error>>;

/// A part that is being read. Dropping it cancels the request.
#[derive(Debug)]
pub(super) struct AheadPart {
    /// The bytes that the caller has not taken.
    left: Range<u64>,
    /// Whether its request is made only once, because the caller has not asked for its bytes yet.
    pub(super) optional: bool,
    pieces: mpsc::UnboundedReceiver<Result<Bytes, Error>>,
    arrival: Arc<Arrival>,
    _reading: AbortOnDropHandle<()>,
}

/// What the parts of a read share.
#[derive(Debug, Default)]
pub(super) struct SharedState {
    /// Wakes the read when a part has arrived completely, so that its connection is free.
    pub(super) freed: Notify,
    /// A moving average of the time from a request to the first byte of the response, in microseconds; 0 if unknown.
    latency: AtomicU64,
}

/// The arrival of a part, which its task and the caller's side both change.
#[derive(Debug)]
struct Arrival {
    size: u64,
    /// When the request was made. Not set if that was before the part began.
    requested: OnceLock<Instant>,
    /// Whether the part's task makes the request, so that its latency can be measured.
    measures_latency: bool,
    first_byte: OnceLock<Instant>,
    arrived: AtomicU64,
    ended: AtomicBool,
    /// Whether the caller takes this part's bytes next. It then goes on without memory, a step at a time.
    is_front: AtomicBool,
    /// Whether the task waits for memory.
    stalled: AtomicBool,
    /// Wakes the task when there may be memory for it.
    wake: Notify,
    held: Mutex<Held>,
    shared: Arc<SharedState>,
}

#[derive(Debug)]
struct Held {
    reservation: Reservation,
    reserved: u64,
    /// Number of bytes that have arrived and that the caller has not taken.
    waiting: u64,
}

impl AheadPart {
    /// Starts to read `range` from `pieces`. The reservation holds no memory yet. The part `measures_latency` if its
    /// request has not been made yet.
    pub(super) fn begin(
        range: Range<u64>,
        optional: bool,
        pieces: Pieces,
        reservation: Reservation,
        shared: &Arc<SharedState>,
        measures_latency: bool,
        tasks: &Tasks,
    ) -> Self {
        let arrival = Arc::new(Arrival {
            size: range.end - range.start,
            requested: OnceLock::new(),
            measures_latency,
            first_byte: OnceLock::new(),
            arrived: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            is_front: AtomicBool::new(false),
            stalled: AtomicBool::new(false),
            wake: Notify::new(),
            held: Mutex::new(Held { reservation, reserved: 0, waiting: 0 }),
            shared: Arc::clone(shared),
        });
        let (sender, receiver) = mpsc::unbounded_channel();
        let reading = AbortOnDropHandle::new(tasks.spawn(read(Arc::clone(&arrival), pieces, sender)));
        Self { left: range, optional, pieces: receiver, arrival, _reading: reading }
    }

    /// The bytes that the caller has not taken.
    pub(super) fn left(&self) -> Range<u64> {
        self.left.clone()
    }

    /// Tells the part that the caller takes its bytes next.
    pub(super) fn make_front(&self) {
        if !self.arrival.is_front.swap(true, Ordering::Relaxed) {
            self.arrival.wake.notify_one();
        }
    }

    /// Reserves memory for a part that waits for it. Returns `false` if it has to go on waiting.
    pub(super) fn unstall(&self) -> bool {
        if !self.is_stalled() {
            return true;
        }
        let has_memory = self.arrival.reserve_next();
        if has_memory {
            self.arrival.wake.notify_one();
        }
        has_memory
    }

    /// Whether the part waits for memory.
    pub(super) fn is_stalled(&self) -> bool {
        self.arrival.stalled.load(Ordering::Relaxed)
    }

    /// The next bytes, if they have arrived.
    pub(super) fn try_next(&mut self) -> Option<Result<Bytes, Error>> {
        match self.pieces.try_recv() {
            Ok(piece) => Some(self.take(Some(piece))),
            Err(TryRecvError::Disconnected) => Some(self.take(None)),
            Err(TryRecvError::Empty) => None,
        }
    }

    /// Waits for the next bytes. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Bytes, Error> {
        let piece = self.pieces.recv().await;
        self.take(piece)
    }

    fn take(&mut self, piece: Option<Result<Bytes, Error>>) -> Result<Bytes, Error> {
        // The task sends an error or all bytes, unless it has been stopped.
        let missing = || Err(Error::new(ErrorKind::Internal, "the task that reads a part has stopped"));
        let bytes = piece.unwrap_or_else(missing)?;
        self.left.start += bytes.len() as u64;
        self.arrival.taken(bytes.len() as u64);
        Ok(bytes)
    }

    /// Whether the part's connection will be in use for longer than a new request takes to get the first byte of its
    /// response.
    pub(super) fn is_busy(&self) -> bool {
        let Arrival { size, first_byte, arrived, ended, shared, .. } = &*self.arrival;
        if ended.load(Ordering::Relaxed) {
            return false;
        }
        let (Some(since), arrived) = (first_byte.get(), arrived.load(Ordering::Relaxed)) else { return true };
        let to_come = size.saturating_sub(arrived);
        let elapsed = since.elapsed().as_micros();
        let latency = u128::from(shared.latency.load(Ordering::Relaxed));
        // The first bytes say nothing about the rate.
        to_come > arrived || u128::from(to_come) * elapsed >= latency * u128::from(arrived)
    }

    /// Whether some of its bytes have yet to arrive, unless it has failed.
    pub(super) fn is_in_flight(&self) -> bool {
        !self.arrival.ended.load(Ordering::Relaxed)
    }

    /// Number of bytes that have not arrived.
    pub(super) fn to_come(&self) -> u64 {
        self.arrival.size.saturating_sub(self.arrival.arrived.load(Ordering::Relaxed))
    }
}

impl Arrival {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the next bytes may be read: until there is memory for them, or until the caller waits for them.
    async fn room(&self) {
        while !self.reserve_next() {
            self.stalled.store(true, Ordering::Relaxed);
            self.wake.notified().await;
            self.stalled.store(false, Ordering::Relaxed);
        }
    }

    fn reserve_next(&self) -> bool {
        let to_come = self.size.saturating_sub(self.arrived.load(Ordering::Relaxed));
        let mut held = self.held();
        let needed = held.waiting + to_come.min(STEP);
        if needed > held.reserved {
            let more = needed.next_multiple_of(STEP).min(held.waiting + to_come);
            if !held.reservation.hold_ahead(more) {
                return self.is_front.load(Ordering::Relaxed) && held.waiting < STEP;
            }
            held.reserved = more;
        }
        true
    }

    fn arrived(&self, bytes: usize) {
        if self.first_byte.set(Instant::now()).is_ok()
            && let Some(requested) = self.requested.get()
        {
            self.shared.record_latency(requested.elapsed());
        }
        self.arrived.fetch_add(bytes as u64, Ordering::Relaxed);
        self.held().waiting += bytes as u64;
    }

    /// Whether the caller waits for the `gathered` bytes, because it has taken all others.
    fn is_awaited(&self, gathered: usize) -> bool {
        self.is_front.load(Ordering::Relaxed) && self.held().waiting == gathered as u64
    }

    fn taken(&self, bytes: u64) {
        let mut held = self.held();
        held.waiting = held.waiting.saturating_sub(bytes);
        let to_come = if self.ended.load(Ordering::Relaxed) { 0 } else { STEP };
        let needed = held.waiting + to_come;
        // Each change takes the budget's lock.
        if held.reserved > needed + STEP || needed == 0 {
            held.reservation.hold_ahead(needed);
            held.reserved = needed;
        }
        drop(held);
        if self.is_front.load(Ordering::Relaxed) {
            self.wake.notify_one();
        }
    }
}

impl SharedState {
    fn record_latency(&self, latency: Duration) {
        let new = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latency.update(Ordering::Relaxed, Ordering::Relaxed, |old| {
            if old == 0 { new } else { (old / 4).saturating_mul(3).saturating_add(new / 4) }
        });
    }
}

/// Reads a part as far as there is memory, joins small pieces, and passes the bytes on.
async fn read(arrival: Arc<Arrival>, mut part: Pieces, pieces: mpsc::UnboundedSender<Result<Bytes, Error>>) {
    let mut gathered = BytesMut::new();
    loop {
        arrival.room().await;
        if arrival.measures_latency {
            arrival.requested.get_or_init(Instant::now);
        }
        let piece = match part.next().await {
            Some(Ok(piece)) => piece,
            Some(Err(error)) => {
                let _ = flush(&mut gathered, &pieces) && pieces.send(Err(error)).is_ok();
                break;
            }
            None => {
                flush(&mut gathered, &pieces);
                break;
            }
        };
        arrival.arrived(piece.len());
        let small = piece.len() < SMALL;
        if small {
            gathered.extend_from_slice(&piece);
        }
        let gathers = small && gathered.len() < GATHERED && !arrival.is_awaited(gathered.len());
        let open = (gathers || flush(&mut gathered, &pieces)) && (small || pieces.send(Ok(piece)).is_ok());
        if !open {
            return;
        }
    }
    arrival.ended.store(true, Ordering::Relaxed);
    arrival.shared.freed.notify_one();
}

/// Passes on the gathered bytes. Returns whether the part is still wanted.
fn flush(gathered: &mut BytesMut, pieces: &mpsc::UnboundedSender<Result<Bytes, Error>>) -> bool {
    gathered.is_empty() || pieces.send(Ok(gathered.split().freeze())).is_ok()
}
