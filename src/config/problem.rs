//! What is wrong with a configuration, where, and what to do: for people, in colours or plain.
//!
//! Secrets stay out of sight: in the shown lines whatever follows a `password`, `password_hash`, `secret`,
//! `token` or a header's `value` is starred out, and so are credentials in a URL. The messages never repeat such values.

use std::{fmt, path::PathBuf, sync::Arc};

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, Severity, SourceSpan,
};

use super::{manual, tree::Spot};

/// Keys whose values are never shown.
const SECRETS: [&str; 6] = ["password_hash", "password", "secret", "token", "bind_key", "value"];

/// What a check found, with the path of the value that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// For example `devices[2].options`; where that is not written in the file, the nearest around it counts.
    pub at: String,
    /// What is wrong, without a full stop.
    pub what: String,
    /// What to do, without a full stop; empty when `what` says it.
    pub remedy: String,
    /// Whether it is about the key and not about the value.
    pub on_key: bool,
    /// Whether a person should only know it: nothing is refused for it.
    pub is_warning: bool,
    /// Whether it is about a file that is named, and may be well on the machine that the configuration is for.
    pub is_of_file: bool,
}

impl Finding {
    /// A finding about the value at `at`.
    pub fn new(at: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            at: at.into(),
            what: what.into(),
            remedy: remedy.into(),
            on_key: false,
            is_warning: false,
            is_of_file: false,
        }
    }

    /// The same, for which nothing is refused.
    #[must_use]
    pub fn warning(mut self) -> Self {
        self.is_warning = true;
        self
    }

    /// The same, about a file that is named.
    #[must_use]
    pub(super) fn of_file(mut self) -> Self {
        self.is_of_file = true;
        self
    }

    /// The same, shown at the value's key.
    #[must_use]
    pub fn on_key(mut self) -> Self {
        self.on_key = true;
        self
    }
}

/// A file as it may be shown.
pub(super) type Shown = Arc<NamedSource<String>>;

/// A file's text with its secrets starred out, byte for byte, so that places stay right.
pub(super) fn shown(name: &str, text: &str) -> Shown {
    let masked: String = text.split_inclusive('\n').map(mask).collect();
    Arc::new(NamedSource::new(name, masked).with_language("yaml"))
}

fn mask(line: &str) -> String {
    let lower = line.to_ascii_lowercase();
    let secret = SECRETS.iter().flat_map(|key| lower.match_indices(key)).filter_map(|(at, key)| {
        let after = at + key.len();
        let colon = lower[after..].find(':')? + after;
        // Only closing quotes and spaces may stand between a key and its colon.
        lower[after..colon].chars().all(|c| "\"' ".contains(c)).then_some((colon + 1, line.len()))
    });
    // Credentials in a URL, also in one that forgot its scheme.
    let credentials = line.rfind('@').map(|end| {
        let start = line[..end].find("://").map(|scheme| scheme + 3);
        (start.or_else(|| Some(line[..end].rfind([' ', '"', '\''])? + 1)).unwrap_or(0), end)
    });
    secret.chain(credentials.filter(|(start, end)| start < end)).fold(
        line.to_owned(),
        |line, (start, end)| {
            let stars = |c: char| if c.is_whitespace() { c.to_string() } else { "*".repeat(c.len_utf8()) };
            let middle: String = line[start..end].chars().map(stars).collect();
            format!("{}{middle}{}", &line[..start], &line[end..])
        },
    )
}

#[derive(Debug, Clone)]
pub(super) enum Where {
    /// In a file that was read.
    Spot(Spot, Shown),
    /// In an environment variable, by its name.
    Variable(String),
    /// A file that could not be read.
    File(PathBuf),
}

/// One thing that is wrong.
#[derive(Debug, Clone)]
pub struct Problem {
    place: Where,
    what: String,
    remedy: Option<String>,
    /// The paragraph of the manual about it.
    paragraph: Option<&'static str>,
    is_warning: bool,
}

impl Problem {
    pub(super) fn new(place: Where, what: impl Into<String>, remedy: Option<String>) -> Self {
        Self { place, what: what.into(), remedy, paragraph: None, is_warning: false }
    }

    /// The same, about the value at this path of the file.
    pub(super) fn about(mut self, at: &str) -> Self {
        self.paragraph = manual::paragraph(at);
        self
    }

    pub(super) fn found(place: Where, finding: Finding) -> Self {
        let remedy = Some(finding.remedy).filter(|remedy| !remedy.is_empty());
        let paragraph = manual::paragraph(&finding.at);
        Self { place, what: finding.what, remedy, paragraph, is_warning: finding.is_warning }
    }

    /// Whether nothing is refused for it.
    pub fn is_warning(&self) -> bool {
        self.is_warning
    }

    /// What is wrong.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// What to do.
    pub fn remedy(&self) -> Option<&str> {
        self.remedy.as_deref()
    }

    /// The paragraph of the manual about it: `docs/broker.md#listeners`.
    pub fn paragraph(&self) -> Option<&'static str> {
        self.paragraph
    }

    /// Line and column in the file, both from 1; `None` when it is in no file that was read.
    pub fn line_and_column(&self) -> Option<(u64, u64)> {
        match &self.place {
            Where::Spot(spot, _) => Some((spot.line, spot.column)),
            Where::Variable(_) | Where::File(_) => None,
        }
    }

    /// The place in words: `hearthlink.yaml:3:5`, a path, or `environment variable HEARTHLINK__…`.
    pub fn place(&self) -> String {
        match &self.place {
            Where::Spot(spot, file) => format!("{}:{}:{}", file.name(), spot.line, spot.column),
            Where::Variable(name) => format!("environment variable {name}"),
            Where::File(path) => path.display().to_string(),
        }
    }

    pub(super) fn order(&self) -> (usize, usize) {
        match &self.place {
            Where::Spot(spot, _) => (spot.file, spot.offset),
            Where::Variable(_) | Where::File(_) => (usize::MAX, 0),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match &self.place {
            // miette prints the place above the lines that it shows.
            Where::Spot(..) => Ok(()),
            Where::Variable(_) | Where::File(_) => write!(f, " ({})", self.place()),
        }
    }
}

impl std::error::Error for Problem {}

impl Diagnostic for Problem {
    fn severity(&self) -> Option<Severity> {
        Some(if self.is_warning { Severity::Warning } else { Severity::Error })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let paragraph = self.paragraph.map(|paragraph| format!("see {paragraph}"));
        let help: Vec<String> = self.remedy.iter().cloned().chain(paragraph).collect();
        (!help.is_empty()).then(|| Box::new(help.join("\n")) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        match &self.place {
            Where::Spot(_, file) => Some(file.as_ref()),
            Where::Variable(_) | Where::File(_) => None,
        }
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let Where::Spot(spot, file) = &self.place else { return None };
        // A caret under one line: the length of a section or of a text of several lines would mark them all.
        let rest = file.inner().get(spot.offset..).unwrap_or_default();
        let line = rest.lines().next().unwrap_or_default().trim_end().len();
        let length = spot.length.clamp(1, line.max(1));
        let span = SourceSpan::new(spot.offset.into(), length);
        Some(Box::new(std::iter::once(LabeledSpan::new_primary_with_span(None, span))))
    }
}

/// Everything that is wrong with a configuration, or that a person should know of it.
#[derive(Debug, Clone)]
pub struct ConfigError {
    file: PathBuf,
    problems: Vec<Problem>,
}

impl ConfigError {
    pub(super) fn new(file: PathBuf, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(Problem::order);
        Self { file, problems }
    }

    /// The problems, in the order of the files and of the lines in them.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The problems with the lines of the file around them and a closing sentence.
    pub fn render(&self, in_colour: bool) -> String {
        let theme = if in_colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        let handler = GraphicalReportHandler::new_themed(theme).with_links(false).with_context_lines(1);
        let mut text = String::new();
        for problem in &self.problems {
            if handler.render_report(&mut text, problem).is_err() {
                text.push_str(&format!("{}: {problem}\n", problem.place()));
            }
            text.push('\n');
        }
        text + &self.summary()
    }

    fn summary(&self) -> String {
        let file = self.file.display();
        let warnings = self.problems.iter().filter(|problem| problem.is_warning).count();
        let count = |count: usize, what: &str| match count {
            1 => format!("1 {what}"),
            count => format!("{count} {what}s"),
        };
        match (self.problems.len() - warnings, warnings) {
            (0, warnings) => format!("{} about the configuration {file}", count(warnings, "warning")),
            (errors, 0) => format!("{} in the configuration {file}", count(errors, "problem")),
            (errors, warnings) => {
                let (errors, warnings) = (count(errors, "problem"), count(warnings, "warning"));
                format!("{errors} and {warnings} in the configuration {file}")
            }
        }
    }
}

impl fmt::Display for ConfigError {
    /// One line a problem, for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary())?;
        for problem in &self.problems {
            write!(f, "\n{}: {}", problem.place(), problem.what)?;
            if let Some(remedy) = &problem.remedy {
                write!(f, "; {remedy}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_starred_out_and_places_stay_right() {
        for (line, expected) in [
            ("password: hunter2\n", "password: *******\n"),
            ("- { name: x, \"password_hash\": \"ä, b\" }\n", "- { name: x, \"password_hash\": **** ** *\n"),
            ("url: wss://me:pw@host/mqtt\n", "url: wss://*****@host/mqtt\n"),
            ("url: me:pw@host\n", "url: *****@host\n"),
            ("password_file: /etc/secret\n", "password_file: /etc/secret\n"),
            ("{password_file: a, password: b}\n", "{password_file: a, password: **\n"),
            ("  options: {bind_key: 0011, x: 1}\n", "  options: {bind_key: ***** ** **\n"),
            ("bind_key_file: secrets/attic\n", "bind_key_file: secrets/attic\n"),
            ("- {name: X-Key, value: hush}\n", "- {name: X-Key, value: *****\n"),
            ("# no password here: none\n", "# no password here: none\n"),
        ] {
            let masked = mask(line);
            assert_eq!(masked.len(), line.len(), "{masked}");
            assert_eq!(masked, expected);
        }
    }
}
