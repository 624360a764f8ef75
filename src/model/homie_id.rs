//! A name as the Homie convention 5 takes it: one level of a topic of `a-z`, `0-9` and `-` ("Topic IDs").
//!
//! Pure. Many names come to the same id (`Lamp_1`, `lamp-1`): whoever makes ids of several names looks for that.

use std::{fmt, sync::Arc};

/// The longest id that is made, in bytes.
const LONGEST: usize = 64;

/// A device, a node or a property of the Homie convention.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HomieId(Arc<str>);

impl HomieId {
    /// The id of what people call so: letters become small, and each run of other characters one `-`, which stands
    /// neither in front nor behind. 1 to 64 bytes. `None`: there is neither a letter of `a-z` nor a digit in it.
    pub fn of(name: &str) -> Option<Self> {
        let mut id = String::new();
        for letter in name.chars() {
            match letter.to_ascii_lowercase() {
                letter @ ('a'..='z' | '0'..='9') => id.push(letter),
                _ if id.is_empty() || id.ends_with('-') => {}
                _ => id.push('-'),
            }
        }
        id.truncate(LONGEST);
        let id = id.trim_end_matches('-');
        (!id.is_empty()).then(|| Self(id.into()))
    }

    /// The same with a number behind it, for a second one of the name; it may be longer by that.
    #[must_use]
    pub fn numbered(&self, number: usize) -> Self {
        Self(format!("{self}-{number}").into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HomieId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(name: &str) -> Option<String> {
        HomieId::of(name).map(|id| id.to_string())
    }

    #[test]
    fn names_of_the_house_stay_recognisable() {
        for (name, id) in [
            ("toaster", "toaster"),
            ("Boiler_Room", "boiler-room"),
            ("energy_import_total", "energy-import-total"),
            ("Außen-Temperatur 1", "au-en-temperatur-1"),
            ("_x_", "x"),
            ("1-0:1.8.0", "1-0-1-8-0"),
        ] {
            assert_eq!(of(name).as_deref(), Some(id), "{name}");
        }
        assert_eq!((of("_-_"), of("温度"), of("")), (None, None, None));
    }

    proptest! {
        #[test]
        fn an_id_is_one_level_of_what_the_convention_allows_and_its_own_id(name in ".{0,100}") {
            let Some(id) = HomieId::of(&name) else { return Ok(()) };
            prop_assert!((1..=LONGEST).contains(&id.as_str().len()));
            prop_assert!(id.as_str().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
            prop_assert_eq!(HomieId::of(id.as_str()), Some(id));
        }
    }
}
