//! From files and environment to a checked [`Config`], or to all that is wrong with them.
//!
//! After a fault of shape the value at fault is taken out of the tree and reading starts again, so that one
//! run shows every problem; a bound on the number of rounds keeps a hopeless file short.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
};

use super::{
    Config, ConfigError, Finding, Problem, checks,
    decode::{Fault, Wrong, decode},
    layers,
    problem::{Shown, Where, shown},
    tree::{Node, Place, Spot, Value},
};

/// After this many faults of shape, the rest is left for the next run.
const MOST_FAULTS: usize = 50;

/// What stands in for a required value that is missing or bad, while the rest is checked.
const STAND_INS: [(&str, &str); 2] = [("gateway", "unnamed"), ("cloud", "wss://stand-in.invalid/mqtt")];

type Check<'a> = &'a dyn Fn(&Config) -> Vec<Finding>;

/// Loads a configuration; see [`load`] for the plain case.
pub struct Loader<'a> {
    path: &'a Path,
    variables: Option<HashMap<String, String>>,
    checks: Vec<Check<'a>>,
}

/// Loads the file at `path`, what lies in `config.d` beside it and the environment, and checks it all.
///
/// # Errors
/// [`ConfigError`] with everything that is wrong.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    Loader::new(path).load()
}

impl<'a> Loader<'a> {
    /// Loads from the file at `path`.
    pub fn new(path: &'a Path) -> Self {
        Self { path, variables: None, checks: Vec::new() }
    }

    /// Takes these variables for the environment, for tests.
    #[must_use]
    pub fn environment(mut self, variables: HashMap<String, String>) -> Self {
        self.variables = Some(variables);
        self
    }

    /// Asks one more check, of a room that this one must not know; `devices[2].kind` and the like name places.
    #[must_use]
    pub fn check(mut self, check: Check<'a>) -> Self {
        self.checks.push(check);
        self
    }

    /// Loads and checks.
    ///
    /// # Errors
    /// [`ConfigError`] with everything that is wrong.
    pub fn load(self) -> Result<Config, ConfigError> {
        let mut problems = Vec::new();
        let mut files = Files::default();
        for path in paths(self.path, &mut problems) {
            files.read(&path, &mut problems);
        }
        let config = match layers::merge(&files.layers, self.variables.as_ref()) {
            // What is missing from a file that could not be read is no fault of its own.
            Ok(tree) if problems.is_empty() => self.check_tree(tree, &files, &mut problems),
            Ok(_) => None,
            Err(error) => {
                let place = Where::Variable("HEARTHLINK__…".to_owned());
                problems.push(Problem::new(place, error.to_string(), None));
                None
            }
        };
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(ConfigError::new(self.path.to_owned(), problems)),
        }
    }

    fn check_tree(&self, mut tree: Node, files: &Files, problems: &mut Vec<Problem>) -> Option<Config> {
        let mut shape = Shape::default();
        let mut config = shape.read(&mut tree, files, problems)?;
        let directory = self.path.parent().unwrap_or(Path::new(""));
        checks::resolve(&mut config, directory);
        let mut findings = checks::all(&config, &shape.incomplete);
        findings.extend(self.checks.iter().flat_map(|check| check(&config)));
        problems.extend(findings.into_iter().map(|finding| {
            let place = files.locate(&tree.nearest(&finding.at).place);
            Problem::new(place, finding.what, Some(finding.remedy))
        }));
        Some(config)
    }
}

/// The file, then `config.d/*.yaml` beside it in the order of their names.
fn paths(file: &Path, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    let directory = file.parent().unwrap_or(Path::new("")).join("config.d");
    let mut more = Vec::new();
    if directory.is_dir() {
        match fs::read_dir(&directory) {
            Ok(entries) => more.extend(entries.flatten().map(|entry| entry.path()).filter(|path| {
                path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
            })),
            Err(error) => {
                let remedy = "let the user that runs Hearthlink read it".to_owned();
                let what = format!("cannot list this directory: {error}");
                problems.push(Problem::new(Where::File(directory), what, Some(remedy)));
            }
        }
    }
    more.sort();
    std::iter::once(file.to_owned()).chain(more).collect()
}

/// The files that were read: how they may be shown, and their trees.
#[derive(Default)]
struct Files {
    shown: Vec<Shown>,
    layers: Vec<Node>,
}

impl Files {
    fn read(&mut self, path: &Path, problems: &mut Vec<Problem>) {
        let text = match fs::read(path).map(String::from_utf8) {
            Ok(Ok(text)) => text,
            Ok(Err(_)) => {
                let remedy = "save it as UTF-8".to_owned();
                problems.push(Problem::new(
                    Where::File(path.to_owned()),
                    "the file is not UTF-8",
                    Some(remedy),
                ));
                return;
            }
            Err(error) => {
                let remedy = match error.kind() {
                    std::io::ErrorKind::NotFound => "name the file with `--config FILE`",
                    _ => "let the user that runs Hearthlink read it",
                };
                let what = format!("cannot read the configuration: {error}");
                problems.push(Problem::new(Where::File(path.to_owned()), what, Some(remedy.to_owned())));
                return;
            }
        };
        let file = self.shown.len();
        self.shown.push(shown(&path.display().to_string(), &text));
        let start = Spot { file, line: 1, column: 1, offset: 0, length: 0 };
        match Node::parse(file, &text) {
            Ok(node) => match node.value {
                Value::Map(_) => self.layers.push(node),
                // A file in config.d may have everything commented out, the main file may not.
                Value::Null if file > 0 => {}
                Value::Null => {
                    let remedy = "write at least `gateway: { id: home }`, or begin with config.example.yaml";
                    problems.push(self.problem(start, "the file is empty", remedy));
                }
                _ => {
                    let remedy = "write it like `gateway: { id: home }`";
                    problems.push(self.problem(start, "a configuration is a map of sections", remedy));
                }
            },
            Err(error) => {
                let spot = error.location().map_or(start, |location| Spot::new(file, location));
                let remedy = "look at this line and the one before it: indentation, quotes, `key: value`";
                problems.push(self.problem(spot, syntax(&error), remedy));
            }
        }
    }

    fn problem(&self, spot: Spot, what: impl Into<String>, remedy: &str) -> Problem {
        Problem::new(Where::Spot(spot, self.shown[spot.file].clone()), what, Some(remedy.to_owned()))
    }

    fn locate(&self, place: &Place) -> Where {
        match place {
            Place::File(spot) => Where::Spot(*spot, self.shown[spot.file].clone()),
            Place::Variable(name) => Where::Variable(name.clone()),
        }
    }
}

fn syntax(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    // The place is shown by itself.
    text.lines().next().unwrap_or_default().to_owned()
}

/// Reading the tree into the types, round by round.
#[derive(Default)]
struct Shape {
    /// Sections out of which something was taken, so that "no such device" may be our own doing.
    incomplete: BTreeSet<String>,
    /// What was taken out: the number of its map and its key.
    pruned: Vec<(usize, Option<String>)>,
}

impl Shape {
    fn read(&mut self, tree: &mut Node, files: &Files, problems: &mut Vec<Problem>) -> Option<Config> {
        for _ in 0..MOST_FAULTS {
            let fault = match decode::<Config>(tree) {
                Ok(config) => return Some(config),
                Err(fault) => fault,
            };
            let id = fault.node.unwrap_or(tree.id);
            if !self.is_aftermath(id, &fault.wrong) {
                let node = tree.by_id(id).unwrap_or(tree);
                problems.push(describe(node, &fault, files));
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
                    _ => return self.prune(tree, id),
                },
            };
            tree.stand_in(name, if name == "gateway" { "id" } else { "url" }, text);
            return Some(());
        }
        self.prune(tree, id)
    }

    fn prune(&mut self, tree: &mut Node, id: usize) -> Option<()> {
        self.pruned.push(tree.prune(id)?);
        Some(())
    }
}

fn describe(node: &Node, fault: &Fault, files: &Files) -> Problem {
    let (what, remedy) = match &fault.wrong {
        Wrong::Key { name, known } => (format!("unknown key `{name}`"), Some(suggestion(name, known))),
        Wrong::Word { name, known } => (format!("unknown word `{name}`"), Some(suggestion(name, known))),
        Wrong::Missing(name) => (format!("`{name}` is missing"), Some(format!("add `{name}:` here"))),
        Wrong::Type { found, expected } => (
            format!("expected {expected}, found {found}"),
            (expected == "a text" && *found != "a list" && *found != "a section with keys")
                .then(|| "put the value in quotes".to_owned()),
        ),
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

/// The nearest of what is known, if it is near; else all of it.
pub(super) fn suggestion(name: &str, known: &[&str]) -> String {
    let lower = name.to_lowercase();
    let nearest = known.iter().map(|word| (strsim::damerau_levenshtein(&lower, word), word)).min();
    match nearest {
        Some((distance, word)) if distance <= 1 + name.len() / 4 => format!("did you mean `{word}`?"),
        _ => format!("known here: {}", known.join(", ")),
    }
}
