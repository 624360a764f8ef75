//! One run: everybody is started, the plan is carried out, everything heals, and the history is judged.

use std::{
    fmt::Write as _,
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
    appliance::{Appliance, Manner},
    kills::{Kills, Line},
    phone::{MAX_AGE, Phone},
    plan::Plan,
    scene::{Scene, Size},
    sensor::Sensor,
};
use crate::{
    cloud::Cloud,
    history::{
        Diary, Event,
        verdict::{Kind, Verdict, judge},
        work,
    },
    program::{Program, status},
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

pub async fn run(seed: u64, size: Size) -> (Verdict, Kills) {
    let mut random = fastrand::Rng::with_seed(seed ^ 0x5EED);
    let scene = Scene::new(&mut random).await;
    let Scene { diary, cloud, proxy, .. } = &scene;
    let (lan, page) = (scene.lan.address(), scene.page.address());
    for (device, ..) in APPLIANCES {
        for below in ["", "/about", "/availability", "/result"] {
            diary.write(Event::Own(format!("{device}{below}").into()));
        }
    }
    // A store that commits seldom shows what hides behind quick commits, and makes everything slow.
    let floor = if random.u8(..) < 64 { 40 } else { 0 };
    scene.configure("", &sections(floor));

    let (stop, end) = (CancellationToken::new(), CancellationToken::new());
    let mut sensors = JoinSet::new();
    for topic in SENSORS {
        let (diary, random) = (diary.clone(), random.fork());
        let pace = Duration::from_millis(25);
        let sensor = Sensor { broker: lan, topic: topic.into(), first: 0, pace, diary, random };
        sensors.spawn(sensor.run(stop.clone()));
    }
    let mut others = JoinSet::new();
    for (name, manner, is_persistent) in APPLIANCES {
        let (diary, random) = (diary.clone(), random.fork());
        let appliance = Appliance { broker: lan, name, manner, is_persistent, diary, random };
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

    let plan = Arc::new(Mutex::new(Plan::new(seed, size.longest_life())));
    let deaths = Arc::new(AtomicU64::new(0));
    let killer = tokio::spawn(scene.kill_the_cloud(plan.clone(), deaths.clone(), stop.clone()));
    let started = Instant::now();
    let (mut lives, mut kills) = (0, Kills::default());
    while kills.under_load() < size.kills
        || deaths.load(Ordering::Relaxed) < size.cloud_kills
        || started.elapsed() < size.length
    {
        let life = plan.lock().await.life();
        diary.mark(format!("the gateway starts its life {lives}: {life:?}"));
        let born = diary.now();
        let mut program = scene.start();
        tokio::select! {
            () = program.run_for(life.length) => {}
            () = life.blow(proxy) => {}
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
    scene.clear();
    let program = scene.start();
    let at_the_end = heal(&mut sensors, cloud, page, diary, &program).await;
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
    let deaths = deaths.load(Ordering::Relaxed);
    scene.finish(&mut verdict, &format!("soak-{seed}"), (&kills, deaths, started), &last_words);
    (verdict, kills)
}

/// Waits until nothing is on its way any more, and says how it stands then. What never heals is for the judge.
async fn heal(
    sensors: &mut JoinSet<u64>,
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

/// What the gateway's configuration says beside [`Scene::configure`].
fn sections(floor: u64) -> String {
    let mut text = format!(
        "store: {{ commit_floor: {floor}ms }}\n\
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
