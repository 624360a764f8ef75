//! What a device needs of Bluetooth: which adapter, how patient the watchdog is, and whom it listens to.
//!
//! Several devices share an adapter; then they must mean the same by it. Nobody shares a peripheral that is connected:
//! it has one connection to give, and most fall silent while they have it.

use std::{fmt, time::Duration};

use bytes::Bytes;
use serde::Deserialize;
use uuid::Uuid;

use super::{
    super::super::{DeviceError, DeviceSpec, Span},
    BleAddress, BleChannel,
};
use crate::model::DeviceId;

/// How long nothing may be heard of anyone before the scan is restarted. Advertisements are at most 10.24 s apart
/// (Core Specification 5.3, volume 6, part B, 4.4.2.2), but those of a button or a door come only when it moves.
const WATCHDOG: Duration = Duration::from_secs(120);

/// The options of every kind on Bluetooth LE.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::devices) struct BleOptions {
    /// The adapter, as BlueZ calls it: `hci0`. Default the first one that there is.
    adapter: Option<String>,
    /// How long nothing may be heard of anyone before the scan is restarted; as long again, and the adapter is switched
    /// off and on.
    watchdog: Option<Span>,
}

/// Which adapter, and how it is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BleSettings {
    /// Its name at BlueZ; `None`: the first one.
    pub adapter: Option<String>,
    /// The patience of the watchdog; `None`: as others on this adapter say, or 2 min.
    pub watchdog: Option<Duration>,
}

impl BleSettings {
    /// What the options say.
    pub(in crate::devices) fn new(spec: &DeviceSpec, options: BleOptions) -> Result<Self, DeviceError> {
        if let Some(name) = &options.adapter {
            let number = name.strip_prefix("hci").filter(|number| !number.is_empty() && number.len() < 4);
            if !number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit())) {
                let problem = format!(
                    "`{name}` is no adapter; write it as `bluetoothctl list` and `hciconfig` do: `hci0`"
                );
                return Err(DeviceError::bad_option(&spec.id, "adapter", problem));
            }
        }
        Ok(Self { adapter: options.adapter, watchdog: options.watchdog.map(|span| span.0) })
    }

    /// How long nothing may be heard.
    pub(super) fn patience(&self) -> Duration {
        self.watchdog.unwrap_or(WATCHDOG)
    }

    /// Why `other` cannot be on the same adapter: the option in which they contradict each other, and what it has here.
    fn contradicts(&self, other: &Self) -> Option<(&'static str, String)> {
        match (self.watchdog, other.watchdog) {
            (Some(own), Some(theirs)) if own != theirs => Some(("watchdog", Span(own).to_string())),
            _ => None,
        }
    }
}

impl fmt::Display for BleSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.adapter {
            Some(name) => write!(f, "the Bluetooth adapter {name}"),
            None => f.write_str("the Bluetooth adapter"),
        }
    }
}

/// Whom a device listens to. What nobody wants goes no further than the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlePeer {
    /// Advertisements of one address.
    Advertiser {
        /// Its address.
        address: BleAddress,
        /// What of them. The same bytes again within a second are not told again.
        hears: Vec<BleChannel>,
    },
    /// Advertisements of whoever says this: the frames carry the address.
    Anyone {
        /// What of them.
        channel: BleChannel,
        /// How its data begins.
        prefix: Bytes,
        /// After which silence there is a frame `silence`, once until it is heard again; never while the bus itself
        /// does not work. It is marked as retained: it tells the state, but is no sign of life.
        silent_after: Option<Duration>,
    },
    /// A peripheral that is connected, and stays so.
    Peripheral {
        /// Its address.
        address: BleAddress,
        /// What of it is read, heard and written. Its battery (`battery`) comes along.
        characteristics: Vec<Characteristic>,
    },
}

/// A device on the adapter.
pub(in crate::devices) struct BleMember {
    pub(in crate::devices) id: DeviceId,
    pub(in crate::devices) peer: BlePeer,
}

impl BleMember {
    /// Whether it hangs on the adapter `theirs`, beside `others`; then it agrees with them about it.
    ///
    /// # Errors
    /// [`DeviceError::BadOption`] when they mean different things by it, or cannot share the peripheral.
    pub(in crate::devices) fn joins(
        &self,
        settings: &BleSettings,
        theirs: &mut BleSettings,
        others: &[Self],
    ) -> Result<bool, DeviceError> {
        let bad = |option: &str, problem: String| Err(DeviceError::bad_option(&self.id, option, problem));
        let contradicted = |other: &Self| other.peer.contradicts(other.id.as_str(), &self.peer);
        if let Some(problem) = others.iter().find_map(contradicted) {
            return bad("address", problem);
        }
        let first = others.first().map_or("another device", |first| first.id.as_str());
        match (&theirs.adapter, &settings.adapter) {
            (own, other) if own == other => {
                if let Some((option, value)) = theirs.contradicts(settings) {
                    let problem =
                        format!("`{first}` shares this adapter and has {value}; write the same for both");
                    return bad(option, problem);
                }
                theirs.watchdog = theirs.watchdog.or(settings.watchdog);
                Ok(true)
            }
            // Which is the first may change with every start, so it could be the named one, too.
            (Some(named), None) | (None, Some(named)) => {
                let problem = format!(
                    "of this device and `{first}` only one names its adapter; write `adapter: {named}`, or another one's \
                     name, for both"
                );
                bad("adapter", problem)
            }
            (Some(_), Some(_)) | (None, None) => Ok(false),
        }
    }
}

/// A characteristic of a connected peripheral. All that can be read are read once after connecting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Characteristic {
    /// Which.
    pub uuid: Uuid,
    /// Of which service; `None`: the first that has it.
    pub service: Option<Uuid>,
    /// It says its changes by itself (notifications or indications).
    pub notify: bool,
    /// How often it is read.
    pub read_every: Option<Duration>,
    /// Whether a write waits for the peripheral's word that it was taken; `None`: where it gives one.
    pub with_response: Option<bool>,
    /// For how long after a write it is read until it shows what was written, if it can be read; `None`: not at all.
    pub shows_within: Option<Duration>,
}

impl BlePeer {
    /// Why `other` cannot be there beside this one; `first` is whose this is.
    fn contradicts(&self, first: &str, other: &Self) -> Option<String> {
        let (address, is_connected) = self.address()?;
        let (other, is_other_connected) = other.address()?;
        if address != other || !(is_connected || is_other_connected) {
            return None;
        }
        Some(if is_connected && is_other_connected {
            format!(
                "`{first}` connects to this peripheral already; put all its characteristics into one device"
            )
        } else {
            let who = if is_connected {
                format!("`{first}` connects to it")
            } else {
                "this one connects to it".to_owned()
            };
            format!(
                "{who}, and a peripheral that is connected does not advertise; use it in one of the two ways"
            )
        })
    }

    /// Whether it is there by a connection, which has a task of its own, and not by what is heard.
    pub(super) fn is_connected(&self) -> bool {
        matches!(self, BlePeer::Peripheral { .. })
    }

    fn address(&self) -> Option<(BleAddress, bool)> {
        match self {
            BlePeer::Advertiser { address, .. } => Some((*address, false)),
            BlePeer::Peripheral { address, .. } => Some((*address, true)),
            BlePeer::Anyone { .. } => None,
        }
    }
}
