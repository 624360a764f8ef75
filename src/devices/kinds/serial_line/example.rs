//! A line that a pattern takes, for the simulation: the shortest way through it, with words of ours where they fit.
//!
//! Reads regular expressions as far as people write them for lines: literals, classes, groups, alternatives,
//! repetitions. Whether a character or a word is taken is asked of the very engine that reads the lines, and so is the
//! whole at the end: what is not taken is never said. `regex-syntax` would bring the Unicode tables that `regex-lite`
//! spares us.

use regex_lite::Regex;

/// How deep groups may stand in each other.
const DEEPEST: usize = 16;

/// A line that `pattern` takes, with one of `words` for each named group that takes one, the first that fits; `None`
/// when none is found.
pub(super) fn of(pattern: &str, words: &dyn Fn(&str) -> Vec<String>) -> Option<String> {
    let regex = Regex::new(pattern).ok()?;
    let flags = if pattern.starts_with("(?i)") { "(?i)" } else { "" };
    let mut reader = Reader { rest: pattern, words, flags, depth: 0 };
    let line = reader.alternatives()?;
    (reader.rest.is_empty() && regex.is_match(&line)).then_some(line)
}

/// The first of `candidates` that is all that `pattern` takes.
fn taken<'a>(pattern: &str, mut candidates: impl Iterator<Item = &'a str>) -> Option<String> {
    let regex = Regex::new(&format!("^(?:{pattern})$")).ok()?;
    candidates.find(|word| regex.is_match(word)).map(str::to_owned)
}

struct Reader<'a> {
    rest: &'a str,
    words: &'a dyn Fn(&str) -> Vec<String>,
    /// Those that count for all of it.
    flags: &'static str,
    depth: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn takes(&mut self, prefix: &str) -> bool {
        let rest = self.rest.strip_prefix(prefix);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Of `a|b`, the first.
    fn alternatives(&mut self) -> Option<String> {
        let first = self.sequence()?;
        while self.takes("|") {
            self.sequence()?;
        }
        Some(first)
    }

    fn sequence(&mut self) -> Option<String> {
        let mut text = String::new();
        while !self.rest.is_empty() && !self.rest.starts_with(['|', ')']) {
            let atom = self.atom()?;
            let times = self.times()?;
            text.push_str(&atom.repeat(times));
        }
        Some(text)
    }

    /// How often an atom stands at least; where it may be left out, it is.
    fn times(&mut self) -> Option<usize> {
        let times = if self.takes("*") || self.takes("?") {
            0
        } else if self.takes("+") {
            1
        } else if self.takes("{") {
            let (bounds, rest) = self.rest.split_once('}')?;
            self.rest = rest;
            bounds.split(',').next()?.trim().parse().ok().filter(|times| *times <= 64)?
        } else {
            return Some(1);
        };
        // Lazy or greedy is the same here.
        self.takes("?");
        Some(times)
    }

    fn atom(&mut self) -> Option<String> {
        let before = self.rest;
        match self.next()? {
            '(' => self.group(),
            '^' | '$' => Some(String::new()),
            '\\' if self.takes("b") || self.takes("A") || self.takes("z") => Some(String::new()),
            '\\' => {
                self.next()?;
                one_of(&before[..before.len() - self.rest.len()])
            }
            '[' => {
                // A `]` that comes first is one of the class.
                let _ = self.takes("^");
                let _ = self.takes("]");
                loop {
                    match self.next()? {
                        ']' => break,
                        '\\' => drop(self.next()?),
                        // `[[:digit:]]`
                        '[' => self.rest = self.rest.split_once(']')?.1,
                        _ => {}
                    }
                }
                one_of(&before[..before.len() - self.rest.len()])
            }
            '.' => one_of("."),
            literal => Some(literal.to_string()),
        }
    }

    fn group(&mut self) -> Option<String> {
        let mut name = None;
        if self.takes("?P<") || self.takes("?<") {
            let (field, rest) = self.rest.split_once('>')?;
            (name, self.rest) = (Some(field), rest);
        } else if self.takes("?") {
            // `(?:…)`, `(?i:…)`, `(?i)`
            while !self.rest.starts_with(')') && self.next()? != ':' {}
        }
        self.depth += 1;
        if self.depth > DEEPEST {
            return None;
        }
        let inner = self.rest;
        let text = self.alternatives()?;
        let inner = &inner[..inner.len() - self.rest.len()];
        self.depth -= 1;
        if !self.takes(")") {
            return None;
        }
        let words = name.map(self.words).unwrap_or_default();
        let inner = format!("{}{inner}", self.flags);
        Some(taken(&inner, words.iter().map(String::as_str)).unwrap_or(text))
    }
}

/// One character that a class takes: a digit or a letter, if it may be.
fn one_of(class: &str) -> Option<String> {
    let printable: Vec<String> =
        ('2'..='9').chain('A'..='Z').chain('a'..='z').chain(' '..='~').map(String::from).collect();
    taken(class, printable.iter().map(String::as_str).chain(["\t", "\r", "\n"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(field: &str) -> Vec<String> {
        let set = if field == "state" { vec!["ON".to_owned()] } else { vec![] };
        set.into_iter().chain(["21.5", "22", "OFF"].map(str::to_owned)).collect()
    }

    #[test]
    fn a_pattern_says_what_it_takes_with_our_words_where_they_fit() {
        for (pattern, line) in [
            (r"T=(?P<temperature>-?\d+\.\d+) H=(?P<humidity>\d+)", "T=21.5 H=22"),
            (r"^T (?P<t>[-0-9.]+)\s*(?:C|F)$", "T 21.5C"),
            (r"(?P<state>ON|OFF)", "ON"),
            (r"(?P<mode>AUTO|HEAT)", "AUTO"),
            (r"(?i)pwr(?<state>on|off);", "pwrON;"),
            (r"\[(?P<a>\d{2})\] (?P<b>.*)", "[22] 21.5"),
            (r"\$(?P<x>[[:digit:]]+)[^,]{3},?", "$22222"),
            (r"(?P<flag>[a-f])", "a"),
        ] {
            assert_eq!(of(pattern, &words).as_deref(), Some(line), "{pattern}");
        }
        // What cannot be taken is not said.
        for pattern in [r"a\bb(?P<x>\d)", r"$a(?P<x>\d)"] {
            assert_eq!(of(pattern, &words), None, "{pattern}");
        }
    }

    #[test]
    fn nothing_that_is_written_for_a_pattern_breaks_it() {
        for pattern in [
            "(((((((((((((((((((?P<x>a)))))))))))))))))))",
            "(?P<x>[]a])",
            "(?P<x>\\",
            "a{99999}(?P<x>b)",
            "(?P<x>é+)",
        ] {
            if let Some(line) = of(pattern, &words) {
                assert!(Regex::new(pattern).unwrap().is_match(&line), "{pattern}: {line}");
            }
        }
    }
}
