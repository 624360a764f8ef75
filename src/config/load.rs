//! From files and environment to a checked [`Config`], or to all that is wrong with them.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use super::{
    Config, ConfigError, Finding, Problem, checks, files::Files, layers, problem::Where, shape::Shape,
    tree::Node, users,
};

type Check<'a> = &'a dyn Fn(&Config) -> Vec<Finding>;

/// Loads a configuration; see [`load`] for the plain case.
pub struct Loader<'a> {
    path: &'a Path,
    variables: Option<HashMap<String, String>>,
    checks: Vec<Check<'a>>,
    shape_only: bool,
    are_files_elsewhere: bool,
}

/// Loads the file at `path`, what lies in `config.d` and `users.yaml` beside it and the environment, and
/// checks it all.
///
/// # Errors
/// [`ConfigError`] with everything that is wrong.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    Loader::new(path).load()
}

impl<'a> Loader<'a> {
    /// Loads from the file at `path`.
    pub fn new(path: &'a Path) -> Self {
        Self { path, variables: None, checks: Vec::new(), shape_only: false, are_files_elsewhere: false }
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

    /// Reads the shape and checks nothing beyond it: for whoever only asks the running gateway and may not
    /// be allowed to see its keys. Without `users.yaml`.
    #[must_use]
    pub fn shape_only(mut self) -> Self {
        self.shape_only = true;
        self
    }

    /// Only warns of certificates, keys and passwords that are not there: this is not the machine that they are for.
    #[must_use]
    pub fn files_elsewhere(mut self) -> Self {
        self.are_files_elsewhere = true;
        self
    }

    /// Whether nothing is set anywhere: the file is not there, or it and what lies in `config.d` have comments only, and
    /// the environment says nothing. `false` of a file that cannot be read.
    pub fn is_blank(&self) -> bool {
        let is_missing = matches!(self.path.try_exists(), Ok(false));
        let (mut problems, mut files) = (Vec::new(), Files::default());
        for path in paths(self.path, &mut problems).iter().skip(usize::from(is_missing)) {
            files.read(path, &mut problems);
        }
        let merged = layers::merge(&files.layers, self.variables.as_ref());
        problems.is_empty() && merged.is_ok_and(|tree| tree.is_empty())
    }

    /// The files that are read: the main one, then those of `config.d` in their order.
    pub fn files(&self) -> Vec<PathBuf> {
        paths(self.path, &mut Vec::new())
    }

    /// Loads and checks.
    ///
    /// # Errors
    /// [`ConfigError`] with everything that is wrong.
    pub fn load(self) -> Result<Config, ConfigError> {
        self.load_and_warn().map(|(config, _)| config)
    }

    /// Loads and checks; beside the configuration what a person should know of it, if there is anything.
    ///
    /// # Errors
    /// [`ConfigError`] with everything that is wrong, and what a person should know.
    pub fn load_and_warn(self) -> Result<(Config, Option<ConfigError>), ConfigError> {
        let mut problems = Vec::new();
        let mut files = Files::default();
        for path in paths(self.path, &mut problems) {
            files.read(&path, &mut problems);
        }
        let config = match layers::merge(&files.layers, self.variables.as_ref()) {
            Ok(tree) if problems.is_empty() && tree.is_empty() => {
                problems.push(files.nothing_set());
                None
            }
            // What is missing from a file that could not be read is no fault of its own.
            Ok(tree) if problems.is_empty() => self.check_tree(tree, &mut files, &mut problems),
            Ok(_) => None,
            Err(error) => {
                let place = Where::Variable("HEARTHLINK__…".to_owned());
                problems.push(Problem::new(place, error.to_string(), None));
                None
            }
        };
        match config {
            Some(config) if problems.iter().all(Problem::is_warning) => {
                let warnings =
                    (!problems.is_empty()).then(|| ConfigError::new(self.path.to_owned(), problems));
                Ok((config, warnings))
            }
            _ => Err(ConfigError::new(self.path.to_owned(), problems)),
        }
    }

    fn check_tree(&self, mut tree: Node, files: &mut Files, problems: &mut Vec<Problem>) -> Option<Config> {
        let directory = self.path.parent().unwrap_or(Path::new(""));
        // It has hashes in it, and is not for everybody's eyes.
        if !self.shape_only {
            add_users(&directory.join(users::FILE), &mut tree, files, problems);
        }
        let mut shape = Shape::default();
        let mut config = shape.read(&mut tree, files, problems)?;
        checks::resolve(&mut config, directory);
        if self.shape_only {
            return Some(config);
        }
        let made_up = if self.are_files_elsewhere { checks::make_up_keys(&mut config) } else { Vec::new() };
        let mut findings = checks::all(&config, &shape.incomplete);
        findings.extend(made_up);
        findings.extend(self.checks.iter().flat_map(|check| check(&config)));
        problems.extend(findings.into_iter().map(|mut finding| {
            finding.is_warning |= finding.is_of_file && self.are_files_elsewhere;
            let node = tree.nearest(&finding.at);
            let place = node.key.as_ref().filter(|_| finding.on_key).unwrap_or(&node.place);
            Problem::found(files.locate(place), finding)
        }));
        Some(config)
    }
}

/// Puts the users of `users.yaml` behind those of `broker.users`, if there is such a file.
fn add_users(path: &Path, tree: &mut Node, files: &mut Files, problems: &mut Vec<Problem>) {
    if !path.exists() {
        return;
    }
    if let Some(file) = files.read_apart(path, problems)
        && let Err((place, what)) = users::append(tree, file)
    {
        let remedy = "this file is a list `users:`, with entries as in `broker.users`".to_owned();
        problems.push(Problem::new(files.locate(&place), what, Some(remedy)));
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
