//! The run with a small queue: it drops, its lanes have policies of their own, live messages overtake and the backlog
//! has a pace, while the gateway and the cloud are killed and the line flaps. [`super::sums`] judges.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Mutex,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    RULES, WORK,
    kills::{Kills, Line},
    plan::Plan,
    scene::{Scene, Size},
    sensor::Sensor,
    sums::{Bounds, Life, POLICIES, Page, Rest, judge_sums},
};
use crate::{
    history::{
        Event,
        verdict::{Rules, Verdict, judge},
        work::{self, Work},
    },
    program::status,
    proxy::{End, Weather},
};

/// How long anything that must happen may take.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long the deletion of what was acknowledged may take.
const DELETION: Duration = Duration::from_secs(20);
/// Between two looks at the page.
const LOOK: Duration = Duration::from_millis(40);

/// `cloud.backlog_rate`: less than the sensors say, so that the queue is soon full and stays so.
const RATE: u32 = 200;
const SENSORS: [&str; 6] =
    ["plain/attic", "plain/hall", "quick/door", "quick/meter", "last/window", "brief/steps"];
/// More than one read of the link and its window: with the line up some of it is in its hands, and some is not.
const SECTIONS: &str = "\
store: { max_size: 64 KiB, when_full: drop_oldest }
routes:
  - { local: \"plain/#\" }
  - { local: \"quick/#\", queue: { live_first: true, max_size: 16 KiB } }
  - { local: \"last/#\", queue: { keep: latest } }
  - { local: \"brief/#\", queue: { max_age: 1s } }
";

/// The sensors, each with the number that comes next.
struct Crew {
    next: Vec<u64>,
    running: JoinSet<(usize, u64)>,
    stop: CancellationToken,
}

impl Crew {
    fn start(&mut self, scene: &Scene, random: &mut fastrand::Rng) {
        self.stop = CancellationToken::new();
        for (place, topic) in SENSORS.into_iter().enumerate() {
            let sensor = Sensor {
                broker: scene.lan.address(),
                topic: topic.into(),
                first: self.next[place],
                pace: Duration::from_millis(12),
                diary: scene.diary.clone(),
                random: random.fork(),
            };
            let stop = self.stop.clone();
            self.running.spawn(async move { (place, sensor.run(stop).await) });
        }
    }

    /// Returns when everything that was said is acknowledged.
    async fn rest(&mut self) {
        self.stop.cancel();
        while let Some(ended) = self.running.join_next().await {
            let (place, next) = ended.unwrap();
            self.next[place] = next;
        }
    }
}

pub async fn run(seed: u64, size: Size) -> (Verdict, Kills) {
    let mut random = fastrand::Rng::with_seed(seed ^ 0xB0D);
    let scene = Scene::new(&mut random).await;
    scene.configure(&format!("  backlog_rate: {RATE}\n"), SECTIONS);
    let Scene { diary, cloud, proxy, .. } = &scene;
    let page = scene.page.address();
    let mut crew =
        Crew { next: vec![0; SENSORS.len()], running: JoinSet::new(), stop: CancellationToken::new() };
    crew.start(&scene, &mut random);

    let stop = CancellationToken::new();
    let plan = Arc::new(Mutex::new(Plan::new(seed, size.longest_life())));
    let deaths = Arc::new(AtomicU64::new(0));
    let killer = tokio::spawn(scene.kill_the_cloud(plan.clone(), deaths.clone(), stop.clone()));
    let started = Instant::now();
    let (mut lives, mut kills): (Vec<Life>, _) = (Vec::new(), Kills::default());
    while kills.under_load() < size.kills
        || deaths.load(Ordering::Relaxed) < size.cloud_kills
        || started.elapsed() < size.length
    {
        let life = plan.lock().await.life();
        diary.mark(format!("the gateway starts its life {}: {life:?}", lives.len()));
        let (born, mut pages) = (diary.now(), Vec::new());
        let mut program = scene.start();
        // Cancel safety: a look that is cut off is none.
        tokio::select! {
            () = program.run_for(life.length) => {}
            () = life.blow(proxy) => {}
            () = look(page, &mut pages) => {}
        }
        let line = Line::new(life.sky, cloud.is_alive(), cloud.is_connected());
        let is_settled = random.u8(..3) == 0;
        if is_settled {
            proxy.set(Weather::Shut);
            proxy.cut(End::Reset);
            tokio::select! {
                () = program.run_for(PATIENCE) => panic!("not at rest within {PATIENCE:?}: {}", program.last_words()),
                () = async {
                    crew.rest().await;
                    settle(page, &mut pages).await;
                } => {}
            }
        }
        program.kill().await;
        diary.write(Event::Killed);
        diary.mark(format!("the gateway is killed at the end of its life {}, {line:?}", lives.len()));
        let killed = diary.now();
        kills.add(line, diary.has_since(born, |event| matches!(event, Event::Accepted { .. })));
        lives.push(Life { born, killed, pages, is_settled, rest: rest(scene.directory.path()) });
        if is_settled {
            crew.start(&scene, &mut random);
        }
    }
    stop.cancel();
    killer.await.unwrap();
    scene.clear();
    let (born, mut pages) = (diary.now(), Vec::new());
    let program = scene.start();
    let healing = async {
        crew.rest().await;
        loop {
            let status = status(page).await.unwrap_or_default();
            let is_online = status["link"]["state"] == "online";
            pages.extend(sums(&status));
            if is_online && sums(&status).is_some_and(|page| page.waiting == 0) {
                return;
            }
            sleep(LOOK).await;
        }
    };
    let is_healed = timeout(PATIENCE, healing).await.is_ok();
    diary.write(Event::AtTheEnd { is_online: is_healed, waiting: pages.last().map(|page| page.waiting) });
    let last_words = program.last_words();
    program.kill().await;
    diary.write(Event::Killed);
    let (killed, rest) = (diary.now(), rest(scene.directory.path()));
    lives.push(Life { born, killed, pages, is_settled: is_healed, rest });

    let entries = diary.entries();
    let mut verdict = judge(&entries, Rules { is_bounded: true, ..RULES });
    let bounds = Bounds { window: RULES.window, rate: RATE.into(), live: "quick/" };
    judge_sums(&lives, &entries, bounds, &mut verdict);
    work::demand(&entries, Work { applied: 0.0, ..WORK }, &mut verdict);
    let deaths = deaths.load(Ordering::Relaxed);
    scene.finish(&mut verdict, &format!("soak-bounded-{seed}"), (&kills, deaths, started), &last_words);
    (verdict, kills)
}

/// Reads the page again and again; never ends by itself.
async fn look(page: SocketAddr, pages: &mut Vec<Page>) {
    loop {
        pages.extend(status(page).await.as_ref().and_then(sums));
        sleep(LOOK).await;
    }
}

/// Waits until the gateway knows that its line is down, and nothing comes or goes. What was acknowledged is deleted by
/// then, or never will be.
async fn settle(page: SocketAddr, pages: &mut Vec<Page>) {
    let since = Instant::now();
    loop {
        let status = status(page).await.unwrap_or_default();
        let sums = sums(&status);
        let is_same = sums.is_some() && pages.last().copied() == sums;
        let is_deleted = sums.is_some_and(|page| page.heard == page.acknowledged);
        pages.extend(sums);
        let is_over = is_deleted || since.elapsed() > DELETION;
        if is_same && is_over && status["link"]["state"] != "online" {
            return;
        }
        sleep(LOOK).await;
    }
}

/// `None`: the page does not know them yet.
fn sums(status: &serde_json::Value) -> Option<Page> {
    let store = &status["store"];
    if store["max_bytes"].as_u64()? == 0 {
        return None;
    }
    let policies = store["dropped"].as_array()?.iter().filter_map(|policy| policy[1].as_u64());
    let by = POLICIES.map(|name| {
        let policy = store["dropped"].as_array().and_then(|all| all.iter().find(|policy| policy[0] == name));
        policy.and_then(|policy| policy[1].as_u64()).unwrap_or(0)
    });
    let number = |name: &str| store[name].as_u64();
    Some(Page {
        accepted: number("accepted")?,
        acknowledged: number("acknowledged")?,
        heard: status["counters"]["acknowledged"].as_u64()?,
        dropped: policies.sum(),
        by,
        waiting: number("waiting")?,
    })
}

/// What the store's file holds, by a copy: the next life is to find it as the kill left it.
fn rest(directory: &Path) -> Rest {
    let copy = tempfile::tempdir().unwrap();
    for name in ["hearthlink.db", "hearthlink.db-wal"] {
        let from = directory.join("data").join(name);
        if from.exists() {
            std::fs::copy(&from, copy.path().join(name)).unwrap();
        }
    }
    let file = rusqlite::Connection::open(copy.path().join("hearthlink.db")).unwrap();
    let has_tables =
        file.query_row("SELECT count(*) FROM sqlite_master WHERE name = 'outbox'", [], |row| row.get(0));
    if has_tables == Ok(0) {
        return Rest::default();
    }
    let last = file.query_row(
        "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'outbox'), 0)",
        [],
        |row| row.get(0),
    );
    let mut rows = file.prepare("SELECT sequence FROM outbox").unwrap();
    let waiting = rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    Rest { last: last.unwrap(), waiting }
}
