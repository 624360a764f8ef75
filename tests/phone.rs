//! The phone's page as files: what its service worker keeps is all of it, under a name that changes with each of them.
//! `browser.rs` opens it.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::{collections::BTreeSet, fs, path::Path};

use ring::digest::{Context, SHA256};

const WORKER: &str = include_str!("../deploy/phone/worker.js");

/// What stands between two marks, the first time.
fn between(from: &str, to: &str) -> &'static str {
    WORKER.split_once(from).unwrap().1.split_once(to).unwrap().0
}

#[test]
fn the_shell_is_the_whole_page_and_is_named_after_what_is_in_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/phone");
    let listed = between("const FILES = [", "];").split('\'').skip(1).step_by(2);
    // The folder itself is its index.html.
    let kept: BTreeSet<String> = listed.filter(|name| *name != "./").map(str::to_owned).collect();
    let names = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    // The browser compares the worker itself; the others are for people.
    let page: BTreeSet<String> = names.filter(|name| !name.ends_with(".md") && name != "worker.js").collect();
    assert_eq!(kept, page);

    let mut digest = Context::new(&SHA256);
    for name in &kept {
        let content = fs::read(folder.join(name)).unwrap();
        digest.update(format!("{name} {}\n", content.len()).as_bytes());
        digest.update(&content);
    }
    let version = data_encoding::HEXLOWER.encode(&digest.finish().as_ref()[..8]);
    let shell = between("const SHELL = '", "';");
    assert_eq!(
        shell,
        format!("hearthlink-phone-{version}"),
        "a file changed: give SHELL this name in worker.js"
    );
}
