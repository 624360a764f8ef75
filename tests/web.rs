//! The status page over real HTTP: what it says, whom it answers, and what a browser may do with it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's panic is its verdict; clippy spares only `#[test]` functions"
)]

use std::{net::SocketAddr, time::Duration};

use hearthlink::{
    app::{Gateway, Hardware, Simulation},
    clock::Clock,
    config,
    health::{
        Board, BrokerReport, BusReport, ButtonReport, CertificateReport, CommandReport, DeviceReport,
        DiskReport, HostReport, LinkReport, NumberReport, StoreReport, UnderVoltage, WrittenReport,
    },
    model::{
        Availability, CommandId, DeviceId, Fault, FaultKind, Fields, LinkState, Outcome, OutcomeStatus,
        Reason, Secret, Timestamp,
    },
    web::{MOST_PRESSES, Web, WebError, WebOptions, Wish},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;

struct Page {
    address: SocketAddr,
    board: Board,
    stop: CancellationToken,
}

impl Drop for Page {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn page() -> Page {
    page_of(WebOptions::at(SocketAddr::from(([127, 0, 0, 1], 0)))).await
}

async fn page_of(options: WebOptions) -> Page {
    let board = Board::new("home", Clock::system());
    serve(Web::bind(options, board.clone()).await.unwrap(), board)
}

async fn page_with_control(options: WebOptions, wishes: tokio::sync::mpsc::Sender<Wish>) -> Page {
    let board = Board::new("home", Clock::system());
    serve(Web::bind(options, board.clone()).await.unwrap().with_control(wishes), board)
}

fn serve(web: Web, board: Board) -> Page {
    let address = web.addresses()[0];
    let stop = CancellationToken::new();
    tokio::spawn(web.run(stop.clone()));
    Page { address, board, stop }
}

impl Page {
    /// Sends a request as it is and returns the whole answer.
    async fn raw(&self, request: &str) -> String {
        String::from_utf8(self.bytes(request).await).unwrap()
    }

    async fn bytes(&self, request: &str) -> Vec<u8> {
        ask(self.address, request).await
    }

    async fn ask(&self, method: &str, path: &str, host: &str) -> String {
        self.raw(&format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await
    }

    async fn get(&self, path: &str) -> String {
        self.ask("GET", path, "localhost").await
    }
}

async fn ask(address: SocketAddr, request: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    answer
}

/// A reader of the page's events.
struct Reader {
    stream: TcpStream,
    text: String,
}

impl Reader {
    async fn open(page: &Page, since: &str) -> Self {
        let mut stream = TcpStream::connect(page.address).await.unwrap();
        let request = format!("GET /api/events?since={since} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        Self { stream, text: String::new() }
    }

    /// Reads on until this has come; `false`: the stream ended before.
    async fn hears(&mut self, expected: &str) -> bool {
        let reading = async {
            while !self.text.contains(expected) {
                let mut some = [0; 4096];
                match self.stream.read(&mut some).await {
                    Ok(0) | Err(_) => return false,
                    Ok(count) => self.text.push_str(&String::from_utf8_lossy(&some[..count])),
                }
            }
            true
        };
        let heard = tokio::time::timeout(Duration::from_secs(60), reading).await;
        heard.unwrap_or_else(|_| panic!("`{expected}` does not come; so far: {}", self.text))
    }
}

/// The name of the edition that a page is of.
fn edition(page: &str) -> &str {
    page.split_once("data-edition=\"").unwrap().1.split_once('"').unwrap().0
}

fn thermometer(id: &str, state: serde_json::Value) -> DeviceReport {
    DeviceReport {
        availability: Availability::Online,
        fields: Some(fields(state)),
        last_seen: Some(Clock::system().now()),
        ..DeviceReport::new(DeviceId::parse(id).unwrap(), "thermometer")
    }
}

fn fields(json: serde_json::Value) -> Fields {
    serde_json::from_value(json).unwrap()
}

/// A home where something of everything is wrong.
fn trouble(board: &Board) {
    let now = Clock::system().now();
    let fault = Fault::new(FaultKind::Dns, "`broker.example.org`: no such host");
    board.link(LinkReport {
        state: LinkState::Waiting,
        endpoint: "wss://broker.example.org:443/mqtt".into(),
        fault: Some(fault),
        next_attempt_in: Some(Duration::from_secs(40)),
        ..LinkReport::off()
    });
    let oldest = Some(Timestamp::from_millis(now.as_millis() - 3 * 3600 * 1000));
    let dropped = vec![("drop_oldest", 3), ("max_age", 0)];
    board.store(StoreReport {
        waiting: 1812,
        waiting_bytes: 431_000,
        max_bytes: 1 << 28,
        oldest,
        accepted: 90_812,
        dropped,
        written: WrittenReport {
            days: vec![12 << 20, 7],
            budget: Some(500 << 20),
            floor: Duration::from_millis(250),
        },
        ..StoreReport::default()
    });
    let listeners = vec!["mqtt://127.0.0.1:1883".to_owned(), "mqtts://0.0.0.0:8883".to_owned()];
    board.broker(BrokerReport {
        listeners,
        clients: 4,
        sessions: 6,
        retained: 31,
        queued_bytes: 2048,
        memory_limit: 190 << 20,
        ..BrokerReport::default()
    });
    let device = |id: &str, kind: &str, availability, state, fault: Option<&str>| DeviceReport {
        availability,
        fields: Some(fields(state)),
        last_seen: Some(Timestamp::from_millis(now.as_millis() - 70_000)),
        fault: fault.map(str::to_owned),
        ..DeviceReport::new(DeviceId::parse(id).unwrap(), kind)
    };
    board.device(device(
        "toaster",
        "toaster",
        Availability::Online,
        serde_json::json!({"state": "ON", "browning": 3}),
        None,
    ));
    board.device(device(
        "attic",
        "thermometer",
        Availability::Online,
        serde_json::json!({"temperature": 19.4}),
        None,
    ));
    let script = "<script>alert(1)</script>";
    board.device(device(
        "kettle",
        "tasmota",
        Availability::Offline,
        serde_json::json!({"note": script}),
        Some("no answer for 10 minutes"),
    ));
    board.bus(BusReport {
        name: "the Bluetooth adapter hci0".to_owned(),
        fault: Some("it is blocked; unblock it with `rfkill unblock bluetooth`".to_owned()),
        counts: vec![("advertisements", 4711), ("power_cycles", 2)],
    });
    for (origin, status, reason, detail) in [
        ("rule", OutcomeStatus::Applied, None, Some("the lever went down")),
        ("cloud (<anna>)", OutcomeStatus::Refused, Some(Reason::NotAllowed), None),
        ("local", OutcomeStatus::Expired, Some(Reason::TooLate), None),
    ] {
        let outcome = Outcome {
            id: CommandId::parse("a-1").unwrap(),
            device: DeviceId::parse("toaster").unwrap(),
            status,
            reason,
            detail: detail.map(str::to_owned),
            at: now,
            duplicate: false,
        };
        board.command(CommandReport { origin: origin.into(), age: None, outcome });
    }
}

#[tokio::test]
async fn the_first_sentence_says_that_all_is_well_or_what_is_wrong_and_what_to_do() {
    let page = page().await;
    let well = page.get("/").await;
    assert!(well.starts_with("HTTP/1.1 200 OK"), "{well}");
    assert!(well.contains("Everything at home is working"), "{well}");
    trouble(&page.board);
    let ill = page.get("/").await;
    for expected in [
        "host name cannot be resolved",
        "What to do:",
        FaultKind::Dns.remedy().split('`').next().unwrap(),
        "Not connected, tries again within 41 seconds",
        "wss://broker.example.org:443/mqtt",
        "1812 messages wait",
        "3 hours ago",
        "3 messages dropped because the queue was full",
        "12.0 MiB of 500.0 MiB, commits at least 0.25 s apart",
        "no answer for 10 minutes",
        "1 minute ago",
        "unblock it with <code>rfkill unblock bluetooth</code>",
        "<dt>power cycles</dt><dd>2</dd>",
        "the lever went down",
        "The configuration does not allow it.",
        "from a rule,",
        "from the cloud (&#60;anna&#62;),",
        "from home,",
        "mqtts://0.0.0.0:8883",
        env!("CARGO_PKG_VERSION"),
    ] {
        assert!(ill.contains(expected), "`{expected}` is not in {ill}");
    }
    assert!(!ill.contains("too old"), "{ill}");
}

#[tokio::test]
async fn what_a_device_says_is_shown_and_never_run() {
    let page = page().await;
    trouble(&page.board);
    let answer = page.get("/").await;
    assert!(!answer.contains("<script>alert") && answer.contains("script&#62;alert(1)"), "{answer}");
}

#[tokio::test]
async fn the_status_for_programs_is_the_snapshot() {
    let page = page().await;
    trouble(&page.board);
    let answer = page.get("/api/status").await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-type: application/json"), "{head}");
    let status: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(status["verdict"]["level"], "error");
    assert_eq!(status["store"]["waiting"], 1812);
    let written =
        serde_json::json!({"days": [12 << 20, 7], "budget": 500 << 20, "commit_floor_seconds": 0.25});
    assert_eq!(status["store"]["written"], written);
    assert_eq!(status["commands"][0]["status"], "expired");
}

#[tokio::test]
async fn the_certificate_is_on_the_page_in_the_status_and_in_the_metrics() {
    let page = page().await;
    let without = page.get("/metrics").await;
    assert!(without.contains("\nhearthlink_clock_trusted 1\n"), "{without}");
    assert!(!without.contains("certificate") && !without.contains("cloud_up"), "{without}");
    trouble(&page.board);
    let day = Duration::from_secs(24 * 3600);
    let now = Clock::system().now();
    let not_after = now.plus(3 * day + day / 2);
    page.board.certificate(Some(CertificateReport {
        subject: "CN=<home>".into(),
        issuer: "CN=CA".into(),
        serial: "0A".into(),
        fingerprint_sha256: "AB:CD".into(),
        not_before: Timestamp::from_millis(now.as_millis() - 400 * 24 * 3600 * 1000),
        not_after,
    }));
    let answer = page.get("/").await;
    assert!(answer.contains("CN=&#60;home&#62;, expires in 3 days"), "{answer}");
    let answer = page.get("/api/status").await;
    let status: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    let certificate = &status["certificate"];
    assert_eq!((&certificate["days_left"], &certificate["expiry"]), (&3.into(), &"within_7_days".into()));
    assert_eq!(certificate["not_after"], not_after.to_string());
    let answer = page.get("/metrics").await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    let until = not_after.as_millis() / 1000;
    assert!(
        body.contains(&format!("\nhearthlink_cloud_certificate_expiry_timestamp_seconds {until}\n")),
        "{body}"
    );
    assert!(
        body.contains("\nhearthlink_cloud_up 0\n") && body.contains("\nhearthlink_queue_messages 1812\n"),
        "{body}"
    );
    // Every sample has its type before it.
    for line in body.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split([' ', '{']).next().unwrap();
        assert!(body.contains(&format!("# TYPE {name} ")), "{line}");
    }
}

#[tokio::test]
async fn a_request_for_another_host_is_misdirected() {
    let page = page().await;
    for host in ["evil.example", "evil.example:8080", "localhost.evil.example", ""] {
        let answer = page.ask("GET", "/api/status", host).await;
        assert!(answer.starts_with("HTTP/1.1 421"), "{host}: {answer}");
        assert!(!answer.contains("verdict"), "{answer}");
    }
    assert!(page.raw("GET / HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.0 421"));
    for host in ["localhost", "127.0.0.1:8081", "[::1]"] {
        assert!(page.ask("GET", "/", host).await.starts_with("HTTP/1.1 200"), "{host}");
    }
}

#[tokio::test]
async fn the_page_can_only_be_read() {
    let page = page().await;
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"] {
        for path in ["/", "/api/status", "/nowhere"] {
            let answer = page.ask(method, path, "localhost").await;
            assert!(
                answer.starts_with("HTTP/1.1 405") && answer.contains("allow: GET, HEAD"),
                "{method} {path}: {answer}"
            );
        }
    }
    let head = page.ask("HEAD", "/", "localhost").await;
    assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(page.get("/nowhere").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn every_answer_forbids_what_the_page_does_not_need() {
    let page = page().await;
    for path in ["/", "/api/status", "/page.js", "/page.css", "/icon.svg", "/nowhere", "/healthz", "/metrics"]
    {
        let answer = page.get(path).await.to_lowercase();
        for expected in [
            "content-security-policy: default-src 'none'; script-src 'self'",
            "frame-ancestors 'none'",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cache-control: no-store",
        ] {
            assert!(answer.contains(expected), "{path} lacks `{expected}`: {answer}");
        }
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        let foreign = body.replace("http://www.w3.org/2000/svg", "");
        assert!(!foreign.contains("http://") && !foreign.contains(" style="), "{path}: {body}");
    }
}

#[tokio::test]
async fn readiness_follows_the_verdict_and_liveness_does_not() {
    let page = page().await;
    assert!(page.get("/readyz").await.starts_with("HTTP/1.1 200"));
    trouble(&page.board);
    let answer = page.get("/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("cannot be resolved"), "{answer}");
    assert!(page.get("/healthz").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn visitors_who_say_nothing_neither_keep_others_out_nor_stay() {
    let page = page().await;
    let mut silent = Vec::new();
    for _ in 0..63 {
        silent.push(TcpStream::connect(page.address).await.unwrap());
    }
    assert!(page.get("/healthz").await.starts_with("HTTP/1.1 200"));
    let mut first = silent.swap_remove(0);
    let ended = tokio::time::timeout(Duration::from_secs(20), first.read_u8()).await;
    assert!(ended.expect("the connection is closed in time").is_err());
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let page = page().await;
    let board = Board::new("home", Clock::system());
    let Err(WebError::Bind { address, .. }) = Web::bind(WebOptions::at(page.address), board).await else {
        panic!("two pages at one address");
    };
    assert_eq!(address, page.address);
}

#[tokio::test]
async fn an_event_brings_what_is_new_and_nothing_else() {
    let page = page().await;
    for number in 0..50 {
        page.board.device(thermometer(&format!("t{number}"), serde_json::json!({"temperature": 20})));
    }
    let seen = page.get("/").await;
    let mut reader = Reader::open(&page, edition(&seen)).await;
    assert!(reader.hears("event: parts").await);
    assert!(reader.text.contains("content-type: text/event-stream") && reader.text.contains("retry: "));
    page.board.device(thermometer("t7", serde_json::json!({"temperature": 31.5})));
    assert!(reader.hears("<dd>31.5</dd>").await);
    let text = &reader.text;
    assert!(
        text.contains("data: <li id=\"device-t7\">") && text.contains("<footer id=\"footer\">"),
        "{text}"
    );
    assert!(!text.contains("device-t8\">") && !text.contains("id=\"broker\""), "{text}");
    // Whoever was away gets the same.
    let mut late = Reader::open(&page, edition(&seen)).await;
    assert!(late.hears("<dd>31.5</dd>").await);
    assert!(!late.text.contains("device-t8\">"), "{}", late.text);
}

#[tokio::test]
async fn whoever_has_another_list_of_devices_or_another_runs_page_is_sent_for_the_page() {
    let page = page().await;
    let seen = page.get("/").await;
    page.board.device(thermometer("attic", serde_json::json!({"temperature": 20})));
    for since in [edition(&seen), "7-1", "nonsense", ""] {
        let mut reader = Reader::open(&page, since).await;
        assert!(reader.hears("event: page").await);
        assert!(!reader.text.contains("event: parts"), "{since}: {}", reader.text);
    }
}

#[tokio::test]
async fn a_storm_of_reports_is_an_event_a_second() {
    let page = page().await;
    page.board.device(thermometer("attic", serde_json::json!({"count": 0})));
    let seen = page.get("/").await;
    let start = std::time::Instant::now();
    let mut reader = Reader::open(&page, edition(&seen)).await;
    assert!(reader.hears("event: parts").await);
    let board = page.board.clone();
    let storm = tokio::spawn(async move {
        for count in 1..=2000 {
            board.device(thermometer("attic", serde_json::json!({"count": count})));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    assert!(reader.hears("<dd>2000</dd>").await);
    storm.await.unwrap();
    let events = reader.text.matches("event: ").count() as u64;
    assert!(events >= 3, "{events} events: nothing came while the storm lasted");
    // The greeting, and then one for each second that was begun.
    assert!(events <= 2 + start.elapsed().as_secs(), "{events} events in {:?}", start.elapsed());
}

#[tokio::test]
async fn what_a_device_says_forges_no_event() {
    let page = page().await;
    page.board.device(thermometer("attic", serde_json::json!({"note": "plain"})));
    let seen = page.get("/").await;
    let evil = "a\r\revent: page\rdata: <b>\n\nevent: page\r\n<script>alert(1)</script>";
    page.board.device(thermometer("attic", serde_json::json!({"note": evil})));
    let mut reader = Reader::open(&page, edition(&seen)).await;
    assert!(reader.hears("alert(1)").await);
    for line in reader.text.split(['\r', '\n']).filter(|line| line.contains("page") || line.contains("<b>")) {
        assert!(line.starts_with("data: ") || line.is_empty(), "{line}");
    }
    assert!(!reader.text.contains("<script>"), "{}", reader.text);
}

#[tokio::test]
async fn readers_have_so_many_seats_and_others_are_told_to_ask_for_the_page() {
    let page = page().await;
    let mut readers = Vec::new();
    for _ in 0..16 {
        let mut reader = Reader::open(&page, "").await;
        assert!(reader.hears("event: page").await);
        readers.push(reader);
    }
    let refused = page.get("/api/events").await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after: "), "{refused}");
    assert!(page.get("/").await.starts_with("HTTP/1.1 200"));
    // A seat is free again when its reader has gone, which is noticed when it is told something.
    drop(readers.pop());
    let come_in = async {
        loop {
            page.board.device(thermometer("attic", serde_json::json!({"temperature": 20})));
            if Reader::open(&page, "").await.hears("event: page").await {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), come_in).await.expect("a seat is free again");
    // The end of the page is the end of all streams.
    page.stop.cancel();
    for mut reader in readers {
        assert!(!reader.hears("nothing that ever comes").await);
    }
}

/// A home of 1,000 devices, each with what a weather sensor says, no two alike, and the last 50 commands.
fn crowd(board: &Board) {
    let now = Clock::system().now().as_millis();
    let mut state = 1_u32;
    let mut draw = move |most: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from((state >> 8) % most)
    };
    for number in 0..1000 {
        let (temperature, battery) = (draw(400) / 10.0 - 10.0, draw(101));
        let state = serde_json::json!({
            "temperature": temperature, "humidity": draw(1000) / 10.0, "battery": battery, "signal": -30.0 - draw(70),
            "pressure": 980.0 + draw(500) / 10.0, "voltage": 2.0 + draw(1000) / 1000.0,
        });
        board.device(DeviceReport {
            availability: if draw(50) < 1.0 { Availability::Offline } else { Availability::Online },
            fields: Some(fields(state)),
            last_seen: Some(Timestamp::from_millis(now - (draw(600_000) as i64))),
            battery_percent: Some(battery),
            number: Some(NumberReport {
                field: "temperature".into(),
                unit: Some("°C".into()),
                value: temperature,
                history: Vec::new(),
            }),
            ..DeviceReport::new(DeviceId::parse(&format!("sensor_{number}")).unwrap(), "bthome")
        });
    }
    for number in 0..50 {
        let outcome = Outcome {
            id: CommandId::parse(&format!("c-{number}")).unwrap(),
            device: DeviceId::parse(&format!("sensor_{number}")).unwrap(),
            status: OutcomeStatus::Refused,
            reason: Some(Reason::NotAllowed),
            detail: None,
            at: Timestamp::from_millis(now - (draw(600_000) as i64)),
            duplicate: false,
        };
        let age = Some(Duration::from_millis(number * 37));
        board.command(CommandReport { origin: "cloud".into(), age, outcome });
    }
}

#[tokio::test]
async fn a_thousand_devices_weigh_less_than_a_hundred_kilobytes_on_the_wire() {
    let page = page().await;
    crowd(&page.board);
    let request = "GET / HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n";
    let answer = page.bytes(request).await;
    assert!(answer.len() < 100_000, "{} bytes", answer.len());
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    assert!(head.contains("content-encoding: gzip") && head.contains("vary: accept-encoding"), "{head}");
    let mut whole = String::new();
    let mut unpacked = flate2::read::GzDecoder::new(&answer[end..]);
    std::io::Read::read_to_string(&mut unpacked, &mut whole).unwrap();
    assert_eq!(whole.matches("<li id=\"device-").count(), 1000);
    assert!(whole.ends_with("</html>") || whole.ends_with("</html>\n"), "{}", &whole[whole.len() - 100..]);
    // Whoever cannot unpack it gets it as it is.
    assert!(page.get("/").await.contains("id=\"device-sensor_999\""));
}

#[tokio::test]
async fn charts_of_the_line_and_of_numbers_have_their_words() {
    let clock = Clock::manual(Timestamp::parse_rfc3339("2026-11-22T12:00:00Z").unwrap());
    let board = Board::new("home", clock.clone());
    let web = Web::bind(WebOptions::at(SocketAddr::from(([127, 0, 0, 1], 0))), board.clone()).await.unwrap();
    let (address, stop) = (web.addresses()[0], CancellationToken::new());
    tokio::spawn(web.run(stop.clone()));
    for degrees in [19.25, 24.0, 21.5] {
        let number = NumberReport {
            field: "temperature".into(),
            unit: Some("°C".into()),
            value: degrees,
            history: Vec::new(),
        };
        board.device(DeviceReport {
            battery_percent: Some(87.0),
            signal_dbm: Some(-91.0),
            number: Some(number),
            // What comes while it is stale is no part of its history.
            stale: degrees == 21.5,
            ..thermometer("attic", serde_json::json!({"temperature": degrees, "battery": 87, "signal": -91}))
        });
        clock.advance(Duration::from_secs(1800));
    }
    board.host(HostReport {
        temperature_celsius: Some(84.2),
        under_voltage: Some(UnderVoltage { now: false, since_boot: true }),
        disk: Some(DiskReport { free_bytes: 1 << 20, total_bytes: 1 << 34 }),
        ..HostReport::default()
    });
    let fault = Some(Fault::new(FaultKind::Dns, "no such host"));
    for (state, fault) in [(LinkState::Online, None), (LinkState::Waiting, fault), (LinkState::Online, None)]
    {
        board.link(LinkReport { state, fault, endpoint: "wss://cloud.example".into(), ..LinkReport::off() });
        clock.advance(Duration::from_secs(3600));
    }
    let answer = String::from_utf8(ask(address, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await).unwrap();
    for expected in [
        "19.3 to 24 in 24 h\"",
        "21.5 °C <span class=\"kind\">temperature</span>",
        "<dt>battery</dt><dd>87 %</dd>",
        "-91 dBm, weak",
        "old values",
        "84.2 °C: too hot",
        "was too little since the start",
        "1.0 MiB free of 16.0 GiB",
        "1 outage in the last 7 days, of 1 hour",
        "<rect class=\"down\"",
        // The strip is a week long.
        "<rect class=\"unknown\" width=\"989\"",
        "1 hour; of the time before the first start nothing is known\"",
        // As HTML has it.
        &FaultKind::Dns.sentence().replace('\'', "&#39;"),
    ] {
        assert!(answer.contains(expected), "`{expected}` is not in {answer}");
    }
    assert_eq!(answer.matches("<dd>87").count(), 1, "the battery is told once");
    stop.cancel();
}

async fn locked() -> Page {
    let mut options = WebOptions::at(SocketAddr::from(([0, 0, 0, 0], 0)));
    options.hosts = vec!["hearthlink.local".to_owned()];
    options.password = Some(Secret::new("open sesame"));
    let mut page = page_of(options).await;
    page.address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    page
}

#[tokio::test]
async fn beyond_loopback_nobody_reads_without_the_password() {
    let board = Board::new("home", Clock::system());
    let open = WebOptions::at(SocketAddr::from(([0, 0, 0, 0], 0)));
    assert!(matches!(Web::bind(open, board).await, Err(WebError::Open(_))));
    let page = locked().await;
    trouble(&page.board);
    for path in ["/", "/api/status", "/api/events", "/api/receipts", "/metrics", "/page.js", "/nowhere"] {
        let answer = page.ask("GET", path, "hearthlink.local:8080").await;
        assert!(
            answer.starts_with("HTTP/1.1 401") && answer.contains("www-authenticate: Basic "),
            "{path}: {answer}"
        );
        assert!(!answer.contains("toaster"), "{path}: {answer}");
    }
    // What monitors ask says nothing of the home.
    let ready = page.ask("GET", "/readyz", "hearthlink.local").await;
    assert!(ready.starts_with("HTTP/1.1 503") && ready.ends_with("\r\n\r\n"), "{ready}");
    assert!(page.ask("GET", "/healthz", "hearthlink.local").await.starts_with("HTTP/1.1 200"));
    // `me:open sesame`
    let login = "Authorization: Basic bWU6b3BlbiBzZXNhbWU=";
    let get =
        |path: &str, login: &str| format!("GET {path} HTTP/1.1\r\nHost: hearthlink.local\r\n{login}\r\n\r\n");
    assert!(page.raw(&get("/", login)).await.contains("toaster"));
    assert!(page.raw(&get("/readyz", login)).await.contains("cannot be resolved"));
    // A wrong one gets nothing, and no look at what is open to everybody either: it is a guess.
    for path in ["/", "/readyz"] {
        let wrong = page.raw(&get(path, "Authorization: Basic bWU6b3Blbg==")).await;
        assert!(wrong.starts_with("HTTP/1.1 401"), "{wrong}");
    }
    assert!(page.ask("GET", "/", "evil.example").await.starts_with("HTTP/1.1 421"));
}

#[tokio::test]
async fn a_page_of_others_can_neither_load_nor_do_anything() {
    let page = page().await;
    let send = |method: &str, path: &str, said: &str| {
        format!("{method} {path} HTTP/1.1\r\nHost: localhost:8080\r\n{said}\r\n\r\n")
    };
    for (method, said, expected) in [
        ("POST", "Origin: http://evil.example", "403"),
        ("POST", "Sec-Fetch-Site: same-site", "403"),
        ("POST", "Origin: http://localhost:8080", "405"),
        ("GET", "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors", "403"),
        ("GET", "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate", "200"),
    ] {
        let answer = page.raw(&send(method, "/api/status", said)).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected}")), "{method} {said}: {answer}");
    }
}

/// A gateway with a toaster that the cloud may switch on and off; its status page.
struct Kitchen {
    page: SocketAddr,
    board: Board,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<()>,
    _directory: tempfile::TempDir,
}

impl Kitchen {
    async fn open(web: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("home.yaml");
        let text = format!(
            "gateway: {{id: home, data_dir: data}}\nbroker: {{listeners: [{{address: \"127.0.0.1:0\"}}]}}\n\
             devices: [{{id: toaster, kind: toaster}}]\n\
             commands: {{allow: [{{device: toaster, set: {{state: [\"ON\", \"OFF\"]}}, rate: {{count: 2, per: 1h}}}}]}}\n\
             web: {web}\n"
        );
        std::fs::write(&file, text).unwrap();
        let gateway = Gateway::build(&config::load(&file).unwrap()).await.unwrap();
        let (board, page, stop) = (gateway.board(), gateway.web_address().unwrap(), CancellationToken::new());
        let token = stop.clone();
        let running = tokio::spawn(async move { gateway.run(token, || {}).await.unwrap() });
        // It has said what it is.
        let mut changes = board.watch();
        while board.snapshot().devices.iter().all(|device| device.fields.is_none()) {
            changes.changed().await.unwrap();
        }
        Self { page, board, stop, running, _directory: directory }
    }

    async fn ask(&self, request: &str) -> String {
        String::from_utf8(ask(self.page, request).await).unwrap()
    }

    async fn show(&self) -> String {
        self.ask("GET / HTTP/1.1\r\nHost: localhost:8080\r\n\r\n").await
    }

    /// Sends a form as a browser would that says `said` about who asks.
    async fn press(&self, path: &str, form: &str, said: &str) -> String {
        let length = form.len();
        self.ask(&format!(
            "POST {path} HTTP/1.1\r\nHost: localhost:8080\r\n{said}\r\nContent-Length: {length}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\r\n{form}"
        ))
        .await
    }

    fn lever(&self) -> serde_json::Value {
        self.board.snapshot().devices[0].fields.as_ref().unwrap()["state"].clone()
    }

    async fn close(self) {
        self.stop.cancel();
        self.running.await.unwrap();
    }
}

const HERE: &str = "Origin: http://localhost:8080";

#[tokio::test]
async fn without_a_control_the_page_has_no_forms_and_a_press_is_refused_with_a_sentence() {
    let kitchen = Kitchen::open("{address: \"127.0.0.1:0\"}").await;
    let page = kitchen.show().await;
    assert!(
        page.contains("device-toaster") && !page.contains("<form") && !page.contains("<button"),
        "{page}"
    );
    assert!(page.contains("form-action 'none'") && page.contains("referrer-policy: no-referrer"), "{page}");
    let answer = kitchen.press("/devices/toaster/set", "state=%22ON%22", HERE).await;
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("`control: true`"), "{answer}");
    assert!(kitchen.board.snapshot().commands.is_empty());
    kitchen.close().await;
}

#[tokio::test]
async fn a_press_switches_the_device_by_the_rules_for_the_cloud_and_the_page_tells_the_outcome() {
    let kitchen = Kitchen::open("{address: \"127.0.0.1:0\", control: true}").await;
    let mut changes = kitchen.board.watch();
    while kitchen.board.snapshot().buttons.is_empty() {
        changes.changed().await.unwrap();
    }
    let page = kitchen.show().await;
    assert!(page.contains("form-action 'self'") && page.contains("referrer-policy: same-origin"), "{page}");
    assert!(page.contains("method=\"post\" action=\"/devices/toaster/set\""), "{page}");
    assert_eq!(page.matches("<button").count(), 2, "what may not be set has no button: {page}");
    assert_eq!(kitchen.lever(), "OFF");

    // What a browser sends, by HTTPS or on this machine, and by HTTP.
    for (form, said) in [("state=%22ON%22", "Sec-Fetch-Site: same-origin"), ("state=%22OFF%22", HERE)] {
        let answer = kitchen.press("/devices/toaster/set", form, said).await;
        assert!(answer.starts_with("HTTP/1.1 303") && answer.contains("location: /#commands"), "{answer}");
    }
    let commands = kitchen.board.snapshot().commands;
    let ends: Vec<_> = commands.iter().map(|c| (c.origin.as_str(), c.outcome.status)).collect();
    assert_eq!(ends, [("local (page)", OutcomeStatus::Applied); 2], "{commands:?}");
    assert!(commands[0].outcome.id.as_str().starts_with("page-"), "{commands:?}");

    // The rate of the allow-list is spent.
    let answer = kitchen.press("/devices/toaster/set", "state=%22ON%22", HERE).await;
    assert!(answer.starts_with("HTTP/1.1 303"), "{answer}");
    let last = kitchen.board.snapshot().commands[0].outcome.clone();
    assert_eq!((last.status, last.reason), (OutcomeStatus::Refused, Some(Reason::RateLimited)), "{last:?}");
    let page = kitchen.show().await;
    assert!(page.contains("from home, by this page"), "{page}");
    assert_eq!(kitchen.lever(), "OFF");
    kitchen.close().await;
}

#[tokio::test]
async fn nobody_presses_from_elsewhere_and_nothing_but_a_button() {
    let kitchen = Kitchen::open("{address: \"127.0.0.1:0\", control: true}").await;
    let mut changes = kitchen.board.watch();
    while kitchen.board.snapshot().buttons.is_empty() {
        changes.changed().await.unwrap();
    }
    let (set, on) = ("/devices/toaster/set", "state=%22ON%22");
    let long = format!("state=%22{}%22", "x".repeat(2000));
    for (path, form, said, expected) in [
        (set, on, "Origin: http://evil.example", "403"),
        (set, on, "Origin: null", "403"),
        (set, on, "Origin: http://localhost:9090", "403"),
        (set, on, "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate", "403"),
        (set, on, "Sec-Fetch-Site: same-site", "403"),
        (set, on, "Sec-Fetch-Site: cross-site\r\nOrigin: http://localhost:8080", "403"),
        // Of a form in an old browser, or of a program that does not know: nobody says who asks.
        (set, on, "X-Nothing: 1", "403"),
        (set, "state=%22HOT%22", HERE, "404"),
        (set, "browning=3", HERE, "404"),
        (set, "", HERE, "404"),
        (set, long.as_str(), HERE, "413"),
        ("/devices/kettle/set", on, HERE, "404"),
        ("/devices/toaster", on, HERE, "404"),
        ("/", on, HERE, "405"),
    ] {
        let answer = kitchen.press(path, form, said).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected}")), "{path} {form} {said}: {answer}");
    }
    let foreign = format!("POST {set} HTTP/1.1\r\nHost: evil.example\r\n{HERE}\r\nContent-Length: 0\r\n\r\n");
    assert!(kitchen.ask(&foreign).await.starts_with("HTTP/1.1 421"));
    assert!(kitchen.board.snapshot().commands.is_empty());
    kitchen.close().await;

    // With a password nobody presses without it.
    let mut options = WebOptions::at(SocketAddr::from(([127, 0, 0, 1], 0)));
    options.password = Some(Secret::new("open sesame"));
    let (sender, _wishes) = tokio::sync::mpsc::channel(MOST_PRESSES);
    let locked = page_with_control(options, sender).await;
    let request = "POST /devices/toaster/set HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n\r\n";
    assert!(locked.raw(request).await.starts_with("HTTP/1.1 401"));
}

#[tokio::test]
async fn more_presses_than_there_is_room_for_are_refused() {
    // Nobody takes a wish from there.
    let (sender, mut wishes) = tokio::sync::mpsc::channel(MOST_PRESSES);
    let page = page_with_control(WebOptions::at(SocketAddr::from(([127, 0, 0, 1], 0))), sender).await;
    let toaster = DeviceId::parse("toaster").unwrap();
    let button = |value: usize| {
        let (field, name, words) = ("level".to_owned(), "level".to_owned(), value.to_string());
        ButtonReport { field, name, words, value: value.into() }
    };
    page.board.buttons(&toaster, (0..=MOST_PRESSES).map(button).collect());
    let request = |value: usize| {
        format!(
            "POST /devices/toaster/set HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n\
             Content-Length: 7\r\n\r\nlevel={value}"
        )
    };
    // Each twice: a double click is one press, and has room.
    let requests: Vec<String> =
        (0..=MOST_PRESSES).flat_map(|value| [request(value), request(value)]).collect();
    let answers = requests.iter().map(|request| page.raw(request));
    let answers = futures_util::future::join_all(answers).await;
    let count = |code: &str| answers.iter().filter(|answer| answer.starts_with(code)).count();
    assert_eq!((count("HTTP/1.1 303"), count("HTTP/1.1 503")), (2 * MOST_PRESSES, 2), "{answers:?}");
    wishes.close();
    let mut wished = Vec::new();
    while let Some(wish) = wishes.recv().await {
        wished.push(wish.value.as_u64().unwrap());
    }
    assert_eq!(wished.len(), MOST_PRESSES);
    wished.sort_unstable();
    wished.dedup();
    assert_eq!(wished.len(), MOST_PRESSES, "each once: {wished:?}");
}

/// A word that stands in every secret of the configuration.
const MARK: &str = "tOpSeCrEt";

#[tokio::test]
async fn no_secret_of_the_configuration_is_in_any_answer() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let secrets = ["cloud-password", "proxy-password", "page-password", "header", "bind-key"];
    for name in secrets {
        let path = directory.path().join(name);
        let text = if name == "bind-key" {
            "00112233445566778899aabbccddeeff".to_owned()
        } else {
            format!("{MARK}-{name}\n")
        };
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let hash =
        "$argon2id$v=19$m=19456,t=2,p=1$aGVhcnRobGlua2hlYXJ0aA$Zw9n0dRN0QNk1kZ9uGkmYxq8mYkq3v0o5c0l5l2m3bE";
    let text = format!(
        "gateway: {{id: home, data_dir: data}}\n\
         broker:\n  listeners: [{{address: \"127.0.0.1:0\", anonymous: false}}]\n  users: [{{name: kitchen, password_hash: \"{hash}\"}}]\n\
         cloud:\n  url: wss://127.0.0.1:9/mqtt\n  username: anna\n  password_file: cloud-password\n  \
         headers: [{{name: X-Token, value_file: header}}]\n  \
         proxy: {{url: \"http://127.0.0.1:9\", username: bert, password_file: proxy-password, except: []}}\n\
         web: {{address: \"127.0.0.1:0\", password_file: page-password}}\n\
         devices:\n  - {{id: toaster, kind: toaster}}\n  \
         - {{id: attic, kind: bthome, options: {{address: \"A4:C1:38:8D:18:B2\", bind_key_file: bind-key}}}}\n"
    );
    let file = directory.path().join("home.yaml");
    std::fs::write(&file, text).unwrap();
    let simulation = Simulation::new(config::load(&file).unwrap(), true).unwrap();
    let gateway = Gateway::build_on(simulation.config(), Hardware::Simulated).await.unwrap();
    let (board, address, stop) = (gateway.board(), gateway.web_address().unwrap(), CancellationToken::new());
    let token = stop.clone();
    let running = tokio::spawn(async move { gateway.run(token, || {}).await.unwrap() });
    // The dial has failed, and what is said of that is on the page.
    let mut changes = board.watch();
    let dialled = async {
        while board.snapshot().link.fault.is_none() {
            changes.changed().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(60), dialled).await.expect("the dial fails");
    let login = data_encoding::BASE64.encode(format!("me:{MARK}-page-password").as_bytes());
    let hidden = [MARK.to_owned(), hash.to_owned(), "00112233445566778899".to_owned()];
    let hidden = hidden.iter().cloned().chain(secrets.iter().map(|name| {
        // As it would stand in a header.
        data_encoding::BASE64.encode(format!("anna:{MARK}-{name}").as_bytes())
    }));
    let hidden: Vec<String> = hidden.collect();
    let paths =
        ["/", "/api/status", "/api/receipts", "/metrics", "/healthz", "/readyz", "/page.js", "/nowhere"];
    let mut edition_seen = String::new();
    for path in paths {
        for login in [format!("Authorization: Basic {login}"), "X: y".to_owned()] {
            let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{login}\r\n\r\n");
            let answer = String::from_utf8(ask(address, &request).await).unwrap();
            for secret in &hidden {
                assert!(!answer.contains(secret), "{path} has `{secret}`: {answer}");
            }
            // The look is not at an empty page.
            assert!(path != "/" || !login.contains("Basic") || answer.contains("device-attic"), "{answer}");
            if answer.contains("data-edition") {
                edition_seen = edition(&answer).to_owned();
            }
        }
    }
    // The events have no end: what they say of the line is waited for.
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET /api/events?since={edition_seen} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {login}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    board.link_counters(|counters| counters.received += 1);
    let mut events = Reader { stream, text: String::new() };
    assert!(events.hears("id=\"line\"").await, "{}", events.text);
    for secret in &hidden {
        assert!(!events.text.contains(secret), "/api/events has `{secret}`: {}", events.text);
    }
    stop.cancel();
    running.await.unwrap();
}
