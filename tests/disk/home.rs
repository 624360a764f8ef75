//! The house of these tests: a sensor whose topic goes to the cloud, a plug that obeys, a panel that sees.

use std::{collections::HashSet, os::unix::fs::PermissionsExt};

use hearthlink::demo::certificates::Authority;
use serde_json::Value;

use crate::{
    disk::FaultyDisk,
    house::{House, Program, free_port},
    raw::{Raw, publish},
};

pub const AT_LEAST_ONCE: u8 = 2;
pub const RETAINED: u8 = 1;

/// A house whose cloud is at an address where nobody answers.
pub fn house() -> House {
    let house = House::new(&format!(
        "cloud: {{ url: \"wss://127.0.0.1:{}\", ca_file: ca.pem, \
         proxy: {{ url: none, username: home, password_file: proxy-password }} }}\n\
         devices:\n  - {{ id: plug, kind: tasmota, options: {{ topic: plug }} }}\n\
         routes: [ {{ local: \"sensors/#\" }} ]\n",
        free_port()
    ));
    Authority::new("disk").unwrap().write(&house.path().join("ca.pem")).unwrap();
    // Of what the gateway reads at its start alone, this can be missing later.
    let password = house.path().join("proxy-password");
    std::fs::write(&password, "secret\n").unwrap();
    std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o600)).unwrap();
    house
}

/// The program on a disk that does as it is told, and who talks to it.
pub struct Home {
    // Gone before its directory is.
    pub program: Program,
    pub house: House,
    pub disk: FaultyDisk,
    pub sensor: Raw,
    pub switch: Raw,
    pub panel: Raw,
    pub plug: Raw,
}

impl Home {
    pub async fn start() -> Self {
        Self::start_in(house(), FaultyDisk::new()).await
    }

    pub async fn start_in(house: House, disk: FaultyDisk) -> Self {
        let program = house.start_with(disk.environment()).await;
        let client = async |id: &str| {
            let mut raw = Raw::to(house.port).await;
            raw.connect(id, true).await;
            raw
        };
        let (sensor, switch) = (client("sensor").await, client("switch").await);
        let (mut panel, mut plug) = (client("panel").await, client("plug").await);
        for filter in ["sensors/#", "lights/#", "home/plug/availability", "home/plug/result"] {
            panel.subscribe(filter, 0).await;
        }
        plug.subscribe("cmnd/plug/POWER", 0).await;
        plug.send(&publish(0, "tele/plug/LWT", 0, b"Online")).await;
        while panel.got().await.payload != b"online" {}
        Self { program, house, disk, sensor, switch, panel, plug }
    }

    /// The panel's next message.
    pub async fn panel_sees(&mut self, topic: &str, payload: &str) {
        let got = self.panel.got_or(|| format!("{topic} {payload} was not delivered")).await;
        assert_eq!((got.topic.as_str(), String::from_utf8_lossy(&got.payload).as_ref()), (topic, payload));
    }

    /// The sensor says something that is for the cloud, and the panel sees it; not yet acknowledged.
    pub async fn sensor_says(&mut self, id: u16, payload: &str) {
        self.sensor.send(&publish(AT_LEAST_ONCE, "sensors/attic", id, payload.as_bytes())).await;
        self.panel_sees("sensors/attic", payload).await;
    }

    /// The sensor's acknowledgement, and no other.
    pub async fn sensor_is_acknowledged(&mut self, id: u16) {
        assert_eq!(self.sensor.next().await, Some((0x40, id.to_be_bytes().to_vec())));
    }

    /// A message among those at home, with every QoS that needs no disk, and the retained one.
    pub async fn home_goes_on(&mut self) {
        self.switch.send(&publish(0, "lights/hall", 0, b"quick")).await;
        self.panel_sees("lights/hall", "quick").await;
        self.switch.send(&publish(AT_LEAST_ONCE, "lights/hall", 7, b"sure")).await;
        self.panel_sees("lights/hall", "sure").await;
        assert_eq!(self.switch.next().await, Some((0x40, vec![0, 7])));
        self.switch.send(&publish(RETAINED, "lights/hall", 0, b"kept")).await;
        self.panel_sees("lights/hall", "kept").await;
        let mut late = Raw::to(self.house.port).await;
        late.connect("late", true).await;
        late.subscribe("lights/hall", 0).await;
        assert_eq!(late.got().await.payload, b"kept");
    }

    /// The switch has it retained, and is acknowledged; an empty payload clears the topic.
    pub async fn is_retained(&mut self, topic: &str, payload: &str) {
        self.switch.send(&publish(AT_LEAST_ONCE | RETAINED, topic, 9, payload.as_bytes())).await;
        assert_eq!(self.switch.next().await, Some((0x40, vec![0, 9])));
    }

    /// Of what this house retains, only what [`Home::home_goes_on`] left is there.
    pub async fn only_kept_is_retained(&self) {
        let mut late = Raw::to(self.house.port).await;
        late.connect("late", true).await;
        late.subscribe("porch/lamp", 0).await;
        late.subscribe("lights/hall", 0).await;
        let got = late.got().await;
        assert_eq!(
            (got.topic.as_str(), String::from_utf8_lossy(&got.payload).as_ref()),
            ("lights/hall", "kept")
        );
    }

    /// A client with a persistent session subscribes to the notes and is away; whether its session was there.
    pub async fn visitor_comes_and_goes(&self) -> bool {
        let mut visitor = Raw::to(self.house.port).await;
        let was_present = visitor.connect("visitor", false).await;
        visitor.subscribe("notes/door", 1).await;
        visitor.send(&[0xE0, 0]).await;
        assert!(visitor.hangs_up().await);
        was_present
    }

    /// A note for the visitor, acknowledged.
    pub async fn switch_notes(&mut self, payload: &str) {
        self.switch.send(&publish(AT_LEAST_ONCE, "notes/door", 8, payload.as_bytes())).await;
        assert_eq!(self.switch.next().await, Some((0x40, vec![0, 8])));
    }

    /// The visitor finds its session again; what waited for it.
    pub async fn visitor_reads(&self, count: usize) -> HashSet<String> {
        let mut visitor = Raw::to(self.house.port).await;
        assert!(visitor.connect("visitor", false).await, "the session is gone");
        let mut notes = HashSet::new();
        for _ in 0..count {
            let got = visitor.got_or(|| format!("only {notes:?} waited")).await;
            assert_eq!(got.topic, "notes/door");
            notes.insert(String::from_utf8_lossy(&got.payload).into_owned());
        }
        notes
    }

    /// A command from home that the plug hears and confirms; its outcome.
    pub async fn command_runs(&mut self, order: &str) -> Value {
        self.switch.send(&publish(0, "home/plug/set", 0, order.as_bytes())).await;
        let heard = self.plug.got_or(|| format!("{order} did not reach the plug")).await;
        assert_eq!((heard.topic.as_str(), &heard.payload[..]), ("cmnd/plug/POWER", &b"ON"[..]));
        self.plug.send(&publish(0, "stat/plug/RESULT", 0, br#"{"POWER":"ON"}"#)).await;
        self.outcome().await
    }

    /// A command from home; its outcome, without the plug's help.
    pub async fn command_is_answered(&mut self, order: &str) -> Value {
        self.switch.send(&publish(0, "home/plug/set", 0, order.as_bytes())).await;
        self.outcome().await
    }

    async fn outcome(&mut self) -> Value {
        let got = self.panel.got_or(|| "no outcome".to_owned()).await;
        assert_eq!(got.topic, "home/plug/result");
        serde_json::from_slice(&got.payload).unwrap()
    }

    /// The status says what is wrong with the disk.
    pub async fn disk_is_reported(&self, sentence: &str) -> Value {
        self.house
            .status_when(sentence, |status| {
                status["verdict"]["level"] == "error"
                    && status["verdict"]["sentence"].as_str().unwrap().contains(sentence)
                    && status["store"]["fault"].is_string()
            })
            .await
    }

    pub async fn disk_is_well(&self) {
        let is_well = |status: &Value| {
            status["store"]["fault"].is_null()
                && !status["verdict"]["sentence"].as_str().unwrap().contains("cannot be kept")
        };
        self.house.status_when("the disk is well", is_well).await;
    }
}

/// The payloads in the outbox of a gateway that is gone.
pub async fn kept(house: &House) -> HashSet<String> {
    let store = house.open_store().await;
    let records = store.pending(0, 1_000_000, usize::MAX).await.unwrap();
    drop(store);
    house.until_free().await;
    let from_sensors =
        records.iter().filter(|record| record.message.topic.as_str().starts_with("hearthlink/home/sensors/"));
    from_sensors.map(|record| String::from_utf8_lossy(&record.message.payload).into_owned()).collect()
}

/// A sensor that sends `count` messages, twenty at a time, and gives the numbers of those that were acknowledged
/// before the gateway went.
pub async fn flood(mut sensor: Raw, count: u16, payload: impl Fn(u16) -> Vec<u8>) -> Vec<u16> {
    const AT_A_TIME: u16 = 20;
    let mut unsent = 1..=count;
    let mut acknowledged = Vec::new();
    for number in unsent.by_ref().take(usize::from(AT_A_TIME)) {
        sensor.send(&publish(AT_LEAST_ONCE, "sensors/cellar", number, &payload(number))).await;
    }
    while acknowledged.len() < usize::from(count) {
        let Some((first, body)) = sensor.next().await else { break };
        let [high, low] = body[..] else { panic!("{first:02x} {body:?}") };
        assert_eq!(first, 0x40);
        acknowledged.push(u16::from_be_bytes([high, low]));
        if let Some(number) = unsent.next() {
            sensor.send(&publish(AT_LEAST_ONCE, "sensors/cellar", number, &payload(number))).await;
        }
    }
    acknowledged
}
