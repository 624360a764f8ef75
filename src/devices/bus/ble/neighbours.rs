//! A short scan without devices: who advertises around here, for `devices::survey`.
//!
//! Never switches an adapter on or off, connects to nobody, and leaves no scan behind.

use std::{collections::BTreeMap, time::Duration};

use btleplug::api::{Central as _, Peripheral as _};
use tokio::time::{sleep, timeout};

use super::{
    super::super::survey::Advertised,
    BleAddress, BleChannel,
    bluez::{self, Trouble},
    central::{Connection, address, scan},
};

/// The most that are asked what they said.
const MOST: usize = 256;
/// How long BlueZ may take to end a scan, and to say what it knows of one device.
const WITHIN: Duration = Duration::from_secs(2);

/// Who was heard in so much time. An adapter that is off stays off.
///
/// # Errors
/// Why not and what to do, as a sentence without a full stop.
pub(in crate::devices) async fn heard(time: Duration) -> Result<BTreeMap<BleAddress, Advertised>, String> {
    hear(time).await.map_err(|trouble| trouble.to_string())
}

async fn hear(time: Duration) -> Result<BTreeMap<BleAddress, Advertised>, Trouble> {
    let odd = |error: btleplug::Error| Trouble::Odd(error.to_string());
    let sight = bluez::look(None).await?;
    if !sight.is_powered {
        return Err(Trouble::Off(sight.name, "nobody has switched it on".to_owned()));
    }
    let central = Connection::default().open(&sight.name).await?;
    scan(&central).await?;
    sleep(time).await;
    let peripherals = central.peripherals().await.map_err(odd);
    let mut all = BTreeMap::new();
    for peripheral in peripherals?.into_iter().take(MOST) {
        let Some(address) = address(&peripheral.id()) else { continue };
        let Ok(Ok(Some(said))) = timeout(WITHIN, peripheral.properties()).await else { continue };
        let services = said.service_data.into_iter();
        let companies = said.manufacturer_data.into_iter();
        let parts = services
            .map(|(service, data)| (BleChannel::ServiceData(service), data))
            .chain(companies.map(|(company, data)| (BleChannel::ManufacturerData(company), data)))
            .collect();
        all.insert(address, Advertised { name: said.local_name, parts });
    }
    // It ends with the connection to the bus, too.
    let _ = timeout(WITHIN, central.stop_scan()).await;
    Ok(all)
}
