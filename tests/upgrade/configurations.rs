//! Configurations of earlier versions are taken, and the newest ones leave nothing out.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use hearthlink::devices::KINDS;
use serde_json::Value;

use crate::golden::{RELEASED, directory};

fn files(release: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory().join(format!("config-{release}"))).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// What the program says of it, on a machine that has neither its files nor its ports.
fn check(file: &Path) -> Value {
    let mut check = Command::new(env!("CARGO_BIN_EXE_hearthlink"));
    let output = check.args(["check", "--simulate", "--json", "--config"]).arg(file).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn what_an_earlier_version_took_this_one_takes() {
    for (release, _) in RELEASED {
        for file in files(release) {
            let verdict = check(&file);
            assert_eq!(verdict["good"], true, "{}: {verdict:#}", file.display());
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let bad = directory.path().join("bad.yaml");
    fs::write(&bad, "gateway: { id: home, nonsense: 1 }\n").unwrap();
    assert_eq!(check(&bad)["good"], false, "and what none took is not");
}

/// Walks a schema beside a value of it, or alone, and notes each setting as `Section.name`.
struct Settings<'a> {
    schema: &'a Value,
    found: BTreeSet<String>,
}

impl Settings<'_> {
    fn walk(&mut self, rule: &Value, value: Option<&Value>, section: &str) {
        if let Some(reference) = rule.get("$ref").and_then(Value::as_str) {
            let (schema, name) = (self.schema, reference.rsplit('/').next().unwrap());
            let target = &schema["$defs"][name];
            assert!(target.is_object(), "{reference}");
            return self.walk(target, value, name);
        }
        for choices in ["anyOf", "oneOf", "allOf"].iter().filter_map(|word| rule.get(*word)?.as_array()) {
            choices.iter().for_each(|choice| self.walk(choice, value, section));
        }
        if let Some(items) = rule.get("items") {
            match value {
                Some(Value::Array(list)) => {
                    list.iter().for_each(|item| self.walk(items, Some(item), section))
                }
                Some(_) => {}
                None => self.walk(items, None, section),
            }
        }
        for (name, member) in rule.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let value = match value {
                Some(value) => match value.get(name) {
                    Some(value) => Some(value),
                    None => continue,
                },
                None => None,
            };
            let setting = format!("{section}.{name}");
            // A section may stand in several places; once is enough, and it may stand in itself.
            if self.found.insert(setting.clone()) || value.is_some() {
                self.walk(member, value, &setting);
            }
        }
    }
}

#[test]
fn the_golden_configurations_of_this_version_have_every_setting_and_every_kind() {
    let Some((release, _)) = RELEASED.iter().find(|(release, _)| *release == env!("CARGO_PKG_VERSION"))
    else {
        return;
    };
    let schema = hearthlink::config::json_schema(KINDS.iter().map(|kind| (kind.name, kind.about)));
    let mut all = Settings { schema: &schema, found: BTreeSet::new() };
    all.walk(&schema, None, "");
    let mut set = Settings { schema: &schema, found: BTreeSet::new() };
    let mut kinds = BTreeSet::new();
    for file in files(release) {
        let value: Value = serde_saphyr::from_str(&fs::read_to_string(file).unwrap()).unwrap();
        set.walk(&schema, Some(&value), "");
        let devices = value["devices"].as_array().into_iter().flatten();
        kinds.extend(devices.map(|device| device["kind"].as_str().unwrap().to_owned()));
    }
    assert!(all.found.len() > 150, "only {} settings are known", all.found.len());
    let missing: Vec<_> = all.found.difference(&set.found).collect();
    assert!(missing.is_empty(), "in no file of config-{release}: {missing:?}");
    let known: BTreeSet<String> = KINDS.iter().map(|kind| kind.name.to_owned()).collect();
    assert_eq!(kinds, known);
}
