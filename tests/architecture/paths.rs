//! Which rooms a file speaks of: every path that begins with `crate`, `$crate`, `hearthlink` or `super`,
//! in a `use` tree or in the middle of code, made absolute.

use super::source::{Token, tokens};

/// What the first level below the crate's root is, for a path that begins there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The room, or `*` or the empty text when the path stops at the root.
    pub room: String,
    /// Counted from 1.
    pub line: usize,
}

/// Every reference in `source`, whose module path is `module` (`["link", "dial"]` for `src/link/dial.rs`).
pub fn references(source: &str, module: &[&str]) -> Vec<Reference> {
    let tokens = tokens(source);
    let mut found = Vec::new();
    // Inline modules that are open, with the depth of braces at which each began.
    let mut inline: Vec<(String, usize)> = Vec::new();
    let mut depth = 0_usize;
    let mut at = 0;
    while at < tokens.len() {
        let text = |ahead: usize| tokens.get(at + ahead).map_or("", |token| token.text.as_str());
        match text(0) {
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                inline.pop_if(|(_, began)| *began == depth);
            }
            "mod" if text(2) == "{" => inline.push((text(1).to_owned(), depth)),
            "use" => {
                let mut base: Vec<String> = module.iter().map(|&level| level.to_owned()).collect();
                base.extend(inline.iter().map(|(name, _)| name.clone()));
                at = tree(&tokens, at + 1, &Start::Here(base), &mut found);
                continue;
            }
            "crate" | "super" | "hearthlink"
                if text(1) == "::" && (at == 0 || tokens[at - 1].text != "::") =>
            {
                let mut base: Vec<String> = module.iter().map(|&level| level.to_owned()).collect();
                base.extend(inline.iter().map(|(name, _)| name.clone()));
                at = tree(&tokens, at, &Start::Here(base), &mut found);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Where a part of a path starts.
enum Start {
    /// In this module: `super` climbs from here.
    Here(Vec<String>),
    /// After `crate` or `super`: at this absolute path.
    At(Vec<String>),
    /// In another crate, or inside the own module.
    Elsewhere,
}

/// Reads one path or one `{…}` of paths and returns the place behind it.
fn tree(tokens: &[Token], mut at: usize, start: &Start, found: &mut Vec<Reference>) -> usize {
    let mut place = match start {
        Start::Here(base) => (Some(base.clone()), true),
        Start::At(path) => (Some(path.clone()), false),
        Start::Elsewhere => (None, false),
    };
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    while let Some(token) = tokens.get(at) {
        let line = token.line;
        match token.text.as_str() {
            "$" | "::" => {}
            "{" => {
                let inner = match &place {
                    (Some(path), true) => Start::Here(path.clone()),
                    (Some(path), false) => Start::At(path.clone()),
                    (None, _) => Start::Elsewhere,
                };
                at += 1;
                while at < tokens.len() && text(at) != "}" {
                    at = tree(tokens, at, &inner, found);
                    at += usize::from(text(at) == ",");
                }
                return at + 1;
            }
            "crate" | "hearthlink" if place.1 => place = (Some(Vec::new()), false),
            "super" => {
                let Some(path) = place.0.as_mut() else { return at + 1 };
                path.pop();
                place.1 = false;
            }
            "self" if place.1 => place.1 = false,
            name => {
                // A path that starts with a name of this module or of another crate is nobody's business.
                let Some(path) = place.0.as_mut().filter(|_| !place.1) else {
                    place = (None, false);
                    at = after_name(tokens, at);
                    if text(at) == "::" {
                        at += 1;
                        continue;
                    }
                    return at;
                };
                if path.is_empty() {
                    found.push(Reference { room: name.to_owned(), line });
                }
                path.push(name.to_owned());
                at = after_name(tokens, at);
                if text(at) == "::" {
                    at += 1;
                    continue;
                }
                return at;
            }
        }
        at += 1;
        let goes_on = text(at) == "::" || token.text == "::" || token.text == "$";
        if !goes_on {
            if place == (Some(Vec::new()), false) {
                found.push(Reference { room: String::new(), line });
            }
            return after_alias(tokens, at);
        }
    }
    at
}

fn after_name(tokens: &[Token], at: usize) -> usize {
    after_alias(tokens, at + 1)
}

fn after_alias(tokens: &[Token], at: usize) -> usize {
    if tokens.get(at).is_some_and(|token| token.text == "as") { at + 2 } else { at }
}
