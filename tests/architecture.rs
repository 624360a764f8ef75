//! Holds the floors of the house: imports go down only, never sideways, and there are no circles.
//!
//! Reads the sources as text, tests included, so that nothing needs to compile for it and no `cfg` hides an
//! import. What it cannot see: a path that a macro builds out of pieces.

#[path = "architecture/paths.rs"]
mod paths;
#[path = "architecture/plan.rs"]
mod plan;
#[path = "architecture/source.rs"]
mod source;

use std::{fs, path::Path};

use plan::breaches;

#[test]
fn imports_go_down_only_and_every_file_says_what_it_owns() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, "", &mut files);
    assert!(files.iter().any(|(path, _)| path == "lib.rs"), "no sources below {}", root.display());
    let found: Vec<String> = breaches(&files).iter().map(ToString::to_string).collect();
    assert!(found.is_empty(), "the house leaves its plan:\n{}", found.join("\n"));
}

fn collect(directory: &Path, prefix: &str, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(directory).expect("src/ can be listed") {
        let entry = entry.expect("src/ can be listed");
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            collect(&entry.path(), &format!("{name}/"), files);
        } else if name.ends_with(".rs") {
            files.push((name, fs::read_to_string(entry.path()).expect("a source is UTF-8")));
        }
    }
}

/// What the checker says about one made-up file.
fn verdict(path: &str, source: &str) -> Vec<String> {
    let files = [(path.to_owned(), format!("//! Made up.\n{source}"))];
    breaches(&files).iter().map(ToString::to_string).collect()
}

/// Exactly one breach, at `line` of the made-up source, and its sentence has `part`.
#[track_caller]
fn assert_breach(path: &str, source: &str, line: usize, part: &str) {
    let found = verdict(path, source);
    assert_eq!(found.len(), 1, "{source}\n{found:#?}");
    let place = format!("src/{path}:{}: ", line + 1);
    assert!(found[0].starts_with(&place) && found[0].contains(part), "{source}\n{}", found[0]);
}

#[test]
fn climbing_is_found_in_every_spelling() {
    for climb in [
        "use crate::app::Run;",
        "use crate::{model::Topic, app};",
        "use crate::{\nmodel::{Message, Topic as T}, app::{self as a, b}};",
        "pub(crate) use crate::app::*;",
        "use super::app::Run;",
        "use super::{app};",
        "use self::super::app::Run;",
        "fn f() { crate::app::run(); }",
        "fn f(x: &crate::app::X) {}",
        "macro_rules! m { () => { $crate::app::run() } }",
        "mod tests { use super::super::app::Run; }",
        "#[cfg(test)]\nmod tests { mod deep { fn f() { super::super::super::app::run() } } }",
        "use r#crate::app::Run;",
    ] {
        let line = 1 + climb.matches('\n').count();
        assert_breach("link/mod.rs", climb, line, "imports go down only");
    }
    assert_breach("devices/kinds/lan/mod.rs", "use super::super::super::app::X;", 1, "imports go down only");
    assert_breach("devices/kinds/lan.rs", "use super::{super::{super::app::X}};", 1, "imports go down only");
    assert_breach("clock.rs", "use super::store::Store;", 1, "imports go down only");
    assert_breach("app/run.rs", "use hearthlink::cli::Args;", 1, "imports go down only");
}

#[test]
fn sideways_is_found_and_the_named_steps_are_not() {
    assert_breach("link/pump.rs", "\nuse crate::{store::Store, broker::Broker};", 2, "never go sideways");
    assert_breach("health/board.rs", "use crate::store::StoreStats;", 1, "never go sideways");
    assert_breach("demo/home.rs", "use crate::cli::Args;", 1, "never go sideways");
    assert!(verdict("main.rs", "use hearthlink::cli; fn main() { cli::run() }").is_empty());
    assert!(verdict("clock.rs", "use crate::model::Timestamp;").is_empty());
}

#[test]
fn whole_house_and_unknown_room_are_refused() {
    assert_breach("link/mod.rs", "use crate::*;", 1, "every room");
    assert_breach("link/mod.rs", "use crate as house;", 1, "every room");
    assert_breach("link/mod.rs", "use super::*;", 1, "every room");
    assert_breach("link/mod.rs", "use crate::util::x;", 1, "`util` is not on the plan");
    assert_breach("link/mod.rs", "use crate::{self as house};", 1, "not on the plan");
    let found = verdict("util/mod.rs", "");
    assert!(found.len() == 1 && found[0].starts_with("src/util/mod.rs: the room `util`"), "{found:?}");
}

#[test]
fn what_only_looks_like_an_import_is_let_through() {
    for innocent in [
        "// use crate::app::Run;",
        "/* use crate::app; /* nested */ crate::app::x */",
        "/// See [`crate::app::Run`].\nstruct A;",
        "const A: &str = \"crate::app::x\"; const B: &str = r#\"use \"crate::app\"#;",
        "const C: char = '\"'; fn f<'a>(x: &'a str) {} // '\n",
        "const D: &[u8] = b\"\\\" crate::app::x\"; const E: u8 = b'\\'';",
        "pub(crate) struct X; pub(super) struct Y; pub(in crate::link) struct Z;",
        "use other::app::Run; use self::app::Run; use ::app::Run; use app::Run;",
        "use crate::{model::{app, Topic}, store::app, link::{self, app}};",
        "mod tests { use super::*; use super::app; }",
        "fn f() -> impl Sized + use<> { crate::model::app { a: 1 } }",
    ] {
        assert!(
            verdict("link/mod.rs", innocent).is_empty(),
            "{innocent}\n{:?}",
            verdict("link/mod.rs", innocent)
        );
    }
    assert!(verdict("lib.rs", "pub mod app; use crate::app::X;").is_empty());
}

#[test]
fn file_without_a_headline_is_named() {
    let files = [("link/mod.rs".to_owned(), "use std::fs;".to_owned())];
    let found: Vec<String> = breaches(&files).iter().map(ToString::to_string).collect();
    assert!(
        found.len() == 1 && found[0].starts_with("src/link/mod.rs:1: the file does not open with"),
        "{found:?}"
    );
}
