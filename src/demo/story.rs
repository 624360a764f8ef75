//! The story that `demo --once` plays without anybody: toast, a cut line, a late and a repeated command.
//!
//! Owns the order of the steps and what each of them demands. Never takes the gateway's word where
//! something else knows better: toasts are counted at the toaster, readings by the meter at home and
//! by the collector in the cloud. Every step ends by its limit, and all of them by [`LONGEST`].

mod report;

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout_at},
};

pub(super) use report::Report;
use report::{Finding, Measured};

use super::{
    cloud::Cloud,
    collector::{Arrived, Collector},
    home::Home,
    meter::{Accepted, Meter},
    narrator::Narrator,
    phone::{App, View},
    words::{count, duration},
};
use crate::{
    devices::Tally,
    model::{Availability, CommandId, DeviceId, Outcome, OutcomeStatus},
};

/// The whole story, in the worst case.
const LONGEST: Duration = Duration::from_secs(28);
/// What somebody with a phone in the hand takes for "at once".
const AT_ONCE: Duration = Duration::from_secs(1);
const CUT: Duration = Duration::from_secs(5);
/// How long the command that is sent during the cut may wait.
const SHORT_LIFE: Duration = Duration::from_secs(2);
/// How long the other commands may wait.
const LIFE: Duration = Duration::from_secs(10);
/// After everything should be over, the time in which nothing more may happen.
const QUIET: Duration = Duration::from_millis(300);

/// Everybody who plays.
pub(super) struct Story<'a> {
    pub(super) narrator: Narrator,
    pub(super) cloud: &'a Cloud,
    pub(super) phone: &'a App,
    pub(super) home: &'a Home,
    pub(super) collector: &'a Collector,
    pub(super) meter: &'a Meter,
    /// When the gateway began to run.
    pub(super) started: Instant,
    pub(super) toaster: DeviceId,
}

/// What must be known to judge what happens after the cut.
struct Cut {
    restored: Instant,
    late: Result<CommandId, String>,
    before: Tally,
}

impl Story<'_> {
    /// Plays every step, those after a failed one too: each is judged on its own.
    pub(super) async fn play(&self, report: &mut Report) {
        let end = self.started + LONGEST;
        let limit = |seconds: u64| end.min(Instant::now() + Duration::from_secs(seconds));

        report.judge("The home comes online in the cloud", self.comes_online(limit(10))).await;
        self.narrator.say("▶ The phone presses toast.");
        report.judge("Toast pressed: the phone sees the outcome", self.toast(limit(5))).await;
        report.judge("The toast is ready", self.ready(limit(6))).await;

        let before = self.tally();
        let mut late = Err("it was never sent".to_owned());
        report.judge("Line cut for 5 s: readings go on", self.cut(&mut late)).await;
        self.cloud.line().restore();
        let cut = Cut { restored: Instant::now(), late, before };
        report.judge("Restored: the home finds back", self.finds_back(&cut, limit(8))).await;
        report.judge("Every reading arrives", self.readings_arrive(&cut, limit(6))).await;
        let claim = "Sent during the cut, 2 s to live: does not run";
        report.judge(claim, self.late_command(&cut, limit(6))).await;

        self.narrator.say("▶ The phone presses toast, and sends the same press once more.");
        report.judge("The same command twice: runs once", self.twice(limit(6))).await;
        report.judge("Nothing accepted was lost, by message id", self.nothing_lost(limit(5))).await;
    }

    fn tally(&self) -> Tally {
        self.home.devices.of(&self.toaster)
    }

    async fn comes_online(&self, limit: Instant) -> Finding {
        let online = |view: &View| view.home == Some(Availability::Online) && view.toaster.is_some();
        until(&mut self.phone.view(), limit, online)
            .await
            .map_err(|view| format!("the phone's last word of the home: {}", presence(&view)))?;
        Ok(Measured::new(self.started.elapsed(), "the phone sees home and toaster"))
    }

    async fn toast(&self, limit: Instant) -> Finding {
        let before = self.tally();
        let pressed = Instant::now();
        let id = self.phone.press(LIFE).await.map_err(|error| error.to_string())?;
        let outcome = self.outcome(&id, 0, limit).await?;
        let took = pressed.elapsed();
        demand(&outcome, OutcomeStatus::Applied)?;
        let toasts = self.tally().runs - before.runs;
        if toasts != 1 {
            return Err(format!("`applied`, but the toaster counted {}", count_of(toasts, "toast")));
        }
        if took > AT_ONCE {
            return Err(format!("`applied`, but only after {}", duration(took)));
        }
        Ok(Measured::new(took, "`applied`, and the toaster counted 1 toast"))
    }

    async fn ready(&self, limit: Instant) -> Finding {
        let began = Instant::now();
        let ready = |view: &View| view.toaster_says("toast") == Some("ready");
        until(&mut self.phone.view(), limit, ready).await.map_err(|view| {
            format!("the phone sees the toaster's word `{}`", view.toaster_says("toast").unwrap_or("?"))
        })?;
        Ok(Measured::new(began.elapsed(), "the phone sees it"))
    }

    async fn cut(&self, late: &mut Result<CommandId, String>) -> Finding {
        let began = Instant::now();
        let end = began + CUT;
        self.cloud.line().cut();
        until(&mut self.cloud.connections(), end, |connections| *connections == 0)
            .await
            .map_err(|connections| format!("{connections} connections went on through the cut line"))?;
        self.meter.forget_slowest();
        let at_home = self.meter.accepted();
        let in_cloud = self.collector.arrived().borrow().readings.len();
        let gone = |view: &View| view.home == Some(Availability::Offline);
        let noticed = until(&mut self.phone.view(), end, gone).await;
        self.narrator.say("▶ The phone presses toast; this press is worth nothing after 2 s.");
        *late = self.phone.press(SHORT_LIFE).await.map_err(|error| error.to_string());
        sleep_until(end).await;
        let took = began.elapsed();

        let now = self.meter.accepted();
        let leaked = self.collector.arrived().borrow().readings.len() - in_cloud;
        if leaked > 0 {
            return Err(format!("{} passed the cut line", count(leaked, "reading")));
        }
        if let Err(view) = noticed {
            return Err(format!("the phone was never told; its last word of the home: {}", presence(&view)));
        }
        let accepted = now.sequences.len() - at_home.sequences.len();
        if accepted == 0 || now.refused > at_home.refused {
            let refused = now.refused - at_home.refused;
            return Err(format!("{} accepted at home, {refused} refused", count(accepted, "reading")));
        }
        let slowest = duration(now.slowest);
        Ok(Measured::new(took, format!("{accepted} accepted at home, none slower than {slowest}")))
    }

    async fn finds_back(&self, cut: &Cut, limit: Instant) -> Finding {
        let online = |view: &View| view.home == Some(Availability::Online);
        until(&mut self.phone.view(), limit, online)
            .await
            .map_err(|view| format!("the phone's last word of the home: {}", presence(&view)))?;
        Ok(Measured::new(cut.restored.elapsed(), "the phone sees it online"))
    }

    async fn readings_arrive(&self, cut: &Cut, limit: Instant) -> Finding {
        let Accepted { sequences, .. } = self.meter.accepted();
        if sequences.is_empty() {
            return Err("no reading was accepted at home, so none could arrive".to_owned());
        }
        let missing = |arrived: &Arrived| -> Vec<u64> {
            let missing = sequences.iter().filter(|sequence| !arrived.readings.contains_key(sequence));
            missing.copied().collect()
        };
        let all = |arrived: &Arrived| missing(arrived).is_empty();
        let seen = until(&mut self.collector.arrived(), limit, all).await;
        let took = cut.restored.elapsed();
        let arrived = seen.map_err(|arrived| {
            let missing = missing(&arrived);
            format!("{} of {} missing, the first is number {}", missing.len(), sequences.len(), missing[0])
        })?;
        let again: u32 = sequences.iter().map(|sequence| arrived.readings[sequence] - 1).sum();
        Ok(Measured::new(took, format!("{0} of {0}, {again} of them twice", sequences.len())))
    }

    async fn late_command(&self, cut: &Cut, limit: Instant) -> Finding {
        let id = cut.late.as_ref().map_err(Clone::clone)?;
        let outcome = self.outcome(id, 0, limit).await;
        let took = cut.restored.elapsed();
        sleep(QUIET).await;
        // The toaster knows, whatever the outcome says.
        let touches = self.tally().touches - cut.before.touches;
        if touches > 0 {
            return Err(format!("the toaster was touched {}", count_of(touches, "time")));
        }
        demand(&outcome?, OutcomeStatus::Expired)?;
        Ok(Measured::new(took, "the toaster was not touched, the phone reads `expired`"))
    }

    async fn twice(&self, limit: Instant) -> Finding {
        let before = self.tally();
        let id = self.phone.press(LIFE).await.map_err(|error| error.to_string())?;
        demand(&self.outcome(&id, 0, limit).await?, OutcomeStatus::Applied)?;
        let once = self.tally();
        let began = Instant::now();
        self.phone.press_again(&id, LIFE).await.map_err(|error| error.to_string())?;
        let second = self.outcome(&id, 1, limit).await;
        let took = began.elapsed();
        sleep(QUIET).await;
        let after = self.tally();
        let (toasts, more) = (after.runs - before.runs, after.touches - once.touches);
        if toasts != 1 || more > 0 {
            let toasts = count_of(toasts, "toast");
            return Err(format!(
                "the toaster counted {toasts}, and {more} more touches after the repetition"
            ));
        }
        let second = second?;
        demand(&second, OutcomeStatus::Applied)?;
        if !second.duplicate {
            return Err(
                "the toaster counted 1 toast, but the second outcome does not say that it is a repetition"
                    .into(),
            );
        }
        Ok(Measured::new(took, "1 toast, and the recorded outcome came again"))
    }

    async fn nothing_lost(&self, limit: Instant) -> Finding {
        let began = Instant::now();
        let mut arrived = self.collector.arrived();
        loop {
            let store = self.home.board.snapshot().store;
            let (seen, again) = {
                let arrived = arrived.borrow_and_update();
                (arrived.ids.len(), arrived.duplicates())
            };
            let accepted = usize::try_from(store.accepted).unwrap_or(usize::MAX);
            if seen == accepted && accepted > 0 && store.waiting == 0 {
                return Ok(Measured::new(
                    began.elapsed(),
                    format!("{seen} of {accepted} messages, {again} twice"),
                ));
            }
            if Instant::now() >= limit {
                let waiting = store.waiting;
                return Err(format!("{seen} of {accepted} messages arrived, {waiting} still wait at home"));
            }
            let _ =
                timeout_at(limit.min(Instant::now() + Duration::from_millis(50)), arrived.changed()).await;
        }
    }

    /// The outcome of a command that the phone sees after `earlier` others of the same command.
    async fn outcome(&self, id: &CommandId, earlier: usize, limit: Instant) -> Result<Outcome, String> {
        let mut view = self.phone.view();
        let there = until(&mut view, limit, |view| view.outcomes_of(id).count() > earlier).await;
        match there.unwrap_or_else(|view| view).outcomes_of(id).nth(earlier) {
            Some(outcome) => Ok(outcome.clone()),
            None => Err("the phone saw no outcome".to_owned()),
        }
    }
}

/// Waits until it is so; after the limit, gives what it is instead.
async fn until<T: Clone>(
    watch: &mut watch::Receiver<T>,
    limit: Instant,
    is_so: impl FnMut(&T) -> bool,
) -> Result<T, T> {
    let outcome = timeout_at(limit, watch.wait_for(is_so)).await;
    if let Ok(Ok(value)) = outcome {
        return Ok(value.clone());
    }
    drop(outcome);
    Err(watch.borrow().clone())
}

fn demand(outcome: &Outcome, wanted: OutcomeStatus) -> Result<(), String> {
    if outcome.status == wanted {
        return Ok(());
    }
    let detail = outcome.detail.as_deref().unwrap_or("no detail");
    Err(format!("the phone reads `{}` ({detail})", outcome.status.as_str()))
}

fn presence(view: &View) -> &'static str {
    view.home.map_or("none", Availability::as_str)
}

fn count_of(number: u64, one: &str) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), one)
}

#[cfg(test)]
mod tests;
