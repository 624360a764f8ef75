//! A gateway that has nothing to do, with its line up: how many threads it has and how often they wake.
//!
//! Counted by the kernel (proc(5)): each time that a thread waits for something and is woken. What a busy machine makes
//! late it does not make more of, so the bound holds anywhere; so does it without optimisation.

use std::{collections::HashMap, fs, thread, time::Duration};

use super::Scene;

/// After which nothing of the start is under way any more.
const REST: Duration = Duration::from_secs(10);
const WATCHED: Duration = Duration::from_secs(60);
/// In a minute: issue 9 wants 120, of which a quarter more is left to a machine that does other things (94 were counted alone).
const MOST_WAKE_UPS: u64 = 150;
/// The first, two workers, the store's (issue 9); one more lives for a second when something may block.
const MOST_THREADS: usize = 4;

/// Of each thread, by its id: its name and how often it waited.
fn waits(process: u32) -> HashMap<String, (String, u64)> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("it runs");
    let of_task = |task: fs::DirEntry| {
        // One that ends meanwhile has no status.
        let status = fs::read_to_string(task.path().join("status")).ok()?;
        let field =
            |name: &str| Some(status.lines().find_map(|line| line.strip_prefix(name))?.trim().to_owned());
        let waits = field("voluntary_ctxt_switches:")?.parse().expect("a number");
        Some((task.file_name().to_string_lossy().into_owned(), (field("Name:")?, waits)))
    };
    tasks.filter_map(|task| of_task(task.expect("readable"))).collect()
}

#[test]
fn an_idle_gateway_with_its_line_up_has_four_threads_and_wakes_seldom() {
    let scene = Scene::new();
    let gateway = scene.gateway("");
    gateway.wait_online();
    thread::sleep(REST);
    let process = gateway.id();
    let mut before = waits(process);
    let (mut wake_ups, mut fewest) = (0, usize::MAX);
    for _ in 0..WATCHED.as_secs() {
        thread::sleep(Duration::from_secs(1));
        let now = waits(process);
        fewest = fewest.min(now.len());
        for (thread, (_, count)) in &now {
            wake_ups += count - before.get(thread).map_or(0, |(_, count)| *count);
        }
        before = now;
    }
    assert!(fewest <= MOST_THREADS, "{before:?}");
    assert!(wake_ups <= MOST_WAKE_UPS, "{wake_ups} wake-ups in a minute: {before:?}");
}
