//! `docs/configuration.md`: each section of the configuration as a table, with the words of the schema for editors.

use std::fmt::Write;

use hearthlink::{
    config::{
        json_schema,
        reference::{RULES, Section, Takes, reference},
    },
    devices::KINDS,
};

const HEAD: &str = "\
<!-- Made by `cargo run --example reference -- docs` from `hearthlink config schema`. What is written in here by hand is lost. -->

# Every setting

The configuration is one YAML file. Only `gateway.id` must be there; what has a default may be left out. `config.example.yaml`
of the repository shows all of it in one file with its reasons, and `hearthlink check` says what is wrong with yours, and
where. An editor completes and explains it [by its schema](cli.md#editors-and-shells), from which this page is made; so is
the manual page `hearthlink(5)`.

";

/// The whole page.
pub fn page() -> String {
    let schema = json_schema(KINDS.iter().map(|kind| (kind.name, kind.about)));
    let mut text = HEAD.to_owned();
    for rule in RULES {
        writeln!(text, "- {}", rule.replace('\n', "\n  ")).expect("a string");
    }
    for section in reference(&schema) {
        write(&mut text, &section).expect("a string");
    }
    text
}

fn write(text: &mut String, section: &Section) -> std::fmt::Result {
    let level = "#".repeat((section.depth + 2).min(4));
    writeln!(text, "\n{level} `{}`\n\n{}\n", section.heading, section.about)?;
    text.push_str("| setting | takes | what it is |\n| --- | --- | --- |\n");
    for setting in &section.settings {
        let mut takes = setting.takes.words(&link);
        match &setting.default {
            _ if setting.is_required => takes.push_str("; must be there"),
            Some(default) => write!(takes, "; default `{default}`")?,
            None => {}
        }
        let (takes, about) = (takes.replace('|', "\\|"), setting.about.replace('|', "\\|"));
        writeln!(text, "| `{}` | {takes} | {about} |", setting.name)?;
    }
    if !section.kinds.is_empty() {
        text.push_str(
            "\n### Kinds\n\nTheir options: [devices](devices.md).\n\n| kind | what |\n| --- | --- |\n",
        );
    }
    for (kind, about) in &section.kinds {
        writeln!(text, "| `{kind}` | {about} |")?;
    }
    Ok(())
}

/// What leads to another place of this page.
fn link(takes: &Takes) -> Option<String> {
    match takes {
        Takes::Section(path) => Some(format!("[a section](#{})", anchor(path))),
        Takes::Sections(path) => Some(format!("a list of [sections](#{})", anchor(path))),
        Takes::Like(heading) => Some(format!("as [`{heading}`](#{})", anchor(heading))),
        Takes::Kind => Some("one [of these](#kinds)".to_owned()),
        _ => None,
    }
}

/// As GitHub and mdBook make it of a heading.
fn anchor(heading: &str) -> String {
    heading.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
}
