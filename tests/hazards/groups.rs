//! Shared subscriptions whose members go while messages are in flight.

use std::{collections::BTreeSet, time::Duration};

use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

use crate::{
    raw::{Raw, packet, puback, publish5, text},
    target::{Target, publish_all},
};

/// A member of a group: hears numbers, tells them on, and acknowledges them or not.
fn hear(mut member: Raw, acks: bool, heard: &mpsc::Sender<(bool, u32)>) -> JoinHandle<()> {
    let heard = heard.clone();
    tokio::spawn(async move {
        while let Some((first, body)) = member.next().await {
            assert_eq!(first & 0xF6, 0x32, "no PUBLISH of QoS 1");
            // Topic `s/x`, packet id, properties, the number.
            let number = String::from_utf8_lossy(&body[8 + usize::from(body[7])..]).parse().unwrap();
            if acks {
                member.send(&packet(0x40, &body[5..7])).await;
            }
            if heard.send((acks, number)).await.is_err() {
                return;
            }
        }
    })
}

/// Which numbers came, and which of them were acknowledged.
struct Heard {
    news: mpsc::Receiver<(bool, u32)>,
    acknowledged: BTreeSet<u32>,
    in_flight: BTreeSet<u32>,
}

impl Heard {
    async fn until(&mut self, is_enough: impl Fn(&Self) -> bool) {
        while !is_enough(self) {
            let Ok(news) = timeout(Duration::from_secs(10), self.news.recv()).await else {
                let (acknowledged, in_flight) = (self.acknowledged.len(), self.in_flight.len());
                panic!("held up after {acknowledged} messages with {in_flight} in flight");
            };
            let (acks, number) = news.expect("we hold a sender");
            let known = if acks { &mut self.acknowledged } else { &mut self.in_flight };
            known.insert(number);
        }
    }
}

/// A persistent member is lost with messages in flight, alone in its group or not, and comes back.
async fn lose_a_member(at: &Target, has_others: bool) {
    let (sender, news) = mpsc::channel(100);
    let mut heard = Heard { news, acknowledged: BTreeSet::new(), in_flight: BTreeSet::new() };
    let member = async |id: &str, acks: bool, expiry: u32| {
        let mut member = Raw::to(at.v5).await;
        let connack = member.connect5(id, expiry == 0, expiry).await;
        if connack[0] == 0 {
            assert_eq!(member.subscribe5("$share/group/s/+", 1).await, 1, "refused");
        }
        hear(member, acks, &sender)
    };
    let lost = member("lost", false, 300).await;
    let stays = if has_others { Some(member("stays", true, 0).await) } else { None };
    let mut writer = at.client5("writer").await;
    let number = |number: u32, id: u16| publish5(2, "s/x", id, &[], number.to_string().as_bytes());
    publish_all(&mut writer, 20, 20, number).await;
    heard.until(|heard| heard.acknowledged.len() + heard.in_flight.len() == 20).await;
    assert!(!heard.in_flight.is_empty(), "the group does not divide its messages");
    lost.abort();
    let _ = lost.await;
    at.others_are_well().await;
    publish_all(&mut writer, 20, 20, |count, id| number(count + 20, id)).await;
    // The other member gets what is in flight, or it waits for the first.
    let again = member("lost", true, 300).await;
    heard.until(|heard| heard.acknowledged.len() == 40).await;
    publish_all(&mut writer, 20, 20, |count, id| number(count + 40, id)).await;
    heard.until(|heard| heard.acknowledged.len() == 60).await;
    for task in [Some(again), stays].into_iter().flatten() {
        task.abort();
    }
}

pub async fn a_shared_subscriber_lost_with_a_message_in_flight(at: Target) {
    lose_a_member(&at, true).await;
}

pub async fn the_only_shared_subscriber_lost_with_a_message_in_flight(at: Target) {
    lose_a_member(&at, false).await;
}

pub async fn a_shared_subscriber_that_unsubscribes_with_a_message_in_flight(at: Target) {
    let mut member = Raw::to(at.v5).await;
    member.connect5("member", false, 300).await;
    assert_eq!(member.subscribe5("$share/group/s/+", 1).await, 1, "refused");
    let mut writer = at.client5("writer").await;
    publish_all(&mut writer, 1, 1, |_, id| publish5(2, "s/x", id, &[], b"x")).await;
    let got = member.got().await;
    member.send(&packet(0xA2, &[&[0, 3, 0][..], &text("$share/group/s/+")].concat())).await;
    assert_eq!(member.next().await, Some((0xB0, vec![0, 3, 0, 0])), "no UNSUBACK");
    publish_all(&mut writer, 1, 1, |_, id| publish5(2, "s/x", id, &[], b"y")).await;
    member.send(&puback(got.id)).await;
    assert!(member.is_quiet().await, "it is still subscribed");
    // And the group can be founded anew.
    assert_eq!(member.subscribe5("$share/group/s/+", 1).await, 1, "refused");
    publish_all(&mut writer, 1, 1, |_, id| publish5(2, "s/x", id, &[], b"z")).await;
    assert!(member.got().await.payload.ends_with(b"z"));
}
