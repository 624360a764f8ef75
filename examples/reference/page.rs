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
        let mut takes = words(&setting.takes);
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

/// What may stand there, in words.
fn words(takes: &Takes) -> String {
    let code = |words: &[String]| words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    match takes {
        Takes::Section(path) => format!("[a section](#{})", anchor(path)),
        Takes::Sections(path) => format!("a list of [sections](#{})", anchor(path)),
        Takes::Like(heading) => format!("as [`{heading}`](#{})", anchor(heading)),
        Takes::Members(names) => format!("an object with {}", code(names)),
        Takes::Either(all) => all.iter().map(words).collect::<Vec<_>>().join(", or "),
        Takes::Words(all) => {
            let each = all.iter().map(|(word, about)| format!("`{word}` ({})", about.trim_end_matches('.')));
            each.collect::<Vec<_>>().join(", ")
        }
        Takes::Values(values) => code(values),
        Takes::Examples(examples) => format!("such as {}", code(examples)),
        Takes::List(None) => "a list".to_owned(),
        Takes::List(Some(each)) => format!("a list, each {}", words(each)),
        Takes::Object(None) => "an object".to_owned(),
        Takes::Object(Some(each)) => format!("an object, each {}", words(each)),
        Takes::Kind => "one [of these](#kinds)".to_owned(),
        Takes::Boolean => "`true` or `false`".to_owned(),
        Takes::Integer => "a whole number".to_owned(),
        Takes::Number => "a number".to_owned(),
        Takes::Text => "a text".to_owned(),
    }
}

/// As GitHub and mdBook make it of a heading.
fn anchor(heading: &str) -> String {
    heading.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
}
