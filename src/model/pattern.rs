//! A topic filter with the client's own names in it: what a list of permissions is written in.
//!
//! `%u` stands for the user's name and `%c` for the client id, as a whole level or as a part of one.
//! Invariant: a name never widens a pattern. One that would add a level, a wildcard or a leading `$`
//! makes a filter that does not exist, and the client has no such permission.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{TopicError, TopicFilter};

const USER: &str = "%u";
const CLIENT: &str = "%c";

/// A filter in which `%u` and `%c` stand for the client's names.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TopicPattern(Arc<str>);

impl TopicPattern {
    /// Parses a pattern: a filter once its names are filled in, and not a shared one.
    ///
    /// # Errors
    /// [`TopicError`] names the rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        let filter = TopicFilter::parse(&text.replace(USER, "x").replace(CLIENT, "x"))?;
        match filter.share() {
            None => Ok(Self(text.into())),
            Some(_) => Err(TopicError::SharedPattern),
        }
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The filter of one client; `None` when the pattern asks for a name that it does not have, or that
    /// would widen it.
    pub fn filter(&self, user: Option<&str>, client: &str) -> Option<TopicFilter> {
        let mut text = String::with_capacity(self.0.len());
        let mut rest = &*self.0;
        // In one pass: a client that calls itself `%u` is not asked again.
        while let Some(at) = rest.find('%') {
            let (before, from) = rest.split_at(at);
            text.push_str(before);
            let name = if from.starts_with(USER) {
                Some(user?)
            } else if from.starts_with(CLIENT) {
                Some(client)
            } else {
                None
            };
            match name {
                Some(name) if name.is_empty() || name.contains(['/', '+', '#']) => return None,
                Some(name) => {
                    text.push_str(name);
                    rest = &from[USER.len()..];
                }
                None => {
                    text.push('%');
                    rest = &from[1..];
                }
            }
        }
        text.push_str(rest);
        if text.starts_with('$') && !self.0.starts_with('$') {
            return None;
        }
        TopicFilter::parse(&text).ok()
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TopicPattern({})", self.0)
    }
}

impl TryFrom<String> for TopicPattern {
    type Error = TopicError;
    fn try_from(text: String) -> Result<Self, TopicError> {
        Self::parse(&text)
    }
}

impl From<TopicPattern> for String {
    fn from(pattern: TopicPattern) -> Self {
        pattern.0.as_ref().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Topic;

    fn filter(pattern: &str, user: Option<&str>, client: &str) -> Option<String> {
        let filter = TopicPattern::parse(pattern).unwrap().filter(user, client);
        filter.map(|filter| filter.as_str().to_owned())
    }

    #[test]
    fn names_fill_whole_levels_and_parts_of_them() {
        for (pattern, expected) in [
            ("home/%u/#", Some("home/anna/#")),
            ("%c", Some("phone")),
            ("dev-%c-%u/+", Some("dev-phone-anna/+")),
            ("100%/%x/%", Some("100%/%x/%")),
            ("$SYS/%c", Some("$SYS/phone")),
        ] {
            assert_eq!(filter(pattern, Some("anna"), "phone").as_deref(), expected, "{pattern}");
        }
    }

    #[test]
    fn a_name_that_would_widen_a_pattern_has_no_filter() {
        for name in ["", "+", "#", "a/b", "a+", "#a", "/", "$SYS", "$share", "a\0"] {
            for pattern in ["%u/x", "%c/x", "%u/#", "%c"] {
                assert_eq!(filter(pattern, Some(name), name), None, "`{name}` in {pattern}");
            }
        }
        assert_eq!(filter("%u/x", None, "phone"), None);
        assert_eq!(filter("a/%c", Some("u"), "%u").as_deref(), Some("a/%u"));
        assert_eq!(filter("a/%c", Some("u"), "$SYS").as_deref(), Some("a/$SYS"));
    }

    #[test]
    fn patterns_that_are_no_filters_are_refused() {
        assert_eq!(TopicPattern::parse("a+%u"), Err(TopicError::MisplacedWildcard));
        assert_eq!(TopicPattern::parse("%u#"), Err(TopicError::MisplacedWildcard));
        assert_eq!(TopicPattern::parse("$share/g/a"), Err(TopicError::SharedPattern));
        assert_eq!(TopicPattern::parse(""), Err(TopicError::Empty));
    }

    proptest! {
        /// What a client may do under any names, it may do under a pattern with `+` in the names' places.
        #[test]
        fn no_name_reaches_beyond_its_level(
            pattern in "(a|%u|%c|x%u|%c%u|b)(/(a|%u|%c|b%c)){0,3}",
            user in "[ab$%u+#/]{0,4}",
            client in "[ab$%c+#/]{0,4}",
            topic in "[ab$%uc]{1,4}(/[ab$%uc]{0,4}){0,4}",
        ) {
            let Some(filter) = TopicPattern::parse(&pattern).unwrap().filter(Some(&user), &client) else {
                return Ok(());
            };
            let widest = pattern.split('/').map(|level| if level.contains('%') { "+" } else { level });
            let widest = TopicFilter::parse(&widest.collect::<Vec<_>>().join("/")).unwrap();
            let topic = Topic::parse(&topic).unwrap();
            prop_assert!(!filter.matches(&topic) || widest.matches(&topic));
        }
    }
}
