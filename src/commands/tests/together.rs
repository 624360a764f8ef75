//! Commands that begin together: in few commits, in the order in which they came, and each id once.

use super::{
    trouble::{PATIENCE, in_journal, local, meddler, until_taken},
    *,
};
use futures_util::FutureExt;

use crate::{
    commands::{
        lane::MOST_BEGINNING,
        register::{NotBegun, Register},
    },
    model::CommandId,
    store::Begun,
};

const IN_THE_CHANNEL: usize = 16;

/// A bench with many lights; [`Bench::toaster`] hears of nothing.
fn scene(lights: usize, commands: usize) -> (Bench, Vec<mpsc::Receiver<Actuation>>) {
    let mut bench = Bench::start(StoreOptions::default());
    bench.desk.abort();
    let (mailboxes, heard): (HashMap<_, _>, Vec<_>) = (0..lights)
        .map(|number| {
            let (mailbox, heard) = mpsc::channel(commands);
            ((device(&format!("light-{number}")), mailbox), heard)
        })
        .unzip();
    let (desk, told) = desk(toaster_on(), (&bench.store, &bench.clock), mailboxes);
    bench.told = told;
    (bench.home, bench.cloud, bench.desk) = Bench::run(desk, &bench.stop);
    (bench, heard)
}

fn for_light(number: usize) -> impl FnOnce(&mut Incoming) {
    move |command| {
        local(command);
        command.device = device(&format!("light-{number}"));
    }
}

/// How many commits SQLite's log holds: frames with the size of the file after a commit
/// (sqlite.org/fileformat2.html, section 4.1).
fn commits(bench: &Bench) -> usize {
    let log = std::fs::read(bench.directory.path().join("store.db-wal")).unwrap();
    let page = u32::from_be_bytes(log[8..12].try_into().unwrap()) as usize;
    let (header, frames) = log.split_at(32);
    let of_now = |frame: &&[u8]| frame[8..16] == header[16..24];
    frames.chunks_exact(24 + page).filter(of_now).filter(|frame| frame[4..8] != [0; 4]).count()
}

#[tokio::test]
async fn the_commands_of_a_scene_begin_in_two_commits_at_most() {
    let (bench, mut lights) = scene(20, 1);
    let before = commits(&bench);
    let meddler = meddler(&bench);
    meddler.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut acknowledged = Vec::new();
    for number in 0..lights.len() {
        acknowledged.push(bench.send("ON", for_light(number)).await);
    }
    until_taken(&bench.home).await;
    assert!(lights.iter_mut().all(|light| light.try_recv().is_err()), "no light hears before the disk");
    meddler.execute_batch("ROLLBACK").unwrap();
    // Held, so that none of them ends, which would be one more commit.
    let mut heard = Vec::new();
    for (light, acknowledged) in lights.iter_mut().zip(acknowledged) {
        acknowledged.await.unwrap();
        heard.push(timeout(PATIENCE, light.recv()).await.unwrap().unwrap());
    }
    assert!((1..=2).contains(&(commits(&bench) - before)), "{} commits", commits(&bench) - before);
}

#[tokio::test]
async fn each_light_hears_the_commands_of_one_way_in_their_order_and_each_id_once() {
    for seed in 0..8 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut bench, mut lights) = scene(4, 256);
        let mut told = std::mem::replace(&mut bench.told, mpsc::channel(1).1);
        let listener = tokio::spawn(async move { while told.recv().await.is_some() {} });
        let mut expected = vec![Vec::new(); lights.len()];
        for number in 0..200_u64 {
            let light = random.usize(..lights.len());
            let payload = match random.u8(..10) {
                0 => "[]".to_owned(),
                // Known already, for this light or for another one.
                1 => format!(r#"{{"id":"{}","state":{number}}}"#, random.u64(..=number)),
                2 => format!(r#"{{"id":"late-{number}","state":{number},"ttl":0}}"#),
                _ => format!(r#"{{"id":"{number}","state":{number}}}"#),
            };
            let order: Option<serde_json::Value> = serde_json::from_str(&payload).ok().filter(|order| {
                let order: &serde_json::Value = order;
                order.is_object() && order.get("ttl").is_none()
            });
            if let Some(order) = order
                && !expected[light].iter().any(|(id, _)| *id == order["id"])
            {
                expected[light].push((order["id"].clone(), number));
            }
            bench.send(&payload, for_light(light)).await;
        }
        drop(std::mem::replace(&mut bench.home, mpsc::channel(1).0));
        drop(std::mem::replace(&mut bench.cloud, mpsc::channel(1).0));
        for (light, expected) in lights.iter_mut().zip(&expected) {
            for (id, number) in expected {
                let heard = timeout(PATIENCE, light.recv()).await.unwrap().unwrap();
                assert_eq!(
                    (heard.command.request.fields()["state"].as_u64(), Some(heard.command.id.as_str())),
                    (Some(*number), id.as_str()),
                    "seed {seed}"
                );
                applied(heard);
            }
        }
        timeout(PATIENCE, bench.desk).await.expect("nobody can send any more").unwrap();
        assert!(lights.iter_mut().all(|light| light.try_recv().is_err()), "an id ran twice");
        assert!(bench.store.interrupted().await.unwrap().is_empty());
        listener.abort();
    }
}

#[tokio::test]
async fn a_command_does_not_overtake_one_that_waits_until_its_id_is_free() {
    let mut bench = Bench::start(StoreOptions::default());
    let order = r#"{"id":"c1","state":"ON"}"#;
    let meddler = meddler(&bench);
    trouble::given_up(&mut bench, &meddler, order).await;
    bench.send(order, |_| {}).await;
    bench.send(r#"{"id":"c2","state":"ON","ttl":0}"#, |_| {}).await;
    assert_eq!(bench.outcome().await.1, Some(Reason::TooLate));
    assert_eq!(bench.toaster.try_recv().unwrap().command.id.as_str(), "c1");
}

#[tokio::test]
async fn a_light_that_keeps_up_is_not_busy_because_its_commands_began_together() {
    let (mut bench, mut lights) = scene(1, 2);
    let mut light = lights.remove(0);
    let keeps_up = tokio::spawn(async move {
        while let Some(actuation) = light.recv().await {
            applied(actuation);
        }
    });
    let meddler = meddler(&bench);
    meddler.execute_batch("BEGIN IMMEDIATE").unwrap();
    for _ in 0..20 {
        bench.send("ON", for_light(0)).await;
    }
    until_taken(&bench.home).await;
    meddler.execute_batch("ROLLBACK").unwrap();
    for _ in 0..20 {
        assert_eq!(bench.outcome().await, (OutcomeStatus::Applied, None, false));
    }
    keeps_up.abort();
}

#[tokio::test]
async fn an_id_that_comes_twice_before_it_is_on_the_disk_runs_once() {
    let (bench, mut lights) = scene(1, 8);
    let meddler = meddler(&bench);
    meddler.execute_batch("BEGIN IMMEDIATE").unwrap();
    let first = bench.send(r#"{"id":"c1","state":"ON"}"#, for_light(0)).await;
    let second = bench.send(r#"{"id":"c1","state":"ON"}"#, for_light(0)).await;
    let other = bench.send(r#"{"id":"c2","state":"ON"}"#, for_light(0)).await;
    until_taken(&bench.home).await;
    meddler.execute_batch("ROLLBACK").unwrap();
    for acknowledged in [first, second, other] {
        timeout(PATIENCE, acknowledged).await.unwrap().unwrap();
    }
    let heard: Vec<_> =
        std::iter::from_fn(|| lights[0].try_recv().ok()).map(|heard| heard.command.id.to_string()).collect();
    assert_eq!(heard, ["c1", "c2"]);
}

#[tokio::test]
async fn what_is_given_up_while_it_begins_twice_is_taken_back_and_runs_when_it_comes_again() {
    let (mut bench, mut lights) = scene(1, 8);
    let order = r#"{"id":"c1","state":"ON"}"#;
    let meddler = meddler(&bench);
    meddler.execute_batch("BEGIN IMMEDIATE").unwrap();
    let acknowledged = [bench.send(order, for_light(0)).await, bench.send(order, for_light(0)).await];
    for acknowledged in acknowledged {
        assert_eq!(bench.outcome().await.1, Some(Reason::NotDurable));
        assert!(acknowledged.await.is_err());
    }
    meddler.execute_batch("ROLLBACK").unwrap();
    let again = async {
        while bench.store.hangs() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bench.send(order, for_light(0)).await.await.unwrap();
        lights[0].recv().await.unwrap()
    };
    applied(timeout(PATIENCE, again).await.unwrap());
    assert_eq!(bench.outcome().await, (OutcomeStatus::Applied, None, false));
    assert_eq!(in_journal(&meddler), 1);
}

#[tokio::test]
async fn who_names_an_id_that_is_being_given_up_is_never_told_that_it_runs() {
    let bench = Bench::start(StoreOptions::default());
    let register = Register::new(bench.store.clone(), bench.clock.clone());
    let (id, device) = (CommandId::parse("c1").unwrap(), device("toaster"));
    let meddler = meddler(&bench);
    meddler.execute_batch("BEGIN IMMEDIATE").unwrap();
    let begin = || Box::pin(register.begin(&id, &device, bench.stop.clone()));
    let (mut first, mut second) = (begin(), begin());
    assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());
    let Err(NotBegun { way_back: Some(way_back), .. }) = first.await else { panic!("the disk hangs") };
    // Well again before the second one has had a turn: what was handed over of it is on the disk as well.
    meddler.execute_batch("ROLLBACK").unwrap();
    while in_journal(&meddler) == 0 || bench.store.hangs() {
        std::thread::yield_now();
    }
    let (second, ()) = tokio::join!(second, way_back);
    assert!(matches!(second, Ok(Begun::Fresh)));
    assert_eq!(in_journal(&meddler), 1);
}

#[tokio::test]
async fn commands_that_begin_when_the_gateway_stops_end_as_all_do() {
    let (mut bench, mut lights) = scene(3, 1);
    let meddler = meddler(&bench);
    meddler.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut acknowledged = Vec::new();
    for number in 0..lights.len() {
        acknowledged.push(bench.send("ON", for_light(number)).await);
    }
    until_taken(&bench.home).await;
    bench.stop.cancel();
    meddler.execute_batch("ROLLBACK").unwrap();
    for (light, acknowledged) in lights.iter_mut().zip(acknowledged) {
        acknowledged.await.unwrap();
        applied(timeout(PATIENCE, light.recv()).await.unwrap().unwrap());
        assert_eq!(bench.outcome().await, (OutcomeStatus::Applied, None, false));
    }
    timeout(PATIENCE, bench.desk).await.expect("the desk ends").unwrap();
    assert!(bench.store.interrupted().await.unwrap().is_empty());
}

#[tokio::test]
async fn beyond_the_commands_that_may_begin_at_once_nothing_is_received() {
    let (bench, mut lights) = scene(1, 256);
    let meddler = meddler(&bench);
    meddler.execute_batch("BEGIN IMMEDIATE").unwrap();
    let most = MOST_BEGINNING + IN_THE_CHANNEL;
    for _ in 0..most {
        timeout(PATIENCE, bench.send("ON", for_light(0))).await.expect("there is room");
    }
    for _ in 0..most {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.home.capacity(), 0, "it is full");
    meddler.execute_batch("ROLLBACK").unwrap();
    for _ in 0..most {
        timeout(PATIENCE, lights[0].recv()).await.unwrap().unwrap();
    }
}
