//! A part of the outbox with a policy of its own: what it keeps while the line is down, how long, how much,
//! and whether its new messages overtake the backlog.
//!
//! Owns the policies' words and each lane's sums; `ledger` applies them. Lanes are known on the disk by name,
//! so that what waits stays in its lane over a restart, and under the bounds of the lane as it is configured
//! now. A lane that is configured no more keeps what it has, under the bounds of the outbox alone.

use std::{collections::HashMap, time::Duration};

use rusqlite::{Connection, params};
use serde::Serialize;

use super::StoreError;

/// What is kept of a topic's messages while the line is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keep {
    /// Every one.
    #[default]
    All,
    /// The last one of each topic: a new one takes the place of those that wait.
    Latest,
    /// The first one of each topic, and then one in this time; those between are not kept.
    Every(Duration),
    /// None: a message that comes while the line is down is not kept.
    Nothing,
}

/// How one lane is to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneOptions {
    /// Its name, also on the disk; unique.
    pub name: String,
    /// What is kept while the line is down.
    pub keep: Keep,
    /// How long a message of this lane may wait; `None`: as long as any.
    pub max_age: Option<Duration>,
    /// What its messages may take together, in bytes; `None`: as much as all.
    pub max_bytes: Option<u64>,
    /// Whether what comes while the line is up goes before what waited.
    pub is_live_first: bool,
}

/// What one lane holds and has dropped since the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LaneStats {
    /// Its name.
    pub name: String,
    /// Messages that wait for the cloud.
    pub waiting: u64,
    /// Their size, in bytes.
    pub waiting_bytes: u64,
    /// Dropped or not kept by any policy, since the start.
    pub dropped: u64,
}

/// A lane at work.
#[derive(Debug, Clone)]
pub(super) struct Lane {
    pub(super) options: LaneOptions,
    /// Its number in the file.
    pub(super) row: i64,
    pub(super) stats: LaneStats,
}

/// All configured lanes; the numbers in entries are places in this list.
#[derive(Debug, Clone, Default)]
pub(super) struct Lanes(Vec<Lane>);

impl Lanes {
    /// Finds or makes every lane's row, and forgets those that are empty and configured no more.
    pub(super) fn load(connection: &Connection, options: &[LaneOptions]) -> Result<Self, StoreError> {
        for lane in options {
            connection.execute("INSERT OR IGNORE INTO lane (name) VALUES (?1)", [&lane.name])?;
        }
        let mut rows = HashMap::new();
        let mut statement = connection.prepare(
            "SELECT name, id, (SELECT count(*) FROM outbox WHERE lane = id),
                 (SELECT coalesce(sum(size), 0) FROM outbox WHERE lane = id) FROM lane",
        )?;
        let mut found = statement.query([])?;
        while let Some(row) = found.next()? {
            let (name, row, waiting, waiting_bytes): (String, i64, u64, u64) =
                (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            rows.insert(name.clone(), (row, LaneStats { name, waiting, waiting_bytes, dropped: 0 }));
        }
        let lanes = options.iter().filter_map(|options| {
            let (row, stats) = rows.remove(&options.name)?;
            Some(Lane { options: options.clone(), row, stats })
        });
        let lanes = Self(lanes.collect());
        for (row, stats) in rows.values() {
            if stats.waiting == 0 {
                connection.execute("DELETE FROM lane WHERE id = ?1", params![row])?;
            }
        }
        Ok(lanes)
    }

    pub(super) fn get(&mut self, place: usize) -> Option<&mut Lane> {
        self.0.get_mut(place)
    }

    /// The lane of a row in the outbox.
    pub(super) fn of(&mut self, row: Option<i64>) -> Option<&mut Lane> {
        let row = row?;
        self.0.iter_mut().find(|lane| lane.row == row)
    }

    pub(super) fn stats(&self) -> Vec<LaneStats> {
        self.0.iter().map(|lane| lane.stats.clone()).collect()
    }
}
