//! What is known of the machine that the gateway runs on.
//!
//! Owns from when on somebody should look after it, for the sentence, the page and `doctor`. Pure data; the room `host`
//! reads it. Invariant: what a machine does not have, or does not let this user read, is `None`, never a made-up value.

use serde::Serialize;

/// From here on a Pi slows down (its firmware's soft limit), in degrees Celsius.
const HOT: f64 = 80.0;
/// With less than this part of all left, a disk or a memory is short.
const PART: u64 = 20;

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

impl HostReport {
    /// Whether the processor is so hot that it slows down.
    pub(crate) fn is_hot(&self) -> bool {
        self.temperature_celsius.is_some_and(|degrees| degrees >= HOT)
    }

    /// What somebody should do something about, the worst first: what is so, and what to do. Memory is not in it: it is short
    /// for a moment again and again, and the page shows it.
    pub(crate) fn troubles(&self) -> Vec<(String, &'static str)> {
        let bytes = |number| bytesize::ByteSize(number).display().iec();
        let disk = self.disk.filter(DiskReport::is_short).map(|DiskReport { free_bytes, total_bytes }| {
            let (free, total) = (bytes(free_bytes), bytes(total_bytes));
            (format!("The disk is nearly full: {free} of {total} are free."), "Make room on the disk.")
        });
        // What was once since the start would be said for weeks; the page has it in its row, and the metrics.
        let voltage = self
            .under_voltage
            .filter(|voltage| voltage.now)
            .map(|_| ("This machine gets too little voltage.".to_owned(), "Use a stronger power supply."));
        let heat = self.temperature_celsius.filter(|_| self.is_hot()).map(|degrees| {
            let sentence = format!("This machine is too hot ({degrees:.1} °C) and slows down.");
            (sentence, "Give it air, or a heat sink.")
        });
        [disk, voltage, heat].into_iter().flatten().collect()
    }
}

/// What the firmware of a Raspberry Pi says about its supply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct UnderVoltage {
    /// Now.
    pub now: bool,
    /// Since the machine was started, as far as the firmware tells, or seen since the gateway was.
    pub since_boot: bool,
}

impl UnderVoltage {
    pub(crate) fn is_bad(self) -> bool {
        self.now || self.since_boot
    }
}

/// Room on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DiskReport {
    /// What is left for this user, in bytes.
    pub free_bytes: u64,
    /// What it holds, in bytes.
    pub total_bytes: u64,
}

impl DiskReport {
    pub(crate) fn is_short(&self) -> bool {
        self.free_bytes < self.total_bytes / PART
    }
}

/// Room in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MemoryReport {
    /// What programs can still have without swapping, in bytes.
    pub available_bytes: u64,
    /// All of it, in bytes.
    pub total_bytes: u64,
}

impl MemoryReport {
    pub(crate) fn is_short(&self) -> bool {
        self.available_bytes < self.total_bytes / PART
    }
}
