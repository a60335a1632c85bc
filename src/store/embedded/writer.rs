//! The writer: one thread that writes waiting batches, and commits them together.
//!
//! An fsync costs the same for one batch as for many, so the thread takes all that wait (64 at most),
//! writes one after another in one transaction, commits once, and only then answers: until
//! the commit even a reject may rest on a batch of the same group. Most batches were worked out before they
//! came to it; the others it works out itself.
//!
//! When the file fails (the disk is full, say), all batches are refused until a probe has been written.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use redb::{Database, ReadableDatabase};
use tokio::sync::oneshot;

use super::super::cache::{Commit, DatasetCache};
use super::super::client_queue::ClientQueue;
use super::super::waiting::Waiting;
use super::super::{ExecuteError, Outcome, StoreError};
use super::entry::{Entry, Work, moment, work_out};
use super::file::{BookFile, Opening};
use super::tables::{ReceiptSweep, Tables, WritableTables};
use super::underway::{Underway, Way};
use super::{EPOCH, blocking, failed};
use crate::clock;
use crate::failpoint::{self, Point};
use crate::model::{ClientId, Lineage, Position, Tag};
use crate::plan::{Planner, Reject};

/// The way to the writer thread. Dropping it ends the thread after all that waits.
#[derive(Debug)]
pub(super) struct Writer {
    file: Arc<BookFile>,
    clients: Arc<ClientQueue>,
    underway: Arc<Underway>,
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    /// Whether the file takes writes, as far as is known.
    writes: Arc<AtomicBool>,
}

struct Job {
    client: ClientId,
    planner: Arc<dyn Planner>,
    /// The batch as it was worked out before, if it was.
    entry: Option<Box<Entry>>,
    answer: oneshot::Sender<Result<Outcome, ExecuteError>>,
    way: Way,
    _waiting: Waiting,
}

impl Writer {
    /// Batches that may wait; one more is told that the store is overloaded.
    const QUEUE: usize = 1024;
    /// Batches that share a commit.
    const GROUP: usize = 64;
    /// Batches that are worked out at once.
    const WORKED_OUT: usize = 16;

    /// Starts the thread.
    pub fn start(file: Arc<BookFile>, cache: Arc<DatasetCache>, receipt_days: u32) -> Self {
        let (jobs, queue) = sync_channel(Self::QUEUE);
        let writes = Arc::new(AtomicBool::new(true));
        let worker = Worker {
            file: Arc::clone(&file),
            queue,
            cache,
            history: clock::new_tag(),
            writes: Arc::clone(&writes),
            sweep: ReceiptSweep::new(receipt_days),
        };
        let thread = std::thread::spawn(move || worker.run());
        let clients = Arc::new(ClientQueue::new(Self::WORKED_OUT, Self::QUEUE));
        Self { file, clients, underway: Arc::default(), jobs: Some(jobs), thread: Some(thread), writes }
    }

    /// Works a batch out, hands it over to be written, and waits until it is committed or refused.
    pub async fn execute(&self, client: ClientId, planner: Arc<dyn Planner>) -> Result<Outcome, ExecuteError> {
        self.check()?;
        // Until it is handed over, so that none of the client's batches overtakes another.
        let turn = self.clients.turn(client.object_id()).await?;
        let way = self.underway.begin(client);
        // Behind another one of the client, what is worked out now would not be true any more.
        let work = if way.is_alone { self.work_out_now(client, &planner).await } else { None };
        let entry = match work {
            Some(Ok(Work::Entry(entry))) => Some(entry),
            Some(Ok(Work::Known(outcome))) => return Ok(*outcome),
            Some(Err(reject)) => return Err(reject.into()),
            None => None,
        };
        let (answer, answered) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or_else(gone)?;
        let job = Job { client, planner, entry, answer, way, _waiting: Waiting::begin() };
        jobs.try_send(job).map_err(|e| match e {
            TrySendError::Full(_) => StoreError::Overloaded,
            TrySendError::Disconnected(_) => gone(),
        })?;
        drop(turn);
        answered.await.map_err(|_| gone())?
    }

    /// Works a batch out on the books as they are committed now. `None` if that failed: the thread will meet what is
    /// wrong and deal with it.
    async fn work_out_now(&self, client: ClientId, planner: &Arc<dyn Planner>) -> Option<Result<Work, Reject>> {
        let (file, planner) = (Arc::clone(&self.file), Arc::clone(planner));
        let work = blocking(move || {
            file.with(|database| {
                let reading = database.begin_read().map_err(failed)?;
                work_out(&Tables::open(&reading)?, &client, &*planner)
            })
        });
        work.await.ok()
    }

    /// Whether batches can be written now.
    ///
    /// # Errors
    /// [`StoreError::Away`] while the file takes no writes, [`StoreError::Unavailable`] if the thread has
    /// ended.
    pub fn check(&self) -> Result<(), StoreError> {
        if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
            return Err(gone());
        }
        if self.writes.load(Ordering::Acquire) { Ok(()) } else { Err(StoreError::Away) }
    }
}

/// Waits for the thread, so that the file is closed when the store is.
impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed already.
            let _ = thread.join();
        }
    }
}

fn gone() -> StoreError {
    StoreError::Unavailable("the writer has dropped the batch or is gone".into())
}

/// What the thread works with.
struct Worker {
    file: Arc<BookFile>,
    queue: Receiver<Job>,
    cache: Arc<DatasetCache>,
    /// Of the commits of this process: what it finds may be a restored backup.
    history: Tag,
    writes: Arc<AtomicBool>,
    sweep: ReceiptSweep,
}

/// The store is dropped.
struct Closed;

impl Worker {
    const FIRST_PAUSE: Duration = Duration::from_millis(50);
    const LONGEST_PAUSE: Duration = Duration::from_secs(2);

    fn run(mut self) {
        while let Ok(first) = self.queue.recv() {
            let group = std::iter::once(first).chain(self.queue.try_iter().take(Writer::GROUP - 1)).collect();
            let opening = self.file.opening();
            let Err(error) = self.work(group).and_then(|()| self.sweep()) else { continue };
            self.writes.store(false, Ordering::Release);
            tracing::error!(%error, "the store cannot write; batches are refused until it can");
            if let Err(Closed) = self.mend(opening) {
                return;
            }
            self.writes.store(true, Ordering::Release);
        }
    }

    /// Commits a group and answers it. An error is one of the file, which nobody can use until it is opened
    /// again. Whether such a commit is on the disk is not known, so it is not tried again here: its own retry
    /// finds the receipt.
    fn work(&self, mut group: Vec<Job>) -> Result<(), StoreError> {
        match commit(&self.file, &mut group, self.history) {
            Ok(results) => {
                for (job, result) in group.into_iter().zip(results) {
                    // First, so that whoever hears of the commit finds it in the dataset.
                    let result = result.map(|(outcome, commit)| {
                        commit.into_iter().for_each(|commit| self.cache.commit(EPOCH, job.client, commit));
                        outcome
                    });
                    job.answer(Ok(result));
                }
            }
            Err(StoreError::Unavailable(why)) => {
                group.into_iter().for_each(|job| job.answer(Err(StoreError::Unavailable(why.clone()))));
                return Err(StoreError::Unavailable(why));
            }
            Err(error) if group.len() == 1 => group.remove(0).answer(Err(error)),
            // What one batch of the group cannot do must not stop the others.
            Err(_) => return group.into_iter().try_for_each(|job| self.work(vec![job])),
        }
        Ok(())
    }

    fn sweep(&mut self) -> Result<(), StoreError> {
        let swept = self.file.with(|database| self.sweep.run_if_due(database));
        match swept {
            Err(StoreError::Internal(error)) => tracing::error!(error, "cannot remove old receipts"),
            swept => return swept,
        }
        Ok(())
    }

    /// Opens the file again and tries to write until that succeeds. Between two tries the file is open for
    /// readers, and batches are refused.
    fn mend(&self, failed: Opening) -> Result<(), Closed> {
        let began = Instant::now();
        let mut pause = Self::FIRST_PAUSE;
        let mut reopened = self.file.reopen(failed);
        loop {
            let opening = self.file.opening();
            let Err(error) = reopened.and_then(|()| self.file.probe()) else { break };
            tracing::debug!(%error, "the store still cannot write");
            reopened = self.file.reopen(opening);
            self.refuse_for(pause)?;
            pause = (pause * 2).min(Self::LONGEST_PAUSE);
        }
        tracing::info!(seconds = began.elapsed().as_secs_f64(), "the store can write again");
        Ok(())
    }

    fn refuse_for(&self, time: Duration) -> Result<(), Closed> {
        let end = Instant::now() + time;
        loop {
            match self.queue.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(job) => job.answer(Err(StoreError::Away)),
                Err(RecvTimeoutError::Timeout) => return Ok(()),
                Err(RecvTimeoutError::Disconnected) => return Err(Closed),
            }
        }
    }
}

/// What came of one batch of a group, and what it did to the client's books.
type Done = Result<(Outcome, Option<Commit>), Reject>;

/// Runs a group in one transaction. An error means that nothing of the group was written. A panic is one
/// too: the transaction is gone with it, and the thread must go on.
fn commit(file: &BookFile, group: &mut [Job], history: Tag) -> Result<Vec<Done>, StoreError> {
    catch_unwind(AssertUnwindSafe(|| file.with(|database| try_commit(database, group, history))))
        .unwrap_or_else(|_| Err(StoreError::Internal("a batch panicked".into())))
}

fn try_commit(database: &Database, group: &mut [Job], history: Tag) -> Result<Vec<Done>, StoreError> {
    let mut transaction = database.begin_write().map_err(failed)?;
    // Opens at once after a crash, instead of walking the whole file.
    transaction.set_quick_repair(true);
    let mut tables = Tables::open(&transaction)?;
    let mut wrote = false;
    let mut results = Vec::with_capacity(group.len());
    for job in group {
        results.push(match worked_out(job, &tables)? {
            Ok(Work::Entry(entry)) => {
                wrote |= entry.is_commit() || entry.kept.is_some();
                Ok(write(&job.client, *entry, history, &mut tables)?)
            }
            Ok(Work::Known(outcome)) => Ok((*outcome, None)),
            Err(reject) => Err(reject),
        });
    }
    drop(tables);
    if wrote {
        transaction.commit().map_err(failed)?;
        failpoint::reached(Point::AfterCommit);
    } else {
        transaction.abort().map_err(failed)?;
    }
    Ok(results)
}

/// What a batch comes to now: the same as before, if the books are.
fn worked_out(job: &mut Job, tables: &WritableTables<'_>) -> Result<Result<Work, Reject>, StoreError> {
    if let Some(entry) = job.entry.take()
        && tables.still_bear(&job.client, &entry)?
    {
        return Ok(Ok(Work::Entry(entry)));
    }
    work_out(tables, &job.client, &*job.planner)
}

/// Writes an entry. Says what came of the batch, and how the client's books came to where they stand if they moved.
fn write(
    client: &ClientId,
    entry: Entry,
    history: Tag,
    tables: &mut WritableTables<'_>,
) -> Result<(Outcome, Option<Commit>), StoreError> {
    tables.write(client, &entry)?;
    if let Some(receipt) = &entry.kept {
        tables.remember(receipt)?;
    }
    let known = tables.lineage(client)?;
    let before = known.at(entry.before);
    if !entry.is_commit() {
        return Ok((Outcome { receipt: entry.receipt, replayed: false, after: moment(before).into() }, None));
    }
    let (after, lineage) = advance(client, &entry, history, known, tables)?;
    let (receipt, records) = entry.into_parts();
    let commit = Commit { before, after, lineage: Arc::new(lineage), records, time: 0 };
    Ok((Outcome { receipt, replayed: false, after: moment(after).into() }, Some(commit)))
}

/// Makes an entry the client's newest commit.
fn advance(
    client: &ClientId,
    entry: &Entry,
    history: Tag,
    known: Lineage,
    tables: &mut WritableTables<'_>,
) -> Result<(Position, Lineage), StoreError> {
    let revision = entry.receipt.revision;
    tables.set_counters(client, revision, entry.next_invoice)?;
    tables.log_commit(client, entry)?;
    if known.at(revision).tag == history {
        return Ok((known.at(revision), known));
    }
    let branched = known.branched(revision, history, clock::new_tag());
    tables.set_lineage(client, &branched)?;
    Ok((branched.at(revision), branched))
}

impl Job {
    /// A phone that hung up takes no answer.
    fn answer(self, result: Result<Result<Outcome, Reject>, StoreError>) {
        // First, so that the phone's next batch finds none under way.
        drop(self.way);
        let _ =
            self.answer.send(result.map_err(ExecuteError::from).and_then(|result| result.map_err(ExecuteError::from)));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::batch::Batch;
    use crate::clock::Stamp;
    use crate::model::{IdempotencyKey, Revision};
    use crate::plan::{Decision, Idempotent, ReadSet, Snapshot, SyncPlanner};

    /// A file with a shop that sells tea.
    struct Books {
        file: BookFile,
        client: ClientId,
        _directory: tempfile::TempDir,
    }

    impl Books {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let (file, _) = BookFile::open(directory.path()).unwrap();
            let books = Self { file, client: ClientId::for_operator(clock::new_id()), _directory: directory };
            books.commit(books.plain("new", &tea(100))).unwrap();
            books
        }

        fn planner(&self, key: &str, body: &Value) -> Arc<dyn Planner> {
            let batch = Batch::parse(body.to_string().as_bytes(), &self.client, 10).unwrap();
            let stamp = Stamp::take(batch.ids());
            let (fingerprint, at) = (batch.fingerprint.clone(), stamp.time());
            let inner = SyncPlanner::new(Arc::new(batch), stamp);
            Arc::new(Idempotent { inner, key: IdempotencyKey::new(key).unwrap(), fingerprint, at })
        }

        fn job(&self, planner: Arc<dyn Planner>, entry: Option<Box<Entry>>) -> Job {
            let way = Arc::new(Underway::default()).begin(self.client);
            Job { client: self.client, planner, entry, answer: oneshot::channel().0, way, _waiting: Waiting::begin() }
        }

        /// A batch that comes to the writer as it is.
        fn plain(&self, key: &str, body: &Value) -> Job {
            self.job(self.planner(key, body), None)
        }

        /// A batch that is worked out now.
        fn worked_out(&self, key: &str, body: &Value) -> Job {
            let planner = self.planner(key, body);
            let work = self.read(|tables| work_out(tables, &self.client, &*planner));
            let Ok(Work::Entry(entry)) = work else { panic!("it can be written") };
            self.job(planner, Some(entry))
        }

        fn read<T>(&self, read: impl FnOnce(&Tables<&redb::ReadTransaction>) -> Result<T, StoreError>) -> T {
            let read = |database: &Database| read(&Tables::open(&database.begin_read().map_err(failed)?)?);
            self.file.with(read).unwrap()
        }

        fn commit(&self, job: Job) -> Result<Outcome, Reject> {
            let done = commit(&self.file, &mut [job], Tag(1)).unwrap().pop().unwrap();
            done.map(|(outcome, _)| outcome)
        }
    }

    fn tea(stock: i64) -> Value {
        json!({"item": {"create": [{"localId": "tea", "name": "Tea", "price": 10, "stock": stock}]}})
    }

    fn sale(quantity: i64) -> Value {
        json!({"invoice": {"create": [{"products": [{"productId": "tea", "quantity": quantity}]}]}})
    }

    #[test]
    fn an_entry_is_written_on_the_books_that_it_rests_on() {
        let books = Books::new();
        let mut sale = books.worked_out("sale", &sale(1));
        // It would panic, were it asked again.
        sale.planner = Arc::new(Spent);
        assert_eq!(books.commit(sale).unwrap().receipt.revision, Revision(2));
    }

    struct Spent;

    impl Planner for Spent {
        fn reads(&self) -> ReadSet {
            unreachable!("it was worked out before")
        }

        fn size(&self) -> usize {
            0
        }

        fn plan(&self, _: &Snapshot) -> Result<Decision, Reject> {
            unreachable!("it was worked out before")
        }
    }

    #[test]
    fn a_batch_is_worked_out_again_if_its_clients_books_have_moved() {
        let books = Books::new();
        let slow = books.worked_out("slow", &sale(1));
        let quick = books.commit(books.plain("quick", &sale(2))).unwrap().receipt;
        let slow = books.commit(slow).unwrap().receipt;
        assert_eq!((quick.revision, slow.revision), (Revision(2), Revision(3)));
        let reads = books.planner("look", &sale(1)).reads();
        let books = books
            .file
            .with(|database| Tables::open(&database.begin_read().unwrap()).unwrap().load(&books.client, &reads));
        let books = books.unwrap();
        let stocks: Vec<_> = books.items.values().map(|item| item.stock.to_f64()).collect();
        assert_eq!((stocks, books.next_invoice), (vec![97.0], 3), "nothing of the quick one was overwritten");
    }

    /// Neither batch changes the books, for its create was applied before: they stay at their revision, and only the
    /// receipt tells that the key is taken.
    #[test]
    fn a_key_may_have_been_taken_without_a_revision() {
        let books = Books::new();
        let slow = books.worked_out("key", &tea(1));
        assert_eq!(books.commit(books.plain("key", &tea(2))).unwrap().receipt.revision, Revision(1));
        assert_eq!(books.commit(slow).err(), Some(Reject::KeyReused));
    }
}
