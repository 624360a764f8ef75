//! `neighbours` on a system that has no BlueZ: nobody is heard.

use std::{collections::BTreeMap, time::Duration};

use super::{super::super::survey::Advertised, BleAddress};

/// Nobody.
///
/// # Errors
/// Always.
pub(in crate::devices) async fn heard(_time: Duration) -> Result<BTreeMap<BleAddress, Advertised>, String> {
    Err("Bluetooth LE needs BlueZ, and so Linux".to_owned())
}
