//! How old things are, however the wall clock is set, over a restart and while it is wrong.

use super::*;

/// A gateway that wakes up at `noon`, is off for some time, and then believes that it is 1970.
async fn woken_in_1970(directory: &TempDir, options: &StoreOptions) -> (Store, Clock) {
    let store = open(directory, options, &Clock::manual(noon()));
    append(&store, entry(1, 1)).await.unwrap();
    drop(store);
    let clock = Clock::manual(Timestamp::from_millis(5_000));
    clock.set_trusted(false);
    (open(directory, options, &clock), clock)
}

fn set(clock: &Clock, now: Timestamp) {
    clock.set(now);
    clock.set_trusted(true);
}

#[tokio::test]
async fn what_is_taken_before_the_clock_is_set_is_made_no_older_by_setting_it() {
    let directory = TempDir::new().unwrap();
    let options = StoreOptions { max_age: seconds(7200), ..StoreOptions::default() };
    let (store, clock) = woken_in_1970(&directory, &options).await;
    append(&store, Entry { life: Some(seconds(600)), ..entry(2, 1) }).await.unwrap();
    clock.advance(seconds(60));
    let read_before = store.pending(0, 10, 1 << 20).await.unwrap();
    assert_eq!(store.age(read_before[1].born), seconds(60));

    // It was off for an hour.
    set(&clock, noon().plus(seconds(3660)));
    append(&store, entry(3, 1)).await.unwrap();
    assert_eq!(store.stats().borrow().dropped_expired, 0);
    let records = store.pending(0, 10, 1 << 20).await.unwrap();
    let ages = |records: &[Record]| -> Vec<u64> {
        records.iter().map(|record| store.age(record.born).as_secs()).collect()
    };
    assert_eq!(ages(&records), [3660, 60, 0]);
    assert_eq!(ages(&read_before), [3660, 60], "one that the link has in its hands is no older either");

    clock.advance(seconds(539));
    append(&store, entry(4, 1)).await.unwrap();
    assert_eq!(store.stats().borrow().dropped_expired, 0, "its own expiry has moved with it");
    clock.advance(seconds(2));
    append(&store, entry(5, 1)).await.unwrap();
    assert_eq!(store.stats().borrow().dropped_expired, 1);
}

#[tokio::test]
async fn what_passed_is_not_counted_twice_when_the_disk_fails_at_that_moment() {
    let directory = TempDir::new().unwrap();
    let (store, clock) = woken_in_1970(&directory, &StoreOptions::default()).await;
    append(&store, entry(2, 1)).await.unwrap();
    let born = store.pending(0, 10, 1 << 20).await.unwrap()[1].born;
    set(&clock, noon().plus(seconds(3600)));
    let fail = |how: &'static str| {
        store.read(move |connection| Ok(connection.execute_batch(&format!("PRAGMA query_only = {how}"))?))
    };
    fail("ON").await.unwrap();
    append(&store, entry(3, 1)).await.unwrap_err();
    fail("OFF").await.unwrap();
    append(&store, entry(4, 1)).await.unwrap();
    let records = store.pending(0, 10, 1 << 20).await.unwrap();
    let ages: Vec<u64> = records.iter().map(|record| store.age(record.born).as_secs()).collect();
    assert_eq!((ages, store.age(born)), (vec![3600, 0, 0], Duration::ZERO));
}

#[tokio::test]
async fn a_second_restart_adds_only_what_passed_since_the_first() {
    let directory = TempDir::new().unwrap();
    let (store, clock) = woken_in_1970(&directory, &StoreOptions::default()).await;
    append(&store, entry(2, 1)).await.unwrap();
    set(&clock, noon().plus(seconds(3600)));
    append(&store, entry(3, 1)).await.unwrap();
    drop(store);
    let store = open(&directory, &StoreOptions::default(), &Clock::manual(noon().plus(seconds(4000))));
    let records = store.pending(0, 10, 1 << 20).await.unwrap();
    let ages: Vec<u64> = records.iter().map(|record| store.age(record.born).as_secs()).collect();
    assert_eq!(ages, [4000, 400, 400]);
}
