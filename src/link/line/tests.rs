//! One line over a pipe, with the cloud's bytes written by hand.

use std::{future::poll_fn, path::Path};

use tokio::io::{DuplexStream, duplex};

use super::*;
use crate::{
    link::driver::tests::options,
    model::{Message, QoS, Topic},
};

const CONNACK: [u8; 4] = [0x20, 2, 0, 0];
const PUBACK_1: [u8; 4] = [0x40, 2, 0, 1];

fn publish(payload: &'static str) -> Command {
    Command::Publish(Message::new(Topic::parse("a").unwrap(), payload, QoS::AtLeastOnce), None)
}

/// A line that the cloud has let in, and the cloud's end of it.
async fn open(room: usize) -> (Line, DuplexStream) {
    let (near, mut far) = duplex(room);
    far.write_all(&CONNACK).await.unwrap();
    let (options, grant) = (options(1, Path::new("ca.pem")), Grant::default());
    let opening = Line::open(Box::new(near), Version::V4, &options, &grant);
    let (opened, greeted) = tokio::join!(opening, async {
        let mut header = [0; 2];
        far.read_exact(&mut header).await.unwrap();
        assert_eq!(header[0], 0x10, "CONNECT comes first");
        far.read_exact(&mut vec![0; header[1].into()]).await
    });
    greeted.unwrap();
    let Ok((line, _)) = opened else { panic!("the line is not open") };
    (line, far)
}

/// Turns the line once, until it has something to tell.
async fn turn(line: &mut Line, commands: &mut VecDeque<Command>) -> Result<Vec<Wire>, LineError> {
    let mut events = VecDeque::new();
    poll_fn(|context| line.poll_events(commands, &mut events, context)).await?;
    Ok(events.into())
}

#[tokio::test]
async fn what_is_told_in_one_turn_goes_out_in_one_write_with_ids_in_order() {
    let (mut line, mut far) = open(1 << 10).await;
    let mut commands = VecDeque::from([publish("x"), Command::Acknowledge(7), publish("y")]);
    let told = turn(&mut line, &mut commands).await.unwrap();
    assert_eq!(told, [Wire::PublishSent(1), Wire::PublishSent(2)]);
    let expected: &[u8] = &[0x32, 6, 0, 1, b'a', 0, 1, b'x', 0x40, 2, 0, 7, 0x32, 6, 0, 1, b'a', 0, 2, b'y'];
    let mut bytes = vec![0; 99];
    let count = far.read(&mut bytes).await.unwrap();
    assert_eq!(&bytes[..count], expected);
}

#[tokio::test]
async fn a_line_that_takes_nothing_holds_what_it_was_told_and_still_reads() {
    let (mut line, mut far) = open(64).await;
    let mut commands: VecDeque<_> = (0..40_000).map(|_| publish("x")).collect();
    let told = turn(&mut line, &mut commands).await.unwrap();
    assert_eq!(told.len() + commands.len(), 40_000);
    assert!(told.len() * 8 <= CHUNK + 64 + 8, "more than a chunk is not encoded");
    far.write_all(&PUBACK_1).await.unwrap();
    let accepted = Wire::PublishAnswered(1, wire::Verdict::Accepted);
    assert_eq!(turn(&mut line, &mut commands).await.unwrap(), [accepted]);
}

#[tokio::test]
async fn what_was_read_together_with_the_end_still_counts() {
    let (mut line, mut far) = open(64).await;
    far.write_all(&[PUBACK_1, [0x40, 2, 0, 2]].concat()).await.unwrap();
    drop(far);
    let mut commands = VecDeque::new();
    assert_eq!(turn(&mut line, &mut commands).await.unwrap().len(), 2);
    assert!(matches!(turn(&mut line, &mut commands).await, Err(LineError::Ended(None))));
}

#[tokio::test]
async fn what_was_read_before_bytes_that_are_no_mqtt_still_counts() {
    let (mut line, mut far) = open(64).await;
    far.write_all(&[PUBACK_1, [0xF0, 2, 0, 2]].concat()).await.unwrap();
    let mut commands = VecDeque::new();
    assert_eq!(turn(&mut line, &mut commands).await.unwrap().len(), 1);
    assert!(matches!(turn(&mut line, &mut commands).await, Err(LineError::Garbled(_))));
}

#[tokio::test]
async fn the_last_packets_of_a_cloud_that_takes_no_more_are_still_read() {
    let (mut line, mut far) = open(64).await;
    far.write_all(&PUBACK_1).await.unwrap();
    drop(far);
    // Writing fails before anything is read.
    let mut commands = VecDeque::from([publish("x")]);
    let mut all = Vec::new();
    let error = loop {
        match turn(&mut line, &mut commands).await {
            Ok(events) => all.extend(events),
            Err(error) => break error,
        }
    };
    assert!(all.contains(&Wire::PublishAnswered(1, wire::Verdict::Accepted)), "{all:?}");
    assert!(matches!(error, LineError::Ended(Some(_))), "the failed write is the reason: {error:?}");
}

#[tokio::test(start_paused = true)]
async fn the_line_is_pinged_once_every_keep_alive() {
    let (mut line, mut far) = open(64).await;
    let mut commands = VecDeque::new();
    let start = Instant::now();
    for _ in 0..3 {
        assert_eq!(turn(&mut line, &mut commands).await.unwrap(), [Wire::PingSent]);
    }
    assert_eq!(start.elapsed().as_secs(), 3 * options(1, Path::new("")).keep_alive.as_secs());
    let mut pings = [0; 6];
    far.read_exact(&mut pings).await.unwrap();
    assert_eq!(pings, [0xC0, 0, 0xC0, 0, 0xC0, 0]);
}

#[tokio::test]
async fn disconnect_counts_as_sent_when_all_before_it_has_gone_out() {
    let (mut line, mut far) = open(16).await;
    let mut commands: VecDeque<_> = (0..4).map(|_| publish("x")).chain([Command::Disconnect]).collect();
    assert_eq!(turn(&mut line, &mut commands).await.unwrap().len(), 4);
    let mut bytes = [0; 4 * 8 + 2];
    let (last, read) = tokio::join!(turn(&mut line, &mut commands), far.read_exact(&mut bytes));
    read.unwrap();
    assert_eq!(bytes[32..], [0xE0, 0]);
    let last = last.unwrap();
    assert_eq!(last, [Wire::DisconnectSent]);
}

#[tokio::test]
async fn a_second_connack_ends_the_line() {
    let (mut line, mut far) = open(64).await;
    far.write_all(&CONNACK).await.unwrap();
    assert!(matches!(turn(&mut line, &mut VecDeque::new()).await, Err(LineError::Garbled(_))));
}

#[tokio::test]
async fn packet_ids_come_round_without_zero() {
    let (mut line, _far) = open(64).await;
    line.last_packet = u16::MAX - 1;
    assert_eq!([line.next_packet(), line.next_packet(), line.next_packet()], [u16::MAX, 1, 2]);
}

#[tokio::test]
async fn whoever_answers_connect_with_something_else_is_no_cloud() {
    let (near, mut far) = duplex(1 << 10);
    far.write_all(&PUBACK_1).await.unwrap();
    let options = options(1, Path::new("ca.pem"));
    let opened = Line::open(Box::new(near), Version::V4, &options, &Grant::default()).await;
    assert!(matches!(opened, Err(LineError::Garbled(_))));
}
