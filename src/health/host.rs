//! What is known of the machine that the gateway runs on.
//!
//! Pure data; the room `host` reads it. Invariant: what a machine does not have, or does not let this user read, is
//! `None`, never a made-up value.

use serde::Serialize;

/// The machine, as of the last look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct HostReport {
    /// Of the processor, in degrees Celsius.
    pub temperature_celsius: Option<f64>,
    /// Whether the machine gets too little voltage; Raspberry Pi only.
    pub under_voltage: Option<UnderVoltage>,
    /// The file system that the store is on.
    pub disk: Option<DiskReport>,
    /// The machine's memory.
    pub memory: Option<MemoryReport>,
    /// How many tasks ran or wanted to run, on average over 1, 5 and 15 minutes.
    pub load: Option<[f64; 3]>,
    /// Whether systemd-timesyncd has set the clock; `None` where it does not keep the time.
    pub clock_synchronised: Option<bool>,
}

/// What the firmware of a Raspberry Pi says about its supply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct UnderVoltage {
    /// Now.
    pub now: bool,
    /// Since the machine was started, as far as the firmware tells, or seen since the gateway was.
    pub since_boot: bool,
}

/// Room on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DiskReport {
    /// What is left for this user, in bytes.
    pub free_bytes: u64,
    /// What it holds, in bytes.
    pub total_bytes: u64,
}

/// Room in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MemoryReport {
    /// What programs can still have without swapping, in bytes.
    pub available_bytes: u64,
    /// All of it, in bytes.
    pub total_bytes: u64,
}
