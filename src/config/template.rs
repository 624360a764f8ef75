//! What a routed topic is called on the other side: a topic with names in braces that are filled in.
//!
//! `{prefix}` and `{gateway}` are the cloud's, `{topic}` is the topic on this side, and `{1}`, `{2}` are what the
//! first and the second wildcard of the route's filter stand for. Invariant: [`Template::widest`] matches whatever
//! [`Template::expand`] can make, since that is what the checks for loops believe.

use std::fmt;

use serde::Deserialize;

use crate::model::{GatewayId, Topic, TopicError, TopicFilter};

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A name in braces that means nothing.
    #[error(
        "`{{{0}}}` means nothing here\nuse `{{prefix}}`, `{{gateway}}`, `{{topic}}`, and `{{1}}` for what the first \
         wildcard of the filter stands for"
    )]
    UnknownName(String),
    /// A brace without its other half.
    #[error("a brace is not closed or not opened\nwrite `{{prefix}}`, `{{gateway}}` or `{{topic}}`")]
    Brace,
    /// `{topic}` beside other text.
    #[error("`{{topic}}` must stand between slashes\nwrite for example `{{prefix}}/{{gateway}}/{{topic}}`")]
    TopicInsideLevel,
    /// What stands around the names is no topic.
    #[error("{0}\nwrite a topic, for example `{{prefix}}/{{gateway}}/{{topic}}`")]
    Topic(#[from] TopicError),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Prefix,
    Gateway,
    Topic,
    Wildcard(usize),
}

/// Who fills in the names: the cloud's tree, and the filter by which a route chose the topic.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    /// The first level or levels of every cloud topic.
    pub prefix: &'a Topic,
    /// The gateway's own level.
    pub gateway: &'a GatewayId,
    /// The filter of the route, with `{prefix}` and `{gateway}` filled in.
    pub filter: &'a TopicFilter,
}

impl Names<'_> {
    /// What the cloud's tree adds to topics on this side. A topic that comes from there loses it.
    fn tree(&self) -> String {
        format!("{}/{}/", self.prefix, self.gateway)
    }
}

/// A topic with names in braces.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Template {
    text: String,
    levels: Vec<Vec<Piece>>,
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// [`TemplateError`] names the rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let levels = text.split('/').map(parse_level).collect::<Result<Vec<_>, _>>()?;
        let stand_ins: Vec<String> =
            levels.iter().map(|level| level.iter().map(stand_in).collect()).collect();
        Topic::parse(&stand_ins.join("/"))?;
        Ok(Self { text: text.to_owned(), levels })
    }

    /// What a message on `topic` is called on the other side.
    ///
    /// # Errors
    /// [`TopicError`], above all when the whole is too long.
    pub fn expand(&self, names: &Names<'_>, topic: &Topic) -> Result<Topic, TopicError> {
        let tree = names.tree();
        let topic_here = topic.as_str().strip_prefix(&tree).unwrap_or(topic.as_str());
        let found = names.filter.captures(topic);
        let mut filled = Vec::with_capacity(self.levels.len());
        for level in &self.levels {
            let mut text = String::new();
            let mut is_left_out = false;
            for piece in level {
                match piece {
                    Piece::Text(part) => text.push_str(part),
                    Piece::Prefix => text.push_str(names.prefix.as_str()),
                    Piece::Gateway => text.push_str(names.gateway.as_str()),
                    Piece::Topic => text.push_str(topic_here),
                    // A `#` that stands for no level leaves none.
                    Piece::Wildcard(number) => match found.get(number - 1).copied().flatten() {
                        Some(part) => text.push_str(part),
                        None => is_left_out = level.len() == 1,
                    },
                }
            }
            if !is_left_out {
                filled.push(text);
            }
        }
        Topic::parse(&filled.join("/"))
    }

    /// A filter that matches every topic that this template makes.
    ///
    /// # Errors
    /// [`TopicError`] as for [`TopicFilter::parse`].
    pub fn widest(&self, names: &Names<'_>) -> Result<TopicFilter, TopicError> {
        let tree = names.tree();
        let filter = names.filter.as_str();
        let wildcards: Vec<&str> = names.filter.wildcards().collect();
        let mut levels: Vec<String> = Vec::new();
        for level in &self.levels {
            match &level[..] {
                // A wildcard may hide the tree, or not.
                [Piece::Topic] => match filter.strip_prefix(&tree) {
                    Some(below) => levels.push(below.to_owned()),
                    None if tree_may_match(filter, &tree) => levels.push("#".to_owned()),
                    None => levels.push(filter.to_owned()),
                },
                [Piece::Wildcard(number)] => {
                    levels.push(wildcards.get(number - 1).unwrap_or(&"#").to_string())
                }
                pieces if pieces.iter().any(|piece| matches!(piece, Piece::Wildcard(_))) => {
                    levels.push("+".to_owned());
                }
                pieces => levels.push(pieces.iter().map(|piece| fixed(piece, names)).collect()),
            }
            if levels.last().is_some_and(|level| level == "#" || level.ends_with("/#")) {
                break;
            }
        }
        TopicFilter::parse(&levels.join("/"))
    }

    /// The highest wildcard that is asked for, 0 for none.
    pub fn highest_wildcard(&self) -> usize {
        let numbers = self.levels.iter().flatten().filter_map(|piece| match piece {
            Piece::Wildcard(number) => Some(*number),
            _ => None,
        });
        numbers.max().unwrap_or(0)
    }

    /// Whether `{n}`, which may stand for several levels, stands beside other text in a level.
    pub fn has_inside_level(&self, number: usize) -> bool {
        self.levels.iter().any(|level| level.len() > 1 && level.contains(&Piece::Wildcard(number)))
    }
}

fn parse_level(text: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(['{', '}']) {
        let (name, after) = rest[start..]
            .strip_prefix('{')
            .and_then(|inner| inner.split_once('}'))
            .ok_or(TemplateError::Brace)?;
        if start > 0 {
            pieces.push(Piece::Text(rest[..start].to_owned()));
        }
        pieces.push(match (name, name.parse()) {
            ("prefix", _) => Piece::Prefix,
            ("gateway", _) => Piece::Gateway,
            ("topic", _) => Piece::Topic,
            (_, Ok(number)) if number > 0 => Piece::Wildcard(number),
            _ => return Err(TemplateError::UnknownName(name.to_owned())),
        });
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    if pieces.contains(&Piece::Topic) && pieces.len() > 1 {
        return Err(TemplateError::TopicInsideLevel);
    }
    Ok(pieces)
}

fn stand_in(piece: &Piece) -> &str {
    match piece {
        Piece::Text(text) => text,
        Piece::Prefix | Piece::Gateway | Piece::Topic | Piece::Wildcard(_) => "x",
    }
}

fn fixed<'a>(piece: &'a Piece, names: &Names<'a>) -> &'a str {
    match piece {
        Piece::Text(text) => text,
        Piece::Prefix => names.prefix.as_str(),
        Piece::Gateway => names.gateway.as_str(),
        Piece::Topic | Piece::Wildcard(_) => "",
    }
}

/// Whether a topic that the filter matches may lie in the tree although the filter does not say so.
fn tree_may_match(filter: &str, tree: &str) -> bool {
    let below = TopicFilter::parse(&format!("{tree}#"));
    match (TopicFilter::parse(filter), below) {
        (Ok(filter), Ok(below)) => filter.overlaps(&below),
        _ => true,
    }
}

impl TryFrom<String> for Template {
    type Error = TemplateError;
    fn try_from(text: String) -> Result<Self, TemplateError> {
        Self::parse(&text)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A filter of cloud topics with `{prefix}` and `{gateway}` in it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct FilterTemplate(String);

impl FilterTemplate {
    /// Parses a filter with names.
    ///
    /// # Errors
    /// [`TemplateError`] names the rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        for level in text.split('/') {
            for piece in parse_level(level)? {
                match piece {
                    Piece::Text(_) | Piece::Prefix | Piece::Gateway => {}
                    Piece::Topic => return Err(TemplateError::UnknownName("topic".to_owned())),
                    Piece::Wildcard(number) => return Err(TemplateError::UnknownName(number.to_string())),
                }
            }
        }
        let template = Self(text.to_owned());
        TopicFilter::parse(&template.filled("x", "x"))?;
        Ok(template)
    }

    fn filled(&self, prefix: &str, gateway: &str) -> String {
        self.0.replace("{prefix}", prefix).replace("{gateway}", gateway)
    }

    /// The filter, with the names filled in.
    ///
    /// # Errors
    /// [`TopicError::TooLong`].
    pub fn filter(&self, prefix: &Topic, gateway: &GatewayId) -> Result<TopicFilter, TopicError> {
        TopicFilter::parse(&self.filled(prefix.as_str(), gateway.as_str()))
    }
}

impl TryFrom<String> for FilterTemplate {
    type Error = TemplateError;
    fn try_from(text: String) -> Result<Self, TemplateError> {
        Self::parse(&text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn expand(template: &str, filter: &str, topic: &str) -> Option<(String, String)> {
        let (prefix, gateway) = (Topic::parse("p/q").unwrap(), GatewayId::parse("g").unwrap());
        let filter = TopicFilter::parse(filter).unwrap();
        let topic = Topic::parse(topic).unwrap();
        let names = Names { prefix: &prefix, gateway: &gateway, filter: &filter };
        let template = Template::parse(template).unwrap();
        let topic = template.expand(&names, &topic).ok()?;
        let widest = template.widest(&names).unwrap();
        assert!(widest.matches(&topic), "{widest} does not match {topic}");
        Some((topic.as_str().to_owned(), widest.as_str().to_owned()))
    }

    #[test]
    fn names_are_filled_in_and_the_widest_filter_is_known() {
        for (template, filter, topic, expected, widest) in [
            ("{prefix}/{gateway}/{topic}", "a/#", "a/b/c", "p/q/g/a/b/c", "p/q/g/a/#"),
            ("{prefix}/{gateway}/{topic}/x", "a/#", "a/b", "p/q/g/a/b/x", "p/q/g/a/#"),
            ("{topic}", "p/q/g/weather/+", "p/q/g/weather/now", "weather/now", "weather/+"),
            ("{topic}", "p/q/#", "p/q/g/weather", "weather", "#"),
            ("from/{topic}", "other/+", "other/x", "from/other/x", "from/other/+"),
            ("x/{2}/{1}", "a/+/+", "a/b/c", "x/c/b", "x/+/+"),
            ("x/{1}", "a/#", "a", "x", "x/#"),
            ("x/{1}/y", "a/#", "a/b/c", "x/b/c/y", "x/#"),
            ("x/n{1}", "a/+", "a/b", "x/nb", "x/+"),
            ("x/{1}/y", "a/+/b", "a//b", "x//y", "x/+/y"),
            ("x", "a/{prefix}", "a/{prefix}", "x", "x"),
            ("{1}", "+", "{prefix}", "{prefix}", "+"),
        ] {
            let found = expand(template, filter, topic).unwrap();
            assert_eq!(found, (expected.to_owned(), widest.to_owned()), "{template} of {topic}");
        }
        assert_eq!(expand("{1}", "#", &"x".repeat(65_000)).unwrap().0.len(), 65_000);
        assert_eq!(expand("{1}{1}", "+", &"x".repeat(65_000)), None);
    }

    #[test]
    fn what_is_no_template_is_refused_with_the_rule() {
        use TemplateError::{Brace, TopicInsideLevel, UnknownName};
        for (text, expected) in [
            ("{prefx}", UnknownName("prefx".to_owned())),
            ("{0}", UnknownName("0".to_owned())),
            ("{-1}", UnknownName("-1".to_owned())),
            ("{prefix", Brace),
            ("prefix}", Brace),
            ("a{topic}", TopicInsideLevel),
            ("a/+", TemplateError::Topic(TopicError::Wildcard)),
            ("", TemplateError::Topic(TopicError::Empty)),
        ] {
            assert_eq!(Template::parse(text), Err(expected), "{text}");
        }
        assert_eq!(FilterTemplate::parse("a/{topic}"), Err(UnknownName("topic".to_owned())));
        assert_eq!(FilterTemplate::parse("a+"), Err(TemplateError::Topic(TopicError::MisplacedWildcard)));
        assert!(FilterTemplate::parse("{prefix}/{gateway}/+/x/#").is_ok());
    }

    proptest! {
        #[test]
        fn the_widest_filter_matches_whatever_is_made(
            template in r"(\{topic\}|\{1\}|\{2\}|a|b\{1\}|\{prefix\})(/(\{1\}|\{2\}|\{topic\}|c|d\{2\})){0,3}",
            levels in prop::collection::vec((any::<bool>(), "(p|q|g|a|)"), 1..5),
            below in prop::option::of("(/(g|a|)){0,3}"),
        ) {
            // A topic, and a filter that matches it: some levels as `+`, what is below as `#`.
            let topic: Vec<&str> = levels.iter().map(|(_, name)| name.as_str()).collect();
            let filter: Vec<&str> =
                levels.iter().map(|(is_wild, name)| if *is_wild { "+" } else { name.as_str() }).collect();
            let topic = format!("{}{}", topic.join("/"), below.as_deref().unwrap_or(""));
            let filter = format!("{}{}", filter.join("/"), if below.is_some() { "/#" } else { "" });
            let (Ok(topic), Ok(filter)) = (Topic::parse(&topic), TopicFilter::parse(&filter)) else { return Ok(()) };
            prop_assert!(filter.matches(&topic), "{filter} {topic}");
            // What a `#` stands for fills whole levels; the check of the configuration sees to that.
            let is_wide = |number: usize| filter.wildcards().nth(number - 1) == Some("#");
            let parsed = Template::parse(&template).unwrap();
            let is_refused = (1..=2).any(|number| is_wide(number) && parsed.has_inside_level(number));
            if is_refused || parsed.highest_wildcard() > filter.wildcards().count() {
                return Ok(());
            }
            let (prefix, gateway) = (Topic::parse("p/q").unwrap(), GatewayId::parse("g").unwrap());
            let names = Names { prefix: &prefix, gateway: &gateway, filter: &filter };
            if let Ok(made) = parsed.expand(&names, &topic) {
                let widest = parsed.widest(&names).unwrap();
                prop_assert!(widest.matches(&made), "{} does not match {}", widest, made);
            }
        }
    }
}
