//! A home where there is something of everything, so that no number is missing.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use hearthlink::{
    clock::Clock,
    health::{
        Board, BusReport, CertificateReport, CommandReport, DeviceReport, DiskReport, HostReport, LaneReport,
        LinkReport, MemoryReport, NumberReport, Refusal, Refused, StoreReport, UnderVoltage, WrittenReport,
    },
    model::{
        Availability, CommandId, DeviceId, Fault, FaultKind, Fields, LinkState, Outcome, OutcomeStatus,
        Reason, Timestamp,
    },
    web::{Web, WebOptions},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;

/// What is in a text that a stranger can choose, to see that it gets nowhere.
pub const SECRET: &str = "s3cret";

pub struct House {
    pub board: Board,
    clock: Clock,
    address: SocketAddr,
    stop: CancellationToken,
}

impl Drop for House {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl House {
    pub async fn new() -> Self {
        let clock = Clock::manual(Timestamp::parse_rfc3339("2026-11-22T12:00:00Z").unwrap());
        let board = Board::new("home", clock.clone());
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let web = Web::bind(WebOptions::at(address), board.clone()).await.unwrap();
        let address = web.addresses()[0];
        let stop = CancellationToken::new();
        tokio::spawn(web.run(stop.clone()));
        Self { board, clock, address, stop }
    }

    /// The body that is served at `path`.
    pub async fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        body.to_owned()
    }

    /// Fills the board.
    pub fn furnish(&self) {
        let now = self.clock.now();
        self.line();
        self.board.certificate(Some(CertificateReport {
            subject: "CN=home".into(),
            issuer: "CN=CA".into(),
            serial: "0A".into(),
            fingerprint_sha256: "AB:CD".into(),
            not_before: Timestamp::from_millis(now.as_millis() - 1),
            not_after: now.plus(Duration::from_secs(400 * 24 * 3600)),
        }));
        self.store();
        self.devices(now);
        self.board.bus(BusReport {
            name: "the \"odd\" adapter\\hci0".into(),
            fault: Some("it is off".into()),
            counts: vec![("advertisements", 4711), ("power_cycles", 2)],
        });
        for (origin, status, reason) in [
            ("rule", OutcomeStatus::Applied, None),
            ("local", OutcomeStatus::Applied, None),
            ("cloud (s3cret)", OutcomeStatus::Refused, Some(Reason::NotAllowed)),
            ("cloud (s3cret)", OutcomeStatus::Refused, Some(Reason::NotAllowed)),
        ] {
            let (id, device) = (CommandId::parse("a-1").unwrap(), DeviceId::parse("toaster").unwrap());
            let detail = Some(SECRET.to_owned());
            let outcome = Outcome { id, device, status, reason, detail, at: now, duplicate: false };
            let age = Some(Duration::from_millis(250));
            self.board.command(CommandReport { origin: origin.into(), age, outcome });
        }
        self.board.host(HostReport {
            temperature_celsius: Some(48.3),
            under_voltage: Some(UnderVoltage { now: false, since_boot: true }),
            disk: Some(DiskReport { free_bytes: 7 << 30, total_bytes: 30 << 30 }),
            memory: Some(MemoryReport { available_bytes: 3 << 29, total_bytes: 4 << 30 }),
            load: Some([0.5, 0.25, 0.125]),
            clock_synchronised: Some(true),
        });
    }

    fn line(&self) {
        let down = |kind| LinkReport {
            state: LinkState::Waiting,
            fault: Some(Fault::new(kind, SECRET)),
            ..LinkReport::off()
        };
        self.board.link(down(FaultKind::Dns));
        self.clock.advance(Duration::from_secs(90));
        self.board.link(LinkReport {
            state: LinkState::Online,
            endpoint: "wss://broker.example.org/mqtt".into(),
            protocol: Some("MQTT 5"),
            connected_since: Some(self.clock.now()),
            keep_alive: Some(Duration::from_secs(45)),
            fault: Some(Fault::new(FaultKind::QuotaExceeded, SECRET)),
            kept_out: Some(Fault::new(FaultKind::CredentialFiles, SECRET)),
            ..LinkReport::off()
        });
        self.board.round_trip(Duration::from_millis(31));
        self.board.link_counters(|counters| counters.published = 5);
        self.board.traffic().received(1000);
        self.board.traffic().sent(500);
        self.board.refused(Refusal {
            what: Refused::Publish,
            topic: format!("h/{SECRET}"),
            reason: "not authorized".into(),
            is_dropped: true,
        });
    }

    /// Of a queue that fills.
    fn store(&self) {
        for minute in 0..60 {
            self.board.store(StoreReport {
                waiting: minute,
                waiting_bytes: minute * 1000,
                max_bytes: 1 << 20,
                oldest: Some(self.clock.now()),
                accepted: 90_812,
                dropped: vec![("drop_oldest", 3), ("max_age", 0)],
                lanes: vec![LaneReport { name: "sensors/#".into(), waiting: 2, ..LaneReport::default() }],
                written: WrittenReport {
                    days: vec![12 << 20, 7],
                    budget: Some(500 << 20),
                    floor: Duration::from_millis(250),
                },
                fault: Some("the disk is full".into()),
                set_aside: vec!["hearthlink.db.damaged-1".into()],
                ..StoreReport::default()
            });
            self.clock.advance(Duration::from_secs(60));
        }
        self.board.keep_time();
    }

    fn devices(&self, now: Timestamp) {
        let id = |id: &str| DeviceId::parse(id).unwrap();
        let fields: Fields = serde_json::from_value(serde_json::json!({"note": SECRET, "n": 19.4})).unwrap();
        self.board.device(DeviceReport {
            availability: Availability::Online,
            fields: Some(fields),
            last_seen: Some(now),
            battery_percent: Some(87.0),
            signal_dbm: Some(-61.0),
            number: Some(NumberReport {
                field: "n".into(),
                unit: Some("°C".into()),
                value: 19.4,
                history: Vec::new(),
            }),
            ..DeviceReport::new(id("attic"), "bthome")
        });
        let fault = Some(format!("{SECRET} is wrong"));
        self.board.device(DeviceReport { fault, stale: true, ..DeviceReport::new(id("kettle"), "tasmota") });
    }
}

/// The metrics that a text speaks of.
pub fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|character: char| !(character.is_ascii_alphanumeric() || character == '_'));
    words
        .filter(|word| word.strip_prefix("hearthlink_").is_some_and(|rest| !rest.is_empty()))
        .map(str::to_owned)
        .collect()
}
