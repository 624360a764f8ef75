//! The layers of the configuration, laid over each other by the crate `config`.
//!
//! Maps are merged key by key, everything else is replaced whole; later layers win, the environment last.
//! `config` sees only the maps and, at each leaf, the number of its layer: the values and their places are
//! then taken from the layers' own trees. Everything hangs below one root key, because `config` splits only
//! root keys at their dots.

use std::collections::HashMap;

use config::{Config, ConfigError, Environment, Map, Source, Value as Merged, ValueKind};

use super::tree::{Node, Place, Value};

/// The root key; also the prefix of the environment variables, in lower case.
const ROOT: &str = "hearthlink";

#[derive(Debug, Clone)]
struct Layer(Merged);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Merged>, ConfigError> {
        Ok(Map::from_iter([(ROOT.to_owned(), self.0.clone())]))
    }
}

fn outline(node: &Node, layer: &String) -> Merged {
    let kind = match &node.value {
        Value::Map(entries) => {
            ValueKind::Table(entries.iter().map(|(key, node)| (key.clone(), outline(node, layer))).collect())
        }
        _ => ValueKind::Nil,
    };
    Merged::new(Some(layer), kind)
}

/// Merges the files' trees and the environment (`variables`; `None` means the process's own).
///
/// # Errors
/// [`ConfigError`] when an environment variable is not Unicode.
pub(super) fn merge(
    layers: &[Node],
    variables: Option<&HashMap<String, String>>,
) -> Result<Node, ConfigError> {
    let mut builder = Config::builder();
    for (index, layer) in layers.iter().enumerate() {
        builder = builder.add_source(Layer(outline(layer, &index.to_string())));
    }
    let environment = Environment::with_prefix("HEARTHLINK")
        .prefix_separator("__")
        .separator("__")
        .keep_prefix(true)
        .source(variables.map(|variables| variables.clone().into_iter().collect()));
    let merged = builder.add_source(environment).build()?.cache;
    let mut tree = match merged.kind {
        ValueKind::Table(mut root) => match root.remove(ROOT) {
            Some(merged) => rebuild(&merged, &mut Vec::new(), layers),
            None => empty(),
        },
        _ => empty(),
    };
    tree.number(&mut 0);
    Ok(tree)
}

fn empty() -> Node {
    Node { id: 0, key: None, place: Place::Variable(String::new()), value: Value::Map(Vec::new()) }
}

fn at<'a>(layer: &'a Node, path: &[String]) -> Option<&'a Node> {
    path.iter().try_fold(layer, |node, key| node.child(key))
}

fn rebuild(merged: &Merged, path: &mut Vec<String>, layers: &[Node]) -> Node {
    let variable = || Place::Variable(format!("HEARTHLINK__{}", path.join("__").to_uppercase()));
    match &merged.kind {
        ValueKind::Table(entries) => {
            let node = layers
                .iter()
                .rev()
                .find_map(|layer| at(layer, path).filter(|node| matches!(node.value, Value::Map(_))));
            let (key, place) = match node {
                Some(node) => (node.key.clone(), node.place.clone()),
                None => (Some(variable()), variable()),
            };
            let mut names: Vec<_> = entries.keys().cloned().collect();
            names.sort();
            let children = names.into_iter().map(|name| {
                path.push(name.clone());
                let child = rebuild(&entries[&name], path, layers);
                path.pop();
                (name, child)
            });
            Node { id: 0, key, place, value: Value::Map(children.collect()) }
        }
        kind => {
            let layer = merged.origin().and_then(|layer| layers.get(layer.parse::<usize>().ok()?));
            match layer.and_then(|layer| at(layer, path)) {
                Some(node) => node.clone(),
                None => {
                    let text = match kind {
                        ValueKind::String(text) => text.clone(),
                        _ => String::new(),
                    };
                    Node { id: 0, key: Some(variable()), place: variable(), value: Value::Text(text) }
                }
            }
        }
    }
}
