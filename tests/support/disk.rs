//! A disk that fails on order under the real program: `faulty_disk.c`, compiled here and loaded by LD_PRELOAD.
//!
//! Only the files of the gateway's store are touched. The orders lie in a file that the program has mapped, so
//! that they count at once.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
    path::PathBuf,
    process::Command,
    time::Duration,
};

/// What the disk says instead of doing what it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// ENOSPC.
    Full,
    /// EIO.
    Broken,
    /// EROFS.
    ReadOnly,
}

impl Refusal {
    fn errno(self) -> u32 {
        match self {
            Self::Full => 28,
            Self::Broken => 5,
            Self::ReadOnly => 30,
        }
    }
}

/// The orders' fields in the C file's order, then what it counts.
#[derive(Debug, Clone, Copy)]
enum Field {
    RefuseWrites,
    RefuseSyncs,
    RefuseOpens,
    SyncMillis,
    HangSyncs,
    CutAt,
    Seed,
    HangNames,
    FullAt,
    Writes,
    Syncs,
    Refused,
    UnsyncedLost,
    NamesHung,
}

const FIELDS: usize = 14;

/// The disk, and the resolution of names.
pub struct FaultyDisk {
    directory: tempfile::TempDir,
    orders: File,
}

impl FaultyDisk {
    /// Compiles it; healthy.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/faulty_disk.c");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(directory.path().join("faulty_disk.so"))
            .args([source, "-ldl", "-lpthread"])
            .status()
            .expect("a C compiler, which the project needs anyway");
        assert!(compiled.success(), "faulty_disk.c does not compile");
        let path = directory.path().join("orders");
        std::fs::write(&path, [0; 4 * FIELDS]).unwrap();
        let orders = OpenOptions::new().read(true).write(true).open(path).unwrap();
        Self { directory, orders }
    }

    /// What a program that is to run on this disk needs in its environment.
    pub fn environment(&self) -> [(&'static str, PathBuf); 2] {
        let path = |name: &str| self.directory.path().join(name);
        [("LD_PRELOAD", path("faulty_disk.so")), ("FAULTY_DISK", path("orders"))]
    }

    fn set(&self, field: Field, value: u32) {
        self.orders.write_all_at(&value.to_ne_bytes(), field as u64 * 4).unwrap();
    }

    fn get(&self, field: Field) -> u32 {
        let mut bytes = [0; 4];
        self.orders.read_exact_at(&mut bytes, field as u64 * 4).unwrap();
        u32::from_ne_bytes(bytes)
    }

    /// Everything works again, at once.
    pub fn heal(&self) {
        for field in [
            Field::RefuseWrites,
            Field::RefuseSyncs,
            Field::RefuseOpens,
            Field::SyncMillis,
            Field::HangSyncs,
            Field::CutAt,
            Field::HangNames,
            Field::FullAt,
        ] {
            self.set(field, 0);
        }
    }

    /// Nothing can be written; of a read-only one, nothing can be opened for writing either.
    pub fn refuse(&self, refusal: Refusal) {
        self.set(Field::RefuseWrites, refusal.errno());
        if refusal == Refusal::ReadOnly {
            self.set(Field::RefuseOpens, refusal.errno());
        }
    }

    /// It is full from the `step`th write from now on.
    pub fn fill_at(&self, step: u32) {
        self.set(Field::FullAt, step);
    }

    /// Writes go well and syncing fails.
    pub fn refuse_syncs(&self, refusal: Refusal) {
        self.set(Field::RefuseSyncs, refusal.errno());
    }

    /// Every fsync takes so long.
    pub fn slow_syncs(&self, time: Duration) {
        self.set(Field::SyncMillis, u32::try_from(time.as_millis()).unwrap());
    }

    /// No fsync returns until [`FaultyDisk::heal`].
    pub fn hang_syncs(&self) {
        self.set(Field::HangSyncs, 1);
    }

    /// The power is cut in the middle of the `step`th write or fsync from now: half of it is made, a coin is
    /// tossed for everything that was not synced, and the program is killed.
    pub fn cut_power_at(&self, step: u32, seed: u32) {
        self.set(Field::Seed, seed);
        self.set(Field::CutAt, step);
    }

    /// No host name is resolved until [`FaultyDisk::heal`]; nor is it said that there is none.
    pub fn hang_names(&self) {
        self.set(Field::HangNames, 1);
    }

    /// Writes and syncs that were made.
    pub fn made(&self) -> (u32, u32) {
        (self.get(Field::Writes), self.get(Field::Syncs))
    }

    /// Resolutions of names that hung.
    pub fn names_hung(&self) -> u32 {
        self.get(Field::NamesHung)
    }

    /// What was refused.
    pub fn refused(&self) -> u32 {
        self.get(Field::Refused)
    }

    /// Writes that the last power cut undid.
    pub fn undone(&self) -> u32 {
        self.get(Field::UnsyncedLost)
    }
}
