//! Whether there was anything to judge: a gateway that accepts nothing loses nothing, and one that never comes back
//! tells no lies. So some work is wanted for the time that it lived, and all well at the end.

use std::time::Duration;

use super::{
    Entry, Event,
    verdict::{Kind, Verdict},
};

/// The least that a gateway must do.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    /// So much of each of its lives does not count: it starts, and everybody finds it again.
    pub start: Duration,
    /// Messages accepted in each second that counts.
    pub accepted: f64,
    /// Commands applied in each second that counts; the line is not always up. 0: nobody sends any.
    pub applied: f64,
}

/// Adds to a verdict what is missing.
pub fn demand(entries: &[Entry], least: Work, verdict: &mut Verdict) {
    let (mut born, mut lived, mut end) = (None, Duration::ZERO, None);
    let (mut accepted, mut applied) = (0u64, 0u64);
    for Entry { at, event } in entries {
        match event {
            Event::Started => born = Some(*at),
            Event::Killed => {
                let life = born.take().map_or(Duration::ZERO, |born| *at - born);
                lived += life.saturating_sub(least.start);
            }
            Event::Accepted { .. } => accepted += 1,
            Event::Told(outcome) => {
                applied += u64::from(&*outcome.status == "applied" && !outcome.is_duplicate);
            }
            Event::AtTheEnd { is_online, waiting } => end = Some((*is_online, *waiting)),
            _ => {}
        }
    }
    verdict.add("seconds that the gateway lived, its starts left out", lived.as_secs());
    for (what, did, a_second) in [("accepted", accepted, least.accepted), ("applied", applied, least.applied)]
    {
        let wanted = if a_second > 0.0 { (lived.as_secs_f64() * a_second).max(1.0) } else { 0.0 };
        if (did as f64) < wanted {
            verdict.fault(Kind::Idle, format!("{did} {what} in {lived:.1?}, {wanted:.0} would be the least"));
        }
    }
    if end != Some((true, Some(0))) {
        verdict.fault(Kind::Unhealed, format!("at the end, whether online and how many wait: {end:?}"));
    }
}
