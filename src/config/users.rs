//! `users.yaml` beside the configuration: the users that `hearthlink user` looks after.
//!
//! Owns the file's shape and how its text changes. Never writes it: the command does. Its users stand
//! behind those of `broker.users`; a list in `config.d` would replace that list, which is why it is a file
//! of its own. Invariants: a changed text still says what it said before about everybody else, comments
//! included, or there is no changed text.

use serde::Deserialize;

use super::{
    broker::Acl,
    decode::decode,
    tree::{Node, Place, Spot, Value},
};
use crate::model::Secret;

/// Its name, beside the configuration.
pub(super) const FILE: &str = "users.yaml";

const HEAD: &str = "# Written by `hearthlink user add`. Its users stand beside those of `broker.users`; an `acl` may be added \
                    by hand.\nusers:\n";

/// Why the users' file cannot be changed by a program.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// It is no list of users.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// Changing it would have changed something else.
    #[error("it is written in a way that this command does not know: change it by hand")]
    Shape,
    /// There is nobody of that name.
    #[error("it has no user `{0}`")]
    Nobody(String),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shape {
    #[serde(default)]
    users: Option<Vec<Entry>>,
}

/// A user as the file has it; what it says is checked when the configuration is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The user name.
    pub name: String,
    /// Argon2 in PHC form.
    #[serde(default)]
    pub password_hash: Option<Secret>,
    /// The name in a client certificate.
    #[serde(default)]
    pub certificate_name: Option<String>,
    /// What this user may do.
    #[serde(default)]
    pub acl: Option<Acl>,
}

/// The text of a `users.yaml` that could be read.
#[derive(Debug)]
pub struct UsersText {
    text: String,
    tree: Node,
    entries: Vec<Entry>,
}

impl UsersText {
    /// Reads it; empty means that there is nobody.
    ///
    /// # Errors
    /// [`UsersError::Unreadable`].
    pub fn parse(text: &str) -> Result<Self, UsersError> {
        let mut tree = Node::parse(0, text).map_err(|error| {
            let text = error.to_string();
            UsersError::Unreadable(text.lines().next().unwrap_or_default().to_owned())
        })?;
        tree.number(&mut 0);
        let entries = match &tree.value {
            Value::Null => Vec::new(),
            _ => {
                let shape: Shape =
                    decode(&tree).map_err(|fault| UsersError::Unreadable(format!("{:?}", fault.wrong)))?;
                shape.users.unwrap_or_default()
            }
        };
        Ok(Self { text: text.to_owned(), tree, entries })
    }

    /// Whoever is in it.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The text with this password for this user, who is added if there is no such user.
    ///
    /// # Errors
    /// [`UsersError::Shape`].
    pub fn with_password(&self, name: &str, hash: &str) -> Result<String, UsersError> {
        let mut wanted = self.entries.clone();
        let secret = Some(Secret::new(hash));
        let text = match self.position(name) {
            None => {
                wanted.push(Entry {
                    name: name.to_owned(),
                    password_hash: secret,
                    certificate_name: None,
                    acl: None,
                });
                self.appended(name, hash)
            }
            Some(index) => {
                wanted[index].password_hash = secret;
                self.replaced(index, hash)
            }
        };
        checked(text.ok_or(UsersError::Shape)?, &wanted)
    }

    /// The text without this user.
    ///
    /// # Errors
    /// [`UsersError::Nobody`] or [`UsersError::Shape`].
    pub fn without(&self, name: &str) -> Result<String, UsersError> {
        let index = self.position(name).ok_or_else(|| UsersError::Nobody(name.to_owned()))?;
        let mut wanted = self.entries.clone();
        wanted.remove(index);
        let spot = self.items().get(index).and_then(spot).ok_or(UsersError::Shape)?;
        let first = line_index(spot);
        let dash = self.text.lines().nth(first).map_or(0, indentation);
        let mut has_ended = false;
        let kept = self.text.split_inclusive('\n').enumerate().filter(|(index, line)| {
            let is_of_the_user = *index > first && !line.trim().is_empty() && indentation(line) > dash;
            has_ended |= *index > first && !is_of_the_user;
            *index < first || has_ended
        });
        checked(kept.map(|(_, line)| line).collect(), &wanted)
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.entries.iter().position(|entry| entry.name == name)
    }

    fn items(&self) -> &[Node] {
        match self.tree.child("users").map(|users| &users.value) {
            Some(Value::List(items)) => items,
            _ => &[],
        }
    }

    fn appended(&self, name: &str, hash: &str) -> Option<String> {
        let mut text = self.text.clone();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        if self.tree.child("users").is_none() {
            text.push_str(HEAD);
        }
        // As far in as those before.
        let dash = match self.items().last().and_then(spot) {
            Some(spot) => indentation(self.text.lines().nth(line_index(spot))?),
            None => 2,
        };
        let (name, indent) = (quoted(name), " ".repeat(dash));
        text.push_str(&format!("{indent}- name: {name}\n{indent}  password_hash: {}\n", quoted(hash)));
        Some(text)
    }

    fn replaced(&self, index: usize, hash: &str) -> Option<String> {
        let item = self.items().get(index)?;
        if let Some(Spot { offset, length, .. }) = item.child("password_hash").and_then(spot) {
            let mut text = self.text.clone();
            text.get(*offset..offset + length)?;
            text.replace_range(*offset..offset + length, &quoted(hash));
            return Some(text);
        }
        // Only a certificate so far: the hash goes below the name.
        let name = item.child("name").and_then(spot)?;
        let column = usize::try_from(spot(item)?.column).ok()?.checked_sub(1)?;
        let line = format!("{}password_hash: {}\n", " ".repeat(column), quoted(hash));
        let mut text = String::new();
        for (index, old) in self.text.split_inclusive('\n').enumerate() {
            text.push_str(old);
            if index == line_index(name) {
                text.push_str(if old.ends_with('\n') { "" } else { "\n" });
                text.push_str(&line);
            }
        }
        Some(text)
    }
}

/// The text, if it says exactly this.
fn checked(text: String, wanted: &[Entry]) -> Result<String, UsersError> {
    match UsersText::parse(&text) {
        Ok(read) if read.entries == wanted => Ok(text),
        _ => Err(UsersError::Shape),
    }
}

fn spot(node: &Node) -> Option<&Spot> {
    match &node.place {
        Place::File(spot) => Some(spot),
        Place::Variable(_) => None,
    }
}

fn line_index(spot: &Spot) -> usize {
    usize::try_from(spot.line).unwrap_or(usize::MAX).saturating_sub(1)
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// A text in YAML's double quotes, which are JSON's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Puts the users of `file`, the tree of a `users.yaml`, behind those of `broker.users` in `tree`.
///
/// # Errors
/// The value of `file` that is not as it should be, and what is wrong with it.
pub(super) fn append(tree: &mut Node, file: Node) -> Result<(), (Place, String)> {
    let place = file.place.clone();
    let Value::Map(entries) = file.value else { return Ok(()) };
    let mut more = Vec::new();
    for (key, node) in entries {
        match (key.as_str(), node.value) {
            ("users", Value::List(items)) => more = items,
            ("users", Value::Null) => {}
            ("users", _) => return Err((node.place, "expected a list of users".to_owned())),
            _ => return Err((node.key.unwrap_or(node.place), format!("unknown key `{key}`"))),
        }
    }
    let Some(broker) = entry(tree, "broker", &place, Value::Map(Vec::new())) else { return Ok(()) };
    let Some(users) = entry(broker, "users", &place, Value::List(Vec::new())) else { return Ok(()) };
    if let Value::List(items) = &mut users.value {
        items.extend(more);
    }
    tree.number(&mut 0);
    Ok(())
}

/// The value below a key of a map, `fresh` if there is none; `None`: it is no map, which others tell.
fn entry<'a>(node: &'a mut Node, key: &str, place: &Place, fresh: Value) -> Option<&'a mut Node> {
    let Value::Map(entries) = &mut node.value else { return None };
    if !entries.iter().any(|(name, _)| name == key) {
        let node = Node { id: 0, key: None, place: place.clone(), value: fresh };
        entries.push((key.to_owned(), node));
    }
    entries.iter_mut().find(|(name, _)| name == key).map(|(_, node)| node)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        let read = UsersText::parse(text).unwrap();
        read.entries().iter().map(|entry| entry.name.clone()).collect()
    }

    const BY_HAND: &str = "# Ours.\nusers:\n# The kitchen.\n- name: kitchen   # the tablet\n  password_hash: 'old'\n  \
                           acl:\n    read: [\"home/#\"]\n\n- name: boiler\n  certificate_name: boiler.home\n# The end.\n";

    #[test]
    fn users_are_added_changed_and_removed_in_an_empty_file() {
        let mut text = String::new();
        for name in ["anna", "öl: \"1\" #", "anna"] {
            text = UsersText::parse(&text).unwrap().with_password(name, "$hash$").unwrap();
        }
        assert_eq!(names(&text), ["anna", "öl: \"1\" #"]);
        text = UsersText::parse(&text).unwrap().without("anna").unwrap();
        text = UsersText::parse(&text).unwrap().without("öl: \"1\" #").unwrap();
        assert_eq!(names(&text), [""; 0]);
        text = UsersText::parse(&text).unwrap().with_password("anna", "$new$").unwrap();
        assert!(text.starts_with("# Written") && text.matches("users:\n").count() == 1, "{text}");
    }

    #[test]
    fn what_a_person_wrote_stays() {
        let file = UsersText::parse(BY_HAND).unwrap();
        let more = file.with_password("anna", "h").unwrap();
        assert_eq!(more, format!("{BY_HAND}- name: \"anna\"\n  password_hash: \"h\"\n"));
        let changed = file.with_password("kitchen", "new").unwrap();
        assert_eq!(changed, BY_HAND.replace("'old'", "\"new\""));
        let both = file.with_password("boiler", "h").unwrap();
        assert_eq!(both, BY_HAND.replace("- name: boiler\n", "- name: boiler\n  password_hash: \"h\"\n"));
        assert_eq!(
            file.without("kitchen").unwrap(),
            "# Ours.\nusers:\n# The kitchen.\n\n- name: boiler\n  certificate_name: boiler.home\n# The end.\n"
        );
        assert!(file.without("boiler").unwrap().ends_with("\n\n# The end.\n"));
        assert!(matches!(file.without("nobody"), Err(UsersError::Nobody(_))));
    }

    #[test]
    fn a_text_that_it_does_not_know_how_to_change_is_left_alone() {
        for text in [
            "users: [{name: a, certificate_name: b}, {name: c}]\n",
            "users: [\n  {name: a, certificate_name: b}]",
        ] {
            let file = UsersText::parse(text).unwrap();
            assert!(matches!(file.with_password("b", "h"), Err(UsersError::Shape)), "{text}");
            assert!(matches!(file.with_password("a", "h"), Err(UsersError::Shape)), "{text}");
            assert!(matches!(file.without("a"), Err(UsersError::Shape)), "{text}");
        }
        assert!(UsersText::parse("users: 5").is_err() && UsersText::parse("user: []").is_err());
    }
}
