//! Months of a certificate in a moment: what the house and the cloud are told, and when.

use futures_util::FutureExt;
use serde_json::Value;

use super::*;
use crate::{
    app::testing::Home,
    broker::{Heard, InProcess},
    model::GatewayId,
    store::StoreOptions,
};

struct House {
    home: Home,
    clock: Clock,
    ear: InProcess,
    local: LocalTopics,
    cloud: Topic,
}

fn moment(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

fn certificate(fingerprint: &str, until: &str) -> CertificateReport {
    CertificateReport {
        subject: "CN=home".into(),
        issuer: "CN=CA".into(),
        serial: "01".into(),
        fingerprint_sha256: fingerprint.into(),
        not_before: moment("2026-01-01T00:00:00Z"),
        not_after: moment(until),
    }
}

impl House {
    async fn new(now: &str) -> Self {
        let clock = Clock::manual(moment(now));
        // Months pass here, and nobody fetches anything.
        let options =
            StoreOptions { max_age: Duration::from_secs(400 * 24 * 3600), ..StoreOptions::default() };
        let home = Home::new(&options, clock.clone()).await;
        let local = LocalTopics::default();
        let ear = home.broker.subscribe(&[(&local.certificate()).into()], 64);
        let prefix = Topic::parse("p").unwrap();
        let cloud =
            crate::app::CloudTopics::new(&prefix, &GatewayId::parse("g").unwrap()).unwrap().certificate();
        Self { home, clock, ear, local, cloud }
    }

    fn watch(&self) -> CertificateWatch {
        CertificateWatch {
            board: self.home.board.clone(),
            clock: self.clock.clone(),
            broker: self.home.broker.clone(),
            store: self.home.store.clone(),
            local: self.local.clone(),
            cloud: Some(self.cloud.clone()),
        }
    }

    fn start(&self) -> CancellationToken {
        let stop = CancellationToken::new();
        tokio::spawn(self.watch().run(stop.clone()));
        stop
    }

    /// What the house is told next.
    async fn heard(&mut self) -> Value {
        let Heard { message, .. } = self.ear.recv().await.unwrap();
        serde_json::from_slice(&message.payload).unwrap_or(Value::Null)
    }

    /// What was said to the house since the last time, in a word and when.
    fn said(&mut self) -> Vec<(String, String)> {
        let mut said = Vec::new();
        while let Some(heard) = self.ear.recv().now_or_never() {
            let value: Value = serde_json::from_slice(&heard.unwrap().message.payload).unwrap();
            let word = |name: &str| value[name].as_str().unwrap().to_owned();
            said.push((word("expiry"), word("at")));
        }
        said
    }

    /// What waits for the cloud: topic, payload, whether it is to be kept there.
    async fn for_cloud(&self) -> Vec<(String, Value, bool)> {
        let records = self.home.store.pending(0, 64, 1 << 20).await.unwrap();
        let entry = |message: &Message| {
            let payload = serde_json::from_slice(&message.payload).unwrap_or(Value::Null);
            (message.topic.as_str().to_owned(), payload, message.retain)
        };
        records.iter().map(|record| entry(&record.message)).collect()
    }
}

#[tokio::test]
async fn each_threshold_is_told_once_at_home_and_to_the_cloud_over_months() {
    let mut house = House::new("2026-11-30T08:30:00Z").await;
    let (watch, mut memory) = (house.watch(), Memory::default());
    // Until a week after its end.
    for _ in 0..70 * 24 {
        let report = certificate("AA", "2027-02-01T00:00:00Z");
        watch.look(Some(report), Some(house.clock.now()), &mut memory).await;
        house.clock.advance(LOOK_EVERY);
    }
    // Renewed, while it runs.
    let report = certificate("BB", "2028-02-01T00:00:00Z");
    watch.look(Some(report), Some(house.clock.now()), &mut memory).await;
    let expected = [
        ("far", "2026-11-30T08:30:00Z"),
        ("within_30_days", "2027-01-02T00:30:00Z"),
        ("within_7_days", "2027-01-25T00:30:00Z"),
        ("within_1_day", "2027-01-31T00:30:00Z"),
        ("expired", "2027-02-01T00:30:00Z"),
        ("far", "2027-02-08T08:30:00Z"),
    ]
    .map(|(expiry, at)| (expiry.to_owned(), at.to_owned()));
    assert_eq!(house.said(), expected);
    let for_cloud = house.for_cloud().await;
    for ((topic, payload, is_retained), (expiry, at)) in for_cloud.iter().zip(&expected) {
        assert_eq!((topic.as_str(), is_retained), ("p/g/bridge/certificate", &true));
        assert_eq!((&payload["expiry"], &payload["at"]), (&json!(expiry), &json!(at)));
        assert!(payload["message_id"].is_string(), "{payload}");
    }
    assert_eq!(for_cloud.len(), expected.len());
    let (_, last, _) = &for_cloud[5];
    assert_eq!((&last["days_left"], &last["not_after"]), (&json!(357), &json!("2028-02-01T00:00:00Z")));
    assert_eq!((&last["fingerprint_sha256"], &last["subject"]), (&json!("BB"), &json!("CN=home")));
}

#[tokio::test(start_paused = true)]
async fn a_running_watch_looks_at_the_wall_clock_by_itself_and_hears_of_another_certificate() {
    let mut house = House::new("2026-11-30T08:30:00Z").await;
    house.home.board.certificate(Some(certificate("AA", "2027-02-01T00:00:00Z")));
    let stop = house.start();
    assert_eq!(house.heard().await["expiry"], "far");
    // Months in a moment: the watch sleeps an hour of the other clock.
    house.clock.set(moment("2027-01-26T00:00:00Z"));
    assert_eq!(house.heard().await["expiry"], "within_7_days");
    house.home.board.certificate(Some(certificate("BB", "2028-02-01T00:00:00Z")));
    assert_eq!(house.heard().await["fingerprint_sha256"], "BB");
    stop.cancel();
}

#[tokio::test(start_paused = true)]
async fn nothing_is_told_before_the_clock_can_be_believed() {
    let mut house = House::new("2027-03-01T00:00:00Z").await;
    house.clock.set_trusted(false);
    house.home.board.certificate(Some(certificate("AA", "2027-02-01T00:00:00Z")));
    let stop = house.start();
    tokio::time::sleep(3 * LOOK_EVERY).await;
    assert_eq!(house.said(), []);
    house.clock.set(moment("2026-12-01T00:00:00Z"));
    house.clock.set_trusted(true);
    assert_eq!(house.heard().await["expiry"], "far");
    stop.cancel();
}

#[tokio::test]
async fn what_was_kept_of_a_certificate_is_cleared_when_there_is_none_any_more() {
    let mut house = House::new("2027-01-30T00:00:00Z").await;
    let (watch, mut memory) = (house.watch(), Memory::default());
    let now = Some(house.clock.now());
    // Without one and with nothing kept nothing is said.
    watch.look(None, now, &mut memory).await;
    assert!(house.said().is_empty() && house.for_cloud().await.is_empty());
    watch.look(Some(certificate("AA", "2027-02-01T00:00:00Z")), now, &mut memory).await;
    assert_eq!(house.said().len(), 1);
    // By a gateway that started anew without one, and then again with the same.
    let mut memory = Memory::default();
    for _ in 0..2 {
        watch.look(None, now, &mut memory).await;
    }
    assert_eq!(house.heard().await, Value::Null);
    watch.look(Some(certificate("AA", "2027-02-01T00:00:00Z")), now, &mut memory).await;
    assert_eq!(house.said().len(), 1);
    let for_cloud = house.for_cloud().await;
    let payloads: Vec<_> = for_cloud.iter().map(|(.., payload, _)| payload["expiry"].as_str()).collect();
    assert_eq!(payloads, [Some("within_7_days"), None, Some("within_7_days")]);
    assert!(
        for_cloud.iter().all(|(topic, _, is_retained)| topic == "p/g/bridge/certificate" && *is_retained)
    );
}

#[test]
fn the_log_hears_of_each_threshold_once_whatever_the_clock_does() {
    let certificate = certificate("AA", "2027-02-01T00:00:00Z");
    let mut logged = None;
    let mut reached = Vec::new();
    for day in
        ["2026-12-01", "2027-01-28", "2026-12-01", "2027-01-28", "2027-01-31", "2027-01-28", "2027-03-01"]
    {
        let status = certificate.clone().at(Some(moment(&format!("{day}T12:00:00Z"))));
        let before = logged.clone();
        let fresh = Told("AA".to_owned(), status.expiry.unwrap());
        log(&mut logged, &fresh, &status);
        if before != logged {
            reached.push(logged.clone().unwrap().1);
        }
    }
    assert_eq!(reached, [Expiry::Far, Expiry::Week, Expiry::Day, Expiry::Expired]);
}
