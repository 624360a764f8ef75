//! Judges messages: kept, in order, no more often than allowed, each marked, and none that is nobody's.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use super::{
    Entry, Event, Receipt, Text,
    verdict::{Kind, Marks, Rules, Verdict},
};

type Message<'a> = (&'a Text, &'a Text);

#[derive(Default)]
struct Sent {
    place: usize,
    sends: usize,
    accepted: Option<Duration>,
    ids: HashSet<Text>,
}

pub(super) fn judge_messages(entries: &[Entry], rules: Rules, marks: Marks, verdict: &mut Verdict) {
    let mut sent: HashMap<Message, Sent> = HashMap::new();
    let mut named: HashMap<&Text, (Message, u64)> = HashMap::new();
    let mut last_place: HashMap<&Text, (usize, &Text)> = HashMap::new();
    let mut again: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    let (mut receipts, mut ours, mut sends) = (0, 0, 0);
    let (mut topics_of_devices, mut own): (HashSet<&Text>, HashSet<&Text>) = (HashSet::new(), HashSet::new());
    for Entry { at, event } in entries {
        match event {
            Event::Own(topic) => drop(own.insert(topic)),
            Event::Stray { connection, packet } => {
                let problem = format!("packet {packet} on connection {connection} at {}", marks.at(*at));
                verdict.fault(Kind::Stray, problem);
            }
            Event::Published { topic, payload } => {
                sends += 1;
                topics_of_devices.insert(topic);
                let place = sent.len();
                let known = sent.entry((topic, payload)).or_insert(Sent { place, ..Sent::default() });
                known.sends += 1;
            }
            Event::Accepted { topic, payload } => {
                sent.entry((topic, payload)).or_default().accepted.get_or_insert(*at);
            }
            Event::Received(receipt) => {
                receipts += 1;
                ours += u64::from(receipt.is_ours);
                let Receipt { connection, topic, payload, id, .. } = receipt;
                let what = || format!("{topic} {payload} at {}, connection {connection}", marks.at(*at));
                if let Some(problem) = marking(receipt, rules) {
                    verdict.fault(Kind::Unmarked, format!("{}: {problem}", what()));
                }
                let is_of_a_device = topics_of_devices.contains(topic);
                if !is_of_a_device && !own.contains(topic) {
                    verdict.fault(Kind::Foreign, what());
                }
                let Some(id) = id else { continue };
                let is_first = match named.get(id) {
                    None => {
                        named.insert(id, ((topic, payload), *connection));
                        true
                    }
                    Some(((other, text), _)) if (*other, *text) != (topic, payload) => {
                        let problem = format!("its id {id} was that of {other} {text}");
                        verdict.fault(Kind::Unmarked, format!("{}: {problem}", what()));
                        true
                    }
                    Some((_, before)) if before == connection => {
                        verdict.fault(Kind::Duplicated, format!("{}: twice on one connection", what()));
                        false
                    }
                    Some(_) => {
                        again.entry(*connection).or_default().push(what());
                        named.insert(id, ((topic, payload), *connection));
                        false
                    }
                };
                if !is_first || !is_of_a_device {
                    continue;
                }
                let Some(known) = sent.get_mut(&(topic, payload)) else {
                    verdict.fault(Kind::Foreign, what());
                    continue;
                };
                let is_first_of_all = known.ids.is_empty();
                known.ids.insert(id.clone());
                if known.ids.len() > known.sends {
                    let (ids, sends) = (known.ids.len(), known.sends);
                    verdict.fault(Kind::Unmarked, format!("{}: {ids} ids for {sends} sends", what()));
                }
                if is_first_of_all {
                    match last_place.get(topic) {
                        Some((place, later)) if *place > known.place && !rules.is_bounded => {
                            verdict.fault(Kind::Reordered, format!("{}, after {later}", what()));
                        }
                        _ => drop(last_place.insert(topic, (known.place, payload))),
                    }
                }
            }
            _ => {}
        }
    }
    let mut lost: Vec<_> = sent
        .iter()
        .filter(|(_, sent)| sent.ids.is_empty() && !rules.is_bounded)
        .filter_map(|((topic, payload), sent)| Some((sent.accepted?, topic, payload)))
        .collect();
    lost.sort();
    for (at, topic, payload) in lost {
        verdict.fault(Kind::Lost, format!("{topic} {payload}, accepted at {}", marks.at(at)));
    }
    let most = again.values().map(Vec::len).max().unwrap_or(0);
    let repeated: usize = again.values().map(Vec::len).sum();
    for (connection, repeated) in again {
        if repeated.len() > rules.window {
            let problem = format!("connection {connection}: {} came again, first ", repeated.len());
            verdict.fault(Kind::Duplicated, problem + &repeated[0]);
        }
    }
    let accepted = sent.values().filter(|sent| sent.accepted.is_some()).count();
    verdict.figures.extend([
        ("messages of devices".to_owned(), sent.len() as u64),
        ("sends of them, repetitions included".to_owned(), sends),
        ("accepted by the gateway".to_owned(), accepted as u64),
        ("received by the cloud, everything".to_owned(), receipts),
        ("of these written by the gateway itself".to_owned(), ours),
        ("received again, marked by its id".to_owned(), repeated as u64),
        (format!("again on one connection at most, {} allowed", rules.window), most as u64),
    ]);
}

/// What is wrong with how a receipt is marked.
fn marking(receipt: &Receipt, rules: Rules) -> Option<String> {
    let Some(id) = &receipt.id else { return Some("it has no message-id".to_owned()) };
    if !receipt.is_ours {
        return None;
    }
    let value: serde_json::Value = match serde_json::from_str(&receipt.payload) {
        Ok(value) => value,
        Err(error) => return Some(format!("its payload is no JSON: {error}")),
    };
    match value.get("message_id").map(|inner| inner.as_str()) {
        Some(inner) if inner != Some(id) => Some(format!("its payload says {inner:?}, its property {id}")),
        None if rules.has_id_in_payload => Some("its payload has no `message_id`".to_owned()),
        _ => None,
    }
}
