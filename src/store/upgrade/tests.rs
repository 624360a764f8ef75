//! An upgrade in one process: what is copied, what is put back, what is refused untouched.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::{
    clock::Clock,
    model::Timestamp,
    store::{
        Store, StoreOptions, damage, examine_store, refuse_later_store,
        visit::{Forget, drop_waiting, forget, look_at_queue},
    },
};

/// A file of this version with one message in it, as programs of that time left it: in WAL.
fn old(directory: &Path, version: usize) -> PathBuf {
    let path = directory.join("store.db");
    let old = Connection::open(&path).unwrap();
    old.pragma_update(None, "journal_mode", "WAL").unwrap();
    for step in &schema::STEPS[..version] {
        old.execute_batch(step).unwrap();
    }
    old.pragma_update(None, "user_version", version).unwrap();
    old.execute_batch(
        "INSERT INTO meta VALUES ('store', '0123456789ab');
         INSERT INTO outbox (topic, payload, qos, retain, size, accepted_at) VALUES ('t', x'31', 1, 0, 2, 1799999999000);",
    )
    .unwrap();
    if version >= 3 {
        old.execute_batch("UPDATE outbox SET born = accepted_at").unwrap();
    }
    path
}

fn open(path: &Path, clock: &Clock) -> Result<Store, StoreError> {
    Store::open(path, &StoreOptions::default(), clock.clone())
}

fn clock() -> Clock {
    Clock::manual(Timestamp::from_millis(1_800_000_000_000))
}

/// Everything that a file says, as the program of then would read it.
fn content(path: &Path) -> (usize, Vec<String>) {
    let connection = Connection::open(path).unwrap();
    let texts = |sql: &str| -> Vec<String> {
        let mut statement = connection.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let mut all = texts("SELECT name || coalesce(sql, '') FROM sqlite_master ORDER BY name");
    all.extend(texts("SELECT name || value FROM meta ORDER BY name"));
    all.extend(texts(
        "SELECT sequence || topic || hex(payload) || accepted_at FROM outbox ORDER BY sequence",
    ));
    (schema::version(&connection).unwrap(), all)
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| !name.ends_with("-shm") && !name.ends_with("-wal") && !name.ends_with(".lock"));
    names.sort();
    names
}

#[tokio::test]
async fn the_file_of_before_is_kept_as_it_was_and_only_the_last_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = old(directory.path(), 2);
    let before = content(&path);
    fs::write(directory.path().join("store.db.v1"), "of an earlier upgrade").unwrap();
    fs::write(directory.path().join("store.db.copying"), "of a start that was cut off").unwrap();
    fs::write(directory.path().join("store.db.very"), "somebody else's").unwrap();
    open(&path, &clock()).unwrap().closed().await;
    assert_eq!(names(directory.path()), ["store.db", "store.db.v2", "store.db.very"]);
    let copy = directory.path().join("store.db.v2");
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(content(&copy), before);
    assert_eq!(content(&path).0, SCHEMA_VERSION);
}

#[tokio::test]
async fn the_copy_goes_after_thirty_days_in_a_run_that_has_lasted_and_not_before() {
    let directory = tempfile::tempdir().unwrap();
    let path = old(directory.path(), 3);
    let clock = clock();
    open(&path, &clock).unwrap().closed().await;
    let timeline = |clock: &Clock| {
        let connection = Connection::open(&path).unwrap();
        let (timeline, _) = Timeline::load(&connection, clock.clone(), i64::MAX).unwrap();
        (Kept::find(&connection, &path).unwrap().expect("it is there"), timeline)
    };
    let (kept, time) = timeline(&clock);
    clock.advance(KEPT - Duration::from_secs(1));
    let kept = kept.unless_over(&time).expect("a second is left");
    assert!(kept.file.exists());

    // In another run, whose clock is thirty days on at once.
    let later = Clock::manual(clock.now().plus(Duration::from_secs(60)));
    let (kept, time) = timeline(&later);
    later.advance(RUN - Duration::from_secs(1));
    let kept = kept.unless_over(&time).expect("a run that has not lasted");
    later.advance(Duration::from_secs(1));
    let file = kept.file.clone();
    assert!(kept.unless_over(&time).is_none());
    assert!(!file.exists());
    assert!(Kept::find(&Connection::open(&path).unwrap(), &path).unwrap().is_none());
}

#[test]
fn a_copy_wants_its_size_twice_and_something_to_spare() {
    assert!(is_enough(Some(SPARE + 2000), 1000));
    assert!(!is_enough(Some(SPARE + 1999), 1000));
    assert!(is_enough(None, 1000), "a disk that does not say");
    assert!(!is_enough(Some(u64::MAX - 1), u64::MAX), "no overflow");
}

#[tokio::test]
async fn without_a_copy_the_store_is_brought_up_to_date_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let path = old(directory.path(), 3);
    // Nothing can be put in the place of a directory that has something in it.
    fs::create_dir_all(directory.path().join("store.db.v3/full")).unwrap();
    let store = open(&path, &clock()).unwrap();
    assert_eq!(store.pending(0, 10, 1000).await.unwrap().len(), 1);
    store.closed().await;
    assert_eq!(names(directory.path()), ["store.db", "store.db.v3"], "nothing half is left");
    assert_eq!(content(&path).0, SCHEMA_VERSION);
}

#[test]
fn a_step_that_fails_in_the_middle_leaves_the_file_as_it_was_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = old(directory.path(), 1);
    // The third step makes a table of this name: the second one has been taken by then.
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE lane (x)").unwrap();
    let before = content(&path);
    let refused = open(&path, &clock()).err().expect("it cannot be brought up to date");
    assert!(matches!(refused, StoreError::NotUpgraded { from: 1, to: SCHEMA_VERSION, .. }), "{refused}");
    assert!(refused.to_string().contains("table lane already exists"), "{refused}");
    assert_eq!(content(&path), before);
}

#[test]
fn a_start_that_cannot_read_what_came_of_the_steps_takes_them_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = old(directory.path(), 3);
    let before = content(&path);
    let connection = damage::look_and_open(&path).unwrap();
    let refused = upgrade(&path, connection, 3, |connection| {
        assert_eq!(schema::version(&connection).unwrap(), SCHEMA_VERSION);
        Err(StoreError::row("sums", "they make no sense"))
    });
    let refused = refused.err().expect("it was not read");
    assert!(matches!(refused, StoreError::NotUpgraded { from: 3, .. }), "{refused}");
    assert_eq!(content(&path), before);
}

/// The bytes of a file and of its log.
fn bytes(path: &Path) -> (Vec<u8>, Option<Vec<u8>>) {
    (fs::read(path).unwrap(), fs::read(beside(path, damage::LOG)).ok())
}

#[test]
fn a_file_of_a_later_version_is_refused_and_not_a_byte_of_it_or_its_log_is_changed() {
    let later = |directory: &Path| {
        let path = old(directory, SCHEMA_VERSION);
        let connection = Connection::open(&path).unwrap();
        connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
        (path, connection)
    };
    type Leave = fn(&Connection);
    let cases: [(&str, Leave); 3] = [
        ("stopped in order", |connection| {
            connection.execute_batch("PRAGMA user_version = 99; PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        }),
        ("killed, so that only its log says what version it is", |connection| {
            connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA user_version = 99").unwrap();
        }),
        ("not in WAL, and with a table that this SQLite takes for damage", |connection| {
            connection
                .execute_batch(
                    "PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE; PRAGMA user_version = 99;
                     PRAGMA writable_schema = ON;
                     INSERT INTO sqlite_master VALUES ('table', 'x', 'x', 0, 'CREATE FUTURE TABLE x (y)');",
                )
                .unwrap();
        }),
    ];
    for (case, leave) in cases {
        let directory = tempfile::tempdir().unwrap();
        let (path, connection) = later(directory.path());
        leave(&connection);
        drop(connection);
        fs::write(directory.path().join("store.db.v3"), "").unwrap();
        fs::write(directory.path().join("store.db.v98"), "").unwrap();
        let before = bytes(&path);
        let look = || {
            [
                open(&path, &clock()).err(),
                examine_store(&path).err(),
                look_at_queue(&path, 1).err(),
                drop_waiting(&path, &[1]).err(),
                forget(&path, Forget::ALL).err(),
                refuse_later_store(&path).err(),
            ]
        };
        for refused in look() {
            let Some(StoreError::FromTheFuture { path: named, found: 99, known: SCHEMA_VERSION, copy }) =
                refused
            else {
                panic!("{case}: {refused:?}");
            };
            assert_eq!((named, copy), (path.clone(), Some(directory.path().join("store.db.v3"))), "{case}");
        }
        assert!(bytes(&path) == before, "{case}: changed");
    }
}

#[test]
fn a_later_version_is_told_with_the_remedy_and_with_the_copy_that_lies_there() {
    let error = |copy| {
        StoreError::FromTheFuture { path: "/x/hearthlink.db".into(), found: 5, known: 4, copy }.to_string()
    };
    assert_eq!(
        error(Some("/x/hearthlink.db.v4".into())),
        "the store `/x/hearthlink.db` is of version 5, written by a later Hearthlink, and this one knows only 4; install the \
         later one again, which goes on with it and loses nothing; or stay with this one and the copy \
         `/x/hearthlink.db.v4` from before the upgrade, without what came since: docs/upgrades.md"
    );
    assert!(error(None).ends_with("loses nothing; no copy from before the upgrade lies beside it"));
}

#[tokio::test]
async fn a_terminal_brings_nothing_up_to_date() {
    let directory = tempfile::tempdir().unwrap();
    let path = old(directory.path(), 3);
    let before = content(&path);
    let refused = drop_waiting(&path, &[1]);
    assert!(matches!(refused, Err(StoreError::FromThePast { found: 3, .. })), "{refused:?}");
    assert_eq!(content(&path), before);
}

#[test]
fn a_later_version_that_only_the_open_file_tells_is_refused_as_well() {
    let directory = tempfile::tempdir().unwrap();
    let path = old(directory.path(), 3);
    let connection = Connection::open(&path).unwrap();
    assert_eq!(schema::known_version(&path, &connection).unwrap(), 3);
    connection.pragma_update(None, "user_version", SCHEMA_VERSION + 1).unwrap();
    let refused = schema::known_version(&path, &connection);
    assert!(matches!(refused, Err(StoreError::FromTheFuture { .. })), "{refused:?}");
}
