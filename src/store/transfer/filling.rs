//! The part of an upload that is being filled, and the memory reserved for it.

use std::{convert::Infallible, pin::Pin};

use bytes::Bytes;
use tokio::{
    task::yield_now,
    time::{Instant, Sleep, sleep},
};

use super::{
    fill_rate::{FillRate, INTERVAL},
    part_buffer::PartBuffer,
    part_sums::PartSums,
    speed_record::SpeedRecord,
};
use crate::store::{
    ChecksumAlgorithm, Error, ErrorKind, Reservation, TenantBudget,
    budget::{FirstBytes, Granted},
};
use crate::{s3::ChecksummedPayload, transport::HASH_SLICE};

/// The buffered bytes that do not form a part yet, and their memory.
///
/// The part of a fast caller gets all of its memory at once. Any other part first gets 256 KiB if memory is plentiful,
/// and then memory for the whole part. If other calls wait for memory, a part that fills slowly keeps only what it has
/// filled and a little more, and requests more later.
#[derive(Debug)]
pub(in crate::store) struct Filling {
    buffer: PartBuffer,
    algorithm: Option<ChecksumAlgorithm>,
    /// The checksums of all bytes in the buffer; `None` if not all of them have been hashed.
    sums: Option<PartSums>,
    /// Number of bytes hashed since the task last yielded.
    hashed_since_yield: usize,
    budget: TenantBudget,
    first: Option<FirstBytes>,
    reservation: Option<Reservation>,
    /// How many bytes may be in the buffer before more memory is needed. `u64::MAX` once the memory for the whole part
    /// is reserved.
    covered: u64,
    /// How many bytes the part needs in total, as far as is known.
    needed: u64,
    speed: Speed,
    record: SpeedRecord,
    /// Whether the part being filled has been recorded as slow.
    recorded_slow: bool,
    pace: FillRate,
    tick: Option<Pin<Box<Sleep>>>,
}

/// The caller's speed, as its latest part showed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speed {
    Unknown,
    Fast,
    Slow,
}

/// A full part, and the memory reserved for it.
#[derive(Debug)]
pub(in crate::store) struct FullPart {
    payload: ChecksummedPayload,
    reservation: Option<Reservation>,
}

impl Filling {
    pub(in crate::store) fn new(
        budget: TenantBudget,
        record: SpeedRecord,
        algorithm: Option<ChecksumAlgorithm>,
    ) -> Self {
        Self {
            buffer: PartBuffer::default(),
            algorithm,
            sums: None,
            hashed_since_yield: 0,
            budget,
            first: None,
            reservation: None,
            covered: 0,
            needed: 0,
            speed: Speed::Unknown,
            record,
            recorded_slow: false,
            pace: FillRate::default(),
            tick: None,
        }
    }

    /// The algorithm of the parts' checksums.
    pub(in crate::store) fn algorithm(&self) -> Option<ChecksumAlgorithm> {
        self.algorithm
    }

    /// Number of buffered bytes.
    pub(in crate::store) fn len(&self) -> u64 {
        self.buffer.len()
    }

    /// Waits until there is memory for the next bytes, then adds them. Their part needs memory for `needed` bytes in
    /// total. Parts will be `part_size` bytes long. If that is not known, a part is hashed only when it is taken.
    pub(in crate::store) async fn push(
        &mut self,
        mut data: Bytes,
        needed: u64,
        part_size: Option<u64>,
    ) -> Result<(), Error> {
        self.pace.received(data.len() as u64, Instant::now());
        self.make_room(self.len() + data.len() as u64, needed).await.inspect_err(|_| self.record.slow())?;
        if self.sums.is_none() && self.buffer.len() == 0 {
            self.sums = self.algorithm.map(PartSums::new);
        }
        let (Some(sums), Some(part_size)) = (&mut self.sums, part_size) else {
            self.sums = None;
            self.buffer.push(data);
            return Ok(());
        };
        while !data.is_empty() {
            let piece = data.split_to(data.len().min(HASH_SLICE));
            if self.hashed_since_yield + piece.len() > HASH_SLICE {
                yield_now().await;
                self.hashed_since_yield = 0;
            }
            self.hashed_since_yield += piece.len();
            sums.update(&piece, part_size);
            self.buffer.push(piece);
        }
        Ok(())
    }

    /// Removes and returns the first `size` bytes, or all if there are fewer.
    pub(in crate::store) async fn take(&mut self, size: u64) -> FullPart {
        let size = size.min(self.buffer.len());
        let all = size == self.buffer.len();
        let sum = |sums: &mut PartSums| if all { sums.take_all() } else { sums.take_part(size) };
        let (checksum, bytes) = (self.sums.as_mut().and_then(sum), self.buffer.take(size).into());
        let reservation = self.end_part(size);
        let payload = if checksum.is_some() {
            ChecksummedPayload { bytes, checksum }
        } else {
            // There is no usable checksum: the part was not hashed on arrival, its boundary moved, or the checksums
            // cannot be combined. Hash the whole part, if an algorithm is set.
            self.sums = None;
            ChecksummedPayload::new(self.algorithm, bytes).await
        };
        FullPart { payload, reservation }
    }

    /// Watches the caller while the server waits for it: a part that fills slowly gives memory back if other calls
    /// wait for memory. Returns only if the upload has to end. Cancel safe: the wait keeps being measured until the
    /// next [`Self::push`].
    pub(in crate::store) async fn watch(&mut self) -> Error {
        self.pace.begin_wait(Instant::now());
        loop {
            if self.reservation.is_none() {
                return std::future::pending().await;
            }
            self.tick.get_or_insert_with(|| Box::pin(sleep(INTERVAL))).as_mut().await;
            self.tick = None;
            if let Some(error) = self.review(Instant::now()) {
                return error;
            }
        }
    }

    /// Gives memory back that other calls wait for, while the server itself keeps the caller waiting. The caller is not
    /// judged by this time. Never returns. Cancel safe.
    pub(in crate::store) async fn hold_back(&mut self) -> Infallible {
        self.pace.received(0, Instant::now());
        loop {
            if self.reservation.is_none() {
                return std::future::pending().await;
            }
            self.tick.get_or_insert_with(|| Box::pin(sleep(INTERVAL))).as_mut().await;
            self.tick = None;
            if self.budget.is_contended() && self.give_back() {
                self.speed = Speed::Slow;
            }
        }
    }

    async fn make_room(&mut self, len: u64, needed: u64) -> Result<(), Error> {
        self.needed = needed;
        if len.min(needed.max(1)) <= self.covered {
            return Ok(());
        }
        if self.first.is_none() && self.reservation.is_none() {
            self.first = self.budget.first_bytes();
        }
        if len <= FirstBytes::SIZE && self.first.is_some() {
            return Ok(());
        }
        let reservation = self.reservation.get_or_insert_with(|| self.budget.reservation());
        self.covered = match self.speed {
            Speed::Fast => reservation.next_part(needed).await.map(|()| u64::MAX)?,
            _ if len <= BEGINNING && self.covered == 0 && reservation.beginning(BEGINNING.min(needed)) => {
                BEGINNING
            }
            Speed::Unknown => {
                reservation.first_part(needed, self.record.is_slow()).await.map(|()| u64::MAX)?
            }
            Speed::Slow if reservation.whole_if_roomy(needed) => u64::MAX,
            Speed::Slow => {
                let some = len.saturating_add(self.pace.slack()).min(needed);
                match reservation.part_of_slow_caller(some, needed).await? {
                    Granted::Some => some,
                    Granted::Whole => {
                        // From here on, the caller is judged by how fast it fills this memory.
                        self.pace.next_part(0);
                        u64::MAX
                    }
                }
            }
        };
        self.first = None;
        Ok(())
    }

    /// Judges the caller's speed. Returns an error if the upload has to end.
    fn review(&mut self, now: Instant) -> Option<Error> {
        let slow = self.pace.is_slow(self.needed.saturating_sub(self.buffer.len()), now);
        if !self.budget.is_contended() {
            return None;
        }
        let idle = self.budget.settings().idle_timeout;
        if self.pace.silence(now) >= idle {
            self.budget.count_ended("upload_idle");
            let message = format!("the caller sent nothing for {idle:?} while other calls waited for memory");
            return Some(Error::new(ErrorKind::UploadIdle, message));
        }
        if slow == Some(true) {
            self.speed = Speed::Slow;
            self.record_slow();
            if !self.give_back() && self.covered == u64::MAX {
                let part = self.pace.part(now);
                let memory = self.reservation.as_ref();
                return memory
                    .and_then(|memory| memory.too_slow(part.bytes, self.needed, part.waited))
                    .inspect(|_| self.record.slow());
            }
        }
        None
    }

    /// Gives back all memory except what is filled and a little more. Returns `false` if there is too little to give
    /// back, or if the rest would not fit into the memory reserved for slow callers.
    fn give_back(&mut self) -> bool {
        let keep = self.buffer.len().saturating_add(self.pace.slack());
        let worth_it = keep.saturating_add(WORTH_IT) <= self.covered.min(self.needed);
        let given = worth_it && self.reservation.as_ref().is_some_and(|memory| memory.give_back_to(keep));
        if given {
            self.covered = keep;
            self.buffer.compact();
        }
        given
    }

    /// Records the part as slow, unless it has been recorded already.
    fn record_slow(&mut self) {
        if !std::mem::replace(&mut self.recorded_slow, true) {
            self.record.slow();
        }
    }

    fn end_part(&mut self, size: u64) -> Option<Reservation> {
        self.covered = 0;
        let reservation = self.reservation.take();
        if self.pace.next_part(size) {
            self.speed = Speed::Fast;
            // A small upload says nothing about the speed of large ones.
            if reservation.is_some() {
                self.record.fast();
            }
        } else {
            self.speed = Speed::Slow;
            self.record_slow();
        }
        self.recorded_slow = false;
        if let Some(reservation) = &reservation {
            reservation.moving(size);
        }
        reservation
    }
}

/// Number of bytes that an upload gets first while memory is plentiful. Small objects of unknown size then do not
/// reserve memory for a whole part.
const BEGINNING: u64 = 256 * 1024;
/// Minimum number of bytes that a slow part gives back at once.
const WORTH_IT: u64 = 64 * 1024;

impl FullPart {
    /// Number of bytes.
    pub(in crate::store) fn len(&self) -> u64 {
        self.payload.bytes.len()
    }

    /// Returns the bytes and their reservation, which must live until the request with the bytes has ended.
    pub(in crate::store) fn into_parts(self) -> (ChecksummedPayload, Option<Reservation>) {
        (self.payload, self.reservation)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        store::{MemoryBudget, MemorySettings},
        telemetry::Metrics,
    };

    fn filling(algorithm: Option<ChecksumAlgorithm>) -> Filling {
        let budget = MemoryBudget::new(
            MemorySettings { budget: 1 << 20, ..MemorySettings::default() },
            Metrics::default(),
        );
        Filling::new(budget.share(None), SpeedRecord::default(), algorithm)
    }

    proptest! {
        /// This holds wherever parts were expected to end.
        #[test]
        fn a_part_has_the_checksum_of_its_bytes(
            steps in proptest::collection::vec((0_usize..900, proptest::option::of(1_u64..700), 0_u64..1_500), 1..12),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            for algorithm in ChecksumAlgorithm::ALL {
                runtime.block_on(async {
                    let (mut filling, mut waiting) = (filling(Some(algorithm)), Vec::new());
                    for (number, (len, cut, size)) in steps.iter().enumerate() {
                        let data = vec![u8::try_from(number).unwrap(); *len];
                        waiting.extend_from_slice(&data);
                        filling.push(data.into(), 1 << 20, *cut).await.unwrap();
                        let (payload, _) = filling.take(*size).await.into_parts();
                        let taken: Vec<u8> = waiting.drain(..waiting.len().min(usize::try_from(*size).unwrap())).collect();
                        let expected = ChecksummedPayload::new(Some(algorithm), Bytes::from(taken).into()).await;
                        assert_eq!(payload.checksum, expected.checksum);
                        assert_eq!(payload.bytes.len(), expected.bytes.len());
                    }
                });
            }
        }
    }

    #[tokio::test]
    async fn hashing_many_bytes_yields_to_other_tasks() {
        let mut filling = filling(Some(ChecksumAlgorithm::Sha256));
        let turns = std::rc::Rc::new(std::cell::Cell::new(0));
        let counted = std::rc::Rc::clone(&turns);
        tokio::task::LocalSet::new()
            .run_until(async move {
                tokio::task::spawn_local(async move {
                    loop {
                        counted.set(counted.get() + 1);
                        yield_now().await;
                    }
                });
                for _ in 0..8 {
                    filling.push(vec![0; HASH_SLICE / 2].into(), 1, Some(u64::MAX)).await.unwrap();
                }
                filling.push(vec![0; 4 * HASH_SLICE].into(), 1, Some(u64::MAX)).await.unwrap();
            })
            .await;
        assert!(turns.get() >= 7, "{} turns", turns.get());
    }
}
