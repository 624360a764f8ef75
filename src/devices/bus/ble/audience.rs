//! Who wants what of an advertisement, and what they were just told.
//!
//! Pure: what was heard, and when, comes in; frames for devices come out. Invariants: what nobody wants leaves nothing
//! behind; both memories have an end, however many addresses a neighbour makes up.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    super::super::device::Frame,
    BleAddress, BleChannel, BlePeer,
    channel::{SILENCE, frame, frame_of},
};

/// The same bytes within this time are told once.
const FOLD: Duration = Duration::from_secs(1);
/// Addresses whose signal is known or whose name was asked for, and (address, channel) pairs that were told. Full: it is forgotten as a whole, and
/// the next advertisement brings it again.
const REMEMBERED: usize = 1024;

struct Listener {
    peer: BlePeer,
    /// When it is told of the silence.
    silent_at: Option<Instant>,
}

pub(super) struct Audience {
    listeners: Vec<Listener>,
    signals: HashMap<BleAddress, i8>,
    told: HashMap<(BleAddress, BleChannel), (Bytes, Instant)>,
    /// When a name was asked for last.
    asked: HashMap<BleAddress, Instant>,
}

impl Audience {
    /// The devices of a bus that starts, by their places.
    pub(super) fn new<'a>(peers: impl Iterator<Item = &'a BlePeer>, now: Instant) -> Self {
        let listener = |peer: &BlePeer| {
            let silent_at = match peer {
                BlePeer::Anyone { silent_after, .. } => silent_after.map(|after| now + after),
                BlePeer::Advertiser { .. } | BlePeer::Peripheral { .. } => None,
            };
            Listener { peer: peer.clone(), silent_at }
        };
        let listeners = peers.map(listener).collect();
        Self { listeners, signals: HashMap::new(), told: HashMap::new(), asked: HashMap::new() }
    }

    /// How strong `address` came in, in dBm.
    pub(super) fn signal(&mut self, address: BleAddress, signal: i16) {
        if self.signals.len() >= REMEMBERED && !self.signals.contains_key(&address) {
            self.signals.clear();
        }
        if let Ok(signal) = i8::try_from(signal) {
            self.signals.insert(address, signal);
        }
    }

    /// How strong `address` came in last.
    pub(super) fn signal_of(&self, address: BleAddress) -> Option<i8> {
        self.signals.get(&address).copied()
    }

    /// Whether anybody may want to hear `address`.
    pub(super) fn knows(&self, from: BleAddress) -> bool {
        self.listeners.iter().any(|listener| match &listener.peer {
            BlePeer::Advertiser { address, .. } | BlePeer::Peripheral { address, .. } => *address == from,
            BlePeer::Anyone { .. } => true,
        })
    }

    /// Whether the name of `address` is wanted, and was not asked for just now.
    pub(super) fn may_ask_name(&mut self, address: BleAddress, now: Instant) -> bool {
        let is_wanted = self.listeners.iter().any(|listener| listener.wants(address, BleChannel::Name, None));
        if !is_wanted || self.asked.get(&address).is_some_and(|at| now.duration_since(*at) < FOLD) {
            return false;
        }
        if self.asked.len() >= REMEMBERED && !self.asked.contains_key(&address) {
            self.asked.clear();
        }
        self.asked.insert(address, now);
        true
    }

    /// What the devices are told of a part of an advertisement; each with its place.
    pub(super) fn hear(
        &mut self,
        address: BleAddress,
        channel: BleChannel,
        data: &[u8],
        now: Instant,
    ) -> Vec<(usize, Frame)> {
        let wanting = |listener: &Listener| listener.wants(address, channel, Some(data));
        if !self.listeners.iter().any(wanting) || self.is_repeated(address, channel, data, now) {
            return Vec::new();
        }
        let signal = self.signal_of(address);
        let mut frames = Vec::new();
        for (place, listener) in self.listeners.iter_mut().enumerate() {
            if !listener.wants(address, channel, Some(data)) {
                continue;
            }
            frames.push((
                place,
                match &listener.peer {
                    BlePeer::Anyone { silent_after, .. } => {
                        listener.silent_at = silent_after.map(|after| now + after);
                        frame_of(channel, signal, address, data)
                    }
                    BlePeer::Advertiser { .. } | BlePeer::Peripheral { .. } => frame(channel, signal, data),
                },
            ));
        }
        frames
    }

    fn is_repeated(&mut self, address: BleAddress, channel: BleChannel, data: &[u8], now: Instant) -> bool {
        let key = (address, channel);
        if let Some((last, at)) = self.told.get(&key)
            && *last == data
            && now.duration_since(*at) < FOLD
        {
            return true;
        }
        if self.told.len() >= REMEMBERED && !self.told.contains_key(&key) {
            self.told.clear();
        }
        self.told.insert(key, (Bytes::copy_from_slice(data), now));
        false
    }

    /// The silence of the device at `place` could not be told; it is to be told `at` this moment.
    pub(super) fn put_off(&mut self, place: usize, at: Instant) {
        if let Some(listener) = self.listeners.get_mut(place) {
            listener.silent_at.get_or_insert(at);
        }
    }

    /// When the next silence is told, if none is broken.
    pub(super) fn next_silence(&self) -> Option<Instant> {
        self.listeners.iter().filter_map(|listener| listener.silent_at).min()
    }

    /// The silences that are to be told now, each with its device's place.
    pub(super) fn silences(&mut self, now: Instant) -> Vec<(usize, Frame)> {
        let silent = |(place, listener): (usize, &mut Listener)| {
            listener.silent_at.take_if(|at| *at <= now)?;
            let mut frame = frame(SILENCE, None, &[]);
            frame.retained = true;
            Some((place, frame))
        };
        self.listeners.iter_mut().enumerate().filter_map(silent).collect()
    }
}

impl Listener {
    /// Whether it wants this; `None` stands for any data.
    fn wants(&self, from: BleAddress, said: BleChannel, data: Option<&[u8]>) -> bool {
        match &self.peer {
            BlePeer::Advertiser { address, hears } => *address == from && hears.contains(&said),
            BlePeer::Anyone { channel, prefix, .. } => {
                *channel == said && data.is_none_or(|data| data.starts_with(prefix))
            }
            BlePeer::Peripheral { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Heard, *};

    const BTHOME: BleChannel = BleChannel::service(0xfcd2);
    const APPLE: BleChannel = BleChannel::ManufacturerData(0x004c);
    const THERMOMETER: BleAddress = BleAddress([0xa4, 0xc1, 0x38, 1, 2, 3]);
    const KEYS: BleAddress = BleAddress([0xc0, 0xff, 0xee, 0, 0, 1]);

    fn peers() -> [BlePeer; 2] {
        [
            BlePeer::Advertiser { address: THERMOMETER, hears: vec![BTHOME] },
            BlePeer::Anyone {
                channel: APPLE,
                prefix: Bytes::from_static(&[2, 0x15]),
                silent_after: Some(Duration::from_secs(30)),
            },
        ]
    }

    #[test]
    fn each_hears_what_it_wants_and_nothing_else_leaves_a_trace() {
        let now = Instant::now();
        let mut audience = Audience::new(peers().iter(), now);
        audience.signal(THERMOMETER, -67);
        assert_eq!(audience.hear(THERMOMETER, BTHOME, &[1], now), [(0, frame(BTHOME, Some(-67), &[1]))]);
        assert_eq!(
            audience.hear(KEYS, APPLE, &[2, 0x15, 9], now),
            [(1, frame_of(APPLE, None, KEYS, &[2, 0x15, 9]))]
        );
        for (address, channel, data) in
            [(KEYS, BTHOME, &[1][..]), (THERMOMETER, BleChannel::Name, b"x"), (KEYS, APPLE, &[16, 5])]
        {
            assert_eq!(audience.hear(address, channel, data, now), []);
        }
        assert_eq!(audience.told.len(), 2);
    }

    #[test]
    fn repetitions_are_folded_for_a_second_and_changes_are_not() {
        let now = Instant::now();
        let mut audience = Audience::new(peers().iter(), now);
        let mut hear = |millis: u64, data: &[u8]| {
            audience.hear(THERMOMETER, BTHOME, data, now + Duration::from_millis(millis)).len()
        };
        assert_eq!([hear(0, &[1]), hear(10, &[1]), hear(999, &[1])], [1, 0, 0]);
        assert_eq!(hear(1000, &[1]), 1, "it still counts as heard");
        assert_eq!([hear(1010, &[2]), hear(1020, &[2]), hear(1030, &[1])], [1, 0, 1]);
    }

    #[test]
    fn a_silence_is_told_once_and_anew_after_it_was_broken() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let mut audience = Audience::new(peers().iter(), now);
        assert_eq!(audience.next_silence(), Some(at(30)));
        assert_eq!(audience.hear(KEYS, APPLE, &[2, 0x15], at(20)).len(), 1);
        assert_eq!(audience.silences(at(49)), []);
        let told = audience.silences(at(50));
        assert_eq!((told.len(), &*told[0].1.channel, told[0].1.retained), (1, SILENCE, true));
        assert_eq!(Heard::of(&told[0].1), Some(Heard { signal: None, data: &[] }));
        audience.put_off(told[0].0, at(60));
        assert_eq!((audience.silences(at(59)), audience.silences(at(60)).len()), (vec![], 1));
        assert_eq!((audience.silences(at(100)), audience.next_silence()), (vec![], None));
        assert_eq!(audience.hear(KEYS, APPLE, &[2, 0x15], at(110)).len(), 1);
        assert_eq!(audience.next_silence(), Some(at(140)));
    }

    #[test]
    fn made_up_addresses_do_not_grow_the_memory() {
        let now = Instant::now();
        let mut audience = Audience::new(peers().iter(), now);
        for number in 0..5000_u32 {
            let [_, b, c, d] = number.to_be_bytes();
            let address = BleAddress([0xc0, 0, 0, b, c, d]);
            audience.signal(address, -50);
            assert_eq!(audience.hear(address, APPLE, &[2, 0x15], now).len(), 1);
            assert!(audience.told.len() <= REMEMBERED && audience.signals.len() <= REMEMBERED);
        }
    }
}
