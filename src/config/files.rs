//! The files of a configuration: read, parsed, and kept to be shown beside what is wrong with them.

use std::{fs, path::Path};

use super::{
    Problem,
    problem::{Shown, Where, shown},
    tree::{Node, Place, Spot, Value},
};

/// The files that were read: how they may be shown, and their trees.
#[derive(Default)]
pub(super) struct Files {
    shown: Vec<Shown>,
    pub layers: Vec<Node>,
}

impl Files {
    /// Reads one layer; what is wrong with it is added to `problems`.
    pub fn read(&mut self, path: &Path, problems: &mut Vec<Problem>) {
        let layer = self.read_apart(path, problems);
        self.layers.extend(layer);
    }

    /// Reads a file that is no layer.
    pub fn read_apart(&mut self, path: &Path, problems: &mut Vec<Problem>) -> Option<Node> {
        let text = match fs::read(path).map(String::from_utf8) {
            Ok(Ok(text)) => text,
            Ok(Err(_)) => {
                let remedy = "save it as UTF-8".to_owned();
                problems.push(Problem::new(
                    Where::File(path.to_owned()),
                    "the file is not UTF-8",
                    Some(remedy),
                ));
                return None;
            }
            Err(error) => {
                let remedy = match error.kind() {
                    std::io::ErrorKind::NotFound => "name the file with `--config FILE`",
                    _ => "let the user that runs Hearthlink read it",
                };
                let what = format!("cannot read the configuration: {error}");
                problems.push(Problem::new(Where::File(path.to_owned()), what, Some(remedy.to_owned())));
                return None;
            }
        };
        let file = self.shown.len();
        self.shown.push(shown(&path.display().to_string(), &text));
        let start = Spot { file, line: 1, column: 1, offset: 0, length: 0 };
        match Node::parse(file, &text) {
            Ok(node) => match node.value {
                Value::Map(_) => return Some(node),
                // Everything is commented out.
                Value::Null => {}
                _ => {
                    let remedy = "write it like `gateway: { id: home }`";
                    problems.push(self.problem(start, "a configuration is a map of sections", remedy));
                }
            },
            Err(error) => {
                let mut spot = error.location().map_or(start, |location| Spot::new(file, location));
                if spot.offset == 0 {
                    spot.offset = offset_of(&text, spot);
                }
                let (what, remedy) = syntax(&error);
                problems.push(self.problem(spot, what, remedy));
            }
        }
        None
    }

    /// Nothing is set anywhere.
    pub fn nothing_set(&self) -> Problem {
        let start = Spot { file: 0, line: 1, column: 1, offset: 0, length: 0 };
        let remedy = "write at least `gateway: { id: home }`, begin with config.example.yaml, or let `hearthlink init` ask";
        self.problem(start, "the file is empty", remedy)
    }

    fn problem(&self, spot: Spot, what: impl Into<String>, remedy: &str) -> Problem {
        Problem::new(Where::Spot(spot, self.shown[spot.file].clone()), what, Some(remedy.to_owned()))
    }

    /// The place, with the file to show.
    pub fn locate(&self, place: &Place) -> Where {
        match place {
            Place::File(spot) => Where::Spot(*spot, self.shown[spot.file].clone()),
            Place::Variable(name) => Where::Variable(name.clone()),
        }
    }
}

/// The byte offset of a line and column, for errors of the scanner, which have no offset.
fn offset_of(text: &str, spot: Spot) -> usize {
    let before: usize = text.split_inclusive('\n').take(spot.line as usize - 1).map(str::len).sum();
    let line = text[before..].lines().next().unwrap_or_default();
    before + line.chars().take(spot.column as usize - 1).map(char::len_utf8).sum::<usize>()
}

fn syntax(error: &serde_saphyr::Error) -> (String, &'static str) {
    match error.without_snippet() {
        serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } => {
            (format!("the key `{key}` is there twice"), "put both together under one key")
        }
        serde_saphyr::Error::MultipleDocuments { .. } => (
            "a second document begins here".to_owned(),
            "take the line `---` out, or write a file in config.d",
        ),
        error => {
            let text = error.to_string();
            let text = text.lines().next().unwrap_or_default();
            // The place is shown by itself.
            let what = text.rsplit_once(" at line ").map_or(text, |(what, _)| what);
            (what.to_owned(), "look at this line and the ones around it: indentation, quotes, `key: value`")
        }
    }
}
