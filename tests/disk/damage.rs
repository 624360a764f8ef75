//! A store's file that somebody or something has scribbled over.

use std::{fs, path::PathBuf};

use hearthlink::{
    clock::Clock,
    model::{Message, QoS, Topic},
    store::{Entry, Store, StoreOptions},
};

use crate::{
    home::house,
    house::House,
    raw::{Raw, publish},
};

/// A store with some hundred pages, closed in order.
async fn fill(house: &House) {
    let store = Store::open(&house.store_file(), &StoreOptions::default(), Clock::system()).unwrap();
    let topic = Topic::parse("hearthlink/home/sensors/attic").unwrap();
    for number in 0..1000 {
        let message = Message::new(topic.clone(), format!("{number:01000}"), QoS::AtLeastOnce);
        let _later = store.append(Entry::new(message)).await.unwrap();
    }
    let last = Message::new(topic, "last", QoS::AtLeastOnce);
    store.append(Entry::new(last)).await.unwrap().await.unwrap();
    drop(store);
    house.until_free().await;
}

fn scribble(bytes: &mut [u8]) {
    let mut random = fastrand::Rng::with_seed(7);
    bytes.iter_mut().for_each(|byte| *byte = random.u8(..));
}

fn set_aside(status: &serde_json::Value) -> Vec<String> {
    serde_json::from_value(status["store"]["set_aside"].clone()).unwrap()
}

#[tokio::test]
async fn a_damaged_store_is_set_aside_untouched_and_reported_and_the_gateway_starts() {
    type Harm = fn(&mut Vec<u8>);
    let cases: [(&str, Harm); 7] = [
        ("cut off in the middle", |bytes| bytes.truncate(bytes.len() / 2 + 7)),
        ("cut off in its first page", |bytes| bytes.truncate(50)),
        ("without its first bytes", |bytes| scribble(&mut bytes[..16])),
        ("without its header", |bytes| scribble(&mut bytes[..100])),
        ("without a page in the middle", |bytes| {
            let page = bytes.len() / 2 / 4096 * 4096;
            scribble(&mut bytes[page..page + 4096]);
        }),
        ("all garbage", |bytes| scribble(bytes)),
        ("a text", |bytes| *bytes = b"not a database".to_vec()),
    ];
    for (case, harm) in cases {
        let house = house();
        fill(&house).await;
        let file = house.store_file();
        let mut bytes = fs::read(&file).unwrap();
        assert!(bytes.len() > 1 << 20, "{}", bytes.len());
        harm(&mut bytes);
        fs::write(&file, &bytes).unwrap();

        let gateway = house.start().await;
        let is_reported = |status: &serde_json::Value| {
            status["verdict"]["level"] == "error" && !set_aside(status).is_empty()
        };
        let status = house.status_when(case, is_reported).await;
        let [name] = &set_aside(&status)[..] else { panic!("{case}: {status}") };
        assert!(name.starts_with("hearthlink.db.damaged-20"), "{name}");
        assert!(status["verdict"]["sentence"].as_str().unwrap().contains(name.as_str()), "{status}");
        let aside: PathBuf = file.with_file_name(name);
        assert!(fs::read(&aside).unwrap() == bytes, "{case}: what was set aside was changed");
        let mut sensor = Raw::to(house.port).await;
        sensor.connect("sensor", true).await;
        sensor.send(&publish(2, "sensors/attic", 1, b"new")).await;
        assert_eq!(sensor.next().await, Some((0x40, vec![0, 1])), "{case}: the new store takes messages");

        gateway.kill().await;
        // Still reported, and nothing more is set aside.
        let _gateway = house.start().await;
        let status = house.status_when(case, is_reported).await;
        assert_eq!(&set_aside(&status), std::slice::from_ref(name));
        if case == "all garbage" {
            fs::remove_file(aside).unwrap();
            house.status_when("it was moved away", |status| set_aside(status).is_empty()).await;
        }
    }
}

#[tokio::test]
async fn the_log_of_a_damaged_store_is_set_aside_with_it() {
    type Harm = fn(&mut Vec<u8>);
    let cases: [(&str, Harm); 2] = [
        // SQLite would take it for new, and delete the log.
        ("empty", |bytes| bytes.clear()),
        // SQLite would write the log into it.
        ("without a page in the middle", |bytes| {
            let page = bytes.len() / 2 / 4096 * 4096;
            scribble(&mut bytes[page..page + 4096]);
        }),
    ];
    for (case, harm) in cases {
        let house = house();
        fill(&house).await;
        let gateway = house.start().await;
        let mut sensor = Raw::to(house.port).await;
        sensor.connect("sensor", true).await;
        for id in 1..=20_u16 {
            sensor.send(&publish(2, "sensors/attic", id, &[b'x'; 3000])).await;
            assert_eq!(sensor.next().await, Some((0x40, id.to_be_bytes().to_vec())));
        }
        gateway.kill().await;
        let file = house.store_file();
        let log = fs::read(file.with_file_name("hearthlink.db-wal")).unwrap();
        assert!(log.len() > 60_000, "{}", log.len());
        let mut bytes = fs::read(&file).unwrap();
        harm(&mut bytes);
        fs::write(&file, &bytes).unwrap();

        let _gateway = house.start().await;
        let status = house.status_when(case, |status| !set_aside(status).is_empty()).await;
        let aside =
            |more: &str| fs::read(file.with_file_name(format!("{}{more}", set_aside(&status)[0]))).unwrap();
        assert!(aside("-wal") == log, "{case}: the log was changed");
        assert!(aside("") == bytes, "{case}: the file was changed");
    }
}
