//! What the loop says of a message that it hands to the connection.

use std::net::Ipv4Addr;

use tempfile::TempDir;
use tokio::net::TcpListener;

use super::*;
use crate::{
    link::{
        driver::tests::{ca_file, options},
        origin::Origin,
        wire::Version,
    },
    model::{Message, MessageId, QoS, Receipt, Receipts, Subject, Topic, Wanted},
    store::{Born, StoreOptions},
};

fn publish(id: &MessageId) -> Effect {
    let message = Message::new(Topic::parse("h/g/toaster").unwrap(), "x", QoS::AtLeastOnce);
    Effect::Publish(message, Some(Origin { id: id.clone(), born: Born::default() }))
}

#[tokio::test]
async fn only_what_the_connection_took_counts_as_sent() {
    let directory = TempDir::new().unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let (receipts, mut heard) = Receipts::channel(Wanted::Everything, 9);
    let options =
        LinkOptions { receipts, ..options(listener.local_addr().unwrap().port(), &ca_file(&directory)) };
    let clock = Clock::manual(Timestamp::from_millis(0));
    let store =
        Store::open(&directory.path().join("store.db"), &StoreOptions::default(), clock.clone()).unwrap();
    let board = Board::new("g", clock.clone());
    let mut link = Link::prepare(options, store, mpsc::channel(1).0, board, clock).unwrap();
    let id = MessageId::new("store", 1);

    link.obey(publish(&id), 0).unwrap();
    assert!(heard.try_recv().is_err(), "there is no connection");

    link.obey(Effect::Dial(Version::V5, Place::default(), Which::Proven), 0).unwrap();
    link.obey(publish(&id), 0).unwrap();
    let receipt = Receipt { subject: Subject::Message(id.clone(), None), stage: Stage::Sent };
    assert_eq!(heard.try_recv().unwrap(), receipt);

    // The other end goes, and with it the connection.
    let driver = &mut link.driver.as_mut().unwrap().driver;
    let broken = async { while !matches!(driver.next().await, Wire::Broken(_)) {} };
    tokio::join!(async { drop(listener.accept().await.unwrap()) }, broken);
    assert!(driver.is_over());
    link.obey(publish(&id), 0).unwrap();
    assert!(heard.try_recv().is_err(), "the connection is over");
}
