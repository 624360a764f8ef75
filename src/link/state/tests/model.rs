//! The machine against a cloud and a store that are as simple as can be, in random order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::store::Part;

#[derive(Debug, Clone)]
enum Act {
    Append(u64),
    /// The store answers the oldest read.
    Read,
    /// What is to be deleted is gone from the disk.
    Settle,
    /// The cloud answers one publish of those in flight.
    Answer(usize, Verdict),
    Arrive,
    Handle,
    Break,
    /// Other credentials.
    Renew,
    /// What becomes of the second connection, if there is one.
    Trial(Luck),
    Wait(u64),
}

#[derive(Debug, Clone, Copy)]
enum Luck {
    /// The cloud lets it in.
    Good,
    /// It lets it in, and first of all throws the line out.
    TakenOver,
    /// It does not.
    Bad,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let verdict = prop_oneof![
        8 => Just(Verdict::Accepted),
        1 => Just(Verdict::Refused(Refusal::new(FaultKind::NotAuthorized, "not authorized"))),
        2 => Just(Verdict::Later(Refusal::new(FaultKind::QuotaExceeded, "quota exceeded"))),
    ];
    let act = prop_oneof![
        4 => (1u64..6).prop_map(Act::Append),
        6 => Just(Act::Read),
        6 => Just(Act::Settle),
        12 => (0usize..8, verdict).prop_map(|(which, verdict)| Act::Answer(which, verdict)),
        1 => Just(Act::Arrive),
        1 => Just(Act::Handle),
        1 => Just(Act::Break),
        1 => Just(Act::Renew),
        1 => prop_oneof![Just(Luck::Good), Just(Luck::TakenOver), Just(Luck::Bad)].prop_map(Act::Trial),
        2 => (0u64..20_000).prop_map(Act::Wait),
    ];
    prop::collection::vec(act, 1..300)
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Sent {
    Own,
    Record(u64),
}

/// The world around the machine.
struct World {
    machine: Machine,
    now: Instant,
    window: usize,
    store: BTreeMap<u64, Record>,
    next: u64,
    reads: VecDeque<Fetch>,
    /// To be deleted, and still on the disk.
    unsettled: BTreeSet<u64>,
    is_connected: bool,
    /// A second connection is being opened.
    is_trying: bool,
    /// Of credentials.
    sets: u64,
    /// The second connection has its CONNACK already when it takes the line's place.
    is_let_in: bool,
    packets: u16,
    /// In the order of sending; answered ones stay until everything before them is answered.
    flights: VecDeque<(u16, Sent, bool)>,
    accepted: BTreeSet<u64>,
    refused: BTreeSet<u64>,
    /// Breaks since the cloud answered a record.
    breaks: u32,
    /// The highest live one.
    live: u64,
    /// What waited for this connection.
    backlog: u64,
    /// On this connection, in the order of the first sending.
    sent: Vec<u64>,
    unhandled: VecDeque<u16>,
}

impl World {
    fn new(window: u16) -> Self {
        let now = Instant::now();
        Self {
            machine: Machine::new(Settings { window, ways: vec![1, 2], ..settings() }, 3, now),
            now,
            window: window.into(),
            store: BTreeMap::new(),
            next: 1,
            reads: VecDeque::new(),
            unsettled: BTreeSet::new(),
            is_connected: false,
            is_trying: false,
            sets: 0,
            is_let_in: false,
            packets: 0,
            flights: VecDeque::new(),
            accepted: BTreeSet::new(),
            refused: BTreeSet::new(),
            breaks: 0,
            live: 0,
            backlog: 0,
            sent: Vec::new(),
            unhandled: VecDeque::new(),
        }
    }

    fn step(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for effect in self.machine.step(event, self.now) {
                events.extend(self.obey(effect));
            }
        }
    }

    fn obey(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Dial(..) => {
                self.is_connected = true;
                self.backlog = self.next - 1;
                Some(Event::Wire(Wire::Connected(Greeting::default())))
            }
            Effect::Try(..) => {
                assert!(self.is_connected && !self.is_trying);
                self.is_trying = true;
                None
            }
            Effect::EndTrial => {
                self.is_trying = false;
                None
            }
            Effect::ChangeOver => {
                assert!(!self.is_connected && self.is_trying);
                (self.is_trying, self.is_connected) = (false, true);
                self.backlog = self.next - 1;
                (!self.is_let_in).then(|| Event::Wire(Wire::Connected(Greeting::default())))
            }
            Effect::HangUp | Effect::Leave => {
                self.is_connected = false;
                self.flights.clear();
                self.sent.clear();
                self.unhandled.clear();
                None
            }
            Effect::Subscribe(filters) => Some(Event::Wire(Wire::Subscribed(vec![None; filters.len()]))),
            Effect::Publish(message, id) => {
                assert!(self.is_connected);
                self.packets = self.packets % u16::MAX + 1;
                let sent = match id {
                    None => Sent::Own,
                    Some(_) => {
                        let sequence = std::str::from_utf8(&message.payload).unwrap().parse().unwrap();
                        let is_left = self.store.contains_key(&sequence);
                        assert!(
                            is_left && !self.unsettled.contains(&sequence),
                            "{sequence} is sent after it was deleted"
                        );
                        if !self.sent.contains(&sequence) {
                            let is_overtaking =
                                |sequence: u64| sequence.is_multiple_of(3) && sequence > self.backlog;
                            let mut alike = self
                                .sent
                                .iter()
                                .filter(|sent| is_overtaking(**sent) == is_overtaking(sequence));
                            assert!(alike.all(|sent| *sent < sequence), "out of order");
                            self.sent.push(sequence);
                        }
                        Sent::Record(sequence)
                    }
                };
                self.flights.push_back((self.packets, sent, false));
                assert!(self.flights.len() <= self.window, "the window is passed");
                let is_record = |sent: &Sent| matches!(sent, Sent::Record(_));
                let unanswered =
                    self.flights.iter().filter(|(_, sent, is_answered)| is_record(sent) && !is_answered);
                let again = unanswered.count() + self.unsettled.len();
                assert!(again <= self.window, "a crash now would send {again} again");
                Some(Event::Wire(Wire::PublishSent(self.packets)))
            }
            Effect::Fetch(fetch) => {
                self.reads.push_back(fetch);
                None
            }
            Effect::Delete(sequence) => {
                assert!(self.accepted.contains(&sequence), "{sequence} is deleted without a PUBACK");
                self.unsettled.insert(sequence);
                None
            }
            Effect::Discard(sequence) => {
                let is_given_up = self.breaks > CONNECTIONS;
                assert!(
                    self.refused.contains(&sequence) || is_given_up,
                    "{sequence} is discarded without a refusal"
                );
                self.store.remove(&sequence);
                None
            }
            Effect::DiscardOversize(sequence) => panic!("{sequence} is not too large"),
            Effect::Deliver { packet, .. } => {
                self.unhandled.push_back(packet);
                None
            }
            Effect::AcknowledgeInTurn(_)
            | Effect::Acknowledge(_)
            | Effect::Hurry
            | Effect::LineUp
            | Effect::Adopt
            | Effect::Disconnect
            | Effect::Finish => None,
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Append(count) => {
                for sequence in self.next..self.next + count {
                    // Every third goes before what waited.
                    let is_live = sequence.is_multiple_of(3);
                    if is_live {
                        self.live = sequence;
                    }
                    self.store.insert(sequence, Record { is_live, ..record(sequence) });
                }
                self.next += count;
                self.step(Event::Appended(Highest { any: self.next - 1, live: self.live }));
            }
            Act::Read => {
                if let Some(fetch) = self.reads.pop_front() {
                    // A few at a time, as when the limit in bytes strikes.
                    let selection = fetch.selection;
                    let is_wanted = |record: &&Record| match selection.part {
                        Part::Ordinary { backlog } => !record.is_live || record.sequence <= backlog,
                        Part::Live => record.is_live,
                    };
                    let records = self.store.range(selection.after + 1..).map(|(_, record)| record);
                    let records =
                        records.filter(is_wanted).take(selection.max_count.min(3)).cloned().collect();
                    self.step(Event::Stored(fetch, records));
                }
            }
            Act::Settle => {
                let settled: Vec<u64> = std::mem::take(&mut self.unsettled).into_iter().collect();
                for sequence in &settled {
                    self.store.remove(sequence);
                }
                self.step(Event::Settled(settled));
            }
            Act::Answer(which, verdict) => self.answer(which, verdict),
            Act::Arrive if self.is_connected => {
                self.step(Event::Wire(Wire::Arrived(arrival("h/g/toaster/set", "ON", 9))));
            }
            Act::Handle => {
                if let Some(packet) = self.unhandled.pop_front() {
                    self.step(Event::Handled(packet));
                }
            }
            Act::Break if self.is_connected => {
                self.is_connected = false;
                self.breaks += 1;
                let fault = Fault::new(FaultKind::Closed, "test");
                self.step(Event::Wire(Wire::Broken(fault.into())));
            }
            Act::Arrive | Act::Break => {}
            Act::Renew => {
                self.sets += 1;
                self.step(Event::Fresh(self.sets));
                self.wait(Duration::ZERO);
            }
            Act::Trial(_) if !self.is_trying => {}
            Act::Trial(Luck::Good) => {
                self.is_let_in = true;
                self.step(Event::Trial(Wire::Connected(Greeting::default())));
                self.is_let_in = false;
            }
            Act::Trial(Luck::TakenOver) => {
                let fault = Fault::new(FaultKind::DuplicateClientId, "test");
                self.is_connected = false;
                self.step(Event::Wire(Wire::Broken(fault.into())));
            }
            Act::Trial(Luck::Bad) => {
                let fault = Fault::new(FaultKind::ClientCertificateRefused, "test");
                self.step(Event::Trial(Wire::Broken(fault.into())));
            }
            Act::Wait(millis) => self.wait(Duration::from_millis(millis)),
        }
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(deadline) = self.machine.deadline().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            self.step(Event::Tick);
        }
        self.now = end;
    }

    fn answer(&mut self, which: usize, verdict: Verdict) {
        let open: Vec<usize> = (0..self.flights.len()).filter(|at| !self.flights[*at].2).collect();
        if open.is_empty() {
            return;
        }
        let at = open[which % open.len()];
        let (packet, sent, _) = self.flights[at];
        self.flights[at].2 = true;
        while self.flights.front().is_some_and(|(_, _, is_answered)| *is_answered) {
            self.flights.pop_front();
        }
        if matches!(sent, Sent::Record(_)) {
            self.breaks = 0;
        }
        match (sent, verdict) {
            (Sent::Record(sequence), Verdict::Accepted) => drop(self.accepted.insert(sequence)),
            (Sent::Record(sequence), Verdict::Refused(_)) => drop(self.refused.insert(sequence)),
            _ => {}
        }
        self.step(Event::Wire(Wire::PublishAnswered(packet, verdict)));
    }

    /// From here on the cloud takes everything: nothing may stay behind.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            if self.store.is_empty() {
                return;
            }
            self.wait(SECOND);
            self.act(Act::Handle);
            self.act(Act::Read);
            self.act(Act::Settle);
            self.answer(0, Verdict::Accepted);
        }
        panic!("{:?} never left: {:?}", self.store.keys(), self.machine);
    }
}

proptest! {
    #[test]
    fn nothing_is_lost_reordered_or_sent_past_the_window(acts in acts(), window in 2u16..8) {
        let mut world = World::new(window);
        for act in acts {
            world.act(act);
        }
        world.settle();
    }

    #[test]
    fn after_every_connect_everything_that_is_left_is_sent_again(acts in acts(), window in 2u16..8) {
        let mut world = World::new(window);
        for act in acts {
            world.act(act);
        }
        world.act(Act::Break);
        // What the cloud has is not sent again, although a sick disk still has it.
        let left: Vec<u64> =
            world.store.keys().copied().filter(|sequence| !world.unsettled.contains(sequence)).collect();
        let mut seen = BTreeSet::new();
        for _ in 0..10_000 {
            if world.store.is_empty() { break }
            world.wait(SECOND);
            world.act(Act::Read);
            world.act(Act::Settle);
            seen.extend(world.sent.iter().copied());
            world.answer(0, Verdict::Accepted);
        }
        seen.extend(world.sent.iter().copied());
        // Live ones go first, so that these come in another order, but all of them.
        prop_assert_eq!(seen.into_iter().collect::<Vec<_>>(), left);
    }
}
