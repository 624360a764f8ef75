//! Watches an adapter that works: is it still there, does it scan, does it hear anything? And does what helps.
//!
//! Owns the climb up the [`Ladder`] and what the board shows of the adapter. Invariant: nothing that it asks or does
//! holds up hearing; it is a future that is kept.

use std::{future::pending, sync::Arc, time::Duration};

use btleplug::{api::Central as _, platform::Adapter as Central};
use futures_util::{FutureExt, future::BoxFuture};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{error, info, warn};

use super::{
    BleSettings,
    bluez::{self, Sight, Trouble},
    central::scan,
    counts::{Counts, count},
    ladder::{Ladder, Step},
};
use crate::health::{Board, BusReport};

/// How often the adapter is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often in a row it may be seen not scanning, or unwell, before something is done about it.
const DOUBTS: u32 = 2;
/// How long the daemon may take to say who its adapter is.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How often people are told of counts that change all the time.
const REPORT_EVERY: Duration = Duration::from_secs(15);

/// What happened to the watchdog.
pub(super) enum Turn {
    /// The adapter was looked at.
    Seen(Result<Sight, Trouble>),
    /// What was done to it is done.
    Done(Result<(), Trouble>),
    /// It is time to look.
    Look,
    /// It is time for a step of the ladder.
    Climb,
}

pub(super) struct Watchdog<'a> {
    settings: &'a BleSettings,
    board: &'a Board,
    counts: Arc<Counts>,
    central: Central,
    sight: Sight,
    ladder: Ladder,
    /// What is being done to the adapter.
    acting: Option<BoxFuture<'static, Result<(), Trouble>>>,
    looking: Option<BoxFuture<'static, Result<Sight, Trouble>>>,
    look_at: Instant,
    doubts: u32,
    /// What people were told of the silence.
    fault: Option<String>,
    /// The counts on the board but for those that change all the time, and since when.
    reported: (Vec<(&'static str, u64)>, Instant),
}

impl<'a> Watchdog<'a> {
    /// A scan began.
    pub(super) fn new(
        settings: &'a BleSettings,
        board: &'a Board,
        counts: Arc<Counts>,
        central: Central,
        sight: Sight,
    ) -> Self {
        let now = Instant::now();
        Self {
            settings,
            board,
            counts,
            central,
            sight,
            ladder: Ladder::new(settings.patience(), now),
            acting: None,
            looking: None,
            look_at: now + LOOK_EVERY,
            doubts: 0,
            fault: None,
            reported: (Vec::new(), now),
        }
    }

    /// The adapter's name.
    pub(super) fn adapter(&self) -> &str {
        &self.sight.name
    }

    /// Something was heard of someone; whether those who were told of the silence must hear that it is over.
    pub(super) fn heard(&mut self) -> bool {
        count(&self.counts.advertisements);
        self.is_well()
    }

    /// Nothing is wrong, or nobody is there to be heard, so that silence is no sign of anything. As [`Watchdog::heard`].
    pub(super) fn is_well(&mut self) -> bool {
        let was_reported = self.ladder.heard(Instant::now());
        if was_reported {
            info!(adapter = self.sight.name, "Bluetooth is heard again");
            self.fault = None;
            self.report();
        }
        was_reported
    }

    /// Looks at the adapter as soon as possible.
    pub(super) fn look_soon(&mut self) {
        self.look_at = Instant::now();
    }

    /// What happens next. Cancel safe: futures are kept and polled by reference, the rest are timers.
    pub(super) async fn next(&mut self) -> Turn {
        let (is_idle, is_looking) = (self.acting.is_none(), self.looking.is_some());
        let looking = async { if let Some(look) = &mut self.looking { look.await } else { pending().await } };
        let acting = async { if let Some(act) = &mut self.acting { act.await } else { pending().await } };
        tokio::select! {
            seen = looking => Turn::Seen(seen),
            done = acting => Turn::Done(done),
            () = sleep_until(self.look_at), if !is_looking => Turn::Look,
            () = sleep_until(self.ladder.next()), if is_idle => Turn::Climb,
        }
    }

    /// Takes a turn; gives what those must be told who live by advertisements. With a connection the adapter is never
    /// switched off: the radio works, and what is under way on it must not be cut.
    ///
    /// # Errors
    /// [`Trouble`]: the adapter is lost, or must be opened anew.
    pub(super) fn take(&mut self, turn: Turn, is_connected: bool) -> Result<Option<String>, Trouble> {
        match turn {
            Turn::Look => self.look(),
            Turn::Climb => return Ok(self.climb(is_connected)),
            Turn::Seen(seen) => {
                self.looking = None;
                self.look_at = Instant::now() + LOOK_EVERY;
                self.judge(seen)?;
            }
            Turn::Done(done) => {
                self.acting = None;
                self.doubts = 0;
                done?;
            }
        }
        Ok(None)
    }

    fn look(&mut self) {
        let (central, name) = (self.central.clone(), self.sight.name.clone());
        let look = async move {
            let sight = bluez::look_again(name).await?;
            // btleplug's own connection may be the one that is dead: its task is nobody's to watch.
            match timeout(ANSWER_WITHIN, central.adapter_info()).await {
                Ok(Ok(_)) => Ok(sight),
                Ok(Err(error)) => Err(Trouble::Odd(error.to_string())),
                Err(_) => Err(Trouble::Odd("nothing comes through any more".to_owned())),
            }
        };
        self.looking = Some(look.boxed());
        if self.reported.0 != self.steady_counts() || self.reported.1.elapsed() >= REPORT_EVERY {
            self.report();
        }
    }

    /// What the look at the adapter means.
    fn judge(&mut self, seen: Result<Sight, Trouble>) -> Result<(), Trouble> {
        match seen {
            Err(trouble @ Trouble::Odd(_)) => {
                self.doubts += 1;
                if self.doubts > DOUBTS { Err(trouble) } else { Ok(()) }
            }
            Err(trouble) => Err(trouble),
            Ok(seen) if seen.daemon != self.sight.daemon => Err(Trouble::NoDaemon),
            // It is switched off on purpose, and not scanning.
            Ok(_) if self.acting.is_some() => Ok(()),
            Ok(seen) if !seen.is_powered => Err(Trouble::Off(seen.name, "it was switched off".to_owned())),
            Ok(seen) => {
                self.doubts = if seen.is_discovering { 0 } else { self.doubts + 1 };
                if self.doubts > DOUBTS {
                    warn!(adapter = seen.name, "the Bluetooth scan ended by itself and is started again");
                    self.restart_scan();
                }
                Ok(())
            }
        }
    }

    fn restart_scan(&mut self) {
        count(&self.counts.scans_restarted);
        let central = self.central.clone();
        self.acting = Some(async move { scan(&central).await }.boxed());
    }

    fn power_cycle(&mut self) {
        count(&self.counts.power_cycles);
        let (central, name) = (self.central.clone(), self.sight.name.clone());
        let cycle = async move {
            bluez::power_cycle(name).await?;
            scan(&central).await
        };
        self.acting = Some(cycle.boxed());
    }

    /// The next step of the ladder; what is to be told.
    fn climb(&mut self, is_connected: bool) -> Option<String> {
        match self.ladder.step(Instant::now())? {
            Step::PowerCycle if is_connected => self.restart_scan(),
            Step::RestartScan => {
                warn!(adapter = self.sight.name, "nothing is heard; the Bluetooth scan is restarted");
                self.restart_scan();
            }
            Step::PowerCycle => {
                let adapter = &self.sight.name;
                warn!(adapter, "nothing is heard; the Bluetooth adapter is switched off and on");
                self.power_cycle();
            }
            Step::Report(silence) => {
                let (silence, name) = (silence.as_secs_f64().round(), &self.sight.name);
                let tried = if is_connected {
                    "restarted twice; it was not switched off, for a device is connected".to_owned()
                } else {
                    format!("restarted and the adapter {name} switched off and on")
                };
                let fault = format!(
                    "nothing was heard of any Bluetooth device for {silence} s, though the scan was {tried}; plug it \
                     out and in again, or restart the machine, and keep it away from USB 3 plugs and metal"
                );
                error!(adapter = self.sight.name, fault, "Bluetooth hears nothing");
                count(&self.counts.silences_reported);
                self.fault = Some(fault);
            }
        }
        self.report();
        self.fault.clone()
    }

    fn steady_counts(&self) -> Vec<(&'static str, u64)> {
        self.counts.list().split_off(1)
    }

    fn report(&mut self) {
        self.reported = (self.steady_counts(), Instant::now());
        self.board.bus(BusReport {
            name: self.settings.to_string(),
            fault: self.fault.clone(),
            counts: self.counts.list(),
        });
    }
}
