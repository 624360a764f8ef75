//! The phone against a real cloud, by plain HTTP on one side and MQTT on the other.

//! The phone's page and its way through the cloud.

use std::time::Duration;

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    sync::mpsc::Receiver,
    time::timeout,
};

use super::*;
use crate::{
    demo::{
        certificates::CertificateFiles,
        cloud::{Cloud, CloudOptions, LineState},
    },
    model::Availability,
};

const PATIENCE: Duration = Duration::from_secs(10);

/// A cloud, a phone and what a gateway would see.
struct Scene {
    cloud: Cloud,
    phone: Phone,
    gateway: Client,
    commands: Receiver<rumqttc::v5::mqttbytes::v5::Publish>,
    stop: CancellationToken,
}

async fn scene() -> Scene {
    let directory = tempfile::tempdir().unwrap();
    let files = CertificateFiles::make(directory.path(), "demo").unwrap();
    let cloud = Cloud::start(CloudOptions::new(&files)).await.unwrap();
    let stop = CancellationToken::new();
    let broker = cloud.broker_address();
    let (sender, commands) = mpsc::channel(8);
    let filters = vec![format!("{CLOUD_ROOT}/+/set")];
    let gateway = Client::connect("gateway", broker, filters, sender, stop.clone());
    let phone = Phone::start(broker, 0, cloud.line(), Clock::system(), stop.clone()).await.unwrap();
    let scene = Scene { cloud, phone, gateway, commands, stop };
    timeout(PATIENCE, scene.gateway.connected().wait_for(|is| *is)).await.unwrap().unwrap();
    timeout(PATIENCE, scene.phone.app().view().wait_for(|view| view.cloud)).await.unwrap().unwrap();
    scene
}

impl Scene {
    async fn ask(&self, head: &str) -> String {
        let mut stream = TcpStream::connect(self.phone.address).await.unwrap();
        stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        answer
    }

    fn post(&self, path: &str, host: &str, origin: &str) -> String {
        format!("POST {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nContent-Length: 0\r\n")
    }

    async fn tell(&self, below: &str, payload: &str) {
        self.gateway.publish(&format!("{CLOUD_ROOT}/{below}"), payload.into()).await.unwrap();
    }
}

#[tokio::test]
async fn a_press_on_the_page_reaches_the_cloud_and_the_answer_comes_back_to_the_page() {
    let mut scene = scene().await;
    let host = scene.phone.address.to_string();
    let mut events = TcpStream::connect(scene.phone.address).await.unwrap();
    events.write_all(format!("GET /events HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await.unwrap();
    let mut lines = BufReader::new(events).lines();

    let answer = scene.ask(&scene.post("/toast", &host, &format!("http://{host}"))).await;
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    let answer: Value = serde_json::from_str(answer.lines().last().unwrap()).unwrap();

    let command = timeout(PATIENCE, scene.commands.recv()).await.unwrap().unwrap();
    assert_eq!(command.topic, format!("{CLOUD_ROOT}/toaster/set"));
    let command: Value = serde_json::from_slice(&command.payload).unwrap();
    assert_eq!((&command["id"], &command["state"]), (&answer["id"], &Value::from("ON")));
    assert!(command["expires_at"].is_string(), "{command}");

    scene.tell("bridge/state", "online").await;
    let outcome = format!(
        r#"{{"id":{},"device":"toaster","status":"applied","detail":"the lever is down","at":"2026-11-22T12:00:00Z"}}"#,
        answer["id"]
    );
    scene.tell("toaster/result", &outcome).await;
    let seen = timeout(PATIENCE, async {
        loop {
            let line = lines.next_line().await.unwrap().unwrap();
            let Some(data) = line.strip_prefix("data:") else { continue };
            let view: Value = serde_json::from_str(data).unwrap();
            if view["outcomes"][0]["id"] == answer["id"] {
                return view;
            }
        }
    });
    let view = seen.await.unwrap();
    assert_eq!(view["home"], "online");
    assert_eq!(view["outcomes"][0]["status"], "applied");
    scene.stop.cancel();
    timeout(PATIENCE, scene.phone.ended()).await.unwrap();
    scene.cloud.stop().await;
}

#[tokio::test]
async fn only_the_page_itself_can_press_its_buttons() {
    let mut scene = scene().await;
    let host = scene.phone.address.to_string();
    for request in [
        scene.post("/toast", &host, "http://evil.example"),
        scene.post("/toast", &host, "null"),
        scene.post("/toast", "evil.example", "http://evil.example"),
        scene.post("/cut/5", &host, "https://evil.example"),
        format!("POST /toast HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n"),
        "GET / HTTP/1.1\r\nHost: evil.example\r\n".to_owned(),
    ] {
        let answer = scene.ask(&request).await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{request}\n{answer}");
    }
    assert!(scene.commands.try_recv().is_err(), "a command came through");
    assert_eq!(scene.cloud.line().state(), LineState::Up);
}

#[tokio::test]
async fn the_page_is_whole_and_asks_nobody_else() {
    let scene = scene().await;
    let host = scene.phone.address.to_string();
    for path in ["/", "/page.css", "/page.js"] {
        let answer = scene.ask(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains("content-security-policy: default-src 'none'"), "{answer}");
        let foreign = answer.replace("http://www.w3.org/2000/svg", "").contains("://");
        assert!(!foreign, "{path} names another host");
    }
}

#[tokio::test]
async fn the_cut_button_cuts_the_line_and_gives_it_back() {
    let scene = scene().await;
    let host = scene.phone.address.to_string();
    let answer = scene.ask(&scene.post("/cut/5", &host, &format!("http://{host}"))).await;
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    assert_eq!(scene.cloud.line().state(), LineState::Cut);
    for (path, status) in [("/cut/5", "409"), ("/cut/3600", "404")] {
        let answer = scene.ask(&scene.post(path, &host, &format!("http://{host}"))).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
    scene.tell("bridge/state", "offline").await;
    let mut view = scene.phone.app().view();
    let offline = view.wait_for(|view| view.home == Some(Availability::Offline));
    timeout(PATIENCE, offline).await.unwrap().unwrap();
    timeout(PATIENCE, async {
        while scene.cloud.line().state() == LineState::Cut {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_taken_port_is_no_reason_to_give_up() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = taken.local_addr().unwrap().port();
    assert_ne!(listen(port).await.unwrap().local_addr().unwrap().port(), port);
}
