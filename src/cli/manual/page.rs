//! A manual page in roff's `man` macros, and what of Markdown its texts may have.
//!
//! Owns the escapes and the macros. Never knows what a page is about. Texts come as the manual and `--help` have them:
//! names in backticks and stressed words become bold, of a link the words stay, lists, tables and code become what a
//! terminal can show.
//!
//! Invariant: a page is pure ASCII, so that no locale and no formatter guesses what a byte means.
//!
//! Rejected: clap_mangen with its `roff`. It leaves the backticks in the text, knows section 1 and a page for each
//! subcommand of a subcommand only, and has no tables. pulldown-cmark: a parser of all Markdown for five shapes of it.

use std::fmt::Write;

/// What stands at the head and the foot of a page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Title<'a> {
    /// `hearthlink-run`.
    pub(super) name: &'a str,
    pub(super) section: u8,
    /// `2026-11-30`; empty when nobody knows.
    pub(super) date: &'a str,
}

/// Ragged, and no word is divided: names would be.
const RAGGED: &str = ".nh\n.ad l\n";

/// A page that is being written.
#[derive(Debug)]
pub(super) struct Page(String);

impl Page {
    pub(super) fn new(title: Title<'_>) -> Self {
        let Title { name, section, date } = title;
        let (name, source) = (escaped(&name.to_uppercase()), env!("CARGO_PKG_VERSION"));
        let mut text =
            String::from(".\\\" Made by `hearthlink man`. What is written in here by hand is lost.\n");
        // The date stands in quotes, or an empty one would make the version the date.
        writeln!(text, ".TH {name} {section} \"{date}\" \"Hearthlink {source}\" \"Hearthlink\"")
            .expect("a string");
        text.push_str(RAGGED);
        Self(text)
    }

    /// The whole page.
    pub(super) fn into_text(self) -> String {
        self.0
    }

    pub(super) fn section(&mut self, heading: &str) {
        self.line(".SH", heading);
    }

    pub(super) fn subsection(&mut self, heading: &str) {
        self.line(".SS", heading);
    }

    fn line(&mut self, macro_: &str, text: &str) {
        writeln!(self.0, "{macro_} \"{}\"", escaped(&text.replace('`', ""))).expect("a string");
    }

    /// What indexes of manual pages are made of: the name, and what it is.
    pub(super) fn name(&mut self, name: &str, about: &str) {
        let about = about.replace('`', "");
        writeln!(self.0, "{} \\- {}", escaped(name), escaped(&about)).expect("a string");
    }

    /// A paragraph.
    pub(super) fn paragraph(&mut self, text: &str) {
        self.gap();
        self.text(text);
    }

    /// Below a heading there is one already.
    fn gap(&mut self) {
        let last = self.0.lines().next_back().unwrap_or_default();
        if !last.starts_with(".SH") && !last.starts_with(".SS") {
            self.0.push_str(".PP\n");
        }
    }

    /// A term in bold, and what is said of it.
    pub(super) fn term(&mut self, term: &str, about: &str) {
        self.0.push_str(".TP\n");
        self.text(term);
        match about {
            // A term without a text would take the next one's.
            "" => self.0.push_str("\\&\n"),
            about => self.text(about),
        }
    }

    fn item(&mut self, text: &str) {
        self.0.push_str(".IP \\(bu 2\n");
        self.text(text);
    }

    /// Lines as they are.
    pub(super) fn code(&mut self, code: &str) {
        self.gap();
        self.0.push_str(".RS 4\n.EX\n");
        for line in code.lines() {
            self.text_line(&escaped(line));
        }
        // `.EE` goes back to how groff begins.
        self.0.push_str(".EE\n.RE\n");
        self.0.push_str(RAGGED);
    }

    fn text(&mut self, text: &str) {
        self.text_line(&marked(text.trim()));
    }

    /// A line that is no macro, whatever it begins with.
    fn text_line(&mut self, line: &str) {
        let guard = if line.starts_with(['.', '\'']) { "\\&" } else { "" };
        writeln!(self.0, "{guard}{line}").expect("a string");
    }

    /// Paragraphs, lists, tables, code and headings. A heading of any depth is a subsection.
    pub(super) fn markdown(&mut self, text: &str) {
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            if line.trim().is_empty() {
                continue;
            }
            if line.starts_with("```") {
                let code: Vec<&str> = lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
                self.code(&code.join("\n"));
            } else if line.starts_with('#') {
                self.subsection(line.trim_start_matches('#').trim());
            } else if line.starts_with('|') {
                let mut table = vec![line];
                while let Some(row) = lines.next_if(|line| line.starts_with('|')) {
                    table.push(row);
                }
                self.table(&table);
            } else {
                let mut block = line.to_owned();
                while let Some(more) = lines.next_if(|line| continues(line)) {
                    block = block + " " + more.trim();
                }
                match block.strip_prefix("- ") {
                    Some(item) => self.item(item),
                    None => self.paragraph(&block),
                }
            }
        }
    }

    /// The first column is the term; from the third on, each cell has the name of its column.
    fn table(&mut self, rows: &[&str]) {
        let mut rows = rows.iter().map(|row| cells(row));
        let heads = rows.next().unwrap_or_default();
        // The line between them.
        for row in rows.skip(1) {
            let (term, texts) =
                row.split_first().map_or(("", &[][..]), |(term, texts)| (term.as_str(), texts));
            let told =
                texts.iter().zip(heads.iter().skip(1)).enumerate().filter(|(_, (cell, _))| !cell.is_empty());
            let told = told.map(|(at, (cell, head))| match at {
                0 => sentence(cell),
                _ => format!("{}: {}", sentence(head).trim_end_matches('.'), full_stop(cell)),
            });
            self.term(term, &told.collect::<Vec<_>>().join(" "));
        }
    }
}

/// Whether a line belongs to the paragraph or the item before it.
fn continues(line: &str) -> bool {
    !(line.trim().is_empty()
        || line.starts_with(['|', '#'])
        || line.starts_with("```")
        || line.starts_with("- "))
}

/// The cells of a row.
pub(super) fn cells(row: &str) -> Vec<String> {
    let hidden = row.trim().trim_matches('|').replace("\\|", "\u{1}");
    hidden.split('|').map(|cell| cell.trim().replace('\u{1}', "|")).collect()
}

/// With a capital and a full stop.
pub(super) fn sentence(text: &str) -> String {
    let mut rest = text.chars();
    let text: String = rest.next().into_iter().flat_map(char::to_uppercase).chain(rest).collect();
    full_stop(&text)
}

fn full_stop(text: &str) -> String {
    if text.ends_with(['.', '?', ':']) { text.to_owned() } else { format!("{text}.") }
}

/// Markdown's marks in a line, as fonts.
fn marked(text: &str) -> String {
    let mut out = String::new();
    let (mut rest, mut is_bold) = (text, false);
    while let Some(at) = rest.find(['`', '[', '*', ']']) {
        let (before, here) = rest.split_at(at);
        out.push_str(&escaped(before));
        rest = if let Some((code, after)) = here.strip_prefix('`').and_then(|here| here.split_once('`')) {
            write!(out, "\\fB{}\\fR", escaped(code)).expect("a string");
            after
        } else if let Some(after) = here.strip_prefix("**") {
            is_bold = !is_bold;
            out.push_str(if is_bold { "\\fB" } else { "\\fR" });
            after
        } else if let Some((words, after)) = link(here) {
            out.push_str(&marked(words));
            after
        } else {
            out.push_str(&escaped(&here[..1]));
            &here[1..]
        };
    }
    out + &escaped(rest)
}

/// The words of a link that begins here, and what follows it.
fn link(text: &str) -> Option<(&str, &str)> {
    let (words, rest) = text.strip_prefix('[')?.split_once("](")?;
    // A bracket before it begins no link.
    if words.contains('[') {
        return None;
    }
    rest.split_once(')').map(|(_, after)| (words, after))
}

/// Text without any meaning for roff.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\e"),
            // A hyphen would be typeset as one, and cannot be searched for nor pasted.
            '-' => out.push_str("\\-"),
            '\'' => out.push_str("\\(aq"),
            '`' => out.push_str("\\(ga"),
            '^' => out.push_str("\\(ha"),
            '~' => out.push_str("\\(ti"),
            '"' => out.push_str("\\(dq"),
            c if c.is_ascii() => out.push(c),
            c => write!(out, "\\[u{:04X}]", u32::from(c)).expect("a string"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(markdown: &str) -> String {
        let mut page = Page(String::new());
        page.markdown(markdown);
        page.into_text()
    }

    #[test]
    fn names_and_stressed_words_are_bold_and_of_links_the_words_stay() {
        for (text, roff) in [
            ("plain, 5 * 3 [a]", "plain, 5 * 3 [a]"),
            ("say `a-b` or **all**.", "say \\fBa\\-b\\fR or \\fBall\\fR."),
            ("see [the `kinds`](devices.md#kinds), `[a](b)`", "see the \\fBkinds\\fR, \\fB[a](b)\\fR"),
            ("one ` alone", "one \\(ga alone"),
            ("`a[]`, [b](c)", "\\fBa[]\\fR, b"),
            (r"back\slash 21 °C it's", "back\\eslash 21 \\[u00B0]C it\\(aqs"),
        ] {
            assert_eq!(marked(text), roff);
        }
    }

    #[test]
    fn each_shape_of_markdown_has_its_macros() {
        assert_eq!(
            of("# A\n\nb\nc\n\n- d\n  e\n- f\n"),
            ".SS \"A\"\nb c\n.IP \\(bu 2\nd e\n.IP \\(bu 2\nf\n"
        );
        assert_eq!(
            of(
                "| option | meaning | default |\n| --- | --- | --- |\n| `a` | what \\| it is | `1` |\n| `b` | more | |"
            ),
            ".TP\n\\fBa\\fR\nWhat | it is. Default: \\fB1\\fR.\n.TP\n\\fBb\\fR\nMore.\n"
        );
        assert_eq!(
            of("```sh\n.a\n\n'b\\\n```\nc"),
            ".PP\n.RS 4\n.EX\n\\&.a\n\n\\(aqb\\e\n.EE\n.RE\n.nh\n.ad l\n.PP\nc\n"
        );
    }
}
