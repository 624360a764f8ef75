//! The manual pages that the program writes: every command, option, setting and kind is in them, what they name exists,
//! they are good roff, and nothing in them is of this moment.
//!
//! groff itself judges them in `.ci/run`, before the package does.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use hearthlink::devices::KINDS;
use serde_json::Value;

/// What the program prints.
fn said(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_hearthlink")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// All pages by the names of their files.
fn pages(epoch: &str) -> BTreeMap<String, String> {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_hearthlink"));
    command.arg("man").arg(directory.path()).env("SOURCE_DATE_EPOCH", epoch);
    assert!(command.status().unwrap().success());
    let entries = fs::read_dir(directory.path()).unwrap().map(Result::unwrap);
    let page = |entry: fs::DirEntry| {
        (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap())
    };
    entries.map(page).collect()
}

/// What a person reads, without fonts: roff's escapes undone.
fn text(page: &str) -> String {
    let mut text = page.replace("\\fB", "").replace("\\fR", "");
    for (escape, plain) in
        [("\\-", "-"), ("\\(aq", "'"), ("\\(dq", "\""), ("\\&", ""), ("\\(ti", "~"), ("\\e", "\\")]
    {
        text = text.replace(escape, plain);
    }
    text
}

/// The commands below `path`, as `--help` lists them.
fn commands(path: &[&str]) -> Vec<String> {
    let help = said(&[path, &["--help"]].concat());
    let listed = help.split("Commands:\n").nth(1).unwrap_or_default();
    let lines = listed.lines().take_while(|line| !line.is_empty());
    let names = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

/// The long options of a command, as `--help` lists them.
fn options(path: &[&str]) -> BTreeSet<String> {
    let help = said(&[path, &["--help"]].concat());
    let lines = help.lines().filter(|line| line.trim_start().starts_with('-'));
    let spelt = lines.flat_map(|line| line.split_whitespace().take_while(|word| word.starts_with('-')));
    let words = spelt.filter(|word| word.starts_with("--"));
    words.map(|word| word.trim_end_matches(',').to_owned()).collect()
}

#[test]
fn every_command_that_help_shows_has_a_page_with_its_options_and_nobody_else_has_one() {
    let pages = pages("0");
    let names = commands(&[]);
    assert!(names.len() > 10, "{names:?}");
    let mut expected: BTreeSet<String> = names.iter().map(|name| format!("hearthlink-{name}.8")).collect();
    expected.extend(["hearthlink.8", "hearthlink.5", "hearthlink-devices.5"].map(str::to_owned));
    assert_eq!(pages.keys().cloned().collect::<BTreeSet<_>>(), expected);
    let overview = text(&pages["hearthlink.8"]);
    for name in &names {
        assert!(overview.contains(&format!("hearthlink-{name}(8)")), "{name}");
        let page = text(&pages[&format!("hearthlink-{name}.8")]);
        let below = commands(&[name]);
        let mut paths: Vec<Vec<&str>> = below.iter().map(|inner| vec![name.as_str(), inner]).collect();
        if below.is_empty() {
            paths.push(vec![name]);
        }
        for path in paths {
            assert!(page.contains(&format!("hearthlink {}", path.join(" "))), "{path:?}");
            for option in
                options(&path).iter().filter(|option| !["--help", "--version"].contains(&option.as_str()))
            {
                // In the synopsis, and where it is told.
                assert!(page.matches(option.as_str()).count() >= 2, "{path:?} {option}\n{page}");
            }
        }
    }
}

/// The names of all settings, wherever they stand in the schema.
fn settings(schema: &Value, names: &mut BTreeSet<String>) {
    match schema {
        Value::Object(members) => {
            let properties = members.get("properties").and_then(Value::as_object);
            names.extend(properties.into_iter().flatten().map(|(name, _)| name.clone()));
            members.values().for_each(|member| settings(member, names));
        }
        Value::Array(items) => items.iter().for_each(|item| settings(item, names)),
        _ => {}
    }
}

#[test]
fn every_setting_and_every_kind_is_told() {
    let pages = pages("0");
    let schema = hearthlink::config::json_schema(KINDS.iter().map(|kind| (kind.name, kind.about)));
    let mut names = BTreeSet::new();
    settings(&schema, &mut names);
    assert!(names.len() > 100, "{names:?}");
    let page = text(&pages["hearthlink.5"]);
    for name in names {
        // A term of its own, a section, or a member that the text names.
        let word = |c: char| !(c.is_ascii_alphanumeric() || "_".contains(c));
        assert!(page.split(word).any(|other| other == name), "{name}");
    }
    for kind in KINDS {
        assert!(page.contains(&format!(".TP\n{}\n", kind.name)), "{}", kind.name);
        let heading = format!(".SH \"{}\"\n", kind.name);
        assert!(pages["hearthlink-devices.5"].contains(&heading), "{heading}");
    }
    // Each page of the manual about devices is in it.
    let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/devices");
    for entry in fs::read_dir(manual).unwrap() {
        let name = entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_uppercase();
        assert!(
            pages["hearthlink-devices.5"].to_uppercase().contains(&format!(".SH \"{name}\"\n")),
            "{name}"
        );
    }
    // What each tells and takes stands with it, as the table of the kinds is not here.
    let devices = text(&pages["hearthlink-devices.5"]);
    assert!(!devices.contains("in the table"), "{devices}");
    assert_eq!(devices.matches("It tells ").count(), KINDS.len());
}

#[test]
fn a_page_is_named_with_its_section_only_if_it_exists() {
    let pages = pages("0");
    let mut count = 0;
    for (file, page) in &pages {
        let page = text(page);
        for (at, _) in page.match_indices("hearthlink") {
            let end = page[at..]
                .find(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
                .map_or(page.len(), |end| at + end);
            let Some(section) = page[end..].strip_prefix('(').and_then(|rest| rest.split(')').next()) else {
                continue;
            };
            let name = format!("{}.{section}", &page[at..end]);
            count += 1;
            assert!(pages.contains_key(&name), "{file} names {name}");
        }
    }
    assert!(count > 50, "only {count}");
}

#[test]
fn the_configuration_on_the_page_passes_the_check() {
    let page = text(&pages("0")["hearthlink.5"]);
    let example = page.split(".EX\n").nth(1).unwrap().split(".EE").next().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.yaml");
    fs::write(&path, example).unwrap();
    // Its secret is another machine's.
    let good = said(&["check", "--simulate", "--config", path.to_str().unwrap()]);
    assert!(good.contains("is good: gateway home"), "{good}");
}

#[test]
fn the_pages_are_ascii_with_known_macros_closed_blocks_and_no_marks_of_markdown() {
    for (file, page) in pages("0") {
        assert!(page.is_ascii(), "{file}");
        let mut open = Vec::new();
        let mut is_code = false;
        for (number, line) in page.lines().enumerate() {
            let place = format!("{file}:{}: {line}", number + 1);
            assert!(!line.is_empty() || is_code, "{place}: an empty line is a paragraph by chance");
            assert!(line == line.trim_end() || is_code, "{place}");
            let name = line.split(' ').next().unwrap();
            match name {
                ".EX" | ".RS" => open.push(name),
                ".EE" => assert_eq!(open.pop(), Some(".EX"), "{place}"),
                ".RE" => assert_eq!(open.pop(), Some(".RS"), "{place}"),
                _ if line.starts_with(['.', '\'']) => {
                    let known = [".TH", ".SH", ".SS", ".PP", ".TP", ".IP", ".nh", ".ad", ".\\\""];
                    assert!(known.contains(&name), "{place}");
                }
                _ if !is_code => {
                    // What is bold was code: it may have any mark.
                    let plain: String =
                        line.split("\\fB").map(|part| part.rsplit("\\fR").next().unwrap()).collect();
                    for mark in ["\\(ga", "](", "**", "| "] {
                        assert!(!text(&plain).contains(mark), "{place}: {mark}");
                    }
                    // A font that is begun is ended in its line.
                    assert_eq!(line.matches("\\fB").count(), line.matches("\\fR").count(), "{place}");
                }
                _ => {}
            }
            is_code = open.contains(&".EX");
        }
        assert!(open.is_empty(), "{file}: {open:?}");
        let headings: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix(".SH ")).collect();
        assert_eq!(headings.first(), Some(&"\"NAME\""), "{file}");
        assert_eq!(headings.last(), Some(&"\"SEE ALSO\""), "{file}");
        let name = page.lines().skip_while(|line| !line.starts_with(".SH")).nth(1).unwrap();
        let (stem, _) = file.rsplit_once('.').unwrap();
        assert!(text(name).starts_with(&format!("{stem} - ")) && name.len() < 120, "{name}");
    }
}

#[test]
fn the_date_is_the_one_that_is_given_and_two_runs_give_the_same_bytes() {
    let first = pages("86400");
    assert_eq!(first, pages("86400"));
    for page in first.values() {
        let title = page.lines().find(|line| line.starts_with(".TH")).unwrap();
        assert!(title.contains("\"1970-01-02\""), "{title}");
    }
    let title = pages("no number")["hearthlink.8"].lines().nth(1).unwrap().to_owned();
    assert!(title.starts_with(".TH HEARTHLINK 8 \"\" \"Hearthlink "), "{title}");
}
