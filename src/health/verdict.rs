//! One sentence: everything works, or what is wrong, since when, and what to do.

use std::time::Duration;

use serde::Serialize;

use super::{CertificateStatus, DeviceReport, Expiry, Refused, board::Facts};
use crate::model::{LinkState, Timestamp};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Everything works.
    Ok,
    /// Something heals by itself, nothing is lost.
    Warning,
    /// A person is needed, or something may be lost.
    Error,
}

/// The board in one sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// How bad it is.
    pub level: Level,
    /// What is so.
    pub sentence: String,
    /// What to do, when there is something to do.
    pub remedy: Option<String>,
    /// Since when, when something is wrong.
    pub since: Option<Timestamp>,
}

impl Verdict {
    /// The worst fact, in words. The disk comes before the line, the line before what the cloud refuses, this before a
    /// bus, a bus before a device (which may hang on it), a device before a certificate that will soon be over, this before
    /// the machine, and that before wear. A certificate that is over is a fault of the line to come.
    pub(super) fn of(facts: &Facts, certificate: Option<&CertificateStatus>, now: Timestamp) -> Self {
        let worst = disk(facts).or_else(|| set_aside(facts)).or_else(|| line(facts));
        let worst = worst.or_else(|| over(certificate?)).or_else(|| kept_out(facts));
        let worst = worst.or_else(|| refusals(facts, now));
        let worst = worst.or_else(|| buses(facts)).or_else(|| devices(facts));
        let worst = worst.or_else(|| runs_out(certificate?)).or_else(|| machine(facts));
        let worst = worst.or_else(|| wear(facts));
        worst.unwrap_or_else(|| Self {
            level: Level::Ok,
            sentence: if facts.link.state == LinkState::Off {
                "Everything at home is working. No cloud is configured.".to_owned()
            } else {
                "Everything is working.".to_owned()
            },
            remedy: None,
            since: None,
        })
    }
}

fn disk(facts: &Facts) -> Option<Verdict> {
    let fault = facts.store.fault.as_ref()?;
    Some(Verdict {
        level: Level::Error,
        sentence: format!("New messages cannot be kept: {fault}."),
        remedy: Some(
            "Home goes on working; devices are not acknowledged until messages can be kept again.".to_owned(),
        ),
        since: facts.disk_fault_since,
    })
}

/// Something was lost, and nobody may have looked yet: before the line, which often heals by itself.
fn set_aside(facts: &Facts) -> Option<Verdict> {
    let newest = facts.store.set_aside.last()?;
    let others = match facts.store.set_aside.len() - 1 {
        0 => String::new(),
        count => format!(" ({count} earlier ones lie there too: the disk or SD card is probably worn out)"),
    };
    Some(Verdict {
        level: Level::Error,
        sentence: format!(
            "The store's file was damaged and is set aside as `{newest}`{others}: what waited in it for the cloud is \
             not sent, and what was retained at home may be forgotten."
        ),
        remedy: Some(
            "Everything works with a new store. `sqlite3 FILE .recover` shows what can still be read. Move the file \
             away, or delete it, and this message ends."
                .to_owned(),
        ),
        since: facts.set_aside_since,
    })
}

fn line(facts: &Facts) -> Option<Verdict> {
    let since = facts.link_down_since;
    let waiting = match facts.store.waiting {
        0 => "nothing waits".to_owned(),
        1 => "1 message is kept and waits".to_owned(),
        count => format!("{count} messages are kept and wait"),
    };
    match (facts.link.state, &facts.link.fault) {
        (LinkState::Off, _) | (LinkState::Online | LinkState::CatchingUp, None) => None,
        (LinkState::Online | LinkState::CatchingUp, Some(fault)) => Some(Verdict {
            level: Level::Warning,
            sentence: format!(
                "The line to the cloud is up, but: {} ({}).",
                fault.kind.sentence(),
                fault.detail
            ),
            remedy: Some(fault.kind.remedy().to_owned()),
            since: facts.link_ill_since,
        }),
        (_, Some(fault)) => Some(Verdict {
            level: Level::Error,
            sentence: format!("{} ({}); {waiting}.", fault.kind.sentence(), fault.detail),
            remedy: Some(fault.kind.remedy().to_owned()),
            since,
        }),
        (LinkState::Connecting | LinkState::Subscribing | LinkState::Waiting, None) => Some(Verdict {
            level: Level::Warning,
            sentence: format!("The line to the cloud is being set up; {waiting}."),
            remedy: None,
            since,
        }),
    }
}

fn kept_out(facts: &Facts) -> Option<Verdict> {
    let fault = facts.link.kept_out.as_ref()?;
    Some(Verdict {
        level: Level::Warning,
        sentence: format!(
            "New credentials for the cloud are kept out, and the line goes on with the old ones: {} ({}).",
            fault.kind.sentence(),
            fault.detail
        ),
        remedy: Some(fault.kind.remedy().to_owned()),
        since: None,
    })
}

/// For so long after the last one it is the sentence.
const REFUSAL_LASTS: Duration = Duration::from_secs(3600);

fn refusals(facts: &Facts, now: Timestamp) -> Option<Verdict> {
    let recent = |last: Timestamp| now.since(last).is_none_or(|age| age <= REFUSAL_LASTS);
    let mut all = facts.refusals.topics.iter().filter(|refusal| recent(refusal.last));
    let newest = all.next()?;
    let others = match all.count() {
        0 => String::new(),
        1 => ", and 1 more topic".to_owned(),
        count => format!(", and {count} more topics"),
    };
    let what = match newest.what {
        Refused::Publish => "does not take messages on",
        Refused::Subscribe => "does not let this gateway subscribe to",
    };
    let dropped: u64 = facts.refusals.topics.iter().map(|refusal| refusal.dropped).sum();
    let lost = if dropped == 0 { String::new() } else { format!("; {dropped} dropped since the start") };
    Some(Verdict {
        level: Level::Warning,
        sentence: format!("The cloud {what} `{}` ({}){others}{lost}.", newest.topic, newest.reason),
        remedy: Some(
            "Let the cloud's policy allow it, or change the route or `cloud.limits`; `/api/status` lists every topic."
                .to_owned(),
        ),
        since: Some(newest.last),
    })
}

/// What to do stands in the fault itself.
fn buses(facts: &Facts) -> Option<Verdict> {
    let mut ill = facts.buses.values().filter_map(|bus| Some((&bus.name, bus.fault.as_ref()?)));
    let (name, fault) = ill.next()?;
    let others: Vec<&str> = ill.map(|(name, _)| name.as_str()).collect();
    let others = if others.is_empty() { String::new() } else { format!("; so has {}", others.join(", ")) };
    let (first, rest) = name.split_at_checked(1).unwrap_or(("", name));
    Some(Verdict {
        level: Level::Warning,
        sentence: format!("{}{rest} has a fault: {fault}{others}.", first.to_ascii_uppercase()),
        remedy: None,
        since: facts.ill_since.get(name).copied(),
    })
}

/// What to do about so many devices that do not answer.
pub(crate) fn unanswering_remedy(count: usize) -> &'static str {
    if count == 1 { "Check its power and its connection." } else { "Check their power and their connection." }
}

fn devices(facts: &Facts) -> Option<Verdict> {
    let ill: Vec<&DeviceReport> = facts.devices.values().filter(|device| device.is_ill()).collect();
    let (first, usual) = (ill.first()?, unanswering_remedy(ill.len()));
    let (sentence, remedy) = match &ill[..] {
        [DeviceReport { id, fault: Some(fault), .. }] => {
            (format!("The device {id} has a fault: {fault}."), usual)
        }
        // The first minute of everybody who begins.
        [DeviceReport { id, fields: None, .. }] => (
            format!("The device {id} has said nothing yet."),
            "If it speaks seldom, wait; otherwise check how it is configured, its power and its connection.",
        ),
        [DeviceReport { id, .. }] => (format!("The device {id} does not answer."), usual),
        several => {
            let names: Vec<&str> = several.iter().map(|device| device.id.as_str()).collect();
            (format!("{} devices do not answer: {}.", several.len(), names.join(", ")), usual)
        }
    };
    Some(Verdict { level: Level::Warning, sentence, remedy: Some(remedy.to_owned()), since: first.last_seen })
}

fn machine(facts: &Facts) -> Option<Verdict> {
    let (sentence, remedy) = facts.host.troubles().into_iter().next()?;
    Some(Verdict {
        level: Level::Warning,
        sentence,
        remedy: Some(remedy.to_owned()),
        since: facts.host_ill_since,
    })
}

const RENEW: &str = "Renew it: `hearthlink enroll` makes the request, and `hearthlink enroll --import` puts what was signed in place.";

/// The line is still up: nobody looks at the certificate of a connection that is open.
fn over(certificate: &CertificateStatus) -> Option<Verdict> {
    let ago = certificate.words().filter(|_| certificate.expiry == Some(Expiry::Expired))?;
    let until = certificate.certificate.not_after;
    Some(Verdict {
        level: Level::Error,
        sentence: format!(
            "This gateway's certificate for the cloud expired {ago} ({until}): the line holds only until it is dialled \
             the next time."
        ),
        remedy: Some(RENEW.to_owned()),
        since: Some(until),
    })
}

fn runs_out(certificate: &CertificateStatus) -> Option<Verdict> {
    let expiry = certificate.expiry.filter(|_| certificate.is_near_its_end())?;
    let (words, until) = (certificate.words()?, certificate.certificate.not_after);
    Some(Verdict {
        level: Level::Warning,
        sentence: format!("This gateway's certificate for the cloud expires {words} ({until})."),
        remedy: Some(RENEW.to_owned()),
        since: certificate.certificate.since(expiry),
    })
}

fn wear(facts: &Facts) -> Option<Verdict> {
    let (written, budget) = facts.store.written.excess()?;
    let words = |bytes| bytesize::ByteSize(bytes).display().iec();
    Some(Verdict {
        level: Level::Warning,
        sentence: format!(
            "{} were written to the disk today, more than `store.flash_budget` allows ({}).",
            words(written),
            words(budget)
        ),
        remedy: Some(
            "Nothing is lost; commits already come as seldom as they may. Let devices publish less often, or route \
             less to the cloud, or raise the budget."
                .to_owned(),
        ),
        since: facts.over_budget_since,
    })
}
