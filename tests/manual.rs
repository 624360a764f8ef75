//! The manual is whole: every paragraph that the program or a page names exists, and every page is a chapter of the book.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// All files below a directory.
fn below(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { below(&path, files) } else { files.push(path) }
    }
}

/// The anchors of a page, as GitHub and mdBook make them of its headings.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut is_code = false;
    let mut anchors = BTreeSet::new();
    for line in page.lines() {
        is_code ^= line.starts_with("```");
        if is_code || !line.starts_with('#') {
            continue;
        }
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        anchors.insert(kept.collect::<String>().replace(' ', "-"));
    }
    anchors
}

/// What is wrong with a reference like `docs/broker.md#listeners`, named from `root`.
fn fault(root: &Path, reference: &str) -> Option<String> {
    let (page, anchor) = reference.split_once('#').unwrap_or((reference, ""));
    let Ok(text) = fs::read_to_string(root.join(page)) else { return Some(format!("there is no {page}")) };
    (!anchor.is_empty() && !anchors(&text).contains(anchor)).then(|| format!("{page} has no #{anchor}"))
}

/// `docs/….md`, with its anchor if it has one, wherever it stands in a text.
fn references(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("docs/").filter_map(|(at, _)| {
        let end = text[at..].find(|c: char| !(c.is_ascii_alphanumeric() || "/-_.#".contains(c)));
        let reference = text[at..end.map_or(text.len(), |end| at + end)].trim_end_matches('.');
        reference.contains(".md").then_some(reference)
    })
}

#[test]
fn every_paragraph_that_the_program_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![root.join("config.example.yaml"), root.join("Cargo.toml")];
    below(&root.join("src"), &mut files);
    let (mut count, mut faults) = (0, Vec::new());
    for file in files {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        for reference in references(&text) {
            count += 1;
            faults.extend(fault(root, reference).map(|fault| format!("{}: {fault}", file.display())));
        }
    }
    assert!(count > 40, "only {count} references");
    assert!(faults.is_empty(), "{faults:#?}");
    // And what is not there would be found.
    assert!(fault(root, "docs/broker.md#listeners").is_none());
    assert!(fault(root, "docs/broker.md#listener").is_some() && fault(root, "docs/brokers.md").is_some());
}

#[test]
fn a_problem_in_the_configuration_names_the_paragraph_about_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("home.yaml");
    for (text, paragraph) in [
        (
            "gateway: {id: a}\nbroker: {listeners: [{adress: \"127.0.0.1:1883\"}]}\n",
            "docs/broker.md#listeners",
        ),
        (
            "gateway: {id: a}\ncloud: {url: \"wss://a\", key_file: no.key}\n",
            "docs/enrolment.md#putting-it-in-place",
        ),
        (
            "gateway: {id: a}\ncloud: {url: \"wss://a\", ladder: [{transport: quic}]}\n",
            "docs/ways.md#the-ladder",
        ),
        ("gateway: {id: a}\ncommands: {max_age: 1}\n", "docs/commands.md#the-allow-list"),
    ] {
        fs::write(&path, text).unwrap();
        let shown = hearthlink::config::load(&path).unwrap_err().render(false);
        assert!(shown.contains(&format!("see {paragraph}")), "{paragraph}: {shown}");
        // And so it is for programs.
        let mut check = std::process::Command::new(env!("CARGO_BIN_EXE_hearthlink"));
        let output = check.args(["check", "--json", "--config"]).arg(&path).output().unwrap();
        assert_eq!(output.status.code(), Some(78));
        let verdict: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let problem = &verdict["problems"][0];
        assert_eq!((&verdict["good"], &problem["line"]), (&false.into(), &2.into()), "{verdict}");
        assert_eq!(problem["see"], paragraph, "{verdict}");
    }
}

/// Where the links of a page lead, but for those out of the repository.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.contains("://"))
}

/// All Markdown files below a folder of the repository.
fn pages(folder: &Path) -> Vec<PathBuf> {
    let mut pages = Vec::new();
    below(folder, &mut pages);
    pages.retain(|page| page.extension().is_some_and(|it| it == "md"));
    pages
}

#[test]
fn every_link_of_a_page_leads_to_a_file_and_to_a_paragraph_of_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all: Vec<PathBuf> =
        ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "fuzz/README.md", "tests/vm/README.md"]
            .map(|page| root.join(page))
            .into();
    all.extend(pages(&root.join("docs")));
    all.extend(pages(&root.join("deploy")));
    let (docs, mut count, mut faults) = (root.join("docs").canonicalize().unwrap(), 0, Vec::new());
    for page in all {
        let page = page.canonicalize().unwrap();
        let text = fs::read_to_string(&page).unwrap();
        for link in links(&text) {
            count += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            let Ok(target) = target.canonicalize() else {
                faults.push(format!("{}: there is no {link}", page.display()));
                continue;
            };
            if !anchor.is_empty() && !anchors(&fs::read_to_string(&target).unwrap()).contains(anchor) {
                faults.push(format!("{}: there is no paragraph {link}", page.display()));
            }
            if page.starts_with(&docs) && !target.starts_with(&docs) {
                faults.push(format!("{}: {link} is not in the book", page.display()));
            }
        }
    }
    assert!(count > 100, "only {count} links");
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn every_page_of_the_manual_is_a_chapter_of_the_book() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let summary = fs::read_to_string(docs.join("SUMMARY.md")).unwrap();
    let mut chapters: Vec<PathBuf> = links(&summary).map(|link| docs.join(link)).collect();
    chapters.push(docs.join("SUMMARY.md"));
    let mut written = pages(&docs);
    // Once each.
    chapters.sort();
    written.sort();
    assert_eq!(chapters, written);
}

#[test]
fn every_kind_of_device_and_every_cloud_has_a_page() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let kinds = hearthlink::devices::KINDS.iter().map(|kind| format!("devices/{}.md", kind.name));
    let clouds = hearthlink::config::ProfileName::all().map(|cloud| format!("clouds/{}.md", cloud.as_str()));
    let missing: Vec<String> = kinds.chain(clouds).filter(|page| !docs.join(page).is_file()).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
