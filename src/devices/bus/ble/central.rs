//! btleplug's side of an adapter: found by its name, and scanned with.
//!
//! The name counts, never the place in a list: of two adapters the wrong one was the first more often than not.

use std::{fmt::Write as _, time::Duration};

use btleplug::{
    api::{Central as _, Manager as _, ScanFilter},
    platform::{Adapter as Central, Manager, PeripheralId},
};
use tokio::{runtime::Handle, task::spawn_blocking, time::timeout};

use super::{BleAddress, bluez::Trouble};

/// How long the daemon may take to start or stop a scan.
const SCAN_WITHIN: Duration = Duration::from_secs(10);
/// How long connecting and finding an adapter may take.
const OPENS_WITHIN: Duration = Duration::from_secs(30);

/// The device that BlueZ calls so: `hci0/dev_A4_C1_38_01_02_03`.
pub(super) fn address(id: &PeripheralId) -> Option<BleAddress> {
    let mut name = String::new();
    // `to_string` would panic where it has no name.
    write!(name, "{id}").ok()?;
    let (_, address) = name.rsplit_once("dev_")?;
    address.replace('_', ":").parse().ok()
}

/// The connection to the message bus on which btleplug speaks to BlueZ.
///
/// One for all sessions of an adapter: btleplug's outlives all who use it (nobody keeps the end of the task that reads
/// it), so one for each session would be one more for each time that somebody pulls a dongle, until the bus has enough
/// of us. It outlives the daemon and its adapters, too; only when it fails is it made anew.
#[derive(Default)]
pub(super) struct Connection(Option<Manager>);

impl Connection {
    /// The adapter called `name`.
    pub(super) async fn open(&mut self, name: &str) -> Result<Central, Trouble> {
        let opened = timeout(OPENS_WITHIN, self.find(name)).await;
        let opened = opened.unwrap_or_else(|_| Err(Trouble::Odd("it does not answer".to_owned())));
        if matches!(opened, Err(Trouble::Odd(_))) {
            // The next one is made anew.
            self.0 = None;
        }
        opened
    }

    async fn find(&mut self, name: &str) -> Result<Central, Trouble> {
        let odd = |error: btleplug::Error| Trouble::Odd(error.to_string());
        let manager = match &self.0 {
            Some(manager) => manager,
            None => {
                let runtime = Handle::current();
                // Connecting blocks.
                let manager = spawn_blocking(move || runtime.block_on(Manager::new())).await;
                self.0.insert(manager.map_err(|panic| Trouble::Odd(panic.to_string()))?.map_err(odd)?)
            }
        };
        for central in manager.adapters().await.map_err(odd)? {
            // `hci0 (usb:v1D6Bp0246d0542)`
            let info = central.adapter_info().await.map_err(odd)?;
            if info.split(' ').next() == Some(name) {
                return Ok(central);
            }
        }
        Err(Trouble::NotThis(name.to_owned(), Vec::new()))
    }
}

/// Starts a scan, after whatever of one is left.
pub(super) async fn scan(central: &Central) -> Result<(), Trouble> {
    // There may be none, or it ended by itself.
    let _ = timeout(SCAN_WITHIN, central.stop_scan()).await;
    match timeout(SCAN_WITHIN, central.start_scan(ScanFilter::default())).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Trouble::Odd(format!("it does not scan: {error}"))),
        Err(_) => Err(Trouble::Odd("it does not scan".to_owned())),
    }
}
