//! From the tree to the types, round by round.
//!
//! After a fault the value at fault is taken out of the tree and reading starts again, so that one run
//! shows every problem; a bound on the number of rounds keeps a hopeless file short. What is missing only
//! because it was taken out is not reported.

use std::collections::BTreeSet;

use super::{
    Config, Problem,
    decode::{Fault, Wrong, decode},
    files::Files,
    suggestion::{nearest, suggestion},
    tree::Node,
};

/// After this many faults of shape, the rest is left for the next run.
const MOST_FAULTS: usize = 50;

/// What stands in for a required value that is missing or bad, while the rest is checked.
const STAND_INS: [(&str, &str); 2] = [("gateway", "unnamed"), ("cloud", "wss://stand-in.invalid/mqtt")];

/// Reading the tree into the types, round by round.
#[derive(Default)]
pub(super) struct Shape {
    /// Sections out of which something was taken, so that "no such device" may be our own doing.
    pub incomplete: BTreeSet<String>,
    /// What was taken out: the number of its map and its key, or the key that was probably meant.
    pruned: Vec<(usize, Option<String>)>,
}

impl Shape {
    /// Reads the tree; what is wrong is added to `problems`, and what stays of it is returned.
    pub fn read(&mut self, tree: &mut Node, files: &Files, problems: &mut Vec<Problem>) -> Option<Config> {
        for _ in 0..MOST_FAULTS {
            let fault = match decode::<Config>(tree) {
                Ok(config) => return Some(config),
                Err(fault) => fault,
            };
            let id = fault.node.unwrap_or(tree.id);
            if !self.is_aftermath(id, &fault.wrong) {
                let node = tree.by_id(id).unwrap_or(tree);
                let at = tree.path_of(id).unwrap_or_default();
                problems.push(describe(node, &fault, files).about(&at));
            }
            self.repair(tree, id, &fault)?;
        }
        None
    }

    /// Whether a value is missing only because it was taken out.
    fn is_aftermath(&self, id: usize, wrong: &Wrong) -> bool {
        match wrong {
            Wrong::Missing(name) => {
                self.pruned.iter().any(|(map, key)| *map == id && key.as_deref() == Some(name))
            }
            Wrong::Key { .. } | Wrong::Word { .. } | Wrong::Type { .. } | Wrong::Other(_) => false,
        }
    }

    fn repair(&mut self, tree: &mut Node, id: usize, fault: &Fault) -> Option<()> {
        let section = tree.section_of(id);
        if let Some(section) = &section {
            self.incomplete.insert(section.clone());
        }
        if let Wrong::Missing(_) = fault.wrong {
            // `gateway` itself, `gateway.id` or `cloud.url`.
            let (name, text) = match section.as_deref() {
                None => STAND_INS[0],
                Some(section) => match STAND_INS.iter().find(|(name, _)| *name == section) {
                    Some(found) if tree.child(section).is_some_and(|node| node.id == id) => *found,
                    _ => return self.prune(tree, id, &fault.wrong),
                },
            };
            tree.stand_in(name, if name == "gateway" { "id" } else { "url" }, text);
            return Some(());
        }
        self.prune(tree, id, &fault.wrong)
    }

    fn prune(&mut self, tree: &mut Node, id: usize, wrong: &Wrong) -> Option<()> {
        let (map, key) = tree.prune(id)?;
        let meant = match wrong {
            Wrong::Key { name, known } => nearest(name, known).map(str::to_owned),
            Wrong::Word { .. } | Wrong::Missing(_) | Wrong::Type { .. } | Wrong::Other(_) => key,
        };
        self.pruned.push((map, meant));
        Some(())
    }
}

fn describe(node: &Node, fault: &Fault, files: &Files) -> Problem {
    let (what, remedy) = match &fault.wrong {
        Wrong::Key { name, known } => (format!("unknown key `{name}`"), Some(suggestion(name, known))),
        Wrong::Word { name, known } => (format!("unknown word `{name}`"), Some(suggestion(name, known))),
        Wrong::Missing(name) => (format!("`{name}` is missing"), Some(format!("add `{name}:` here"))),
        Wrong::Type { found, expected } => {
            (format!("expected {expected}, found {found}"), type_remedy(found, expected).map(str::to_owned))
        }
        Wrong::Other(text) => match text.split_once('\n') {
            Some((what, remedy)) => (what.to_owned(), Some(remedy.to_owned())),
            None => (text.clone(), None),
        },
    };
    let place = match &fault.wrong {
        Wrong::Key { .. } => node.key.as_ref().unwrap_or(&node.place),
        _ => &node.place,
    };
    Problem::new(files.locate(place), what, remedy)
}

fn type_remedy(found: &str, expected: &str) -> Option<&'static str> {
    match expected {
        "a section with keys" => Some("write its keys below it, indented: `key: value`"),
        "a list" => Some("begin each entry with `- `, or write `[…, …]`"),
        "a text" if !["a list", "a section with keys"].contains(&found) => Some("put the value in quotes"),
        "true or false" => Some("write `true` or `false`, without quotes"),
        _ => None,
    }
}
