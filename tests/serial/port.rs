//! A serial port made of a pseudo-terminal, with a name that stays while what is behind it is unplugged.

use std::{
    fs::{self, File},
    io::{Read, Write},
    os::unix::fs::symlink,
    path::PathBuf,
    time::Duration,
};

use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, tcgetattr},
};
use tempfile::TempDir;

/// The name, as below `/dev/serial/by-id`.
pub struct Port {
    directory: TempDir,
}

/// The device's end of a port that is plugged in. Dropped, it is unplugged.
pub struct Plug {
    file: File,
    path: PathBuf,
}

impl Port {
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().join("usb-meter-if00-port0")
    }

    pub fn plug(&self) -> Plug {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        symlink(name.to_str().unwrap(), self.path()).unwrap();
        Plug { file: File::from(master), path: self.path() }
    }
}

impl Plug {
    /// Waits until somebody has opened the port and taken away what a terminal does to bytes.
    pub async fn opened(&self) {
        let opening = async {
            while tcgetattr(&self.file).unwrap().local_modes.contains(LocalModes::ICANON) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), opening).await.expect("nobody opened the port");
    }

    pub fn say(&mut self, bytes: &[u8]) {
        self.file.write_all(bytes).unwrap();
    }

    /// The next bytes that come, up to 64; blocks.
    pub fn hear(&mut self) -> Vec<u8> {
        let mut buffer = [0; 64];
        let count = self.file.read(&mut buffer).unwrap();
        buffer[..count].to_vec()
    }
}

impl Drop for Plug {
    fn drop(&mut self) {
        // As udev does: the name goes with the device.
        fs::remove_file(&self.path).unwrap();
    }
}
