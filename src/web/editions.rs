//! The page's editions: what is on it, set once for all who look.
//!
//! Owns the last edition and the bulletins: what has changed between two of them, as the events carry it. Never sets
//! an edition that nobody asked for. Invariants: who asks for the page gets an edition that is no older than the
//! question, or of an unchanged board; a bulletin comes at most every second, and more seldom where it is large, so that a
//! reader costs no more than [`RATE`]; whatever is made of an edition is made by one thread at a time, which is none of
//! the runtime's workers, so that a crowd before the page holds up no message of the house.
//!
//! An event carries the sections and the rows of devices that are not as they were, as the HTML that the page has,
//! each an element with an id. With 1,000 devices and 100 reports a second that is a tenth of the rows, made once, and
//! the script needs to know nothing of what they mean. The words for times are left out: they would make every row
//! another one every second, and the script counts on by itself. Each part knows since which edition it is as it is,
//! so whoever has missed something gets what is new since then, and no history is kept.
//!
//! Rejected: JSON and templates in the script, which would say everything twice; the whole page as event, 400 KB a second
//! for everybody; differences of text, which whoever missed one cannot use.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::body::Bytes;
use tokio::{sync::watch, task, time};
use tokio_util::sync::CancellationToken;

use super::{page, view::View};
use crate::health::{Board, Snapshot};

/// The least time between two bulletins.
const LEAST: Duration = Duration::from_secs(1);
/// What a reader is sent on average, at most, in bytes a second.
const RATE: usize = 64 << 10;
/// After so long without a change it is looked all the same: some facts are only a matter of time.
const SILENCE: Duration = Duration::from_secs(10);
/// How old the edition of an unchanged board may be.
const OLDEST: Duration = Duration::from_secs(1);

/// A part of the page, and since which edition it is so.
struct Part {
    html: String,
    since: u64,
}

/// The page as of one moment.
struct Edition {
    run: i64,
    number: u64,
    facts: Snapshot,
    /// The board's version that it shows, or one before.
    version: u64,
    taken: Instant,
    sections: Vec<Part>,
    /// For each device, since which edition its report is so.
    devices: Vec<u64>,
    /// Since which edition the list has these devices.
    list_since: u64,
    plain: Option<Bytes>,
    packed: Option<Bytes>,
}

/// An edition's name in an event: of which run of the program, and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EditionId {
    run: i64,
    number: u64,
}

impl EditionId {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (run, number) = text.split_once('-')?;
        Some(Self { run: run.parse().ok()?, number: number.parse().ok()? })
    }
}

impl std::fmt::Display for EditionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.run, self.number)
    }
}

impl Edition {
    fn after(run: i64, last: Option<&Edition>, facts: Snapshot, version: u64, taken: Instant) -> Self {
        let number = last.map_or(1, |last| last.number + 1);
        let fresh = page::sections(&View { facts: &facts, now: None });
        let old = last.map_or(&[][..], |last| &last.sections);
        let sections = fresh.into_iter().enumerate().map(|(index, html)| {
            let since = old.get(index).filter(|old| old.html == html).map_or(number, |old| old.since);
            Part { html, since }
        });
        let sections = sections.collect();
        let same_list = last.filter(|last| {
            let ids = last.facts.devices.iter().map(|device| &device.id);
            ids.eq(facts.devices.iter().map(|device| &device.id))
        });
        let devices = match same_list {
            None => vec![number; facts.devices.len()],
            Some(last) => {
                let pairs = last.facts.devices.iter().zip(&facts.devices).zip(&last.devices);
                pairs.map(|((old, new), since)| if old == new { *since } else { number }).collect()
            }
        };
        Self {
            list_since: same_list.map_or(number, |last| last.list_since),
            run,
            number,
            facts,
            version,
            taken,
            sections,
            devices,
            plain: None,
            packed: None,
        }
    }

    fn id(&self) -> EditionId {
        EditionId { run: self.run, number: self.number }
    }

    /// The whole page, packed by gzip if that is wanted; empty where it cannot be made. Takes milliseconds the first time.
    fn page(&mut self, is_packed: bool) -> Bytes {
        let id = self.id();
        let (facts, made) = (&self.facts, if is_packed { &mut self.packed } else { &mut self.plain });
        let make = || {
            let text = page::whole(&View { facts, now: Some(facts.now) }, id);
            Bytes::from(if is_packed { page::pack(&text) } else { text.into() })
        };
        made.get_or_insert_with(make).clone()
    }

    /// The event for who has seen the edition `seen`.
    fn event(&self, seen: Option<EditionId>) -> String {
        let seen = seen.filter(|seen| seen.run == self.run && seen.number <= self.number);
        let mut text = match seen.filter(|seen| seen.number >= self.list_since) {
            // The list is another one: the script gets the page.
            None => format!("event: page\nid: {}\ndata: page\n", self.id()),
            Some(seen) => {
                let mut text = format!("event: parts\nid: {}\n", self.id());
                for part in self.sections.iter().filter(|part| part.since > seen.number) {
                    data(&mut text, &part.html);
                }
                let view = View { facts: &self.facts, now: None };
                for (device, since) in self.facts.devices.iter().zip(&self.devices) {
                    if *since > seen.number {
                        data(&mut text, &page::row(&view, device));
                    }
                }
                text
            }
        };
        text.push('\n');
        text
    }
}

/// A line for each line. A carriage return ends one too, and may be in what a device says.
fn data(text: &mut String, html: &str) {
    for line in html.split(['\n', '\r']).filter(|line| !line.trim().is_empty()) {
        text.push_str("data: ");
        text.push_str(line);
        text.push('\n');
    }
}

/// What has changed between two editions, ready to be sent.
pub(super) struct Bulletin {
    pub(super) from: EditionId,
    pub(super) to: EditionId,
    pub(super) event: Bytes,
}

impl Bulletin {
    /// Whether it has everything that is new for who has seen `seen`.
    pub(super) fn suffices(&self, seen: EditionId) -> bool {
        self.from.run == seen.run && self.from.number <= seen.number
    }

    /// Whether all of it is old to who has seen `seen`.
    pub(super) fn is_known_to(&self, seen: EditionId) -> bool {
        self.to.run == seen.run && self.to.number <= seen.number
    }
}

/// Where editions are made.
pub(super) struct Editions {
    /// Not when it began: that is another moment when the clock is set.
    run: i64,
    board: Board,
    last: Mutex<Option<Edition>>,
    bulletins: watch::Sender<Option<Arc<Bulletin>>>,
}

impl Editions {
    pub(super) fn new(board: Board) -> Arc<Self> {
        let run = fastrand::i64(1..);
        Arc::new(Self { run, board, last: Mutex::new(None), bulletins: watch::channel(None).0 })
    }

    /// The whole page as of now, packed by gzip if that is wanted. `None`: it could not be made, which is in the log.
    pub(super) async fn page(self: &Arc<Self>, is_packed: bool) -> Option<Bytes> {
        let page = self.with_latest(move |edition| edition.page(is_packed)).await;
        page.filter(|page| !page.is_empty())
    }

    /// The event for who has seen the edition `seen`, and which one it has seen then; `None` as for the page.
    pub(super) async fn news(self: &Arc<Self>, seen: Option<EditionId>) -> Option<(EditionId, Bytes)> {
        self.with_latest(move |edition| (edition.id(), edition.event(seen).into())).await
    }

    /// Has something made of the edition as of now. `None`: it panicked, which is in the log. Whoever asks while others
    /// have theirs made waits, and all who waited share the next edition and what is made of it.
    async fn with_latest<T: Send + 'static>(
        self: &Arc<Self>,
        make: impl FnOnce(&mut Edition) -> T + Send + 'static,
    ) -> Option<T> {
        let (editions, asked) = (self.clone(), Instant::now());
        let work = move || {
            // An edition and its pages are put there as a whole: a panic leaves what was before.
            let mut last = editions.last.lock().unwrap_or_else(PoisonError::into_inner);
            let version = *editions.board.watch().borrow();
            let is_of_now = |edition: &Edition| {
                edition.taken >= asked || (edition.version == version && edition.taken.elapsed() < OLDEST)
            };
            let edition = match last.take_if(|edition| is_of_now(edition)) {
                Some(edition) => edition,
                None => {
                    let taken = Instant::now();
                    Edition::after(editions.run, last.as_ref(), editions.board.snapshot(), version, taken)
                }
            };
            make(last.insert(edition))
        };
        task::spawn_blocking(work).await.ok()
    }

    /// The bulletins to come. A reader that is slow misses some, and is told what is new when it is ready (policy
    /// `latest only`).
    pub(super) fn subscribe(&self) -> watch::Receiver<Option<Arc<Bulletin>>> {
        self.bulletins.subscribe()
    }

    /// Makes bulletins until `stop`, while somebody reads them.
    pub(super) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut version = self.board.watch();
        let work = async {
            loop {
                // Whether it changed or time went by: it is looked.
                let _ = time::timeout(SILENCE, version.changed()).await;
                version.mark_unchanged();
                time::sleep(self.tell().await).await;
            }
        };
        // Cancel safety: what is not told when the page ends is of no use to anybody.
        stop.run_until_cancelled(work).await;
    }

    /// Tells what is new; gives how long to wait before the next time.
    async fn tell(self: &Arc<Self>) -> Duration {
        if self.bulletins.receiver_count() == 0 {
            // The next reader's first one would carry all that has changed since.
            self.bulletins.send_replace(None);
            return LEAST;
        }
        let last = self.bulletins.borrow().as_ref().map(|last| last.to);
        let make = move |edition: &mut Edition| {
            let to = edition.id();
            // The first one is for nobody: readers have begun with an edition of their own.
            let from = last.unwrap_or(to);
            Bulletin { from, to, event: edition.event(Some(from)).into() }
        };
        let Some(bulletin) = self.with_latest(make).await else { return LEAST };
        if last == Some(bulletin.to) {
            return LEAST;
        }
        let wait = Duration::from_secs_f64(bulletin.event.len() as f64 / RATE as f64);
        self.bulletins.send_replace(Some(Arc::new(bulletin)));
        wait.max(LEAST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Clock, health::DeviceReport, model::DeviceId};

    #[tokio::test]
    async fn the_first_bulletin_after_a_time_without_readers_carries_nothing_of_that_time() {
        let board = Board::new("home", Clock::system());
        let says = |kind: &str| board.device(DeviceReport::new(DeviceId::parse("attic").unwrap(), kind));
        let editions = Editions::new(board.clone());
        let last = |reader: &watch::Receiver<Option<Arc<Bulletin>>>| reader.borrow().clone().unwrap();
        says("before");
        let reader = editions.subscribe();
        editions.tell().await;
        says("while it reads");
        editions.tell().await;
        assert!(String::from_utf8_lossy(&last(&reader).event).contains("while it reads"));
        drop(reader);
        editions.tell().await;
        says("while nobody reads");
        let reader = editions.subscribe();
        editions.tell().await;
        let first = last(&reader);
        assert_eq!(first.from, first.to);
        assert!(!String::from_utf8_lossy(&first.event).contains("while nobody reads"));
    }
}
