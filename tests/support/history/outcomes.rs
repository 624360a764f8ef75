//! Judges whether an outcome can be true: by what the bus saw, by what the command was, by what happened meanwhile.

use std::{collections::HashMap, time::Duration};

use super::{
    Command, Entry, Event, Outcome, Text,
    commands::{Fate, Fates},
    verdict::{Marks, Rules},
};

/// So many commands wait for one device; only then is it busy.
const MAILBOX: usize = hearthlink::devices::MAILBOX_CAPACITY;

/// How far apart two clocks may be that show milliseconds.
const ROUNDING: Duration = Duration::from_millis(20);

/// What happened in the house.
pub(super) struct House<'a> {
    kills: Vec<Duration>,
    /// By device: since when it listens, or does not.
    listens: HashMap<&'a Text, Vec<(Duration, bool)>>,
    /// By device: from when to when the gateway may have had a command for it in hand.
    in_hand: HashMap<&'a Text, Vec<(&'a Text, Duration, Duration)>>,
}

impl<'a> House<'a> {
    pub(super) fn new(entries: &'a [Entry], fates: &'a Fates<'a>) -> Self {
        let (mut kills, mut listens): (Vec<_>, HashMap<_, Vec<_>>) = (Vec::new(), HashMap::new());
        for Entry { at, event } in entries {
            match event {
                Event::Killed => kills.push(*at),
                Event::Listens { device, is_on } => listens.entry(device).or_default().push((*at, *is_on)),
                _ => {}
            }
        }
        let mut in_hand: HashMap<_, Vec<_>> = HashMap::new();
        for (id, fate) in fates {
            let (Some(command), Some(first)) = (fate.command, fate.handings.first()) else { continue };
            let outcome = fate.outcome();
            if outcome.is_some_and(|outcome| &*outcome.status == "refused") {
                continue;
            }
            let until = outcome.map_or(Duration::MAX, |outcome| outcome.decided + ROUNDING);
            in_hand.entry(&command.device).or_default().push((*id, first.at, until));
        }
        Self { kills, listens, in_hand }
    }

    /// Whether the gateway was killed after the one moment and not after the other.
    pub(super) fn has_kill(&self, after: Duration, until: Duration) -> bool {
        let next = self.kills.partition_point(|kill| *kill <= after);
        self.kills.get(next).is_some_and(|kill| *kill <= until)
    }

    /// Whether the device listened all the time between the two moments, in one life of the gateway.
    fn listened(&self, device: &Text, from: Duration, until: Duration) -> bool {
        let Some(changes) = self.listens.get(device) else { return false };
        let before = changes.partition_point(|(since, _)| *since <= from);
        match before.checked_sub(1).map(|last| changes[last]) {
            Some((since, true)) => {
                let has_changed = changes.get(before).is_some_and(|(next, _)| *next <= until);
                !has_changed && !self.has_kill(since, until)
            }
            _ => false,
        }
    }

    fn in_hand(&self, device: &Text, id: &Text, at: Duration) -> usize {
        let all = self.in_hand.get(device).map_or(&[][..], Vec::as_slice);
        all.iter().filter(|(other, from, until)| *other != id && (from..=until).contains(&&at)).count()
    }
}

/// Why the outcome cannot be true; `None`: it can.
pub(super) fn judge_outcome(
    command: &Command,
    outcome: &Outcome,
    (fate, house): (&Fate, &House),
    (rules, marks): (Rules, Marks),
) -> Option<&'static str> {
    let (decided, has_acted) = (outcome.decided, !fate.acts.is_empty());
    let a_while_before = decided.saturating_sub(rules.tolerance + marks.stutter_before(decided));
    let is_over = || {
        let by_its_time = command.expires.is_some_and(|expires| expires <= decided + ROUNDING);
        by_its_time || fate.handings.iter().any(|handing| handing.at + command.lives <= decided + ROUNDING)
    };
    let holds = |holds: bool, otherwise| (!holds).then_some(otherwise);
    match (&*outcome.status, &*outcome.reason) {
        ("refused" | "expired" | "failed", _) if has_acted => Some("it acted"),
        ("applied", "") => holds(has_acted || !command.is_confirmed, "its device did nothing"),
        ("refused", "not_allowed") => holds(!command.is_listed, "it is on the list"),
        ("refused", "undated") => {
            let may_have_waited = fate.handings.iter().any(|handing| !handing.is_live);
            holds(command.expires.is_none() && may_have_waited, "it is dated, or cannot have waited")
        }
        ("refused", "busy") => {
            let in_hand = house.in_hand(&command.device, &command.id, decided);
            holds(in_hand >= MAILBOX, "its device had less to do")
        }
        ("expired", "too_late") => holds(is_over(), "its time was not over"),
        ("failed", "device_error") => {
            holds(!house.listened(&command.device, a_while_before, decided), "its device listened")
        }
        ("unknown", "interrupted") => {
            let was_killed =
                fate.handings.first().is_some_and(|first| house.has_kill(first.at, decided + ROUNDING));
            holds(was_killed, "nobody killed the gateway meanwhile")
        }
        ("unknown", "not_confirmed") => {
            let was_shown = fate.shown.is_some_and(|shown| shown <= a_while_before);
            holds(command.is_confirmed && !was_shown, "its device showed it, or never does")
        }
        _ => Some("that is no reason that it can have"),
    }
}
