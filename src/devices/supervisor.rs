//! What happens when a device's or a bus's code panics or gives up: it is caught, counted, and
//! started again after a wait; nobody else notices.
//!
//! Panics are caught where the part is polled, by `catch_unwind`, and not by a `JoinHandle`: the
//! mailbox, the last state and the ports then stay with the supervisor, and only what the broken
//! code held in its hands is lost. The way back of a command in its hands is dropped: `unknown`.

use std::{any::Any, panic::AssertUnwindSafe};

use futures_util::FutureExt;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::{
    DeviceError, DeviceSpec, Kind,
    bus::{Adapter, Ports, WriteError},
    desk::Desk,
    device::Device,
    runner,
};
use crate::retry::{Backoff, Policy};

/// From a quarter of a second, so that a hiccup is hardly seen, to a minute.
const RESTARTS: Policy = Policy {
    first: std::time::Duration::from_millis(250),
    longest: std::time::Duration::from_secs(60),
    stable_after: std::time::Duration::from_secs(60),
};

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no words")
}

/// Builds a device anew after a panic.
pub(super) struct Blueprint {
    pub(super) spec: DeviceSpec,
    pub(super) kind: Kind,
}

impl Blueprint {
    fn build(&self) -> Result<Box<dyn Device>, DeviceError> {
        (self.kind.build)(&self.spec)
    }
}

/// Runs a device until `stop`.
pub(super) async fn device(
    mut device: Box<dyn Device>,
    blueprint: Blueprint,
    mut desk: Desk,
    stop: CancellationToken,
) {
    let mut backoff = Backoff::new(RESTARTS);
    loop {
        let since = Instant::now();
        let run = AssertUnwindSafe(runner::run(device.as_mut(), &mut desk, &stop)).catch_unwind().await;
        let Err(panic) = run else { return };
        let fault = format!("its code failed and was started again: {}", words(&*panic));
        error!(device = %desk.id, fault, "a device's code panicked");
        desk.restarts = desk.restarts.saturating_add(1);
        desk.fault = Some(fault);
        desk.report();
        loop {
            let wait = backoff.after_failure(since.elapsed(), fastrand::f64());
            // Cancel safe: the stand-in may be dropped at any time.
            tokio::select! {
                () = stop.cancelled() => return desk.refuse_waiting("the gateway is stopping"),
                () = sleep(wait) => {}
                () = desk.stand_in("the device's code failed and is being started again") => {}
            }
            // Building may panic too, in the kind's code.
            match std::panic::catch_unwind(AssertUnwindSafe(|| blueprint.build())) {
                Ok(Ok(fresh)) => {
                    device = fresh;
                    break;
                }
                Ok(Err(error)) => desk.fault = Some(error.to_string()),
                Err(panic) => desk.fault = Some(format!("it cannot be started again: {}", words(&*panic))),
            }
            desk.report();
        }
    }
}

/// Runs a bus until `stop`.
pub(super) async fn adapter(mut adapter: Box<dyn Adapter>, mut ports: Ports, stop: CancellationToken) {
    let mut backoff = Backoff::new(RESTARTS);
    loop {
        let since = Instant::now();
        let run = AssertUnwindSafe(adapter.run(&mut ports, &stop)).catch_unwind().await;
        if stop.is_cancelled() {
            return;
        }
        let fault = match run {
            Ok(Ok(())) => format!("{} ended by itself and is being started again", adapter.name()),
            Ok(Err(error)) => error.to_string(),
            Err(panic) => format!("{} failed and is being started again: {}", adapter.name(), words(&*panic)),
        };
        error!(bus = adapter.name(), fault, "a bus failed");
        let wait = backoff.after_failure(since.elapsed(), fastrand::f64());
        let stand_in = async {
            ports.devices.failed(&fault).await;
            while let Some(write) = ports.writes.next().await {
                write.answer(Err(WriteError::NotSent(fault.clone())));
            }
            std::future::pending::<()>().await;
        };
        // Cancel safe: a write that was taken is answered without waiting.
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(wait) => {}
            () = stand_in => {}
        }
    }
}
