//! The status page over real HTTP: what it says, whom it answers, and what a browser may do with it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's panic is its verdict; clippy spares only `#[test]` functions"
)]

use std::{net::SocketAddr, time::Duration};

use hearthlink::{
    clock::Clock,
    health::{
        Board, BrokerReport, BusReport, CertificateReport, CommandReport, DeviceReport, LinkReport,
        StoreReport, WrittenReport,
    },
    model::{
        Availability, CommandId, DeviceId, Fault, FaultKind, Fields, LinkState, Outcome, OutcomeStatus,
        Reason, Timestamp,
    },
    web::{Web, WebError, WebOptions},
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
    let board = Board::new("home", Clock::system());
    let options = WebOptions { address: SocketAddr::from(([127, 0, 0, 1], 0)) };
    let web = Web::bind(options, board.clone()).await.unwrap();
    let address = web.addresses()[0];
    let stop = CancellationToken::new();
    tokio::spawn(web.run(stop.clone()));
    Page { address, board, stop }
}

impl Page {
    /// Sends a request as it is and returns the whole answer.
    async fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn ask(&self, method: &str, path: &str, host: &str) -> String {
        self.raw(&format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await
    }

    async fn get(&self, path: &str) -> String {
        self.ask("GET", path, "localhost").await
    }
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
        id: DeviceId::parse(id).unwrap(),
        kind: "thermometer".into(),
        availability: Availability::Online,
        fields: Some(fields(state)),
        last_seen: Some(Clock::system().now()),
        restarts: 0,
        fault: None,
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
        let name = line.split_once(' ').unwrap().0;
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
    let Err(WebError::Bind { address, .. }) = Web::bind(WebOptions { address: page.address }, board).await
    else {
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
    loop {
        page.board.device(thermometer("attic", serde_json::json!({"temperature": 20})));
        let mut reader = Reader::open(&page, "").await;
        if reader.hears("event: page").await {
            break;
        }
    }
    // The end of the page is the end of all streams.
    page.stop.cancel();
    for mut reader in readers {
        assert!(!reader.hears("nothing that ever comes").await);
    }
}
