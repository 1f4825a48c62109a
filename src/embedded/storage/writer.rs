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
    sweep::unused,
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
            loop {
                let Batch { changes, last } = next_batch(&arriving);
                // redb panics where a file is not as it wrote it. Whoever waits for this batch is told that it is
                // lost; the thread goes on.
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

/// Changes that share a commit, and whether it is the last.
struct Batch {
    changes: Vec<Change>,
    last: bool,
}

/// The changes that are there, once there is one or it is time to stop.
fn next_batch(arriving: &mpsc::Receiver<Order>) -> Batch {
    let mut changes = Vec::new();
    let mut next = arriving.recv().ok();
    loop {
        match next {
            Some(Order::Change(change)) => changes.push(change),
            Some(Order::Stop) => return Batch { changes, last: true },
            None => return Batch { last: changes.is_empty(), changes },
        }
        if changes.len() == SHARED {
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
            // Whatever happens from here on, a row may refer to them.
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

/// After a commit that failed it is not known what of it is on the disk, until the database has been opened again.
fn keep(database: &Database, blobs: Vec<NewBlob>, committed: bool) {
    let unused = if committed {
        Vec::new()
    } else {
        let names = blobs.iter().map(NewBlob::name);
        // Kept if even that cannot be told; the next run sweeps them.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn change() -> Order {
        Order::Change(Box::new(|_| Ok(Box::new(|_| {}))))
    }

    #[test]
    fn what_arrives_shares_a_commit_and_an_order_to_stop_is_the_last() {
        let (orders, arriving) = mpsc::channel();
        for _ in 0..=SHARED {
            orders.send(change()).unwrap();
        }
        let full = next_batch(&arriving);
        assert_eq!((full.changes.len(), full.last), (SHARED, false));
        orders.send(Order::Stop).unwrap();
        let rest = next_batch(&arriving);
        assert_eq!((rest.changes.len(), rest.last), (1, true));
        drop(orders);
        assert!(next_batch(&arriving).last);
    }
}
