//! Topic names and topic filters, parsed once.
//!
//! A [`Topic`] is what a message is published to, a [`TopicFilter`] what is subscribed to. Both are
//! cheap to clone (one reference count). Source: MQTT 5 and 3.1.1, section 4.7.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// The longest topic or filter, in bytes of UTF-8 (MQTT 5 section 1.5.4).
const LONGEST: usize = 65_535;

/// Why a text is not a topic or a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// No character at all (MQTT-4.7.3-1).
    #[error("a topic needs at least one character")]
    Empty,
    /// More than 65,535 bytes (MQTT-4.7.3-3).
    #[error("a topic has at most 65535 bytes, this one has {0}")]
    TooLong(usize),
    /// The null character (MQTT-4.7.3-2).
    #[error("a topic must not contain the null character")]
    NullCharacter,
    /// `+` or `#` in a topic that is published to (MQTT-3.3.2-2).
    #[error("`+` and `#` may stand in a filter only, not in a topic that is published to")]
    Wildcard,
    /// A wildcard that does not fill its level, or a `#` that is not last (MQTT-4.7.1-1, -2).
    #[error("`+` must fill a whole level, and `#` must be the last level")]
    MisplacedWildcard,
    /// `$share/…` without a name or without a filter behind it (MQTT-4.8.2-1, -2).
    #[error("a shared subscription is written `$share/<name>/<filter>`, its name without `+`, `#` and `/`")]
    MalformedShare,
    /// A permission on a shared subscription; its filter is what counts.
    #[error("a permission has no `$share/…`: write the filter behind it")]
    SharedPattern,
}

fn check_text(text: &str) -> Result<(), TopicError> {
    if text.is_empty() {
        return Err(TopicError::Empty);
    }
    if text.len() > LONGEST {
        return Err(TopicError::TooLong(text.len()));
    }
    if text.contains('\0') {
        return Err(TopicError::NullCharacter);
    }
    Ok(())
}

/// A topic name: at least one character, no wildcard, no null, at most 65,535 bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Topic(Arc<str>);

impl Topic {
    /// Parses a topic name (MQTT 5 section 4.7).
    ///
    /// # Errors
    /// [`TopicError`] names the rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        check_text(text)?;
        if text.contains(['+', '#']) {
            return Err(TopicError::Wildcard);
        }
        Ok(Self(text.into()))
    }

    /// The topic as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The levels between the slashes, empty ones included.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// Whether a leading `$` keeps it from filters that begin with a wildcard (MQTT-4.7.2-1).
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with('$')
    }

    /// The topic one or more levels below this one.
    ///
    /// # Errors
    /// As [`Topic::parse`] for the joined text.
    pub fn join(&self, below: &str) -> Result<Self, TopicError> {
        Self::parse(&format!("{}/{below}", self.0))
    }
}

/// The name of a `$share` group: not empty, no `/`, `+` or `#`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShareName(Arc<str>);

impl ShareName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A topic filter, with its share group if it has one.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TopicFilter {
    share: Option<ShareName>,
    filter: Arc<str>,
}

impl TopicFilter {
    /// Parses a filter, `$share/<name>/<filter>` included (MQTT 5 sections 4.7 and 4.8.2).
    ///
    /// # Errors
    /// [`TopicError`] names the rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        check_text(text)?;
        let (share, filter) = match text.strip_prefix("$share/") {
            None if text == "$share" => return Err(TopicError::MalformedShare),
            None => (None, text),
            Some(rest) => match rest.split_once('/') {
                Some((name, filter))
                    if !name.is_empty() && !filter.is_empty() && !name.contains(['+', '#']) =>
                {
                    (Some(ShareName(name.into())), filter)
                }
                _ => return Err(TopicError::MalformedShare),
            },
        };
        let mut levels = filter.split('/').peekable();
        while let Some(level) = levels.next() {
            let well_placed = match level {
                "+" => true,
                "#" => levels.peek().is_none(),
                other => !other.contains(['+', '#']),
            };
            if !well_placed {
                return Err(TopicError::MisplacedWildcard);
            }
        }
        Ok(Self { share, filter: filter.into() })
    }

    /// The filter without its share group.
    pub fn as_str(&self) -> &str {
        &self.filter
    }

    /// The share group, if this is a shared subscription.
    pub fn share(&self) -> Option<&ShareName> {
        self.share.as_ref()
    }

    /// The levels between the slashes, wildcards included.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.filter.split('/')
    }

    /// Whether a message on `topic` is meant for this filter (MQTT 5 section 4.7.1 and MQTT-4.7.2-1).
    pub fn matches(&self, topic: &Topic) -> bool {
        if topic.is_reserved() && self.filter.starts_with(['+', '#']) {
            return false;
        }
        let mut names = topic.levels();
        for level in self.levels() {
            match (level, names.next()) {
                ("#", _) => return true,
                ("+", Some(_)) => {}
                (level, Some(name)) if level == name => {}
                _ => return false,
            }
        }
        names.next().is_none()
    }

    /// The wildcards, in order.
    pub fn wildcards(&self) -> impl Iterator<Item = &str> {
        self.levels().filter(|level| matches!(*level, "+" | "#"))
    }

    /// What each wildcard stands for in a topic that this filter matches, in order; `None` for a `#` that stands
    /// for no level.
    pub fn captures<'a>(&self, topic: &'a Topic) -> Vec<Option<&'a str>> {
        let mut found = Vec::new();
        let mut rest = Some(topic.as_str());
        for level in self.levels() {
            let (name, below) = match rest {
                Some(text) => {
                    text.split_once('/').map_or((Some(text), None), |(name, below)| (Some(name), Some(below)))
                }
                None => (None, None),
            };
            match level {
                "+" => found.push(name),
                "#" => found.push(rest),
                _ => {}
            }
            rest = below;
        }
        found
    }

    /// Whether some topic exists that both filters match: what the check for loops asks.
    pub fn overlaps(&self, other: &TopicFilter) -> bool {
        let (mut ours, mut theirs) = (self.levels(), other.levels());
        let reserved = |filter: &TopicFilter| filter.filter.starts_with('$');
        let wild = |filter: &TopicFilter| filter.filter.starts_with(['+', '#']);
        if (reserved(self) && wild(other)) || (reserved(other) && wild(self)) {
            return false;
        }
        loop {
            match (ours.next(), theirs.next()) {
                (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
                (Some(a), Some(b)) if a == b || a == "+" || b == "+" => {}
                _ => return false,
            }
        }
    }
}

impl From<&Topic> for TopicFilter {
    /// The filter that matches just this topic.
    fn from(topic: &Topic) -> Self {
        Self { share: None, filter: topic.0.clone() }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Topic({})", self.0)
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.share {
            Some(share) => write!(f, "$share/{}/{}", share.0, self.filter),
            None => f.write_str(&self.filter),
        }
    }
}

impl fmt::Debug for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TopicFilter({self})")
    }
}

impl TryFrom<String> for Topic {
    type Error = TopicError;
    fn try_from(text: String) -> Result<Self, TopicError> {
        Self::parse(&text)
    }
}

impl TryFrom<String> for TopicFilter {
    type Error = TopicError;
    fn try_from(text: String) -> Result<Self, TopicError> {
        Self::parse(&text)
    }
}

impl From<Topic> for String {
    fn from(topic: Topic) -> Self {
        topic.0.as_ref().to_owned()
    }
}

impl From<TopicFilter> for String {
    fn from(filter: TopicFilter) -> Self {
        filter.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(text: &str) -> Topic {
        Topic::parse(text).unwrap()
    }

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::parse(text).unwrap()
    }

    #[test]
    fn filters_match_as_the_standard_says() {
        for (f, t, expected) in [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
            ("sport/#", "sport", true),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("#", "$SYS/uptime", false),
            ("+/uptime", "$SYS/uptime", false),
            ("$SYS/#", "$SYS/uptime", true),
            ("öl/+", "öl/heizung", true),
            ("$share/g/a/#", "a/b", true),
        ] {
            assert_eq!(filter(f).matches(&topic(t)), expected, "{f} on {t}");
        }
    }

    #[test]
    fn malformed_topics_and_filters_are_refused_with_the_rule() {
        assert_eq!(Topic::parse(""), Err(TopicError::Empty));
        assert_eq!(Topic::parse("a/+"), Err(TopicError::Wildcard));
        assert_eq!(Topic::parse("a\0"), Err(TopicError::NullCharacter));
        assert_eq!(Topic::parse(&"x".repeat(65_536)), Err(TopicError::TooLong(65_536)));
        for bad in ["a/#/b", "a+/b", "#a"] {
            assert_eq!(TopicFilter::parse(bad), Err(TopicError::MisplacedWildcard), "{bad}");
        }
        for bad in ["$share", "$share/", "$share/g", "$share/g/", "$share//a", "$share/+/a"] {
            assert_eq!(TopicFilter::parse(bad), Err(TopicError::MalformedShare), "{bad}");
        }
    }

    #[test]
    fn overlap_is_found_through_wildcards_on_either_side() {
        for (a, b, expected) in [
            ("h/g/#", "h/g/+/set", true),
            ("h/g/+", "h/g/+/set", false),
            ("h/g/+/state", "h/g/+/set", false),
            ("h/g/lamp/+", "h/g/+/set", true),
            ("#", "$SYS/x", false),
            ("a/#", "a", true),
        ] {
            assert_eq!(filter(a).overlaps(&filter(b)), expected, "{a} and {b}");
            assert_eq!(filter(b).overlaps(&filter(a)), expected, "{b} and {a}");
        }
    }
}
