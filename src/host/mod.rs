//! The machine that the gateway runs on: temperature, supply, disk, memory, load.
//!
//! Owns where these are read: files of the kernel that everybody may read, so that no right is needed. Never reports: it is
//! asked, and blocks as long as the kernel and the disk do. Invariant: what a machine does not have is `None`.
//!
//! A Raspberry Pi tells of its supply in two places. Its own kernel has the firmware's word in `get_throttled` (mode 0444,
//! hexadecimal): bit 0 now, bit 16 since the boot. Other kernels have the sensor `rpi_volt` (`raspberrypi-hwmon`, mode 0444):
//! an alarm that is on for some seconds. Where that driver runs it takes bit 16 back every two seconds, so whatever was
//! seen once is remembered here. Rejected: `vcgencmd`, which needs a program and a device that only `video` may open; a
//! crate for all systems (sysinfo), which knows nothing of the supply and brings forty files for three lines each.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    health::{DiskReport, HostReport, MemoryReport, UnderVoltage},
    store,
};

const THROTTLED: &str = "sys/devices/platform/soc/soc:firmware/get_throttled";
const ZONES: &str = "sys/class/thermal";
const SENSORS: &str = "sys/class/hwmon";
/// How thermal zones of a processor are called: on a Pi and most boards, on Intel's.
const PROCESSORS: [&str; 3] = ["cpu", "soc", "x86_pkg_temp"];
const LOW_NOW: u32 = 1;
const LOW_SINCE_BOOT: u32 = 1 << 16;

/// The machine.
#[derive(Debug)]
pub struct Host {
    root: PathBuf,
    store: PathBuf,
    /// The voltage was too low at one of our looks.
    was_low: bool,
}

impl Host {
    /// This machine, with the file system of this file.
    pub fn new(store: &Path) -> Self {
        Self::below(Path::new("/"), store)
    }

    fn below(root: &Path, store: &Path) -> Self {
        Self { root: root.to_owned(), store: store.to_owned(), was_low: false }
    }

    /// What it says now. `clock_synchronised` is left to whoever has the clock. Blocks.
    pub fn look(&mut self) -> HostReport {
        let disk = store::disk_space(&self.store);
        HostReport {
            temperature_celsius: self.temperature(),
            under_voltage: self.under_voltage(),
            disk: disk.map(|space| DiskReport { free_bytes: space.free, total_bytes: space.total }),
            memory: self.memory(),
            load: self.load(),
            clock_synchronised: None,
        }
    }

    fn read(&self, path: &str) -> Option<String> {
        Some(fs::read_to_string(self.root.join(path)).ok()?.trim().to_owned())
    }

    /// The names in a directory, in order.
    fn names(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.root.join(directory)).into_iter().flatten().flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort_unstable();
        names
    }

    fn temperature(&self) -> Option<f64> {
        let is_of_processor = |zone: &String| {
            let kind = self.read(&format!("{ZONES}/{zone}/type")).unwrap_or_default();
            PROCESSORS.iter().any(|name| kind.starts_with(name))
        };
        let zone = self.names(ZONES).into_iter().find(is_of_processor)?;
        let thousandths: f64 = self.read(&format!("{ZONES}/{zone}/temp"))?.parse().ok()?;
        Some(thousandths / 1000.0)
    }

    fn under_voltage(&mut self) -> Option<UnderVoltage> {
        let firmware =
            self.read(THROTTLED).and_then(|text| u32::from_str_radix(text.trim_start_matches("0x"), 16).ok());
        let is_supply =
            |sensor: &String| self.read(&format!("{SENSORS}/{sensor}/name")).as_deref() == Some("rpi_volt");
        let sensor = self.names(SENSORS).into_iter().find(is_supply);
        let alarm = sensor.and_then(|sensor| self.read(&format!("{SENSORS}/{sensor}/in0_lcrit_alarm")));
        if firmware.is_none() && alarm.is_none() {
            return None;
        }
        let bits = firmware.unwrap_or_default();
        let now = bits & LOW_NOW != 0 || alarm.as_deref() == Some("1");
        self.was_low |= now || bits & LOW_SINCE_BOOT != 0;
        Some(UnderVoltage { now, since_boot: self.was_low })
    }

    fn memory(&self) -> Option<MemoryReport> {
        let text = self.read("proc/meminfo")?;
        let bytes = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
        };
        Some(MemoryReport { available_bytes: bytes("MemAvailable")?, total_bytes: bytes("MemTotal")? })
    }

    fn load(&self) -> Option<[f64; 3]> {
        let text = self.read("proc/loadavg")?;
        let mut words = text.split_whitespace().map(|word| word.parse().ok());
        Some([words.next()??, words.next()??, words.next()??])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine of files.
    fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, Host) {
        let directory = tempfile::tempdir().unwrap();
        for (path, text) in files {
            put(directory.path(), path, text);
        }
        let host = Host::below(directory.path(), &directory.path().join("store.db"));
        (directory, host)
    }

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn a_machine_that_has_nothing_of_it_has_nothing_made_up() {
        let (_directory, mut host) = machine(&[]);
        let report = host.look();
        assert!(report.disk.is_some_and(|disk| disk.total_bytes >= disk.free_bytes && disk.free_bytes > 0));
        assert_eq!(HostReport { disk: None, ..report }, HostReport::default());
    }

    #[test]
    fn a_raspberry_pi_tells_temperature_memory_load_and_that_its_supply_was_weak() {
        let (directory, mut host) = machine(&[
            ("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"),
            ("sys/class/thermal/thermal_zone0/temp", "48312\n"),
            (THROTTLED, "50000\n"),
            ("proc/meminfo", "MemTotal:        3885396 kB\nMemFree:  1 kB\nMemAvailable:    3000000 kB\n"),
            ("proc/loadavg", "0.52 0.61 1.75 1/234 5678\n"),
        ]);
        let report = host.look();
        assert_eq!(report.temperature_celsius, Some(48.312));
        assert_eq!(report.under_voltage, Some(UnderVoltage { now: false, since_boot: true }));
        let memory = MemoryReport { available_bytes: 3_000_000 << 10, total_bytes: 3_885_396 << 10 };
        assert_eq!((report.memory, report.load), (Some(memory), Some([0.52, 0.61, 1.75])));
        put(directory.path(), THROTTLED, "50005\n");
        assert_eq!(host.look().under_voltage, Some(UnderVoltage { now: true, since_boot: true }));
    }

    #[test]
    fn an_alarm_that_is_over_is_remembered_and_other_sensors_are_none_of_the_supply() {
        let alarm = "sys/class/hwmon/hwmon1/in0_lcrit_alarm";
        let (directory, mut host) = machine(&[
            ("sys/class/hwmon/hwmon0/name", "cpu_thermal\n"),
            ("sys/class/hwmon/hwmon0/in0_lcrit_alarm", "1\n"),
            ("sys/class/hwmon/hwmon1/name", "rpi_volt\n"),
            (alarm, "0\n"),
            ("sys/class/thermal/thermal_zone0/type", "acpitz\n"),
            ("sys/class/thermal/thermal_zone0/temp", "27800\n"),
        ]);
        for (text, now, since_boot) in [("0", false, false), ("1", true, true), ("0", false, true)] {
            put(directory.path(), alarm, text);
            assert_eq!(host.look().under_voltage, Some(UnderVoltage { now, since_boot }), "{text}");
        }
        assert_eq!(host.look().temperature_celsius, None, "a board's is not the processor's");
    }

    #[test]
    fn this_machine_has_memory_and_a_load() {
        let report = Host::new(Path::new("/")).look();
        assert!(report.memory.is_some_and(|memory| memory.total_bytes > memory.available_bytes));
        assert!(report.load.is_some());
    }
}
