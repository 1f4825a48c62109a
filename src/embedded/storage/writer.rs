//! The one thread that changes the database.
//!
//! A commit waits for the disk, and redb has one at a time. So changes that arrive while a commit is under
//! way share the next one: each is whole by itself, and all of them are on the disk when it returns.

use std::{
    fs::File,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use redb::StorageError;
use s3s::{S3Error, S3Result, s3_error};
use tokio::sync::oneshot;

use super::{
    Failed,
    blobs::{Blobs, NewBlob},
    database::Database,
    reserve::Reserve,
    tables::Writing,
};

/// Changes that share a commit at most: enough for a busy server, few enough that a failure of the disk
/// does not take many with it.
const SHARED: usize = 64;

/// Tells the caller what became of its change, once that is known.
type Answer = Box<dyn FnOnce(bool) + Send>;

/// Either refuses with nothing changed, or changes. An error of the storage undoes all that share the commit.
type Change = Box<dyn FnOnce(&mut Writing<'_>) -> Result<Answer, StorageError> + Send>;

enum Order {
    Change(Change),
    Stop,
}

/// The way to the thread. A caller has one change under way, so what waits is bounded by the callers.
#[derive(Debug)]
pub(super) struct Writer {
    orders: mpsc::Sender<Order>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

impl Writer {
    pub(super) fn start(
        database: Arc<Database>,
        blobs: Arc<Blobs>,
        reserve: Arc<Reserve>,
    ) -> io::Result<Self> {
        let (orders, arriving) = mpsc::channel();
        let thread = thread::Builder::new().name("s3-writer".to_owned()).spawn(move || {
            while let Some(batch) = next_batch(&arriving) {
                // redb panics where a file is not as it wrote it. Whoever waits for this batch is told that it is
                // lost; the thread goes on.
                if catch_unwind(AssertUnwindSafe(|| commit(&database, &blobs, &reserve, batch))).is_err() {
                    database.reopen();
                }
            }
        })?;
        Ok(Self { orders, thread: Mutex::new(Some(thread)) })
    }

    /// Runs `change` in a transaction; what it gives is on the disk when this returns. If the caller leaves
    /// meanwhile, the change takes place all the same, or not, but never in part.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Writing<'_>) -> Result<T, Failed> + Send + 'static,
    ) -> S3Result<T> {
        let (answer, answered) = oneshot::channel::<S3Result<T>>();
        let change: Change = Box::new(move |tables| match change(tables) {
            Ok(value) => Ok(Box::new(move |committed| {
                // Nobody listens if the caller has left.
                let _ = answer.send(if committed { Ok(value) } else { Err(lost()) });
            })),
            Err(Failed::Refused(error)) => Ok(Box::new(move |_| {
                let _ = answer.send(Err(error));
            })),
            Err(Failed::Storage(error)) => Err(error),
        });
        self.orders.send(Order::Change(change)).map_err(|_| lost())?;
        answered.await.unwrap_or_else(|_| Err(lost()))
    }

    /// Ends the thread after the changes that it has, and waits for it.
    pub(super) fn stop(&self) {
        // It is gone already if it panicked, and said so.
        let _ = self.orders.send(Order::Stop);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let _ = thread.map(thread::JoinHandle::join);
    }
}

/// The changes that are there, once there is one; none when it is time to stop.
fn next_batch(arriving: &mpsc::Receiver<Order>) -> Option<Vec<Change>> {
    let Ok(Order::Change(first)) = arriving.recv() else { return None };
    let mut batch = vec![first];
    while batch.len() < SHARED
        && let Ok(order) = arriving.try_recv()
    {
        match order {
            Order::Change(change) => batch.push(change),
            // The next call finds nobody who sends, or another order to stop.
            Order::Stop => break,
        }
    }
    Some(batch)
}

fn commit(database: &Database, blobs: &Blobs, reserve: &Reserve, batch: Vec<Change>) {
    let mut kept = Vec::new();
    let mut answers = Vec::with_capacity(batch.len());
    let result = database.write(|tables| {
        for change in batch {
            let answer = change(tables);
            // Whatever happens from here on, a row may refer to them.
            kept.append(&mut tables.kept);
            answers.push(answer?);
        }
        sync_folders(kept.iter().map(NewBlob::folder))?;
        Ok(std::mem::take(&mut tables.dropped))
    });
    kept.into_iter().for_each(NewBlob::keep);
    if let Err(error) = &result {
        tracing::error!(%error, "the embedded S3 server cannot write to its database");
        give_up_if_full(reserve, error);
    }
    for answer in answers {
        answer(result.is_ok());
    }
    blobs.remove(result.unwrap_or_default());
}

fn give_up_if_full(reserve: &Reserve, error: &StorageError) {
    if matches!(error, StorageError::Io(error) if error.kind() == io::ErrorKind::StorageFull)
        && let Err(error) = reserve.give_up()
    {
        tracing::error!(%error, "the embedded S3 server cannot make room for deleting");
    }
}

/// A renamed file is found again after a crash once its folder is on the disk.
fn sync_folders(folders: impl Iterator<Item = PathBuf>) -> Result<(), StorageError> {
    let mut folders: Vec<_> = folders.collect();
    folders.sort_unstable();
    folders.dedup();
    folders.into_iter().try_for_each(|folder| File::open(folder)?.sync_all()).map_err(StorageError::Io)
}

fn lost() -> S3Error {
    s3_error!(InternalError, "The change could not be written; the server's log says why")
}
