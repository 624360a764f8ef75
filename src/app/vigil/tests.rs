//! The vigil by a clock that is moved: who is asked, who is told, which part is named; and once on a real gateway.

use std::{
    io::Write,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio::task::JoinHandle;

use super::*;
use crate::model::Calls;

const WITHIN: Duration = Duration::from_secs(60);
const EVERY: Duration = Duration::from_secs(20);
const NAMES: [&str; 3] = ["store", "broker", "line"];

/// Parts that turn, of which some are stopped, and who is told of it.
struct House {
    told: Arc<AtomicUsize>,
    duty: Option<Duty>,
    /// Of the parts, in the order of `NAMES`.
    turning: Vec<JoinHandle<()>>,
    hangs: Arc<AtomicBool>,
    log: Log,
    vigil: Vigil,
    keeping: JoinHandle<()>,
}

impl House {
    /// The ones of `NAMES` that are stuck from the beginning never answer.
    fn new(is_stuck: impl Fn(&str) -> bool) -> Self {
        let (sender, roll) = watch::channel(Arc::default());
        let (told, hangs, log) =
            (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)), Log::default());
        let (mut turning, mut parts) = (Vec::new(), Vec::new());
        for name in NAMES {
            let (caller, mut calls) = Calls::channel();
            let (is_stuck, hangs) = (is_stuck(name), hangs.clone());
            turning.push(tokio::spawn(async move {
                if is_stuck {
                    std::future::pending::<()>().await;
                }
                match calls.answer().await {}
            }));
            let is_excused = move || name == "store" && hangs.load(Ordering::Relaxed);
            parts.push(Part { name, caller, is_excused: Box::new(is_excused) });
        }
        let vigil = Vigil { roll: Some(sender) };
        let duty = Some(vigil.clone().on_duty(|| parts));
        let count = told.clone();
        let keeping = tokio::spawn(keep(WITHIN / PARTS_OF_TIME, roll, move || {
            count.fetch_add(1, Ordering::Relaxed);
        }));
        Self { told, duty, turning, hangs, log, vigil, keeping }
    }

    /// How often it was told within this time.
    async fn told_in(&self, time: Duration) -> usize {
        let before = self.told.load(Ordering::Relaxed);
        sleep(time).await;
        self.told.load(Ordering::Relaxed) - before
    }
}

/// What the log says.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Listens to what this thread says.
    fn listen(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        let lines = tracing_subscriber::fmt().json().with_writer(move || log.clone());
        tracing::subscriber::set_default(lines.finish())
    }

    /// The level and the part of every line, in the order of the alphabet: who is late at the same moment has no order.
    fn says(&self) -> Vec<(String, String)> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let mut all: Vec<_> =
            lines.map(|line| (text(&line["level"]), text(&line["fields"]["part"]))).collect();
        all.sort();
        all
    }
}

/// Some moments after the times at which something happens.
async fn a_moment() {
    sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_watches_is_told_three_times_within_his_patience_while_all_parts_turn() {
    let house = House::new(|_| false);
    let _listening = house.log.listen();
    a_moment().await;
    assert_eq!(house.told.load(Ordering::Relaxed), 1, "from the first moment on");
    assert_eq!(house.told_in(10 * WITHIN).await, 30);
    assert!(house.log.says().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_stuck_part_is_named_once_and_nobody_is_told_any_more() {
    for stuck in [&["store"][..], &["broker"], &["line"], &["broker", "store"], &NAMES] {
        let house = House::new(|name| stuck.contains(&name));
        let _listening = house.log.listen();
        a_moment().await;
        // Before whoever watches has lost his patience.
        assert_eq!(house.told_in(WITHIN - Duration::from_secs(10)).await, 0, "{stuck:?}");
        let mut expected: Vec<_> =
            stuck.iter().map(|name| ("ERROR".to_owned(), (*name).to_owned())).collect();
        expected.sort();
        assert_eq!(house.log.says(), expected);
        assert_eq!(house.told_in(10 * WITHIN).await, 0, "{stuck:?}");
        assert_eq!(house.log.says(), expected, "once");
    }
}

#[tokio::test(start_paused = true)]
async fn a_part_that_ended_without_a_word_is_stuck_too() {
    let house = House::new(|_| false);
    let _listening = house.log.listen();
    a_moment().await;
    house.turning[2].abort();
    assert_eq!(house.told_in(WITHIN).await, 0);
    assert_eq!(house.log.says(), [("ERROR".to_owned(), "line".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_hangs_is_an_excuse_for_the_store_and_for_nobody_else() {
    for (stuck, told) in [("store", 3), ("broker", 0), ("line", 0)] {
        let house = House::new(|name| name == stuck);
        let _listening = house.log.listen();
        house.hangs.store(true, Ordering::Relaxed);
        a_moment().await;
        assert_eq!(house.told_in(WITHIN).await, told, "{stuck}");
        assert_eq!(house.log.says().len(), usize::from(told == 0), "{stuck}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_is_seen_to_hang_after_the_store_was_named_ends_the_matter() {
    let house = House::new(|name| name == "store");
    let _listening = house.log.listen();
    a_moment().await;
    assert_eq!(house.told_in(WITHIN - Duration::from_secs(10)).await, 0);
    house.hangs.store(true, Ordering::Relaxed);
    assert_eq!(house.told_in(2 * LOOK_EVERY).await, 1, "at once");
    let says = house.log.says().into_iter().map(|(level, _)| level).collect::<Vec<_>>();
    assert_eq!(says, ["ERROR", "WARN"]);
}

#[tokio::test(start_paused = true)]
async fn after_a_standstill_of_the_whole_machine_the_parts_have_time_to_answer() {
    let house = House::new(|_| false);
    let _listening = house.log.listen();
    a_moment().await;
    // The vigil has asked, and then everybody stood still: its time is over before anybody had any.
    let began = Instant::now();
    let (caller, mut calls) = Calls::channel();
    let part = Part::new("line", caller);
    let turning = tokio::spawn(async move {
        sleep(EVERY + Duration::from_secs(1)).await;
        match calls.answer().await {}
    });
    part.turns(EVERY).await;
    assert_eq!(began.elapsed().as_secs(), EVERY.as_secs() + 1);
    assert!(house.log.says().is_empty());
    turning.abort();
}

#[tokio::test(start_paused = true)]
async fn while_nobody_is_on_duty_whoever_watches_is_told_and_a_stuck_part_that_is_relieved_is_forgotten() {
    let mut house = House::new(|name| name == "broker");
    let _listening = house.log.listen();
    a_moment().await;
    assert_eq!(house.told_in(WITHIN - Duration::from_secs(10)).await, 0);
    // The gateway ends in order, or is built anew.
    drop(house.duty.take());
    assert_eq!(house.told_in(WITHIN - Duration::from_secs(10)).await, 1 + 2, "at once, and then in turn");
    drop(house.vigil);
    house.keeping.await.unwrap();
}

#[tokio::test]
async fn a_vigil_that_nobody_wants_asks_nobody() {
    let _duty = Vigil::default().on_duty(|| panic!("nobody is asked"));
}

#[tokio::test]
async fn the_parts_of_a_real_gateway_answer() {
    // Told as fast as may be.
    let (sender, told) = std::sync::mpsc::channel();
    let (vigil, is_over) = (std::sync::mpsc::channel(), tokio::sync::oneshot::channel::<()>());
    let watching = std::thread::spawn(move || {
        let (kept, watch) = Vigil::new(Some(Duration::from_millis(30)), move || {
            let _ = sender.send(());
        });
        vigil.0.send(kept).unwrap();
        watch.until(is_over.1).unwrap().unwrap();
    });
    let vigil = vigil.1.recv().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hearthlink.yaml");
    let text = "gateway: {id: x, data_dir: data}\nbroker: {listeners: []}\n\
                cloud: {url: \"wss://127.0.0.1:9/mqtt\"}\n";
    std::fs::write(&path, text).unwrap();
    let config = crate::config::load(&path).unwrap();
    let gateway = crate::app::Gateway::build(&config).await.unwrap().watched_by(vigil);
    let stop = tokio_util::sync::CancellationToken::new();
    let (ready, is_ready) = tokio::sync::oneshot::channel();
    let running = tokio::spawn(gateway.run(stop.clone(), move || {
        let _ = ready.send(());
    }));
    is_ready.await.unwrap();
    let told = tokio::task::spawn_blocking(move || {
        told.try_iter().for_each(drop);
        for _ in 0..10 {
            told.recv_timeout(Duration::from_secs(60)).expect("all three answer");
        }
    });
    told.await.unwrap();
    stop.cancel();
    running.await.unwrap().unwrap();
    is_over.0.send(()).unwrap();
    watching.join().unwrap();
}
