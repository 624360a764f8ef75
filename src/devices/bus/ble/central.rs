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

/// The device that BlueZ calls so: `hci0/dev_A4_C1_38_01_02_03`.
pub(super) fn address(id: &PeripheralId) -> Option<BleAddress> {
    let mut name = String::new();
    // `to_string` would panic where it has no name.
    write!(name, "{id}").ok()?;
    let (_, address) = name.rsplit_once("dev_")?;
    address.replace('_', ":").parse().ok()
}

/// The adapter called `name`, on a connection to the daemon that is made anew.
pub(super) async fn open(name: &str) -> Result<Central, Trouble> {
    let odd = |error: btleplug::Error| Trouble::Odd(error.to_string());
    let runtime = Handle::current();
    // Connecting blocks.
    let manager = spawn_blocking(move || runtime.block_on(Manager::new()));
    let manager = manager.await.map_err(|panic| Trouble::Odd(panic.to_string()))?.map_err(odd)?;
    for central in manager.adapters().await.map_err(odd)? {
        // `hci0 (usb:v1D6Bp0246d0542)`
        let info = central.adapter_info().await.map_err(odd)?;
        if info.split(' ').next() == Some(name) {
            return Ok(central);
        }
    }
    Err(Trouble::NotThis(name.to_owned(), Vec::new()))
}

/// Starts a scan; `again`: after whatever of one is left.
pub(super) async fn scan(central: &Central, again: bool) -> Result<(), Trouble> {
    if again {
        // It may have ended by itself.
        let _ = timeout(SCAN_WITHIN, central.stop_scan()).await;
    }
    match timeout(SCAN_WITHIN, central.start_scan(ScanFilter::default())).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Trouble::Odd(format!("it does not scan: {error}"))),
        Err(_) => Err(Trouble::Odd("it does not scan".to_owned())),
    }
}
