//! What was written to a peripheral and is to show: when each characteristic is looked at.
//!
//! Pure: it is told what was written and what was seen, and says what to read next. Invariants: one look a
//! characteristic; the pauses double, and end with the time that the peripheral has for showing it.

use std::time::Duration;

use tokio::time::Instant;

/// From a write to the first look: what is written together is written before anything is read.
const FIRST_LOOK: Duration = Duration::from_millis(100);

struct Look {
    place: usize,
    wanted: Vec<u8>,
    pause: Duration,
    next: Instant,
    until: Instant,
}

#[derive(Default)]
pub(super) struct Looks(Vec<Look>);

impl Looks {
    /// `wanted` was written to the characteristic at `place`, which is to show it `within` this time.
    pub(super) fn begin(&mut self, place: usize, wanted: &[u8], within: Duration, now: Instant) {
        let (next, until) = (now + FIRST_LOOK, now + within);
        self.0.retain(|look| look.place != place);
        self.0.iter_mut().for_each(|look| look.next = look.next.max(next));
        self.0.push(Look { place, wanted: wanted.to_owned(), pause: FIRST_LOOK, next, until });
    }

    /// When the next look is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.iter().map(|look| look.next).min()
    }

    /// The place that is to be looked at now, and until when it is of interest.
    pub(super) fn take(&mut self, now: Instant) -> Option<(usize, Instant)> {
        let look = self.0.iter_mut().min_by_key(|look| look.next).filter(|look| look.next <= now)?;
        look.pause *= 2;
        look.next = now + look.pause;
        let due = (look.place, look.until);
        self.0.retain(|look| look.next <= look.until);
        Some(due)
    }

    /// The characteristic at `place` has this value: if it is what was written, nobody need look again.
    pub(super) fn seen(&mut self, place: usize, value: &[u8]) {
        self.0.retain(|look| look.place != place || look.wanted != value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// When which place is looked at, in milliseconds, if each look takes no time.
    fn all(looks: &mut Looks, start: Instant) -> Vec<(u128, usize)> {
        let mut taken = Vec::new();
        while let Some(next) = looks.next() {
            let (place, _) = looks.take(next).unwrap();
            taken.push((next.duration_since(start).as_millis(), place));
        }
        taken
    }

    #[test]
    fn it_is_looked_at_ever_more_seldom_until_its_time_is_over() {
        let now = Instant::now();
        let mut looks = Looks::default();
        assert_eq!((looks.next(), looks.take(now)), (None, None));
        looks.begin(3, &[1], 3000 * MS, now);
        assert_eq!(looks.take(now + 99 * MS), None);
        assert_eq!(all(&mut looks, now), [(100, 3), (300, 3), (700, 3), (1500, 3)]);
    }

    #[test]
    fn what_shows_is_not_looked_at_again_and_the_old_value_changes_nothing() {
        let now = Instant::now();
        let mut looks = Looks::default();
        looks.begin(0, &[1], 3000 * MS, now);
        looks.begin(1, &[1], 3000 * MS, now);
        looks.seen(0, &[0]);
        looks.seen(1, &[1]);
        assert_eq!(looks.take(now + 100 * MS), Some((0, now + 3000 * MS)));
        looks.seen(0, &[1]);
        assert_eq!(looks.next(), None);
    }

    #[test]
    fn the_last_order_counts_and_a_look_waits_for_the_next_write() {
        let now = Instant::now();
        let mut looks = Looks::default();
        looks.begin(0, &[1], 400 * MS, now);
        looks.begin(0, &[2], 400 * MS, now + 50 * MS);
        looks.begin(1, &[1], 200 * MS, now + 90 * MS);
        looks.seen(0, &[1]);
        assert_eq!(all(&mut looks, now), [(190, 0), (190, 1), (390, 0)]);
    }
}
