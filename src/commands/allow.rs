//! What may be asked for on the line to the cloud. The default is nothing.
//!
//! Two questions. *May this sender ever ask for this?* ([`AllowList::permission`]) has one answer for a
//! message whenever it comes, so it is asked before anything is written down. *Is this the time?*
//! ([`Permission::now`]) has another answer a minute later: quiet hours and rates are asked once the
//! command's id is in the journal, and their refusal is recorded there. Else a command that was refused
//! and is delivered again (the acknowledgement was lost) might run after its sender was told that it
//! will not. An entry allows a command whole or not at all.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use serde_json::Value;

use super::{
    admission::{Now, Refusal},
    quiet::QuietHours,
    rate::{Rate, Uses},
};
use crate::model::{DeviceId, Origin, Reason, Request, Sender};

/// Which values a field may be set to.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Every value.
    Any,
    /// Just these; words are compared without regard to case, as devices do.
    OneOf(Vec<Value>),
    /// Every number from the first to the second, both included.
    Range(f64, f64),
}

impl Values {
    fn contains(&self, value: &Value) -> bool {
        match self {
            Values::Any => true,
            Values::OneOf(allowed) => allowed.iter().any(|one| same(one, value)),
            Values::Range(min, max) => value.as_f64().is_some_and(|number| (*min..=*max).contains(&number)),
        }
    }
}

fn same(allowed: &Value, asked: &Value) -> bool {
    match (allowed, asked) {
        (Value::String(allowed), Value::String(asked)) => allowed.eq_ignore_ascii_case(asked),
        (Value::Number(allowed), Value::Number(asked)) => allowed.as_f64() == asked.as_f64(),
        (allowed, asked) => allowed == asked,
    }
}

/// One entry of the allow-list: these fields of this device may be set, together, to these values.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// The device.
    pub device: DeviceId,
    /// The fields of its state that may be set, and to what.
    pub set: BTreeMap<String, Values>,
    /// Who may ask; empty: whoever reaches the topic.
    pub senders: Vec<Sender>,
    /// When it does not count.
    pub quiet: Vec<QuietHours>,
    /// How often it may be used; `None`: as often as it comes.
    pub rate: Option<Rate>,
}

impl Rule {
    /// An entry without conditions.
    pub fn new(device: DeviceId, set: BTreeMap<String, Values>) -> Self {
        Self { device, set, senders: Vec::new(), quiet: Vec::new(), rate: None }
    }

    /// What the request asks for beyond this entry; `None` when it allows everything asked.
    fn objection(&self, request: &Request) -> Option<String> {
        request.fields().iter().find_map(|(field, value)| match self.set.get(field) {
            Some(values) if values.contains(value) => None,
            Some(_) => Some(format!("`{field}` to {value}")),
            None => Some(format!("`{field}`")),
        })
    }

    fn is_for(&self, sender: Option<&Sender>) -> bool {
        self.senders.is_empty() || sender.is_some_and(|sender| self.senders.contains(sender))
    }
}

/// An entry with what was used of it.
#[derive(Debug)]
pub(super) struct Entry {
    rule: Rule,
    uses: Option<Mutex<Uses>>,
}

impl Entry {
    /// Why this is not the time.
    fn objection_now(&self, now: Now) -> Option<Refusal> {
        if !self.rule.quiet.is_empty() {
            let Some(wall) = now.on_the_wall else {
                // An hour that is not known may be a quiet one.
                return Some(Refusal::refused(
                    Reason::ClockUnknown,
                    "`commands.allow` has quiet hours for this, and the gateway's clock or time zone is not set yet",
                ));
            };
            if let Some(hours) = self.rule.quiet.iter().find(|hours| hours.contain(wall)) {
                let detail =
                    format!("`commands.allow` does not allow this {hours}, and here it is {}", wall.time);
                return Some(Refusal::refused(Reason::QuietHours, detail));
            }
        }
        let uses = self.uses.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = uses.wait(now.monotonic)?;
        let Rate { count, per } = uses.rate();
        let detail = format!(
            "`commands.allow` has a rate of {count} in {} for this; the next may come in {}",
            humantime::format_duration(per),
            // The next whole second: whoever waits so long is not refused again.
            humantime::format_duration(Duration::from_secs(wait.as_secs() + 1)),
        );
        Some(Refusal::refused(Reason::RateLimited, detail))
    }
}

/// All rules.
#[derive(Debug, Default)]
pub struct AllowList(HashMap<DeviceId, Vec<Entry>>);

impl AllowList {
    /// A list of these rules, none of them used yet.
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> Self {
        let mut devices: HashMap<DeviceId, Vec<Entry>> = HashMap::new();
        for rule in rules {
            let uses = rule.rate.map(|rate| Mutex::new(Uses::new(rate)));
            devices.entry(rule.device.clone()).or_default().push(Entry { rule, uses });
        }
        Self(devices)
    }

    /// Whether somebody may ask for this at some hour.
    pub fn may(&self, device: &DeviceId, request: &Request, origin: &Origin) -> bool {
        self.permission(device, request, origin).is_ok()
    }

    /// The entries that allow everything that the request asks for. What comes neither from the cloud nor from the page
    /// needs none.
    pub(super) fn permission(
        &self,
        device: &DeviceId,
        request: &Request,
        origin: &Origin,
    ) -> Result<Permission<'_>, Refusal> {
        let sender = match origin {
            Origin::Local(_) | Origin::Rule => return Ok(Permission::Unneeded),
            Origin::Cloud(sender) => sender.as_ref(),
            Origin::Page | Origin::Forgotten => None,
        };
        let of_device = self.0.get(device).map_or(&[][..], Vec::as_slice);
        let (mut objection, mut is_for_others, mut allowing) = (None, false, Vec::new());
        for entry in of_device {
            match entry.rule.objection(request) {
                Some(one) => objection = Some(one),
                None if entry.rule.is_for(sender) => allowing.push(entry),
                None => is_for_others = true,
            }
        }
        if !allowing.is_empty() {
            return Ok(Permission::By(allowing));
        }
        Err(match (is_for_others, sender, objection) {
            (true, Some(sender), _) => Refusal::refused(
                Reason::UnknownSender,
                format!("`commands.allow` does not let `{sender}` do this to {device}"),
            ),
            (true, None, _) => Refusal::refused(
                Reason::UnknownSender,
                format!(
                    "`commands.allow` names who may do this to {device}; publish to `…/{device}/set/<your name>`"
                ),
            ),
            (false, _, Some(what)) => Refusal::refused(
                Reason::NotAllowed,
                format!("`commands.allow` does not let the cloud set {what} of {device}"),
            ),
            (false, _, None) => {
                Refusal::refused(Reason::NotAllowed, format!("`commands.allow` has no entry for {device}"))
            }
        })
    }
}

/// What lets a command through, as far as that does not depend on when it comes.
#[derive(Debug)]
pub(super) enum Permission<'a> {
    /// It comes from home.
    Unneeded,
    /// These entries; one of them suffices.
    By(Vec<&'a Entry>),
}

impl<'a> Permission<'a> {
    /// Whether [`Permission::now`] wants to know the hour on the wall.
    pub(super) fn asks_the_hour(&self) -> bool {
        match self {
            Permission::Unneeded => false,
            Permission::By(entries) => entries.iter().any(|entry| !entry.rule.quiet.is_empty()),
        }
    }

    /// The first entry for which this is the time; else what the first one has against it.
    pub(super) fn now(&self, now: Now) -> Result<Use<'a>, Refusal> {
        let Permission::By(entries) = self else { return Ok(Use(None)) };
        let mut first = None;
        for entry in entries {
            match entry.objection_now(now) {
                None => return Ok(Use(entry.uses.as_ref())),
                Some(refusal) => first = first.or(Some(refusal)),
            }
        }
        match first {
            Some(refusal) => Err(refusal),
            None => Ok(Use(None)),
        }
    }
}

/// One use of an entry, which counts once the command is on its way to its device.
#[derive(Debug)]
#[must_use = "a use that nobody counts is no limit"]
pub(super) struct Use<'a>(Option<&'a Mutex<Uses>>);

impl Use<'_> {
    pub(super) fn count(self, now: Now) {
        if let Some(uses) = self.0 {
            uses.lock().unwrap_or_else(PoisonError::into_inner).add(now.monotonic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{TimeOfDay, Timestamp, WallTime, Weekday};
    use serde_json::json;
    use tokio::time::Instant;

    fn device(id: &str) -> DeviceId {
        DeviceId::parse(id).unwrap()
    }

    fn request(fields: Value) -> Request {
        Request::from_fields(fields.as_object().unwrap().clone()).unwrap()
    }

    fn rule(set: &[(&str, Values)]) -> Rule {
        let set = set.iter().map(|(field, values)| ((*field).to_owned(), values.clone())).collect();
        Rule::new(device("toaster"), set)
    }

    fn on() -> Rule {
        rule(&[("state", Values::OneOf(vec![json!("ON")]))])
    }

    fn from(sender: &str) -> Origin {
        Origin::Cloud(Some(Sender::parse(sender).unwrap()))
    }

    fn hours(from: &str, to: &str) -> QuietHours {
        let time = |text| TimeOfDay::parse(text).unwrap();
        QuietHours { from: time(from), to: time(to), days: Vec::new() }
    }

    fn at(monotonic: Instant, wall: Option<&str>) -> Now {
        let on_the_wall =
            wall.map(|text| WallTime { day: Weekday::Mon, time: TimeOfDay::parse(text).unwrap() });
        Now { monotonic, wall: Timestamp::from_millis(0), is_trusted: true, on_the_wall }
    }

    #[test]
    fn only_what_is_listed_is_allowed() {
        let list = AllowList::new([
            rule(&[
                ("state", Values::OneOf(vec![json!("ON"), json!(1)])),
                ("browning", Values::Range(1.0, 4.0)),
            ]),
            rule(&[("label", Values::Any)]),
        ]);
        for (id, fields, expected) in [
            ("toaster", json!({"state": "ON"}), true),
            ("toaster", json!({"state": "on", "browning": 4}), true),
            ("toaster", json!({"state": 1.0}), true),
            ("toaster", json!({"label": {"a": [1]}}), true),
            ("toaster", json!({"state": "ON", "label": "x"}), false),
            ("toaster", json!({"state": "OFF"}), false),
            ("toaster", json!({"state": "ON", "firmware": "x"}), false),
            ("toaster", json!({"browning": 4.5}), false),
            ("toaster", json!({"browning": "3"}), false),
            ("toaster", json!({"browning": null}), false),
            ("garage", json!({"state": "ON"}), false),
        ] {
            let permission = list.permission(&device(id), &request(fields.clone()), &Origin::Cloud(None));
            assert_eq!(permission.is_ok(), expected, "{id} {fields}");
        }
        let nothing = AllowList::default();
        let state = request(json!({"state": "ON"}));
        assert!(nothing.permission(&device("toaster"), &state, &Origin::Cloud(None)).is_err());
        assert!(nothing.permission(&device("toaster"), &state, &Origin::Rule).is_ok(), "not from the cloud");
    }

    #[test]
    fn an_entry_with_senders_is_for_them_alone() {
        let list = AllowList::new([
            Rule { senders: vec![Sender::parse("anna").unwrap()], ..on() },
            rule(&[("state", Values::OneOf(vec![json!("OFF")]))]),
        ]);
        for (origin, word, expected) in [
            (from("anna"), "ON", None),
            (from("Anna"), "ON", Some(Reason::UnknownSender)),
            (from("annabel"), "ON", Some(Reason::UnknownSender)),
            (Origin::Cloud(None), "ON", Some(Reason::UnknownSender)),
            (from("mallory"), "OFF", None),
            (Origin::Cloud(None), "OFF", None),
            (from("anna"), "EXPLODE", Some(Reason::NotAllowed)),
        ] {
            let permission = list.permission(&device("toaster"), &request(json!({"state": word})), &origin);
            assert_eq!(permission.err().map(|refusal| refusal.reason), expected, "{origin} {word}");
        }
    }

    #[test]
    fn quiet_hours_close_an_entry_and_an_unknown_hour_counts_as_quiet() {
        let list = AllowList::new([Rule { quiet: vec![hours("22:00", "06:30")], ..on() }]);
        let request = request(json!({"state": "ON"}));
        let permission = list.permission(&device("toaster"), &request, &Origin::Cloud(None)).unwrap();
        let start = Instant::now();
        for (wall, expected) in [
            (Some("12:00"), None),
            (Some("23:00"), Some(Reason::QuietHours)),
            (Some("06:30"), None),
            (None, Some(Reason::ClockUnknown)),
        ] {
            let refusal = permission.now(at(start, wall)).err();
            assert_eq!(refusal.map(|refusal| refusal.reason), expected, "{wall:?}");
        }
        let detail = permission.now(at(start, Some("23:05"))).unwrap_err().detail;
        assert!(detail.contains("from 22:00 to 06:30") && detail.contains("23:05"), "{detail}");
        // Who has no quiet hours needs no clock.
        let always = AllowList::new([on()]);
        let permission = always.permission(&device("toaster"), &request, &Origin::Cloud(None)).unwrap();
        assert!(permission.now(at(start, None)).is_ok());
    }

    #[test]
    fn a_rate_counts_what_was_done_and_says_when_the_next_may_come() {
        let rate = Rate { count: 2, per: Duration::from_secs(60) };
        let list = AllowList::new([Rule { rate: Some(rate), ..on() }]);
        let request = request(json!({"state": "ON"}));
        let permission = list.permission(&device("toaster"), &request, &Origin::Cloud(None)).unwrap();
        let start = Instant::now();
        for _ in 0..5 {
            // Asked, and not done: the device was busy.
            drop(permission.now(at(start, None)).unwrap());
        }
        for _ in 0..2 {
            permission.now(at(start, None)).unwrap().count(at(start, None));
        }
        let refusal = permission.now(at(start + Duration::from_millis(20_500), None)).unwrap_err();
        assert_eq!(refusal.reason, Reason::RateLimited);
        assert!(refusal.detail.contains("2 in 1m") && refusal.detail.contains("in 40s"), "{refusal:?}");
        assert!(permission.now(at(start + Duration::from_secs(60), None)).is_ok());
    }

    #[test]
    fn where_one_entry_is_closed_another_may_be_open() {
        let rate = Rate { count: 1, per: Duration::from_secs(60) };
        let anna = Sender::parse("anna").unwrap();
        let list = AllowList::new([
            Rule { rate: Some(rate), ..on() },
            Rule { senders: vec![anna], quiet: vec![hours("22:00", "06:00")], ..on() },
        ]);
        let (request, start) = (request(json!({"state": "ON"})), Instant::now());
        let now = at(start, Some("12:00"));
        let anybody = list.permission(&device("toaster"), &request, &Origin::Cloud(None)).unwrap();
        anybody.now(now).unwrap().count(now);
        assert_eq!(anybody.now(now).unwrap_err().reason, Reason::RateLimited);
        let anna = list.permission(&device("toaster"), &request, &from("anna")).unwrap();
        assert!(anna.now(now).is_ok());
        assert_eq!(anna.now(at(start, Some("23:00"))).unwrap_err().reason, Reason::RateLimited);
    }
}
