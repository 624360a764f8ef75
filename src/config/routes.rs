//! The section `routes`: further local topics that go to the cloud, and the template that names them there.

use std::fmt;

use serde::Deserialize;

use crate::model::{GatewayId, QoS, Topic, TopicError, TopicFilter};

/// One kind of local message that goes to the cloud.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Which local topics.
    pub local: TopicFilter,
    /// What they are called in the cloud. Default `{prefix}/{gateway}/{topic}`.
    #[serde(default)]
    pub cloud: Template,
    /// The QoS of the line; left out, each message keeps its own. 0 is sent at most once and waits for nobody.
    #[serde(default)]
    pub qos: Option<QoS>,
    /// Whether the cloud keeps the last one; left out, each message keeps its own flag.
    #[serde(default)]
    pub retain: Option<bool>,
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A name in braces that means nothing.
    #[error("`{{{0}}}` means nothing here\nuse `{{prefix}}`, `{{gateway}}` and `{{topic}}`")]
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

/// A cloud topic with `{prefix}`, `{gateway}` and `{topic}` (the local topic) to be filled in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Template(String);

impl Default for Template {
    fn default() -> Self {
        Self("{prefix}/{gateway}/{topic}".to_owned())
    }
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// [`TemplateError`] names the rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut rest = text;
        while let Some(start) = rest.find(['{', '}']) {
            let (name, after) = rest[start..]
                .strip_prefix('{')
                .and_then(|inner| inner.split_once('}'))
                .ok_or(TemplateError::Brace)?;
            if !["prefix", "gateway", "topic"].contains(&name) {
                return Err(TemplateError::UnknownName(name.to_owned()));
            }
            rest = after;
        }
        if text.split('/').any(|level| level.contains("{topic}") && level != "{topic}") {
            return Err(TemplateError::TopicInsideLevel);
        }
        let template = Self(text.to_owned());
        Topic::parse(&template.filled("p", "g", "t"))?;
        Ok(template)
    }

    fn filled(&self, prefix: &str, gateway: &str, topic: &str) -> String {
        // The topic comes last: it is foreign text and may contain `{prefix}` itself.
        self.0.replace("{prefix}", prefix).replace("{gateway}", gateway).replace("{topic}", topic)
    }

    /// The cloud topic of a message on the local `topic`.
    ///
    /// # Errors
    /// [`TopicError::TooLong`] when both together are.
    pub fn expand(&self, prefix: &Topic, gateway: &GatewayId, topic: &Topic) -> Result<Topic, TopicError> {
        Topic::parse(&self.filled(prefix.as_str(), gateway.as_str(), topic.as_str()))
    }

    /// A filter that matches every cloud topic that this template makes of topics in `local`. Where
    /// something follows a `#`, the filter is cut there and matches more than that.
    ///
    /// # Errors
    /// [`TopicError`] as for [`TopicFilter::parse`].
    pub fn widest(
        &self,
        prefix: &Topic,
        gateway: &GatewayId,
        local: &TopicFilter,
    ) -> Result<TopicFilter, TopicError> {
        let filled = self.filled(prefix.as_str(), gateway.as_str(), local.as_str());
        let end = filled.find("#/").map_or(filled.len(), |at| at + 1);
        TopicFilter::parse(&filled[..end])
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
        f.write_str(&self.0)
    }
}
