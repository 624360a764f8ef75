//! Which broker is dialled next, and by which way: the ladder.
//!
//! Pure. What worked is tried first again; a way that the network blocks gives way to the next one to the same broker, a
//! broker that is ill to the next broker, there by the way that worked last. Invariants: every place has its turn before
//! any has a second one (a round); only a whole round in vain lets the waits grow.

use crate::model::FaultKind;

/// A broker, and a way to it; both count from the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(in crate::link) struct Place {
    pub(in crate::link) broker: usize,
    pub(in crate::link) way: usize,
}

/// The places, and where we are.
#[derive(Debug)]
pub(super) struct Itinerary {
    /// For each broker and each way whether it had its turn in this round.
    tried: Vec<Vec<bool>>,
    at: Place,
    /// Where the line was up last.
    proven: Place,
}

impl Itinerary {
    /// So many ways for each broker; one each at least.
    pub(super) fn new(ways: &[usize]) -> Self {
        let tried = ways.iter().map(|ways| vec![false; (*ways).max(1)]).collect();
        Self { tried, at: Place::default(), proven: Place::default() }
    }

    /// Where to dial.
    pub(super) fn at(&self) -> Place {
        self.at
    }

    /// The places that are better than where we are, the best one first; the `turn`th of them, from the first again
    /// after the last.
    pub(super) fn better(&self, turn: usize) -> Option<Place> {
        let of_broker =
            |(broker, ways): (usize, &Vec<bool>)| (0..ways.len()).map(move |way| Place { broker, way });
        let better: Vec<_> =
            self.tried.iter().enumerate().flat_map(of_broker).take_while(|place| *place != self.at).collect();
        better.get(turn.checked_rem(better.len())?).copied()
    }

    /// Another connection than the one that was dialled is the line now.
    pub(super) fn go(&mut self, at: Place) {
        self.at = at;
    }

    /// The line is up, here.
    pub(super) fn proved(&mut self) {
        self.proven = self.at;
        self.forget();
    }

    /// It was up and is lost: here is where to look for it first.
    pub(super) fn lost(&mut self) {
        self.forget();
    }

    /// An attempt came to nothing. Says whether every place had its turn, so that a new round begins.
    pub(super) fn failed(&mut self, kind: FaultKind) -> bool {
        let Place { broker, way } = self.at;
        let is_the_network = may_be_the_network(kind);
        if let Some(ways) = self.tried.get_mut(broker) {
            for (other, tried) in ways.iter_mut().enumerate() {
                *tried |= other == way || !is_the_network;
            }
        }
        let count = self.tried.len();
        let next =
            (0..count).map(|step| (broker + step) % count.max(1)).find_map(|broker| self.untried(broker));
        if let Some(next) = next {
            self.at = next;
            return false;
        }
        self.forget();
        self.at = self.proven;
        true
    }

    /// What is left of a broker: the way that worked last, or else the best one.
    fn untried(&self, broker: usize) -> Option<Place> {
        let ways = self.tried.get(broker)?;
        let proven = Some(self.proven.way).filter(|way| ways.get(*way) == Some(&false));
        let way = proven.or_else(|| ways.iter().position(|tried| !tried))?;
        Some(Place { broker, way })
    }

    fn forget(&mut self) {
        self.tried.iter_mut().flatten().for_each(|tried| *tried = false);
    }
}

/// Whether another way to the same broker may do better.
fn may_be_the_network(kind: FaultKind) -> bool {
    match kind {
        FaultKind::ProxyUnreachable
        | FaultKind::ProxyRefused
        | FaultKind::ProxyCredentials
        | FaultKind::Tcp
        | FaultKind::NotTls
        | FaultKind::TlsIntercepted
        | FaultKind::ServerCertificateUntrusted
        | FaultKind::ServerNameMismatch
        | FaultKind::ServerCertificateExpired
        | FaultKind::ServerCertificateNotYetValid
        | FaultKind::ClientCertificateRefused
        | FaultKind::Tls
        | FaultKind::WrongPath
        | FaultKind::Subprotocol
        | FaultKind::WebSocket
        | FaultKind::Protocol
        | FaultKind::Credentials
        // Another way may want something else, or nothing beside the certificate.
        | FaultKind::OwnCredentials
        | FaultKind::KeyProvider
        | FaultKind::NotAuthorized
        | FaultKind::IdleCut
        | FaultKind::HalfOpen
        | FaultKind::NoAnswer
        | FaultKind::Closed => true,
        FaultKind::Dns
        | FaultKind::OwnClock
        | FaultKind::CredentialFiles
        | FaultKind::ClientCertificateExpired
        | FaultKind::SubscriptionRefused
        | FaultKind::ClientId
        | FaultKind::Banned
        | FaultKind::DuplicateClientId
        | FaultKind::QuotaExceeded
        | FaultKind::TooLarge
        | FaultKind::ServerUnavailable
        | FaultKind::KeepAlive => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(broker: usize, way: usize) -> Place {
        Place { broker, way }
    }

    #[test]
    fn a_blocked_way_leads_to_the_next_way_and_an_ill_broker_to_the_next_broker() {
        let mut itinerary = Itinerary::new(&[2, 2]);
        assert!(!itinerary.failed(FaultKind::Tcp));
        assert_eq!(itinerary.at(), place(0, 1));
        itinerary.proved();
        assert_eq!((itinerary.better(0), itinerary.better(7)), (Some(place(0, 0)), Some(place(0, 0))));
        itinerary.lost();
        assert_eq!(itinerary.at(), place(0, 1), "what worked is tried first");
        assert!(!itinerary.failed(FaultKind::ServerUnavailable));
        assert_eq!(itinerary.at(), place(1, 1), "by the way that worked");
        assert!(!itinerary.failed(FaultKind::Tcp));
        assert_eq!(itinerary.at(), place(1, 0));
        assert!(itinerary.failed(FaultKind::Tcp), "the other way to the first broker was not worth a try");
        assert_eq!(itinerary.at(), place(0, 1));
    }

    #[test]
    fn one_place_is_a_round() {
        let mut itinerary = Itinerary::new(&[1]);
        assert!(itinerary.failed(FaultKind::Tcp) && itinerary.failed(FaultKind::Dns));
        assert_eq!((itinerary.at(), itinerary.better(3)), (place(0, 0), None));
    }

    #[test]
    fn each_better_place_has_its_turn() {
        let mut itinerary = Itinerary::new(&[2, 2]);
        itinerary.go(place(1, 1));
        let places: Vec<_> = (0..4).map(|turn| itinerary.better(turn).unwrap()).collect();
        assert_eq!(places, [place(0, 0), place(0, 1), place(1, 0), place(0, 0)]);
    }

    proptest! {
        #[test]
        fn every_place_has_its_turn_before_any_has_a_second_one(
            ways in prop::collection::vec(1usize..4, 1..5),
            proven in (0usize..5, 0usize..4),
        ) {
            let mut itinerary = Itinerary::new(&ways);
            let broker = proven.0 % ways.len();
            itinerary.go(place(broker, proven.1 % ways[broker]));
            itinerary.proved();
            for _ in 0..3 {
                let mut seen = vec![itinerary.at()];
                while !itinerary.failed(FaultKind::Tcp) {
                    seen.push(itinerary.at());
                }
                seen.sort();
                let all: Vec<_> =
                    ways.iter().enumerate().flat_map(|(broker, ways)| (0..*ways).map(move |way| place(broker, way))).collect();
                prop_assert_eq!(seen, all);
            }
        }
    }
}
