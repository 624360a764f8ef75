//! Mosquitto's clients as devices at home: what MQTT 3.1.1 promises, judged by programs that we did not write.

use std::{fs, os::unix::fs::PermissionsExt, thread, time::Duration};

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, SaltString},
};

use super::{
    Authority, Plan, Validity,
    gateway::Gateway,
    process::{PATIENCE, free_port},
};

/// A gateway without a cloud: home works alone.
fn home(folder: &tempfile::TempDir) -> Gateway {
    Plan::new(folder.path(), None, "").start()
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder for the test")
}

#[test]
fn every_qos_of_publisher_and_subscriber_meets_at_the_lower() {
    let folder = folder();
    let gateway = home(&folder);
    let lan = gateway.lan();
    for (wanted, subscriber) in ["0", "1", "2"].map(|qos| (qos, lan.subscribe(&["-q", qos, "-t", "door/+"])))
    {
        for sent in ["0", "1", "2"] {
            let text = format!("sent {sent} to {wanted}");
            lan.publish(&["-q", sent, "-t", "door/front", "-m", &text]);
            let got = subscriber.wait_for(&text, |message| message.payload == text);
            assert_eq!(got.qos.to_string(), wanted.min(sent).to_owned(), "{text}");
            assert!(!got.retained && got.topic == "door/front", "{got:?}");
        }
    }
}

#[test]
fn thousand_qos_2_messages_arrive_once_and_in_order() {
    let folder = folder();
    let gateway = home(&folder);
    let subscriber = gateway.lan().subscribe(&["-q", "2", "-t", "meter"]);
    let mut publisher = gateway.lan().publisher(&["-q", "2", "-t", "meter", "-l"]);
    for number in 0..1000 {
        publisher.say(&format!("{number}\n"));
    }
    assert!(publisher.wait(PATIENCE).success());
    let got = subscriber.wait_for_count(1000, PATIENCE);
    thread::sleep(Duration::from_millis(200));
    assert_eq!(subscriber.received().len(), 1000, "not one more");
    assert!(got.iter().enumerate().all(|(number, message)| message.payload == number.to_string()));
}

#[test]
fn retained_message_waits_for_late_subscribers_over_a_restart_until_it_is_cleared() {
    let folder = folder();
    let gateway = home(&folder);
    gateway.lan().publish(&["-q", "1", "-r", "-t", "home/heating", "-m", "21.5"]);
    let late = gateway.lan().subscribe(&["-q", "1", "-t", "home/#"]);
    late.wait_for("the retained one", |message| message.retained && message.payload == "21.5");
    drop(late);

    let gateway = gateway.restart();
    let after = gateway.lan().subscribe(&["-t", "home/heating"]);
    after.wait_for("the retained one", |message| message.retained && message.payload == "21.5");

    gateway.lan().publish(&["-q", "1", "-r", "-n", "-t", "home/heating"]);
    let cleared = gateway.lan().subscribe(&["-t", "home/heating"]);
    thread::sleep(Duration::from_millis(300));
    assert_eq!(cleared.received(), []);
}

#[test]
fn will_is_published_when_a_device_dies_and_not_when_it_leaves() {
    let folder = folder();
    let gateway = home(&folder);
    let lan = gateway.lan();
    let watcher = lan.subscribe(&["-q", "1", "-t", "status/#"]);
    let device = |name: &str| {
        let topic = format!("status/{name}");
        let will = ["--will-topic", &topic, "--will-payload", "gone", "--will-qos", "1", "--will-retain"];
        lan.with(&will).subscribe(&["-i", name, "-t", "nothing"])
    };
    let (mut dies, mut leaves) = (device("dies"), device("leaves"));
    leaves.process.signal("TERM"); // mosquitto_sub sends DISCONNECT
    leaves.process.wait(PATIENCE);
    dies.process.kill();
    watcher.wait_for("the will", |message| message.topic == "status/dies" && message.payload == "gone");
    thread::sleep(Duration::from_millis(300));
    assert_eq!(watcher.received().len(), 1, "who says goodbye leaves no will: {:?}", watcher.received());
    let late = lan.subscribe(&["-t", "status/dies"]);
    late.wait_for("the will was retained", |message| message.retained && message.payload == "gone");
}

#[test]
fn persistent_session_gets_what_it_missed_and_a_clean_one_does_not() {
    let folder = folder();
    let gateway = home(&folder);
    let lan = gateway.lan();
    let subscribe = ["-i", "keeper", "-c", "-q", "1", "-t", "news"];
    let mut keeper = lan.subscribe(&subscribe);
    keeper.process.signal("TERM");
    keeper.process.wait(PATIENCE);
    drop(lan.subscribe(&["-i", "forgetter", "-q", "1", "-t", "news"]));

    for word in ["one", "two", "three"] {
        lan.publish(&["-q", "1", "-t", "news", "-m", word]);
    }
    let keeper = lan.subscribe(&subscribe);
    let missed: Vec<String> = keeper.wait_for_count(3, PATIENCE).into_iter().map(|got| got.payload).collect();
    assert_eq!(missed, ["one", "two", "three"]);
    let forgetter = lan.subscribe(&["-i", "forgetter", "-q", "1", "-t", "news"]);
    thread::sleep(Duration::from_millis(200));
    assert_eq!(forgetter.received(), []);
}

#[test]
fn shared_subscription_gives_each_message_to_one_of_the_group() {
    let folder = folder();
    let gateway = home(&folder);
    let lan = gateway.lan();
    let workers = [1, 2, 3].map(|_| lan.subscribe(&["-q", "1", "-t", "$share/workers/jobs/#"]));
    let mut publisher = lan.publisher(&["-q", "1", "-t", "jobs/wash", "-l"]);
    for number in 0..300 {
        publisher.say(&format!("{number}\n"));
    }
    assert!(publisher.wait(PATIENCE).success());
    let all =
        || workers.iter().flat_map(|worker| worker.received()).map(|got| got.payload).collect::<Vec<_>>();
    super::process::eventually("all jobs are taken", PATIENCE, || (all().len() >= 300).then_some(()));
    let mut numbers: Vec<usize> = all().iter().map(|text| text.parse().expect("a number")).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..300).collect::<Vec<_>>());
    assert!(workers.iter().all(|worker| !worker.received().is_empty()), "nobody is left out");
}

#[test]
fn same_client_id_takes_over() {
    let folder = folder();
    let gateway = home(&folder);
    let lan = gateway.lan();
    let first = lan.subscribe(&["-i", "twin", "-t", "x"]);
    // mosquitto_sub reconnects by itself and would take over in its turn; one publish is quick enough.
    let second = lan.publisher(&["-i", "twin", "-t", "y", "-l"]);
    first.process.wait_for("it reconnects", PATIENCE, |lines| {
        let connects = lines.iter().filter(|line| line.contains("sending CONNECT")).count();
        (connects > 1).then_some(())
    });
    drop(second);
}

#[test]
fn users_get_in_with_their_password_or_certificate_over_tls_and_nobody_else() {
    let folder = folder();
    let path = folder.path();
    let (ca, stranger) = (Authority::new(path, "house"), Authority::new(path, "stranger"));
    let server = ca.server("broker", &["localhost"], Validity::Now);
    let boiler = ca.client("boiler", "boiler.home");
    let intruder = stranger.client("intruder", "boiler.home");
    let salt = SaltString::encode_b64(b"sixteen bytes...").expect("a salt");
    let hash = Argon2::default().hash_password(b"secret", &salt).expect("a hash").to_string();
    let tls_port = free_port();
    let mut plan = Plan::new(path, None, "");
    plan.broker = Some(format!(
        "broker:\n  listeners:\n    - {{address: \"127.0.0.1:LAN_PORT\", anonymous: false}}\n    \
         - address: \"127.0.0.1:{tls_port}\"\n      anonymous: false\n      tls: {{certificate_file: {}, key_file: {}, \
         client_ca_file: {}}}\n  users:\n    - {{name: kitchen, password_hash: \"{hash}\"}}\n    \
         - {{name: boiler, certificate_name: boiler.home}}\n",
        server.certificate.display(),
        server.key.display(),
        ca.certificate.display(),
    ));
    assert_eq!(fs::metadata(&server.key).expect("it is there").permissions().mode() & 0o777, 0o600);
    let gateway = plan.start();
    let plain = gateway.lan();
    let message = ["-q", "1", "-t", "room", "-m", "hello"];

    let kitchen = plain.with(&["-u", "kitchen", "-P", "secret"]);
    let heard = kitchen.subscribe(&["-t", "room"]);
    kitchen.publish(&message);
    heard.wait_for("hello", |got| got.payload == "hello");
    for wrong in
        [vec![], vec!["-u", "kitchen", "-P", "Secret"], vec!["-u", "boiler", "-P", ""], vec!["-u", "nobody"]]
    {
        let (code, said) = plain.with(&wrong).try_publish(&message);
        assert!(code != 0 && said.to_lowercase().contains("refused"), "{wrong:?} got in: {code} {said}");
    }

    let file = |path: &std::path::Path| path.to_str().expect("ASCII").to_owned();
    let (house, other) = (file(&ca.certificate), file(&stranger.certificate));
    let tls = super::clients::Broker::at(tls_port);
    tls.with(&["--cafile", &house, "-u", "kitchen", "-P", "secret"]).publish(&message);
    let with_certificate = |identity: &super::Identity| {
        let (certificate, key) = (file(&identity.certificate), file(&identity.key));
        tls.with(&["--cafile", &house, "--cert", &certificate, "--key", &key])
    };
    with_certificate(&boiler).publish(&message);
    for (who, broker) in [
        ("no user", tls.with(&["--cafile", &house])),
        ("a stranger's certificate", with_certificate(&intruder)),
        ("another CA", tls.with(&["--cafile", &other, "-u", "kitchen", "-P", "secret"])),
    ] {
        let (code, said) = broker.try_publish(&message);
        assert_ne!(code, 0, "{who} got in: {said}");
    }
    heard.wait_for_count(3, PATIENCE);
    thread::sleep(Duration::from_millis(200));
    assert_eq!(heard.received().len(), 3, "nobody else's message got through");
}
