//! What is said, and how seldom.

use futures_util::FutureExt;

use super::*;
use crate::{
    app::testing::Home,
    broker::InProcess,
    clock::Clock,
    health::{CertificateReport, LinkReport, StoreReport, UnderVoltage},
    model::{Fault, FaultKind, Timestamp},
    store::StoreOptions,
};

const ALL: Has = Has { cloud: true, certificate: true };

fn link(state: LinkState) -> LinkReport {
    let fault = (state != LinkState::Online).then(|| Fault::new(FaultKind::Dns, "no such host"));
    LinkReport { state, fault, ..LinkReport::off() }
}

fn machine(temperature: f64) -> HostReport {
    HostReport { temperature_celsius: Some(temperature), load: Some([0.0; 3]), ..HostReport::default() }
}

fn names(entities: &[Entity]) -> Vec<&str> {
    entities.iter().map(|entity| entity.field.as_str()).collect()
}

#[test]
fn what_a_house_does_not_have_is_not_shown() {
    assert_eq!(names(&entities(&ALL.fields())), [PROBLEM, LINE_UP, WAITING, CERTIFICATE_DAYS]);
    let alone = Has { cloud: false, certificate: false };
    assert_eq!(names(&entities(&alone.fields())), [PROBLEM]);
    let board = Board::new("g", Clock::system());
    let on_a_pi = UnderVoltage { now: true, since_boot: true };
    board.host(HostReport { under_voltage: Some(on_a_pi), ..machine(41.4) });
    let fields = alone.read(false, false, &board.snapshot(), &Fields::new());
    assert_eq!(
        Value::Object(fields),
        serde_json::json!({PROBLEM: false, TEMPERATURE: 41, UNDER_VOLTAGE: true})
    );
    let every: BTreeSet<String> =
        ALL.fields().into_iter().chain([TEMPERATURE, UNDER_VOLTAGE].map(str::to_owned)).collect();
    let all = entities(&every);
    assert_eq!(all.len(), every.len(), "each field is something for people");
    assert!(all.iter().all(|entity| entity.category == Some(crate::model::Category::Diagnostic)));
}

#[test]
fn the_queue_is_told_in_messages_and_a_certificate_in_days() {
    let clock = Clock::manual(Timestamp::parse_rfc3339("2026-11-22T12:00:00Z").unwrap());
    let board = Board::new("g", clock.clone());
    board.link(link(LinkState::Waiting));
    board.store(StoreReport { waiting: 7, ..StoreReport::default() });
    board.certificate(Some(CertificateReport {
        subject: "CN=home".into(),
        issuer: "CN=CA".into(),
        serial: "01".into(),
        fingerprint_sha256: "AB".into(),
        not_before: clock.now(),
        not_after: Timestamp::parse_rfc3339("2027-01-31T12:00:00Z").unwrap(),
    }));
    let said = ALL.read(false, true, &board.snapshot(), &Fields::new());
    let expected = serde_json::json!({PROBLEM: true, LINE_UP: false, WAITING: 7, CERTIFICATE_DAYS: 70});
    assert_eq!(Value::Object(said), expected);
}

#[tokio::test(start_paused = true)]
async fn a_problem_is_one_that_lasts() {
    let mut rhythm = Rhythm::new(Fields::new());
    assert!(!rhythm.has_problem(true), "it has only begun");
    sleep(LASTING).await;
    assert!(rhythm.has_problem(true));
    assert!(!rhythm.has_problem(false));
    assert!(!rhythm.has_problem(true), "another one");
}

#[test]
fn a_temperature_that_trembles_is_no_news() {
    let board = Board::new("g", Clock::system());
    let mut said = Fields::new();
    for (measured, told) in [(50.4, 50), (51.9, 50), (48.1, 50), (52.0, 52), (50.5, 52), (49.6, 50)] {
        board.host(machine(measured));
        said = ALL.read(true, false, &board.snapshot(), &said);
        assert_eq!(said[TEMPERATURE], told, "{measured}");
    }
}

struct House {
    board: Board,
    ear: InProcess,
    health: Option<BridgeHealth>,
    told: mpsc::Receiver<(DeviceId, Vec<Entity>)>,
    _home: Home,
}

impl House {
    /// With what an earlier run has left.
    async fn new(kept: &str) -> Self {
        let home = Home::new(&StoreOptions::default(), Clock::system()).await;
        let (broker, board) = (home.broker.clone(), home.board.clone());
        let topics = LocalTopics::default();
        broker.publish(&Message::new(topics.health(), kept.to_owned(), QoS::AtLeastOnce).retained());
        let mut ear = broker.subscribe(&[(&topics.health()).into()], 256);
        ear.recv().await.unwrap();
        let (entities, told) = mpsc::channel(8);
        let has = Has { cloud: true, certificate: false };
        let health = Some(BridgeHealth { board: board.clone(), broker, topics, has, entities, homie: None });
        Self { board, ear, health, told, _home: home }
    }

    fn heard(&mut self) -> Vec<Value> {
        let mut all = Vec::new();
        while let Some(Some(heard)) = self.ear.recv().now_or_never() {
            all.push(serde_json::from_slice(&heard.message.payload).unwrap());
        }
        all
    }
}

#[tokio::test(start_paused = true)]
async fn a_lines_change_is_said_at_once_and_everything_else_at_most_every_two_minutes() {
    let mut house = House::new(r#"{"problem":false,"line_up":true,"waiting":0,"temperature":50}"#).await;
    house.board.link(link(LinkState::Online));
    house.board.host(machine(50.9));
    let stop = CancellationToken::new();
    let running = tokio::spawn(house.health.take().unwrap().run(stop.clone()));
    sleep(REST * 2).await;
    assert!(house.heard().is_empty(), "it is what the run before has said");
    let (device, entities) = house.told.try_recv().unwrap();
    assert_eq!((device, names(&entities)), (bridge(), vec![PROBLEM, LINE_UP, WAITING, TEMPERATURE]));

    // An hour in which everything changes all the time, but for the line.
    for second in 0..3600_u32 {
        house.board.store(StoreReport { waiting: second.into(), ..StoreReport::default() });
        house.board.host(machine(f64::from(40 + second % 40)));
        sleep(Duration::from_secs(1)).await;
    }
    let said = house.heard().len();
    assert!((28..=30).contains(&said), "{said} times in 30 times two minutes");

    house.board.link(link(LinkState::Waiting));
    sleep(REST * 2).await;
    let said = house.heard();
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(said[0][LINE_UP], false);
    assert!(house.told.try_recv().is_err(), "what it has, it had");
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn while_nobody_has_looked_at_the_machine_nothing_is_taken_from_people() {
    let mut house = House::new(r#"{"problem":false,"line_up":true,"waiting":0,"temperature":50}"#).await;
    let running = tokio::spawn(house.health.take().unwrap().run(CancellationToken::new()));
    sleep(REST * (WAIT_FOR_MACHINE - 1)).await;
    assert!(house.heard().is_empty() && house.told.try_recv().is_err());
    house.board.host(machine(50.0));
    sleep(REST * 2).await;
    assert_eq!(house.heard()[0][TEMPERATURE], 50);
    assert!(names(&house.told.try_recv().unwrap().1).contains(&TEMPERATURE));
    running.abort();
}
