//! The power is cut, or the disk becomes full, in the middle of bringing a store up to date.

use std::{fs, path::Path};

use hearthlink::store::SCHEMA_VERSION;
use rusqlite::{Connection, types::Value};

use crate::{
    disk::FaultyDisk,
    golden::{ALL, Golden, version},
    home::{Home, house, kept},
    house::{House, Program},
};

/// The furthest way: all steps there are.
const OLDEST: &Golden = &ALL[0];
/// An upgrade takes fewer writes and syncs than this.
const MOST_STEPS: u32 = 400;

/// Everything in a store, table by table and row by row, and how the tables are made.
fn content(path: &Path) -> Vec<Vec<Value>> {
    let connection = Connection::open(path).unwrap();
    let verdict: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
    let rows = |sql: &str| -> Vec<Vec<Value>> {
        let mut statement = connection.prepare(sql).unwrap();
        let columns = statement.column_count();
        let rows =
            statement.query_map([], |row| (0..columns).map(|column| row.get(column)).collect()).unwrap();
        rows.map(Result::unwrap).collect()
    };
    let mut all = rows("SELECT name, sql FROM sqlite_master ORDER BY name");
    for table in rows("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name") {
        let [Value::Text(table)] = &table[..] else { panic!("{table:?}") };
        all.extend(rows(&format!("SELECT * FROM \"{table}\"")));
    }
    all
}

/// The oldest golden file as of now, and all that is in it.
struct Before {
    directory: tempfile::TempDir,
    content: Vec<Vec<Value>>,
}

impl Before {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hearthlink.db");
        OLDEST.put_as_of_now(&path);
        Self { content: content(&path), directory }
    }

    /// A house that has it.
    fn house(&self) -> House {
        let house = house();
        fs::create_dir(house.path().join("data")).unwrap();
        fs::copy(self.directory.path().join("hearthlink.db"), house.store_file()).unwrap();
        house
    }
}

/// Either as it was, or up to date; never in between. Says which.
fn is_up_to_date(house: &House, before: &Before, case: &str) -> bool {
    let path = house.store_file();
    let found = version(&path);
    if found == OLDEST.schema {
        assert!(content(&path) == before.content, "{case}: it is of the version before and not as it was");
        return false;
    }
    assert_eq!(found, SCHEMA_VERSION, "{case}: a version in between");
    let copy = path.with_file_name(format!("hearthlink.db.v{}", OLDEST.schema));
    assert!(content(&copy) == before.content, "{case}: the copy is not what there was");
    true
}

async fn everything_is_there(house: &House, case: &str) {
    let kept = kept(house).await;
    for waiting in OLDEST.waiting {
        assert!(kept.contains(waiting.payload), "{case}: {} of {kept:?}", waiting.payload);
    }
}

#[tokio::test]
async fn a_power_cut_at_any_write_of_an_upgrade_leaves_the_file_as_it_was_or_up_to_date() {
    let (before, disk) = (Before::new(), FaultyDisk::new());
    let mut cuts = 0;
    for step in 1.. {
        assert!(step < MOST_STEPS, "it never gets there");
        let house = before.house();
        let case = format!("cut at step {step}");
        disk.cut_power_at(step, step);
        let mut program = Program::start(&house.path().join("home.yaml"), disk.environment());
        let is_cut = tokio::select! {
            _ = program.wait() => true,
            _ = house.status_when("it runs", |_| true) => false,
        };
        if !is_cut {
            program.kill().await;
        }
        disk.heal();
        cuts += u32::from(is_cut);
        let is_up_to_date = is_up_to_date(&house, &before, &case);
        everything_is_there(&house, &case).await;
        if is_up_to_date {
            break;
        }
    }
    println!("{cuts} cuts, {} writes undone", disk.undone());
    assert!(cuts > 10 && disk.undone() > 0, "{cuts}: no cut was in the middle of an upgrade");
}

#[tokio::test]
async fn a_disk_that_becomes_full_in_an_upgrade_leaves_the_file_as_it_was_and_the_home_works_meanwhile() {
    let before = Before::new();
    let mut failed = 0;
    for step in (1..).step_by(16) {
        assert!(step < MOST_STEPS, "it never gets there");
        let (house, disk) = (before.house(), FaultyDisk::new());
        let case = format!("full at write {step}");
        disk.fill_at(step);
        let mut home = Home::start_in(house, disk).await;
        let is_open_or_not = |status: &serde_json::Value| {
            let store = &status["store"];
            store["fault"].is_string() || store["waiting"].as_u64() >= Some(OLDEST.waiting.len() as u64)
        };
        let status = home.house.status_when(&case, is_open_or_not).await;
        let sentence = status["verdict"]["sentence"].as_str().unwrap();
        let is_told = sentence.contains("could not be brought from version 1");
        if is_told {
            failed += 1;
            home.disk_is_reported("the disk is full").await;
            home.home_goes_on().await;
        }
        let Home { house, program, disk, .. } = home;
        program.kill().await;
        if is_told {
            assert!(!is_up_to_date(&house, &before, &case), "{case}");
        }
        disk.heal();
        let program = house.start().await;
        house.status_when(&case, |status| status["store"]["fault"].is_null()).await;
        program.kill().await;
        if !is_told {
            break;
        }
        assert!(is_up_to_date(&house, &before, &case), "{case}");
        everything_is_there(&house, &case).await;
    }
    assert!(failed > 1, "{failed}: the disk was never full in the middle of an upgrade");
}
