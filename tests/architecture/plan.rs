//! The plan of the house, and what breaks it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::paths::references;

/// Rooms by floor, from the ground up; DESIGN.md, "The house".
const FLOORS: [&[&str]; 6] = [
    &["model", "clock", "retry", "permissions", "patience"],
    &["store", "health", "config"],
    &["broker", "devices", "link", "commands", "host"],
    &["web"],
    &["app"],
    &["main", "cli", "demo"],
];

/// The only steps on one floor, each with its reason. They must not make a circle.
const STEPS: [(&str, &str); 5] = [
    // Times on the wall are words, and the clock tells them.
    ("clock", "model"),
    // Who guesses is known by network, which is a word.
    ("patience", "model"),
    // `main` is thin: it only starts the command line.
    ("main", "cli"),
    // `hearthlink demo` is a command.
    ("main", "demo"),
    ("cli", "demo"),
];

/// A place where the house leaves its plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// `src/link/dial.rs:12`, or only the file.
    pub place: String,
    /// What is wrong, and what to do.
    pub sentence: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.sentence)
    }
}

/// Everything that is wrong with `files`: pairs of a path below `src/` and its text.
pub fn breaches(files: &[(String, String)]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let mut imports: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for (path, source) in files {
        if !source.starts_with("//!") {
            let sentence = "the file does not open with `//!`: say what it owns and what it never does";
            breaches.push(Breach { place: format!("src/{path}:1"), sentence: sentence.to_owned() });
        }
        let module = module(path);
        let Some(&room) = module.first().or((path == "main.rs").then_some(&"main")) else {
            continue; // lib.rs only names the rooms.
        };
        if floor(room).is_none() {
            let sentence = format!("the room `{room}` is not on the plan; {}", draw_it());
            breaches.push(Breach { place: format!("src/{path}"), sentence });
            continue;
        }
        for reference in references(source, &module) {
            let place = format!("src/{path}:{}", reference.line);
            match wrong(room, &reference.room) {
                Some(sentence) => breaches.push(Breach { place, sentence }),
                None if reference.room != room => {
                    imports.entry(room.to_owned()).or_default().entry(reference.room).or_insert(place);
                }
                None => {}
            }
        }
    }
    breaches.extend(circle(&imports));
    breaches
}

/// `link/dial/tcp.rs` is the module `link::dial::tcp`, `link/mod.rs` is `link`, the roots are empty.
fn module(path: &str) -> Vec<&str> {
    let levels = path.strip_suffix(".rs").unwrap_or(path).split('/');
    let mut levels: Vec<&str> = levels.collect();
    if levels.last() == Some(&"mod") || ["lib", "main"].contains(&levels.join("/").as_str()) {
        levels.pop();
    }
    levels
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

fn draw_it() -> &'static str {
    "draw it in DESIGN.md and in tests/architecture/plan.rs, or move the file into a room"
}

fn wrong(from: &str, to: &str) -> Option<String> {
    let (own, theirs) = (floor(from)?, floor(to));
    match theirs {
        _ if to.is_empty() || to == "*" => Some(
            "this imports the crate's root, and with it every room; name the room that is meant".to_owned(),
        ),
        None => Some(format!("the room `{to}` is not on the plan; {}", draw_it())),
        Some(theirs) if theirs > own => Some(format!(
            "`{from}` (floor {own}) imports `{to}` (floor {theirs}), but imports go down only; \
             let `{from}` own a type or a trait that `app` fills"
        )),
        Some(theirs) if theirs == own && from != to && !STEPS.contains(&(from, to)) => Some(format!(
            "`{from}` and `{to}` are both on floor {own}, and imports never go sideways; \
             join them in `app`, or move what both need into a floor below"
        )),
        Some(_) => None,
    }
}

/// The first circle among rooms, if there is one; only wrong STEPS can make it.
fn circle(imports: &BTreeMap<String, BTreeMap<String, String>>) -> Option<Breach> {
    fn walk<'a>(
        imports: &'a BTreeMap<String, BTreeMap<String, String>>,
        path: &mut Vec<&'a str>,
        done: &mut BTreeSet<&'a str>,
    ) -> Option<Breach> {
        let room = *path.last()?;
        for (next, place) in imports.get(room).into_iter().flatten() {
            if let Some(start) = path.iter().position(|seen| seen == next) {
                let sentence = format!("the rooms go in a circle: {} → {next}", path[start..].join(" → "));
                return Some(Breach { place: place.clone(), sentence });
            }
            if !done.contains(next.as_str()) {
                path.push(next);
                if let Some(breach) = walk(imports, path, done) {
                    return Some(breach);
                }
                path.pop();
            }
        }
        done.insert(room);
        None
    }
    let mut done = BTreeSet::new();
    imports.keys().find_map(|room| walk(imports, &mut vec![room], &mut done))
}

#[test]
fn a_circle_is_found_even_where_every_single_step_is_allowed() {
    let mut imports: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for (from, to) in [("main", "cli"), ("cli", "demo"), ("demo", "main")] {
        imports.entry(from.to_owned()).or_default().insert(to.to_owned(), format!("src/{from}.rs:1"));
    }
    let breach = circle(&imports).expect("a circle");
    assert_eq!(breach.place, "src/main.rs:1");
    assert_eq!(breach.sentence, "the rooms go in a circle: cli → demo → main → cli");
    imports.remove("demo");
    assert_eq!(circle(&imports), None);
}
