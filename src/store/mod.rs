//! The only owner of the disk: one SQLite file, one writer thread, group commit.
//!
//! Owns the outbox, the command journal, retained messages, sessions and last known states. Knows
//! nothing of MQTT connections. Invariants: what a [`Durable`] answered `Ok` for survives `kill -9`
//! and a power cut (WAL, synchronous FULL); what it did not is not counted as accepted; the outbox
//! is bounded in bytes and in age by named policies that count what they drop; memory does not grow
//! with the backlog.
//!
//! SQLite and not a log of our own: a person at home can open the file with `sqlite3`, and torn
//! writes are SQLite's business (fjall and redb were measured, see DESIGN.md).

mod damage;
mod examination;
mod flash;
mod hand;
mod house;
mod journal;
mod lane;
mod ledger;
mod message;
mod notes;
mod outbox;
mod pulse;
mod recent;
mod rows;
mod schema;
mod sessions;
mod timeline;
mod upgrade;
pub mod visit;
mod writer;

use std::{
    fs::{File, OpenOptions, TryLockError},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    task::{Context, Poll},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, Transaction};
use rustix::fs::OFlags;
use tokio::sync::{oneshot, watch};

pub use examination::{DiskSpace, StoreFinding, disk_space, examine_store, free_space, refuse_later_store};
pub use flash::Written;
pub use journal::Begun;
pub use lane::{Keep, LaneOptions, LaneStats};
pub use ledger::{Highest, StoreStats};
pub use outbox::{Entry, Kept, Part, Record, Selection};
pub use schema::SCHEMA_VERSION;
pub use sessions::{Awaiting, AwaitingChange, SessionState};
pub use timeline::Born;

use crate::{
    clock::Clock,
    model::{Caller, Receipts},
};
use damage::{Damage, Opened};
use flash::Flash;
use ledger::Ledger;
use notes::Notes;
use pulse::Pulse;
use timeline::Timeline;
use writer::{Gate, Job, Keeping, Writer};

/// How often the status board looks whether the disk answers, while something is at it.
const LOOK_AT_DISK_EVERY: Duration = Duration::from_secs(1);

/// Why the store could not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The directory or the file cannot be opened.
    #[error("failed to open the store `{path}`: {reason}; let the user that runs Hearthlink write there")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// Another process has it.
    #[error(
        "the store `{0}` is in use by another Hearthlink; stop that one, or give this one its own `gateway.data_dir`"
    )]
    InUse(PathBuf),
    /// It was written by a later version, and is not touched.
    #[error(
        "the store `{path}` is of version {found}, written by a later Hearthlink, and this one knows only {known}; install \
         the later one again, which goes on with it and loses nothing{}",
        way_back(copy.as_deref())
    )]
    FromTheFuture {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: usize,
        /// The last one known here.
        known: usize,
        /// The copy from before it was brought up to that, if this program can go on with it.
        copy: Option<PathBuf>,
    },
    /// It was written by an earlier version, and could not be brought up to date. It is as it was.
    #[error(
        "the store `{path}` could not be brought from version {from} to {to}: {reason}. It is as it was: mend that and \
         restart Hearthlink, or install the earlier one again, which goes on with it"
    )]
    NotUpgraded {
        /// The file.
        path: PathBuf,
        /// Its version.
        from: usize,
        /// The one of this program.
        to: usize,
        /// What went wrong.
        reason: String,
    },
    /// It was written by an earlier version, and whoever only looks brings nothing up to date.
    #[error(
        "the store has version {found}, this Hearthlink has {known}; start the gateway once, which brings it up to date"
    )]
    FromThePast {
        /// The file's version.
        found: usize,
        /// The one of this program.
        known: usize,
    },
    /// SQLite reports that the disk is full, read-only or failing.
    #[error("failed to write the store: {0}")]
    Disk(String),
    /// The disk neither does what it is asked for nor refuses it.
    #[error("the disk does not answer")]
    Hangs,
    /// SQLite reports that the file is damaged. At the start it is set aside, so this is about a running store.
    #[error(
        "the store's file is damaged ({0}); restart Hearthlink, which sets the file aside and begins a new one"
    )]
    Damaged(String),
    /// The file is damaged once more, and too many such files lie there.
    #[error(
        "the store `{path}` is damaged, and {count} damaged ones lie beside it (`.damaged-…`): the disk or SD card is \
         probably worn out; replace it, or move these files away"
    )]
    DamagedAgain {
        /// The file.
        path: PathBuf,
        /// How many lie there.
        count: usize,
    },
    /// Policy `refuse_new`: the outbox has no room.
    #[error("the store is full ({max} bytes wait for the cloud) and its policy is to refuse new messages")]
    Full {
        /// The bound, in bytes.
        max: u64,
    },
    /// The message alone is larger than the outbox may be.
    #[error("a message of {size} bytes can never fit into a store of {max} bytes")]
    TooLarge {
        /// The message, in bytes.
        size: u64,
        /// The bound, in bytes.
        max: u64,
    },
    /// A row that cannot be read back.
    #[error("the store's row `{key}` is damaged: {reason}")]
    Row {
        /// Which row.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The writer is gone, or was so before it answered.
    #[error("the store has stopped")]
    Stopped,
}

impl StoreError {
    /// A disk that fails is one thing, a directory that is not ours another: that needs a person at once.
    fn open(path: &Path, error: &std::io::Error) -> Self {
        /// EIO, for which Rust has no kind.
        const BROKEN: i32 = 5;
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::ReadOnlyFilesystem => {
                Self::Disk(format!("`{}`: {error}", path.display()))
            }
            _ if error.raw_os_error() == Some(BROKEN) => Self::Disk(format!("`{}`: {error}", path.display())),
            _ => Self::Open { path: path.to_owned(), reason: error.to_string() },
        }
    }

    /// What is wrong, for a sentence that says what follows from it.
    fn reason(&self) -> String {
        match self {
            Self::Disk(reason) => reason.clone(),
            other => other.to_string(),
        }
    }

    fn row(key: &str, error: impl std::fmt::Display) -> Self {
        Self::Row { key: key.to_owned(), reason: error.to_string() }
    }

    /// Whether the disk is at fault, so that nothing of the transaction can be believed.
    pub(crate) fn is_disk(&self) -> bool {
        match self {
            Self::Open { .. } | Self::Disk(_) | Self::Hangs | Self::Damaged(_) => true,
            Self::InUse(_)
            | Self::DamagedAgain { .. }
            | Self::FromTheFuture { .. }
            | Self::NotUpgraded { .. }
            | Self::FromThePast { .. }
            | Self::Full { .. }
            | Self::TooLarge { .. }
            | Self::Row { .. }
            | Self::Stopped => false,
        }
    }
}

/// What else can be done about a file of a later version.
fn way_back(copy: Option<&Path>) -> String {
    match copy {
        Some(copy) => format!(
            "; or stay with this one and the copy `{}` from before the upgrade, without what came since: docs/upgrades.md",
            copy.display()
        ),
        None => "; no copy from before the upgrade lies beside it".to_owned(),
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::Error as E;
        if let E::FromSqlConversionFailure(..)
        | E::InvalidColumnType(..)
        | E::IntegralValueOutOfRange(..)
        | E::Utf8Error(..) = error
        {
            return Self::row("?", error);
        }
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Disk("the disk is full; free some space".to_owned()),
            Some(ErrorCode::ReadOnly) => {
                Self::Disk("the file or its file system is read-only; remount it for writing".to_owned())
            }
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Self::Damaged(error.to_string()),
            Some(ErrorCode::SystemIoFailure) => Self::Disk(format!(
                "the disk reports errors or has become read-only ({error}); look into `dmesg`, and replace a worn SD card"
            )),
            _ => Self::Disk(error.to_string()),
        }
    }
}

/// What happens to a new message when the outbox is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// The oldest waiting messages are dropped, and counted.
    DropOldest,
    /// The new message is not accepted: its device is not acknowledged and will send it again.
    RefuseNew,
}

/// The store's bounds.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// What the waiting messages may take, in bytes of topic, payload and properties.
    pub max_bytes: u64,
    /// How long a message may wait.
    pub max_age: Duration,
    /// The policy at `max_bytes`.
    pub when_full: WhenFull,
    /// The least time between two commits; zero commits as soon as the disk is free.
    pub commit_floor: Duration,
    /// What may be written to the disk a day before commits come less often; `None`: anything.
    pub flash_budget: Option<u64>,
    /// How many commands the journal remembers; the oldest finished ones are forgotten first.
    pub journal_entries: u64,
    /// What may wait for the writer thread, in bytes.
    pub write_queue_bytes: usize,
    /// Parts of the outbox with policies of their own; entries name them by their place here.
    pub lanes: Vec<LaneOptions>,
    /// Who is told when a message is on the disk.
    pub receipts: Receipts,
}

impl Default for StoreOptions {
    /// 256 MiB, 7 days, the oldest go first, no floor, no budget, 10,000 commands, 8 MiB in front of the disk.
    fn default() -> Self {
        Self {
            max_bytes: 256 << 20,
            max_age: Duration::from_secs(7 * 24 * 3600),
            when_full: WhenFull::DropOldest,
            commit_floor: Duration::ZERO,
            flash_budget: None,
            journal_entries: 10_000,
            write_queue_bytes: 8 << 20,
            lanes: Vec::new(),
            receipts: Receipts::default(),
        }
    }
}

/// Resolves when what was asked for is on the disk, or is known not to be.
#[derive(Debug)]
#[must_use = "nothing counts as accepted before this resolves"]
pub struct Durable<T>(oneshot::Receiver<Result<T, StoreError>>);

impl<T> Future for Durable<T> {
    type Output = Result<T, StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or(Err(StoreError::Stopped)))
    }
}

/// A handle to the writer thread; cheap to clone. The thread ends when the last handle is gone.
#[derive(Clone)]
pub struct Store {
    jobs: mpsc::Sender<Job>,
    gate: Gate,
    clock: Clock,
    timeline: Timeline,
    name: Arc<str>,
    stats: watch::Receiver<StoreStats>,
    appended: watch::Receiver<Highest>,
    is_line_up: Arc<AtomicBool>,
    receipts: Receipts,
    pulse: Pulse,
    notes: Notes,
    damage: Damage,
    /// Closed when the thread has let go of the file.
    ended: watch::Receiver<()>,
}

impl Store {
    /// Opens or makes the file `path` (mode 0600) and starts the writer thread. Blocks on the disk. A file that is
    /// damaged is set aside, and a new one is made; one of an earlier version is brought up to date.
    ///
    /// # Errors
    /// [`StoreError::Open`], `InUse`, `FromTheFuture`, `NotUpgraded`, `DamagedAgain` or `Disk`.
    pub fn open(path: &Path, options: &StoreOptions, clock: Clock) -> Result<Self, StoreError> {
        let open_error = |error: std::io::Error| StoreError::open(path, &error);
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(open_error)?;
        }
        let lock = lock(path, &open_error)?;
        make(path).map_err(open_error)?;
        let opened = damage::open(path, options, &clock)?;
        Self::start(opened, (Keeping::OnDisk(lock), Damage::of(path)), options, clock)
    }

    /// A store that remembers nothing and refuses everything for the reason why the real one cannot be opened: for
    /// a home that is to work on a sick disk.
    ///
    /// # Errors
    /// [`StoreError::Disk`].
    pub fn refusing(
        path: &Path,
        why: &StoreError,
        options: &StoreOptions,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let refusal = StoreError::Disk(format!(
            "the store could not be opened ({}); mend that, and Hearthlink opens it by itself",
            why.reason()
        ));
        let opened = damage::open_in_memory(options, &clock)?;
        Self::start(opened, (Keeping::Nothing(refusal), Damage::of(path)), options, clock)
    }

    fn start(
        opened: Opened,
        (keeping, damage): (Keeping, Damage),
        options: &StoreOptions,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let Opened { connection, name, mut ledger, is_line_up, kept } = opened;
        let timeline = ledger.timeline().clone();
        ledger.set_set_aside(damage.set_aside());
        if let Keeping::Nothing(refusal) = &keeping {
            ledger.set_fault(Some(refusal));
        }
        let (pulse, notes) = (Pulse::new(), Notes::default());
        let (jobs, receiver) = mpsc::channel();
        let flash = Flash::load(&connection, options.commit_floor, options.flash_budget, timeline.now())?;
        let (stats_sender, stats) = watch::channel(StoreStats { written: flash.written(), ..ledger.stats() });
        let (appended_sender, appended) = watch::channel(ledger.highest());
        let writer = Writer {
            connection,
            jobs: receiver,
            ledger,
            flash,
            notes: notes.book(),
            stats: stats_sender,
            appended: appended_sender,
            pulse: pulse.clone(),
            damage: damage.clone(),
            kept,
            has_failed: matches!(keeping, Keeping::Nothing(_)),
            keeping,
        };
        let (alive, ended) = watch::channel(());
        std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || {
                writer.run();
                drop(alive);
            })
            .map_err(|error| StoreError::Disk(format!("no thread for the store: {error}")))?;
        Ok(Self {
            jobs,
            gate: Gate::new(options.write_queue_bytes),
            clock,
            timeline,
            name: name.into(),
            stats,
            appended,
            is_line_up,
            receipts: options.receipts.clone(),
            pulse,
            notes,
            damage,
            ended,
        })
    }

    /// Gives this handle back; resolves when all the others are gone too and the file can be opened anew.
    pub async fn closed(self) {
        let end = self.end();
        drop(self);
        end.await;
    }

    /// Resolves when every handle is gone and the file can be opened anew; is none itself.
    pub fn end(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut ended = self.ended.clone();
        async move { while ended.changed().await.is_ok() {} }
    }

    /// The sums, as of the last commit.
    pub fn stats(&self) -> watch::Receiver<StoreStats> {
        self.stats.clone()
    }

    /// The highest sequences on the disk: change when there is something new to send.
    pub fn appended(&self) -> watch::Receiver<Highest> {
        self.appended.clone()
    }

    /// Has what is queued committed now, whatever the floor between commits says.
    pub fn hurry(&self) {
        // A store that has stopped has committed everything.
        let _ = self.jobs.send(Job::Hurry);
    }

    /// Asks whether the writer's thread turns. While it waits for the disk it cannot answer, and
    /// [`Store::is_at_disk`] says so. Keeps the thread as a handle does.
    pub fn caller(&self) -> Caller {
        let jobs = self.jobs.clone();
        Caller::new(move |call| drop(jobs.send(Job::Call(call))))
    }

    /// Whether the disk has not answered for a while: what is asked of the store now may wait for long.
    pub fn hangs(&self) -> bool {
        self.pulse.is_missed() && self.has_thread()
    }

    /// Resolves within seconds when the disk hangs and did not, or does not and did. Looks only while the writer's thread is
    /// at the disk, which alone can hang. For one at a time. Cancel safe.
    pub async fn turns(&self, hangs: bool) {
        while self.hangs() == hangs {
            self.pulse.at_disk().await;
            tokio::time::sleep(LOOK_AT_DISK_EVERY).await;
        }
    }

    /// Whether the writer's thread waits for the disk, for a moment or for ever.
    pub fn is_at_disk(&self) -> bool {
        self.pulse.is_at_disk() && self.has_thread()
    }

    /// One that panicked at the disk waits for nothing any more.
    fn has_thread(&self) -> bool {
        self.ended.has_changed().is_ok()
    }

    /// The same work, but not longer than the disk answers: for those whom a disk that hangs must not hold up.
    /// What was handed to the store is written all the same when the disk is well again.
    ///
    /// # Errors
    /// Those of `work`, and [`StoreError::Hangs`].
    pub async fn unless_it_hangs<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        // Cancel safety: `missed` holds nothing, and what was done of `work` is the caller's to know.
        tokio::select! {
            biased;
            result = work => result,
            () = self.pulse.missed() => Err(StoreError::Hangs),
        }
    }

    /// Says whether the outbox is being sent from now. While it is not, lanes keep only what [`Keep`] says; a
    /// message that is being sent is never taken away by that. Until this is first said, it is.
    pub fn set_line_up(&self, is_up: bool) {
        self.is_line_up.store(is_up, Ordering::Relaxed);
    }

    async fn write<T: Send + 'static>(
        &self,
        cost: usize,
        work: impl FnOnce(&Transaction<'_>, &mut Ledger) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<Durable<T>, StoreError> {
        self.write_then(cost, work, |_| {}).await
    }

    /// As [`Store::write`]; `then` is called, on the writer's thread, when it is on the disk.
    async fn write_then<T: Send + 'static>(
        &self,
        cost: usize,
        work: impl FnOnce(&Transaction<'_>, &mut Ledger) -> Result<T, StoreError> + Send + 'static,
        then: impl FnOnce(&T) + Send + 'static,
    ) -> Result<Durable<T>, StoreError> {
        let room = self.gate.pass(cost).await?;
        let (sender, receiver) = oneshot::channel();
        let write: writer::Write = Box::new(move |transaction, ledger| {
            let result = work(transaction, ledger);
            let verdict = result.as_ref().map(drop).map_err(Clone::clone);
            // A caller that has gone away does not want to hear.
            let answer = move |committed: Result<(), StoreError>| {
                let result = committed.and(result);
                if let Ok(value) = &result {
                    then(value);
                }
                drop(sender.send(result));
            };
            (verdict, Box::new(answer))
        });
        self.jobs.send(Job::Write(write, room)).map_err(|_| StoreError::Stopped)?;
        Ok(Durable(receiver))
    }

    /// As [`Store::write_then`], for what a person waits for: the floor between commits is for everybody else.
    async fn write_at_once<T: Send + 'static>(
        &self,
        cost: usize,
        work: impl FnOnce(&Transaction<'_>, &mut Ledger) -> Result<T, StoreError> + Send + 'static,
        then: impl FnOnce(&T) + Send + 'static,
    ) -> Result<Durable<T>, StoreError> {
        let durable = self.write_then(cost, work, then).await?;
        self.hurry();
        Ok(durable)
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.read_by(move |connection, _| work(connection)).await
    }

    /// As [`Store::read`], by what the ledger says; what it is told stays in memory.
    async fn read_by<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, &mut Ledger) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let room = self.gate.pass(0).await?;
        let (sender, receiver) = oneshot::channel();
        let damage = self.damage.clone();
        let read: writer::Read = Box::new(move |connection, ledger| {
            let result = work(connection, ledger);
            damage.notice(&result);
            drop(sender.send(result));
        });
        self.jobs.send(Job::Read(read, room)).map_err(|_| StoreError::Stopped)?;
        Durable(receiver).await
    }
}

/// Made by us and not by SQLite, for the mode.
fn make(path: &Path) -> std::io::Result<()> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path).map(drop)
}

/// One process a store: the lock is released by the kernel, also after `kill -9`.
fn lock_file(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

fn lock(path: &Path, open_error: &dyn Fn(std::io::Error) -> StoreError) -> Result<File, StoreError> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        // Root comes here too (`hearthlink reset`), and the directory is the gateway's user's.
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(lock_file(path))
        .map_err(open_error)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(open_error(error)),
    }
}

#[cfg(test)]
mod tests;
