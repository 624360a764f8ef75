//! What no single end of a connection tells, but several in a row do: a middlebox that cuts idle lines, and another
//! client with our client id where the cloud (MQTT 3.1.1) has no word for it.
//!
//! Pure. The rules, each about the last ends of connections that were subscribed, none of them with a failed dial
//! in between:
//!
//! - **Idle cut**: three ends after the same silence (as equal as a timer of a middlebox is: half a second and a
//!   tenth), two seconds at least, and none of the three connections had outlived a longer silence. The line was
//!   closed without a word, or what was said first after the silence was never answered.
//! - **Rival**: the cloud closed four connections without a word while nothing of ours was unanswered, none older
//!   than a minute, and not all at the same age. Named once, it stays the name of every further such end.
//! - **Age limit**: the same, but at the same age.
//!
//! Invariants: a network that flaps is none of these as soon as, within the ends that a rule counts, one dial fails,
//! one line dies while something was said on it, or one connection outlives the others' silence. What stands here is
//! forgotten as soon as it is refuted: by a longer silence that was outlived, or by ten minutes of one connection.
//! Rejected: counting ends within a time; on a bad line that counts the weather.

use std::{collections::VecDeque, time::Duration};

/// Ends that make an idle cut.
const IDLE_CUTS: usize = 3;
/// Shorter silences are in every conversation.
const SHORTEST_SILENCE: Duration = Duration::from_secs(2);
/// Ends that make a rival.
const TAKEN_OVER: usize = 4;
/// Two clients that throw each other out do so as often as their waits between attempts allow, which begin small.
const LONGEST_LIFE: Duration = Duration::from_secs(60);
/// A connection that holds so long refutes what was inferred before it.
pub(super) const REFUTED_AFTER: Duration = Duration::from_secs(600);
/// Timers of middleboxes are this equal, beside a tenth of their time.
const SLACK: Duration = Duration::from_millis(500);

/// How a connection that was subscribed ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// Closed without a word while nothing was unanswered.
    CutIdle,
    /// Closed without a word, or never answered, after we had asked something.
    CutAsked,
    /// The cloud said that another client took over.
    TakenOver,
    /// In any other way.
    Other,
}

/// The end of a connection that was subscribed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending {
    pub(super) how: How,
    /// From CONNACK to the end.
    pub(super) life: Duration,
    /// How long nothing was said before the end, or before the question that was not answered.
    pub(super) silence: Duration,
    /// The longest silence after which something still came through.
    pub(super) outlived: Duration,
}

/// What several ends have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// The line is cut after so much silence.
    IdleCut(Duration),
    /// Another client has our client id.
    Rival,
    /// The line is cut at this age, whatever goes over it.
    AgeLimit(Duration),
}

/// The last ends, and what was seen in them.
#[derive(Debug, Default)]
pub(super) struct History {
    ends: VecDeque<Ending>,
    shape: Option<Shape>,
}

impl History {
    /// What is seen now.
    pub(super) fn shape(&self) -> Option<Shape> {
        self.shape
    }

    /// An attempt to connect failed: whatever that was, it was not one of these.
    pub(super) fn dial_failed(&mut self) {
        *self = Self::default();
    }

    /// Something came through after so much silence.
    pub(super) fn outlived(&mut self, silence: Duration) {
        if matches!(self.shape, Some(Shape::IdleCut(cut)) if silence > cut + slack(cut)) {
            *self = Self::default();
        }
    }

    /// The connection holds for so long.
    pub(super) fn holds(&mut self, life: Duration) {
        let is_refuted = match self.shape {
            Some(Shape::AgeLimit(age)) => life > age + slack(age),
            Some(Shape::Rival) => life >= REFUTED_AFTER,
            // Idle cuts may be far apart: only a longer silence refutes them.
            Some(Shape::IdleCut(_)) | None => false,
        };
        if is_refuted {
            *self = Self::default();
        }
    }

    /// A connection ended; says what is seen with it.
    pub(super) fn ended(&mut self, ending: Ending) -> Option<Shape> {
        if self.ends.len() == TAKEN_OVER {
            self.ends.pop_front();
        }
        self.ends.push_back(ending);
        let was_rival = self.shape == Some(Shape::Rival);
        self.shape = match ending.how {
            How::TakenOver => Some(Shape::Rival),
            How::CutIdle if was_rival => Some(Shape::Rival),
            How::CutIdle | How::CutAsked => self.idle_cut().or_else(|| self.taken_over()),
            How::Other => {
                self.ends.clear();
                None
            }
        };
        self.shape
    }

    fn last(&self, count: usize) -> Option<impl Iterator<Item = &Ending> + Clone> {
        (self.ends.len() >= count).then(|| self.ends.iter().rev().take(count))
    }

    fn idle_cut(&self) -> Option<Shape> {
        let ends = self.last(IDLE_CUTS)?;
        let is_cut = |end: &Ending| matches!(end.how, How::CutIdle | How::CutAsked);
        let silences = ends.clone().map(|end| end.silence);
        let (least, most) = (silences.clone().min()?, silences.max()?);
        let outlived = ends.clone().map(|end| end.outlived).max()?;
        (ends.clone().all(is_cut)
            && least >= SHORTEST_SILENCE
            && most - least <= slack(most)
            && outlived <= least)
            .then_some(Shape::IdleCut(least))
    }

    fn taken_over(&self) -> Option<Shape> {
        let ends = self.last(TAKEN_OVER)?;
        let lives = ends.clone().map(|end| end.life);
        let (least, most) = (lives.clone().min()?, lives.max()?);
        if !ends.clone().all(|end| end.how == How::CutIdle) || most > LONGEST_LIFE {
            return None;
        }
        // A life of no time at all has no age that could be the same.
        let is_one_age = most - least <= slack(most) && least > SHORTEST_SILENCE;
        Some(if is_one_age { Shape::AgeLimit(least) } else { Shape::Rival })
    }
}

/// How equal two times of one timer are.
fn slack(time: Duration) -> Duration {
    SLACK + time / 10
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Tenths of seconds.
    fn end(how: How, life: u64, silence: u64, outlived: u64) -> Ending {
        let tenths = |tenths: u64| Duration::from_millis(100 * tenths);
        Ending { how, life: tenths(life), silence: tenths(silence), outlived: tenths(outlived) }
    }

    fn told(ends: &[Ending]) -> Option<Shape> {
        let mut history = History::default();
        ends.iter().map(|ending| history.ended(*ending)).last().flatten()
    }

    #[test]
    fn each_row_of_ends_has_its_name_or_none() {
        use How::{CutAsked, CutIdle, Other, TakenOver};
        let seconds = Duration::from_secs;
        for (story, ends, shape) in [
            (
                "a firewall that resets idle lines",
                &[end(CutIdle, 301, 300, 20), end(CutIdle, 900, 303, 250), end(CutIdle, 306, 299, 5)][..],
                Some(Shape::IdleCut(Duration::from_millis(29_900))),
            ),
            (
                "a router that forgets idle lines: the first ping is never answered",
                &[end(CutAsked, 600, 450, 1), end(CutAsked, 610, 450, 10), end(CutAsked, 620, 450, 9)],
                Some(Shape::IdleCut(seconds(45))),
            ),
            ("twice is chance", &[end(CutIdle, 301, 300, 20), end(CutIdle, 301, 300, 20)], None),
            (
                "after three different silences",
                &[end(CutIdle, 301, 300, 20), end(CutIdle, 301, 200, 20), end(CutIdle, 301, 100, 20)],
                None,
            ),
            (
                "one of them had outlived a longer silence",
                &[end(CutIdle, 801, 300, 20), end(CutIdle, 801, 300, 400), end(CutIdle, 801, 300, 20)],
                None,
            ),
            (
                "silences as in every conversation",
                &[end(CutAsked, 90, 10, 5), end(CutAsked, 80, 10, 5), end(CutAsked, 70, 10, 5)],
                None,
            ),
            (
                "something else in between",
                &[
                    end(CutIdle, 301, 300, 2),
                    end(Other, 9, 1, 2),
                    end(CutIdle, 301, 300, 2),
                    end(CutIdle, 301, 300, 2),
                ],
                None,
            ),
            (
                "two gateways that throw each other out",
                &[
                    end(CutIdle, 5, 4, 1),
                    end(CutIdle, 14, 12, 1),
                    end(CutIdle, 33, 31, 1),
                    end(CutIdle, 71, 70, 1),
                ],
                Some(Shape::Rival),
            ),
            (
                "at once, each time",
                &[end(CutIdle, 1, 0, 0), end(CutIdle, 1, 0, 0), end(CutIdle, 2, 0, 0), end(CutIdle, 1, 0, 0)],
                Some(Shape::Rival),
            ),
            (
                "three may be a cloud that restarts",
                &[end(CutIdle, 5, 4, 1), end(CutIdle, 14, 12, 1), end(CutIdle, 33, 31, 1)],
                None,
            ),
            (
                "a cloud that hangs up on what it is sent",
                &[
                    end(CutAsked, 5, 0, 1),
                    end(CutAsked, 7, 0, 1),
                    end(CutAsked, 14, 0, 1),
                    end(CutAsked, 33, 0, 1),
                ],
                None,
            ),
            (
                "one connection was old",
                &[
                    end(CutIdle, 5, 4, 1),
                    end(CutIdle, 1_400, 2, 9),
                    end(CutIdle, 33, 31, 1),
                    end(CutIdle, 71, 70, 1),
                ],
                None,
            ),
            (
                "a proxy that carries no line longer than 30 s",
                &[
                    end(CutIdle, 301, 40, 90),
                    end(CutIdle, 303, 9, 90),
                    end(CutIdle, 300, 70, 90),
                    end(CutIdle, 302, 1, 90),
                ],
                Some(Shape::AgeLimit(seconds(30))),
            ),
            ("the cloud says so", &[end(TakenOver, 9_000, 1, 450)], Some(Shape::Rival)),
            (
                "a rival stays one however long the waits have become",
                &[end(TakenOver, 10, 1, 5), end(CutIdle, 1_700, 300, 450)],
                Some(Shape::Rival),
            ),
        ] {
            assert_eq!(told(ends), shape, "{story}");
        }
    }

    #[test]
    fn what_is_refuted_is_forgotten() {
        let idle = || {
            let mut history = History::default();
            for _ in 0..3 {
                history.ended(end(How::CutIdle, 301, 300, 1));
            }
            history
        };
        let rival = || {
            let mut history = History::default();
            history.ended(end(How::TakenOver, 1, 1, 1));
            history
        };
        let mut history = idle();
        history.outlived(Duration::from_secs(30));
        history.holds(Duration::from_secs(86_400));
        assert!(history.shape().is_some());
        history.outlived(Duration::from_secs(40));
        assert_eq!(history.shape(), None);
        let mut history = rival();
        history.holds(Duration::from_secs(599));
        assert!(history.shape().is_some());
        history.holds(REFUTED_AFTER);
        assert_eq!(history.shape(), None);
        let mut history = rival();
        history.dial_failed();
        assert_eq!(history.shape(), None);
    }

    /// One life of a line in a bad network.
    fn weather() -> impl Strategy<Value = (Ending, bool)> {
        let how = prop_oneof![Just(How::CutIdle), Just(How::CutAsked), Just(How::Other)];
        (how, 1u64..20_000, 0u64..450, 0u64..450, prop::bool::ANY).prop_map(
            |(how, life, silence, outlived, fails)| {
                (end(how, life, silence.min(life), outlived.min(life)), fails)
            },
        )
    }

    proptest! {
        /// A network that flaps: before every third end a dial has failed, or it comes in the middle of a conversation.
        #[test]
        fn a_network_that_flaps_gets_no_other_name(lives in prop::collection::vec(weather(), 1..60)) {
            let mut history = History::default();
            let mut calm = 0;
            for (index, (mut ending, fails)) in lives.into_iter().enumerate() {
                let must_show = calm == IDLE_CUTS - 1;
                if fails || (must_show && index % 2 == 1) {
                    history.dial_failed();
                    calm = 0;
                } else if must_show {
                    ending = Ending { how: How::CutAsked, silence: Duration::from_millis(300), ..ending };
                    calm = 0;
                }
                calm += 1;
                prop_assert_eq!(history.ended(ending), None);
            }
        }

        /// Whatever happens, a name needs its evidence: so many ends in a row.
        #[test]
        fn a_name_is_never_given_for_less_than_its_rule_says(lives in prop::collection::vec(weather(), 1..60)) {
            let mut history = History::default();
            let mut row: Vec<Ending> = Vec::new();
            for (ending, fails) in lives {
                row.push(ending);
                let shape = history.ended(ending);
                match shape {
                    None => {}
                    Some(Shape::IdleCut(silence)) => {
                        let last = &row[row.len() - IDLE_CUTS..];
                        prop_assert!(last.iter().all(|end| end.how != How::Other && end.outlived <= silence));
                        prop_assert!(last.iter().all(|end| end.silence >= silence && end.silence <= silence * 2));
                    }
                    Some(Shape::Rival | Shape::AgeLimit(_)) => {
                        // Named once it stays for further ends of its kind: so look where it began.
                        let idle = row.iter().rev().take_while(|end| end.how == How::CutIdle).count();
                        prop_assert!(idle >= TAKEN_OVER);
                    }
                }
                if ending.how == How::Other {
                    row.clear();
                }
                if fails {
                    history.dial_failed();
                    row.clear();
                }
            }
        }
    }
}
