//! The only thread that changes the database.
//!
//! A commit waits for the disk, and redb runs one at a time. So changes that arrive during a commit share the next one.
//! Each change is atomic by itself, and all of them are on disk when the commit returns.

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
    sweep::unused,
    tables::Writing,
};

/// The largest number of changes that share a commit: enough for a busy server, and few enough that a failure of the
/// disk affects few changes.
const MAX_BATCH: usize = 64;

/// Sends the result of a change to its caller, once it is known whether the commit succeeded.
type Answer = Box<dyn FnOnce(bool) + Send>;

/// Either rejects without having changed anything, or makes its change. A storage error rolls back all changes that
/// share the commit.
type Change = Box<dyn FnOnce(&mut Writing<'_>) -> Result<Answer, StorageError> + Send>;

enum Order {
    Change(Change),
    Stop,
}

/// Sends changes to the thread. Each caller has one change in flight, so the number of callers bounds the queue.
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
            loop {
                let Batch { changes, last } = next_batch(&arriving);
                // redb panics if the contents of a file are not what it wrote. The callers of this batch then get an
                // error, and the thread continues.
                if catch_unwind(AssertUnwindSafe(|| commit(&database, &blobs, &reserve, changes))).is_err() {
                    database.reopen();
                }
                if last {
                    break;
                }
            }
        })?;
        Ok(Self { orders, thread: Mutex::new(Some(thread)) })
    }

    /// Runs `change` in a transaction and returns its result. The change is then on disk. If the caller is cancelled in
    /// the meantime, the change is made completely or not at all.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Writing<'_>) -> Result<T, Failed> + Send + 'static,
    ) -> S3Result<T> {
        let (answer, answered) = oneshot::channel::<S3Result<T>>();
        let change: Change = Box::new(move |tables| match change(tables) {
            Ok(value) => Ok(Box::new(move |committed| {
                // This fails if the caller was cancelled.
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

    /// Stops the thread after the changes that have been sent to it, and waits for it to exit.
    pub(super) fn stop(&self) {
        // This fails if the thread has panicked. The panic has already been reported.
        let _ = self.orders.send(Order::Stop);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let _ = thread.map(thread::JoinHandle::join);
    }
}

/// The changes that share a commit, and whether the thread stops after it.
struct Batch {
    changes: Vec<Change>,
    last: bool,
}

/// Waits for a change or the order to stop, then takes all changes that are queued, up to the limit.
fn next_batch(arriving: &mpsc::Receiver<Order>) -> Batch {
    let mut changes = Vec::new();
    let mut next = arriving.recv().ok();
    loop {
        match next {
            Some(Order::Change(change)) => changes.push(change),
            Some(Order::Stop) => return Batch { changes, last: true },
            None => return Batch { last: changes.is_empty(), changes },
        }
        if changes.len() == MAX_BATCH {
            return Batch { changes, last: false };
        }
        next = arriving.try_recv().ok();
    }
}

fn commit(database: &Database, blobs: &Blobs, reserve: &Reserve, batch: Vec<Change>) {
    if batch.is_empty() {
        return;
    }
    let mut kept = Vec::new();
    let mut answers = Vec::with_capacity(batch.len());
    let result = database.write(|tables| {
        for change in batch {
            let answer = change(tables);
            // Whatever happens from here on, a row may refer to these blobs.
            kept.append(&mut tables.kept);
            answers.push(answer?);
        }
        sync_folders(kept.iter().map(NewBlob::folder))?;
        Ok(std::mem::take(&mut tables.dropped))
    });
    if let Err(error) = &result {
        tracing::error!(%error, "the embedded S3 server cannot write to its database");
        give_up_if_full(reserve, error);
    }
    keep(database, kept, result.is_ok());
    for answer in answers {
        answer(result.is_ok());
    }
    blobs.remove(result.unwrap_or_default());
}

/// Keeps the blobs that rows refer to and removes the others. After a failed commit, only the reopened database shows
/// which rows are on disk.
fn keep(database: &Database, blobs: Vec<NewBlob>, committed: bool) {
    let unused = if committed {
        Vec::new()
    } else {
        let names = blobs.iter().map(NewBlob::name);
        // If the database cannot be read either, all blobs are kept, and the next run sweeps the unused ones.
        database.read(|tables| Ok(unused(tables, names)?)).unwrap_or_default()
    };
    for blob in blobs {
        if !unused.contains(&blob.name()) {
            blob.keep();
        }
    }
}

fn give_up_if_full(reserve: &Reserve, error: &StorageError) {
    if matches!(error, StorageError::Io(error) if error.kind() == io::ErrorKind::StorageFull)
        && let Err(error) = reserve.give_up()
    {
        tracing::error!(%error, "the embedded S3 server cannot free the disk space it reserved for deletes");
    }
}

/// Syncs the folders of new files: the name of a file survives a crash only once its folder is on disk.
fn sync_folders(folders: impl Iterator<Item = PathBuf>) -> Result<(), StorageError> {
    let mut folders: Vec<_> = folders.collect();
    folders.sort_unstable();
    folders.dedup();
    folders.into_iter().try_for_each(|folder| File::open(folder)?.sync_all()).map_err(StorageError::Io)
}

fn lost() -> S3Error {
    s3_error!(InternalError, "The server could not write the change; see its log")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change() -> Order {
        Order::Change(Box::new(|_| Ok(Box::new(|_| {}))))
    }

    #[test]
    fn queued_changes_share_a_commit_and_the_order_to_stop_ends_the_last_batch() {
        let (orders, arriving) = mpsc::channel();
        for _ in 0..=MAX_BATCH {
            orders.send(change()).unwrap();
        }
        let full = next_batch(&arriving);
        assert_eq!((full.changes.len(), full.last), (MAX_BATCH, false));
        orders.send(Order::Stop).unwrap();
        let rest = next_batch(&arriving);
        assert_eq!((rest.changes.len(), rest.last), (1, true));
        drop(orders);
        assert!(next_batch(&arriving).last);
    }
}
