//! The cloud from outside, by rumqttc through the front, and what rumqttd really does behind it.

//! The demonstration's cloud, from outside: TLS, WebSocket, rumqttd's sessions, cut and restore.

use std::{path::Path, sync::Arc, time::Duration};

use rumqttc::{
    TlsConfiguration, Transport,
    v5::{
        AsyncClient, Event, EventLoop, Incoming, MqttOptions,
        mqttbytes::{
            QoS,
            v5::{LastWill, Publish},
        },
    },
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tempfile::TempDir;
use tokio::{net::TcpStream, time::timeout};

use super::*;
use crate::demo::certificates::{Authority, IdentityFiles, Validity, Wish};

const PATIENCE: Duration = Duration::from_secs(10);

struct Scene {
    _directory: TempDir,
    files: CertificateFiles,
    cloud: Cloud,
}

async fn scene() -> Scene {
    let directory = tempfile::tempdir().unwrap();
    let files = CertificateFiles::make(directory.path(), "demo").unwrap();
    let cloud = Cloud::start(CloudOptions::new(&files)).await.unwrap();
    Scene { _directory: directory, files, cloud }
}

fn client_tls(ca: &Path, identity: Option<&IdentityFiles>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    Arc::new(match identity {
        None => config.with_no_client_auth(),
        Some(identity) => config
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_file(&identity.certificate).unwrap()],
                PrivateKeyDer::from_pem_file(&identity.key).unwrap(),
            )
            .unwrap(),
    })
}

fn options(id: &str, url: &str, tls: Arc<ClientConfig>) -> MqttOptions {
    let mut options = MqttOptions::new(id, url, 0);
    options.set_transport(Transport::wss_with_config(TlsConfiguration::Rustls(tls)));
    options.set_keep_alive(Duration::from_secs(5));
    options.set_clean_start(false);
    options.set_session_expiry_interval(Some(3600));
    options
}

impl Scene {
    /// A client at home, through the front.
    fn home(&self, id: &str) -> (AsyncClient, EventLoop) {
        let tls = client_tls(&self.files.ca, Some(&self.files.client));
        AsyncClient::new(options(id, &self.cloud.url(), tls), 10)
    }

    /// A client in the cloud, on the plain port.
    fn inside(&self, id: &str) -> (AsyncClient, EventLoop) {
        let address = self.cloud.broker_address();
        let mut options = MqttOptions::new(id, address.ip().to_string(), address.port());
        options.set_keep_alive(Duration::from_secs(5));
        AsyncClient::new(options, 10)
    }

    async fn refused(&self, url: &str, identity: Option<&IdentityFiles>) -> String {
        let tls = client_tls(&self.files.ca, identity);
        let (_client, mut events) = AsyncClient::new(options("stranger", url, tls), 10);
        let error = loop {
            match timeout(PATIENCE, events.poll()).await.unwrap() {
                Ok(Event::Incoming(packet)) => panic!("let in: {packet:?}"),
                Ok(Event::Outgoing(_)) => {}
                Err(error) => break error,
            }
        };
        format!("{error:?}")
    }
}

async fn until<T>(events: &mut EventLoop, mut pick: impl FnMut(Incoming) -> Option<T>) -> T {
    let search = async {
        loop {
            if let Event::Incoming(packet) = events.poll().await.unwrap()
                && let Some(found) = pick(packet)
            {
                return found;
            }
        }
    };
    timeout(PATIENCE, search).await.unwrap()
}

async fn connected(events: &mut EventLoop) -> bool {
    until(events, |packet| match packet {
        Incoming::ConnAck(ack) => Some(ack.session_present),
        _ => None,
    })
    .await
}

async fn subscribe(client: &AsyncClient, events: &mut EventLoop, filter: &str) {
    client.subscribe(filter, QoS::AtLeastOnce).await.unwrap();
    until(events, |packet| matches!(packet, Incoming::SubAck(_)).then_some(())).await;
}

async fn publish(client: &AsyncClient, events: &mut EventLoop, topic: &str, payload: &str) {
    client.publish(topic, QoS::AtLeastOnce, false, payload.to_owned()).await.unwrap();
    until(events, |packet| matches!(packet, Incoming::PubAck(_)).then_some(())).await;
}

async fn received(events: &mut EventLoop) -> Publish {
    until(events, |packet| match packet {
        Incoming::Publish(publish) => Some(publish),
        _ => None,
    })
    .await
}

async fn wait_for_connections(cloud: &Cloud, wanted: usize) {
    let mut connections = cloud.connections();
    timeout(PATIENCE, connections.wait_for(|count| *count == wanted)).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_with_a_certificate_reaches_the_cloud_and_is_reached() {
    let scene = scene().await;
    let (home, mut home_events) = scene.home("home");
    let (phone, mut phone_events) = scene.inside("phone");
    connected(&mut home_events).await;
    connected(&mut phone_events).await;
    subscribe(&home, &mut home_events, "down").await;
    subscribe(&phone, &mut phone_events, "up").await;
    publish(&home, &mut home_events, "up", "warm").await;
    assert_eq!(received(&mut phone_events).await.payload, "warm");
    publish(&phone, &mut phone_events, "down", "toast").await;
    assert_eq!(received(&mut home_events).await.payload, "toast");
    assert_eq!(*scene.cloud.connections().borrow(), 1);
    scene.cloud.stop().await;
}

#[tokio::test]
async fn a_client_without_a_valid_certificate_of_our_ca_is_refused() {
    let scene = scene().await;
    let directory = tempfile::tempdir().unwrap();
    let stranger = Authority::new("Hearthlink demonstration CA").unwrap();
    let stranger = stranger.issue(&Wish::client("demo")).unwrap();
    let stranger = stranger.write(directory.path(), "stranger").unwrap();
    let url = scene.cloud.url();
    assert!(scene.refused(&url, None).await.contains("CertificateRequired"));
    let refusal = scene.refused(&url, Some(&stranger)).await;
    assert!(refusal.contains("UnknownCA") || refusal.contains("DecryptError"), "{refusal}");
    assert_eq!(*scene.cloud.connections().borrow(), 0);
}

#[tokio::test]
async fn an_expired_client_certificate_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new("ca").unwrap();
    let mut files = CertificateFiles::make(directory.path(), "demo").unwrap();
    files.ca = directory.path().join("other-ca.pem");
    authority.write(&files.ca).unwrap();
    let server = authority.issue(&Wish::server(["localhost"])).unwrap();
    files.server = server.write(directory.path(), "server").unwrap();
    let expired = authority.issue(&Wish::client("demo").valid(Validity::Expired)).unwrap();
    files.client = expired.write(directory.path(), "expired").unwrap();
    let cloud = Cloud::start(CloudOptions::new(&files)).await.unwrap();
    let scene = Scene { _directory: directory, files, cloud };
    let refusal = scene.refused(&scene.cloud.url(), Some(&scene.files.client)).await;
    assert!(refusal.contains("CertificateExpired"), "{refusal}");
}

#[tokio::test]
async fn another_path_is_no_way_in() {
    let scene = scene().await;
    let url = scene.cloud.url().replace("/mqtt", "/ws");
    let refusal = scene.refused(&url, Some(&scene.files.client)).await;
    assert!(refusal.contains("404"), "{refusal}");
}

#[tokio::test]
async fn an_idle_connection_holds_up_nobody() {
    let scene = scene().await;
    let _idle = TcpStream::connect(scene.cloud.address()).await.unwrap();
    let (_home, mut events) = scene.home("home");
    assert!(!timeout(Duration::from_secs(3), connected(&mut events)).await.unwrap());
}

#[tokio::test]
async fn a_cut_line_drops_and_refuses_and_a_restored_one_carries() {
    let scene = scene().await;
    let (_home, mut events) = scene.home("home");
    connected(&mut events).await;
    scene.cloud.line().cut();
    let lost = timeout(PATIENCE, async { while events.poll().await.is_ok() {} });
    lost.await.unwrap();
    wait_for_connections(&scene.cloud, 0).await;
    assert!(events.poll().await.is_err(), "connected while the line was cut");
    scene.cloud.line().restore();
    connected(&mut events).await;
}

#[tokio::test]
async fn a_stalled_line_keeps_the_connection_and_loses_nothing() {
    let scene = scene().await;
    let (home, mut home_events) = scene.home("home");
    let (phone, mut phone_events) = scene.inside("phone");
    connected(&mut home_events).await;
    connected(&mut phone_events).await;
    subscribe(&phone, &mut phone_events, "up").await;
    scene.cloud.line().stall();
    home.publish("up", QoS::AtLeastOnce, false, "held").await.unwrap();
    let silence = timeout(Duration::from_millis(300), async {
        loop {
            if let Event::Incoming(Incoming::PubAck(_)) = home_events.poll().await.unwrap() {
                return;
            }
        }
    });
    assert!(silence.await.is_err(), "acknowledged over a stalled line");
    scene.cloud.line().restore();
    until(&mut home_events, |packet| matches!(packet, Incoming::PubAck(_)).then_some(())).await;
    assert_eq!(received(&mut phone_events).await.payload, "held");
}

/// What the story relies on: a command sent while the home is away waits for it in the cloud.
#[tokio::test]
async fn the_broker_keeps_a_session_with_its_subscriptions_and_messages() {
    let scene = scene().await;
    let (home, mut home_events) = scene.home("home");
    let (phone, mut phone_events) = scene.inside("phone");
    assert!(!connected(&mut home_events).await, "a session where there was none");
    connected(&mut phone_events).await;
    subscribe(&home, &mut home_events, "down/+/set").await;
    scene.cloud.line().cut();
    wait_for_connections(&scene.cloud, 0).await;
    publish(&phone, &mut phone_events, "down/toaster/set", "waited").await;
    scene.cloud.line().restore();
    let session_present = loop {
        if let Ok(Event::Incoming(Incoming::ConnAck(ack))) = home_events.poll().await {
            break ack.session_present;
        }
    };
    assert!(session_present);
    let publish = received(&mut home_events).await;
    assert_eq!((&publish.payload[..], publish.retain), (&b"waited"[..], false));
}

#[tokio::test]
async fn the_last_will_tells_that_the_home_is_gone() {
    let scene = scene().await;
    let (phone, mut phone_events) = scene.inside("phone");
    connected(&mut phone_events).await;
    subscribe(&phone, &mut phone_events, "state").await;
    let tls = client_tls(&scene.files.ca, Some(&scene.files.client));
    let mut options = options("home", &scene.cloud.url(), tls);
    options.set_last_will(LastWill::new("state", "offline", QoS::AtLeastOnce, true, None));
    let (_home, mut home_events) = AsyncClient::new(options, 10);
    connected(&mut home_events).await;
    scene.cloud.line().cut();
    assert_eq!(received(&mut phone_events).await.payload, "offline");
    let (late, mut late_events) = scene.inside("late");
    connected(&mut late_events).await;
    late.subscribe("state", QoS::AtLeastOnce).await.unwrap();
    let kept = received(&mut late_events).await;
    assert_eq!((&kept.payload[..], kept.retain), (&b"offline"[..], true));
}

#[tokio::test]
async fn a_stopped_cloud_leaves_its_ports() {
    let scene = scene().await;
    let (outside, inside) = (scene.cloud.address(), scene.cloud.broker_address());
    scene.cloud.stop().await;
    assert!(TcpStream::connect(outside).await.is_err());
    assert!(TcpStream::connect(inside).await.is_err());
}
