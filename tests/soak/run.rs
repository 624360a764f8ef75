//! One run: everybody is started, the plan is carried out, everything heals, and the history is judged.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hearthlink::demo::certificates::{Authority, LOOPBACK_NAMES, Wish};
use tokio::{
    sync::Mutex,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    RULES, WINDOW, WORK,
    appliance::{Appliance, Manner},
    kills::{Kills, Line},
    phone::{MAX_AGE, Phone},
    plan::Plan,
    sensor::Sensor,
};
use crate::{
    cloud::Cloud,
    history::{
        Diary, Event,
        verdict::{Kind, Verdict, judge},
        work,
    },
    program::{Port, Program, status},
    proxy::{End, Proxy, Weather},
};

/// How long everything may take to heal at the end.
const HEALING: Duration = Duration::from_secs(180);

const SENSORS: [&str; 4] = ["sensors/attic", "sensors/cellar", "sensors/hall", "meter/power"];
const APPLIANCES: [(&str, Manner, bool); 4] = [
    ("plug", Manner::Silent, false),
    ("lamp", Manner::Prompt, false),
    ("blind", Manner::Prompt, true),
    ("oven", Manner::Slow, false),
];

/// How much is to be done; all of it, at least. Kills of the gateway count under load only.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub kills: u64,
    pub cloud_kills: u64,
    pub length: Duration,
}

pub async fn run(seed: u64, size: Size) -> (Verdict, Kills) {
    let mut random = fastrand::Rng::with_seed(seed ^ 0x5EED);
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new("soak").unwrap();
    authority.write(&directory.path().join("ca.pem")).unwrap();
    let issue = |wish: &Wish, stem| authority.issue(wish).unwrap().write(directory.path(), stem).unwrap();
    let server = issue(&Wish::server(LOOPBACK_NAMES), "server");
    issue(&Wish::client("home"), "gateway");

    let diary = Diary::new();
    for (device, ..) in APPLIANCES {
        for below in ["", "/availability", "/result"] {
            diary.write(Event::Own(format!("{device}{below}").into()));
        }
    }
    let cloud = Cloud::new(&server, "hearthlink/home/", diary.clone(), random.u64(..));
    let proxy = Arc::new(Proxy::start(cloud.revive().await).await);
    let (lan, page) = (Port::reserve(), Port::reserve());
    // A store that commits seldom shows what hides behind quick commits, and makes everything slow.
    let floor = if random.u8(..) < 64 { 40 } else { 0 };
    let config = config(floor, lan.address(), page.address(), proxy.address().port());
    let path = directory.path().join("hearthlink.yaml");
    std::fs::write(&path, config).unwrap();
    let start = || Program::start::<&str>(&path, []);

    let (stop, end) = (CancellationToken::new(), CancellationToken::new());
    let mut sensors = JoinSet::new();
    for topic in SENSORS {
        let (diary, random) = (diary.clone(), random.fork());
        let pace = Duration::from_millis(25);
        let sensor = Sensor { broker: lan.address(), topic: topic.into(), pace, diary, random };
        sensors.spawn(sensor.run(stop.clone()));
    }
    let mut others = JoinSet::new();
    for (name, manner, is_persistent) in APPLIANCES {
        let (diary, random) = (diary.clone(), random.fork());
        let appliance = Appliance { broker: lan.address(), name, manner, is_persistent, diary, random };
        others.spawn(appliance.run(end.clone()));
    }
    let phone = Phone {
        cloud: cloud.clone(),
        devices: APPLIANCES.iter().map(|(name, manner, _)| (*name, *manner != Manner::Silent)).collect(),
        // The desk commits once a command: a phone that is quicker would only see its commands expire.
        pace: Duration::from_millis(60 + 4 * floor),
        diary: diary.clone(),
        random: random.fork(),
    };
    others.spawn(phone.run(stop.clone(), end.clone()));
    let stutter = tokio::spawn(diary.clone().watch_for_stutter());

    let longest = if size.length.is_zero() { Duration::from_secs(4) } else { Duration::from_secs(40) };
    let plan = Arc::new(Mutex::new(Plan::new(seed, longest)));
    let deaths = Arc::new(AtomicU64::new(0));
    let killer = tokio::spawn(kill_the_cloud(
        plan.clone(),
        cloud.clone(),
        proxy.clone(),
        deaths.clone(),
        stop.clone(),
    ));
    let started = Instant::now();
    let (mut lives, mut kills) = (0, Kills::default());
    while kills.under_load() < size.kills
        || deaths.load(Ordering::Relaxed) < size.cloud_kills
        || started.elapsed() < size.length
    {
        let life = plan.lock().await.life();
        diary.mark(format!("the gateway starts its life {lives}: {life:?}"));
        let born = diary.now();
        diary.write(Event::Started);
        let mut program = start();
        tokio::select! {
            () = program.run_for(life.length) => {}
            () = life.blow(&proxy) => {}
        }
        let line = Line::new(life.sky, cloud.is_alive(), cloud.is_connected());
        program.kill().await;
        diary.write(Event::Killed);
        diary.mark(format!("the gateway is killed at the end of its life {lives}, the line {line:?}"));
        kills.add(line, diary.has_since(born, |event| matches!(event, Event::Accepted { .. })));
        lives += 1;
        if lives % 50 == 0 {
            eprintln!(
                "{lives} lives, {} kills under load, {} deaths of the cloud, {:.0?}",
                kills.under_load(),
                deaths.load(Ordering::Relaxed),
                started.elapsed()
            );
        }
    }
    stop.cancel();
    // It comes back to life first, if it is dead.
    killer.await.unwrap();
    proxy.set(Weather::Clear);
    proxy.cut(End::Reset);
    diary.mark("everything heals");
    diary.write(Event::Started);
    let program = start();
    let at_the_end = heal(&mut sensors, &cloud, page.address(), &diary, &program).await;
    diary.write(at_the_end);
    end.cancel();
    while let Some(ended) = others.join_next().await {
        ended.unwrap();
    }
    stutter.abort();
    let last_words = program.last_words();
    program.kill().await;
    diary.write(Event::Killed);
    let entries = diary.entries();
    let mut verdict = judge(&entries, RULES);
    work::demand(&entries, WORK, &mut verdict);
    if !verdict.is_clean() {
        let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("soak-{seed}.txt"));
        diary.keep(&path);
        eprintln!("the whole diary is in {}\nthe gateway's last words:\n{last_words}", path.display());
    }
    for (line, count) in [
        ("under load", kills.under_load()),
        ("of these with the line up", kills.up),
        ("of these with line or cloud down", kills.down),
        ("of these with the line flapping", kills.flapping),
        ("of these with the line ill otherwise or not found yet", kills.others),
        ("beside them, before anything was accepted", kills.idle),
    ] {
        verdict.add(&format!("kills of the gateway: {line}"), count);
    }
    verdict.add("kills of the cloud", deaths.load(Ordering::Relaxed));
    verdict.add("connections that the gateway opened", proxy.accepted());
    verdict.add("seconds", started.elapsed().as_secs());
    (verdict, kills)
}

async fn kill_the_cloud(
    plan: Arc<Mutex<Plan>>,
    cloud: Cloud,
    proxy: Arc<Proxy>,
    deaths: Arc<AtomicU64>,
    stop: CancellationToken,
) {
    loop {
        let death = plan.lock().await.death();
        if stop.run_until_cancelled(sleep(death.after)).await.is_none() {
            return;
        }
        cloud.kill(death.keeps_session);
        sleep(death.down).await;
        proxy.aim(cloud.revive().await);
        deaths.fetch_add(1, Ordering::Relaxed);
    }
}

/// Waits until nothing is on its way any more, and says how it stands then. What never heals is for the judge.
async fn heal(
    sensors: &mut JoinSet<()>,
    cloud: &Cloud,
    page: std::net::SocketAddr,
    diary: &Diary,
    program: &Program,
) -> Event {
    let stand = async || {
        let status = status(page).await.unwrap_or_default();
        let waiting = status["store"]["waiting"].as_u64().map(|queued| queued + cloud.waiting() as u64);
        (Event::AtTheEnd { is_online: status["link"]["state"] == "online", waiting }, status)
    };
    let healing = async {
        while let Some(ended) = sensors.join_next().await {
            ended.unwrap();
        }
        loop {
            let (at_the_end, _) = stand().await;
            let is_told = || judge(&diary.entries(), RULES).count(Kind::WithoutOutcome) == 0;
            if matches!(at_the_end, Event::AtTheEnd { is_online: true, waiting: Some(0) }) && is_told() {
                return at_the_end;
            }
            sleep(Duration::from_millis(500)).await;
        }
    };
    if let Ok(healed) = timeout(HEALING, healing).await {
        return healed;
    }
    let (at_the_end, status) = stand().await;
    eprintln!("it did not heal within {HEALING:?}: {status}\n{}", program.last_words());
    at_the_end
}

fn config(floor: u64, lan: std::net::SocketAddr, page: std::net::SocketAddr, cloud_port: u16) -> String {
    let mut text = format!(
        "gateway: {{ id: home, data_dir: data }}\n\
         broker: {{ listeners: [ {{ address: \"{lan}\" }} ] }}\n\
         web: {{ address: \"{page}\" }}\n\
         cloud:\n  url: wss://127.0.0.1:{cloud_port}/mqtt\n  ca_file: ca.pem\n  certificate_file: gateway.pem\n  \
         key_file: gateway.key\n  window: {WINDOW}\n  keep_alive: 5s\n  answer_limit: 1s\n  connect_limit: 2s\n  \
         backoff: {{ first: 20ms, longest: 300ms, stable_after: 60s }}\n\
         store: {{ commit_floor: {floor}ms }}\n\
         routes: [ {{ local: \"sensors/#\" }}, {{ local: \"meter/#\" }} ]\n"
    );
    let (mut devices, mut allow) =
        (String::from("devices:\n"), format!("commands:\n  max_age: {MAX_AGE:?}\n  allow:\n"));
    for (name, manner, _) in APPLIANCES {
        let state = match manner {
            Manner::Silent => String::new(),
            Manner::Prompt => format!(", state_topic: {name}/state"),
            Manner::Slow => format!(", state_topic: {name}/state, confirm_within: 3s"),
        };
        writeln!(devices, "  - {{ id: {name}, kind: lan, options: {{ command_topic: {name}/set{state} }} }}")
            .unwrap();
        writeln!(allow, "    - {{ device: {name}, set: {{ state: any }} }}").unwrap();
    }
    text += &devices;
    text += &allow;
    text
}
