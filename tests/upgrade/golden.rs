//! The files of earlier versions, and what is in them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rusqlite::Connection;

/// A store as some version left it.
pub struct Golden {
    pub file: &'static str,
    /// Its version (`PRAGMA user_version`).
    pub schema: usize,
    /// The store's name, which message ids begin with.
    pub name: &'static str,
    /// What waits in it for the cloud, in order.
    pub waiting: &'static [Waiting],
    /// What waits in it for the client `visitor`, in order.
    pub notes: &'static [&'static str],
    /// Whether the line's past is in it.
    pub has_past: bool,
}

/// A message for the cloud.
pub struct Waiting {
    pub sequence: u64,
    pub topic: &'static str,
    pub payload: &'static str,
    /// How old it is at [`super::then`], in seconds.
    pub age: u64,
}

const fn waiting(sequence: u64, topic: &'static str, payload: &'static str, age: u64) -> Waiting {
    Waiting { sequence, topic, payload, age }
}

/// Versions that are released, or about to be: its name, the version of its tables. The directory beside this one has
/// `store-<name>.db` and `config-<name>/` of each.
pub const RELEASED: [(&str, usize); 1] = [("0.1.0", 4)];

/// In the files made by hand.
const BY_HAND: &[Waiting] = &[
    waiting(3, "sensors/attic", "21.5", 660),
    waiting(4, "sensors/attic", "21.7", 630),
    waiting(6, "sensors/cellar", "12", 601),
];

pub const ALL: [Golden; 4] = [
    Golden {
        file: "store-schema-1.sql",
        schema: 1,
        name: "0123456789ab",
        waiting: BY_HAND,
        notes: &[],
        has_past: false,
    },
    Golden {
        file: "store-schema-2.sql",
        schema: 2,
        name: "0123456789ab",
        waiting: BY_HAND,
        notes: &["first", "second"],
        has_past: false,
    },
    Golden {
        file: "store-schema-3.sql",
        schema: 3,
        name: "0123456789ab",
        waiting: BY_HAND,
        notes: &["first", "second"],
        has_past: false,
    },
    Golden {
        file: "store-0.1.0.db",
        schema: 4,
        name: "c2dd8d22c4c2",
        waiting: &[
            waiting(
                1,
                "plug/about",
                r#"{"fields":[{"field":"state","off":"OFF","on":"ON"}],"kind":"tasmota"}"#,
                1300,
            ),
            waiting(2, "sensors/attic", "21.5", 660),
            waiting(3, "sensors/attic", "21.7", 630),
            waiting(4, "plug/availability", "online", 620),
            // Its time and its name are added when it is read.
            waiting(
                5,
                "plug",
                r#"{"state":"ON","last_seen":"2026-11-22T11:59:40Z","message_id":"c2dd8d22c4c2-5"}"#,
                620,
            ),
            // Two before it were superseded by it.
            waiting(8, "sensors/cellar", "12", 601),
            // Accepted while the clock was not known to be right.
            waiting(9, "sensors/attic", "21.9", 600),
        ],
        notes: &["first", "second"],
        has_past: true,
    },
];

/// Where the files are.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

impl Golden {
    /// Puts a copy of it there, in WAL, as every program left its store.
    pub fn put(&self, path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let from = directory().join(self.file);
        if self.file.ends_with(".db") {
            fs::copy(from, path).unwrap();
            return;
        }
        let connection = Connection::open(path).unwrap();
        connection.pragma_update(None, "journal_mode", "WAL").unwrap();
        connection.execute_batch(&fs::read_to_string(from).unwrap()).unwrap();
    }

    /// The same, and its messages came now: for programs that go by the machine's clock, and keep nothing for ever.
    pub fn put_as_of_now(&self, path: &Path) {
        self.put(path);
        let connection = Connection::open(path).unwrap();
        let shift = "UPDATE outbox SET expires_at = expires_at - accepted_at + 1000 * unixepoch(),
             accepted_at = 1000 * unixepoch()";
        connection.execute(shift, []).unwrap();
        connection.close().unwrap();
    }
}

/// The version of a store's tables.
pub fn version(path: &Path) -> usize {
    let connection = Connection::open(path).unwrap();
    connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
}
