//! Parts of a multipart upload: the one that fills, those under way, and those that S3 has.

use std::{future::Future, time::Duration};

use bytes::Bytes;
use tokio::{
    task::{JoinSet, yield_now},
    time::timeout,
};
use tracing::Instrument;

use super::{
    ChecksumAlgorithm, Error, ErrorKind, S3Store, TenantBudget, budget::Reservation, part_buffer::PartBuffer,
    part_size::PartSizes, part_sums::PartSums,
};
use crate::{
    s3::{MultipartUpload, Part, SummedPayload},
    transport::AT_ONCE,
};

/// How many bytes an upload may hold before it needs memory of the budget: as much as its stream's window, which the
/// connection holds anyway. So small uploads never wait for large ones.
const FREE: u64 = 256 * 1024;

/// The bytes that are not a part yet. Memory for a whole part is reserved before it fills: uploads that each held half
/// of one, and no memory left for the other half, would wait for each other for ever.
#[derive(Debug)]
pub(super) struct Filling {
    budget: TenantBudget,
    buffer: PartBuffer,
    algorithm: Option<ChecksumAlgorithm>,
    /// Of all that is in the buffer; `None` where that has not been summed up from its beginning.
    sums: Option<PartSums>,
    /// How many bytes have been summed up since other calls had their turn.
    at_once: usize,
    reservation: Option<Reservation>,
}

/// A part that is full, with the memory reserved for it.
#[derive(Debug)]
pub(super) struct Full {
    payload: SummedPayload,
    reservation: Option<Reservation>,
}

impl Filling {
    pub(super) fn new(budget: TenantBudget, algorithm: Option<ChecksumAlgorithm>) -> Self {
        Self { budget, buffer: PartBuffer::default(), algorithm, sums: None, at_once: 0, reservation: None }
    }

    /// The checksum that parts have.
    pub(super) fn algorithm(&self) -> Option<ChecksumAlgorithm> {
        self.algorithm
    }

    /// How many bytes are in it.
    pub(super) fn len(&self) -> u64 {
        self.buffer.len()
    }

    /// Takes the next bytes; waits for memory for `room` bytes in all where there is none yet. They will be taken `cut` bytes at
    /// a time; where that is not known they are summed up only then.
    pub(super) async fn push(&mut self, mut data: Bytes, room: u64, cut: Option<u64>) -> Result<(), Error> {
        if self.reservation.is_none() && self.buffer.len() + data.len() as u64 > FREE {
            self.reservation = Some(self.budget.reserve(room).await?);
        }
        if self.sums.is_none() && self.buffer.len() == 0 {
            self.sums = self.algorithm.map(PartSums::new);
        }
        let (Some(sums), Some(cut)) = (&mut self.sums, cut) else {
            self.sums = None;
            self.buffer.push(data);
            return Ok(());
        };
        while !data.is_empty() {
            let piece = data.split_to(data.len().min(AT_ONCE));
            if self.at_once + piece.len() > AT_ONCE {
                yield_now().await;
                self.at_once = 0;
            }
            self.at_once += piece.len();
            sums.update(&piece, cut);
            self.buffer.push(piece);
        }
        Ok(())
    }

    /// The first `size` bytes, or all if there are fewer.
    pub(super) async fn take(&mut self, size: u64) -> Full {
        let all = size >= self.buffer.len();
        let sum = |sums: &mut PartSums| if all { sums.take_all() } else { sums.take_part(size) };
        let (checksum, bytes) = (self.sums.as_mut().and_then(sum), self.buffer.take(size).into());
        let payload = if checksum.is_some() {
            SummedPayload { bytes, checksum }
        } else {
            // Cut elsewhere than was foreseen, or as much at once as no sums can be put together for.
            self.sums = None;
            SummedPayload::new(self.algorithm, bytes).await
        };
        Full { payload, reservation: self.reservation.take() }
    }
}

impl Full {
    /// The bytes, for a request that is over before the memory is given back.
    pub(super) fn into_parts(self) -> (SummedPayload, Option<Reservation>) {
        (self.payload, self.reservation)
    }
}

/// How long a full part waits for one that is under way before it goes beside it: S3 is then slower than the caller. Where it
/// is not, two parts are all that an upload holds.
const PATIENCE: Duration = Duration::from_millis(25);

/// Parts under way and parts that S3 has. Dropped, it drops the requests for parts under way.
#[derive(Debug)]
pub(super) struct Parts {
    /// How many may be under way, as far as was worth it by now.
    width: usize,
    under_way: JoinSet<Result<(Part, u64), Error>>,
    bytes_under_way: u64,
    done: Vec<(Part, u64)>,
}

impl Default for Parts {
    fn default() -> Self {
        Self { width: 1, under_way: JoinSet::new(), bytes_under_way: 0, done: Vec::new() }
    }
}

impl Parts {
    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.done.len() + self.under_way.len()
    }

    /// How many of them are under way.
    pub(super) fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// Sends a part, once there is room beside those under way.
    pub(super) async fn send(
        &mut self,
        store: &S3Store,
        upload: &MultipartUpload,
        number: u32,
        part: Full,
        sizes: &PartSizes,
    ) -> Result<(), Error> {
        let size = part.payload.bytes.len();
        let most = store.settings().transfer.max_concurrency;
        while self.under_way() > 0 && self.bytes_under_way + size > sizes.most_held() {
            self.one_done().await.transpose()?;
        }
        while self.under_way() >= self.width.min(most) {
            if self.width >= most {
                self.one_done().await.transpose()?;
            } else if let Ok(done) = timeout(PATIENCE, self.one_done()).await {
                done.transpose()?;
            } else {
                self.width = most;
            }
        }
        let (store, upload, (payload, reservation)) = (store.clone(), upload.clone(), part.into_parts());
        self.start(size, async move {
            let part = store.client().upload_part(&upload, number, payload, store.deadline).await;
            drop(reservation);
            part
        });
        Ok(())
    }

    /// Starts a part of `size` bytes.
    pub(super) fn start(
        &mut self,
        size: u64,
        part: impl Future<Output = Result<Part, Error>> + Send + 'static,
    ) {
        self.bytes_under_way += size;
        self.under_way.spawn(async move { Ok((part.await?, size)) }.in_current_span());
    }

    /// Waits for one part to end; `None` if none is under way. May be dropped without losing a part.
    pub(super) async fn one_done(&mut self) -> Option<Result<(), Error>> {
        let joined = self.under_way.join_next().await?;
        Some(self.record(joined))
    }

    /// Waits until a part has failed. Never ends while all is well; may be dropped without losing a part.
    pub(super) async fn failed(&mut self) -> Error {
        loop {
            match self.one_done().await {
                Some(Ok(())) => {}
                Some(Err(error)) => return error,
                None => return std::future::pending().await,
            }
        }
    }

    /// Notes the parts that have ended, without waiting.
    pub(super) fn note_done(&mut self) -> Result<(), Error> {
        while let Some(joined) = self.under_way.try_join_next() {
            self.record(joined)?;
        }
        Ok(())
    }

    /// All parts with their sizes in bytes, in order, once none is under way.
    pub(super) async fn all_done(&mut self) -> Result<Vec<(Part, u64)>, Error> {
        while let Some(part) = self.one_done().await {
            part?;
        }
        self.done.sort_by_key(|(part, _)| part.number);
        Ok(std::mem::take(&mut self.done))
    }

    /// Stops the parts under way, and waits until they have.
    pub(super) async fn stop(&mut self) {
        self.under_way.shutdown().await;
    }

    fn record(
        &mut self,
        joined: Result<Result<(Part, u64), Error>, tokio::task::JoinError>,
    ) -> Result<(), Error> {
        let stopped = |_| Error::new(ErrorKind::Internal, "the upload of a part was stopped");
        let (part, size) = joined.map_err(stopped)??;
        self.bytes_under_way -= size;
        self.done.push((part, size));
        Ok(())
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
        Filling::new(budget.share(None), algorithm)
    }

    proptest! {
        /// Whatever was foreseen of where they will be cut.
        #[test]
        fn what_is_taken_has_the_checksum_of_its_bytes(
            steps in proptest::collection::vec((0_usize..900, proptest::option::of(1_u64..700), 0_u64..1_500), 1..12),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            for algorithm in ChecksumAlgorithm::ALL {
                runtime.block_on(async {
                    let (mut filling, mut waiting) = (filling(Some(algorithm)), Vec::new());
                    for (number, (len, cut, size)) in steps.iter().enumerate() {
                        let data = vec![u8::try_from(number).unwrap(); *len];
                        waiting.extend_from_slice(&data);
                        filling.push(data.into(), 1, *cut).await.unwrap();
                        let (payload, _) = filling.take(*size).await.into_parts();
                        let taken: Vec<u8> = waiting.drain(..waiting.len().min(usize::try_from(*size).unwrap())).collect();
                        let expected = SummedPayload::new(Some(algorithm), Bytes::from(taken).into()).await;
                        assert_eq!(payload.checksum, expected.checksum);
                        assert_eq!(payload.bytes.len(), expected.bytes.len());
                    }
                });
            }
        }
    }

    #[tokio::test]
    async fn others_have_their_turn_while_much_is_summed_up() {
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
                    filling.push(vec![0; AT_ONCE / 2].into(), 1, Some(u64::MAX)).await.unwrap();
                }
                filling.push(vec![0; 4 * AT_ONCE].into(), 1, Some(u64::MAX)).await.unwrap();
            })
            .await;
        assert!(turns.get() >= 7, "{} turns", turns.get());
    }
}
