//! What one connected client may read and write.
//!
//! Owns the lists of a user, filled in with a client's names. Invariants: what belongs to the gateway
//! (`$…`, `home/bridge`) is written by nobody, whatever a list says; without a list everything else is
//! open, and nothing is looked up for it; with a list, what it does not name is closed.
//!
//! A subscription is granted when anything of it may be read, and each message is then held against the
//! list, as Mosquitto does: a client may say `#` and gets what is its own. One that can bring nothing at
//! all is refused, which Mosquitto does not do, so that a mistake is told and not merely silent.

use std::sync::Arc;

use super::options::Acl;
use crate::model::{Topic, TopicFilter};

/// The filters of what may be read.
pub(super) type Readable = Arc<[TopicFilter]>;

/// What a client may do; `None`: everything ordinary.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rights(Option<Arc<Lists>>);

#[derive(Debug, PartialEq, Eq)]
struct Lists {
    read: Readable,
    write: Box<[TopicFilter]>,
}

impl Rights {
    /// A list, filled in for one client.
    pub(super) fn of(acl: Option<&Acl>, user: Option<&str>, client: &str) -> Self {
        Self(acl.map(|acl| {
            Arc::new(Lists {
                read: acl.read.iter().filter_map(|pattern| pattern.filter(user, client)).collect(),
                write: acl.write.iter().filter_map(|pattern| pattern.filter(user, client)).collect(),
            })
        }))
    }

    /// Whether this client may publish to `topic`.
    pub(super) fn may_publish(&self, topic: &Topic) -> bool {
        let text = topic.as_str();
        let own =
            text.strip_prefix("home/bridge").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let listed =
            || self.0.as_ref().is_none_or(|lists| lists.write.iter().any(|filter| filter.matches(topic)));
        !topic.is_reserved() && !own && listed()
    }

    /// Whether anything of `filter` may be read. What begins with `$` must be listed.
    pub(super) fn may_subscribe(&self, filter: &TopicFilter) -> bool {
        match &self.0 {
            None => !filter.as_str().starts_with('$'),
            Some(lists) => lists.read.iter().any(|readable| readable.overlaps(filter)),
        }
    }

    /// What each message is held against; `None`: nothing is.
    pub(super) fn readable(&self) -> Option<Readable> {
        self.0.as_ref().map(|lists| lists.read.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TopicPattern;

    fn rights(read: &[&str], write: &[&str]) -> Rights {
        let patterns = |texts: &[&str]| texts.iter().map(|text| TopicPattern::parse(text).unwrap()).collect();
        Rights::of(Some(&Acl { read: patterns(read), write: patterns(write) }), Some("anna"), "phone")
    }

    fn may_publish(rights: &Rights, topic: &str) -> bool {
        rights.may_publish(&Topic::parse(topic).unwrap())
    }

    fn may_subscribe(rights: &Rights, filter: &str) -> bool {
        rights.may_subscribe(&TopicFilter::parse(filter).unwrap())
    }

    #[test]
    fn the_gateways_own_topics_are_closed_to_everybody() {
        for rights in [Rights::default(), rights(&[], &["#", "$SYS/#", "home/bridge/#"])] {
            for (topic, allowed) in [
                ("home/bridge", false),
                ("home/bridge/state", false),
                ("home/bridges", true),
                ("home/plug/set", true),
                ("$SYS/x", false),
            ] {
                assert_eq!(may_publish(&rights, topic), allowed, "{topic}");
            }
        }
    }

    #[test]
    fn what_a_list_does_not_name_is_closed() {
        let rights = rights(&["home/+/state", "users/%u/#"], &["dev/%c/out"]);
        assert!(may_publish(&rights, "dev/phone/out"));
        assert!(!may_publish(&rights, "dev/other/out") && !may_publish(&rights, "home/x/state"));
        for (filter, allowed) in [
            ("#", true),
            ("home/#", true),
            ("home/lamp/state", true),
            ("users/anna/mail", true),
            ("$share/g/users/+/mail", true),
            ("users/bert/#", false),
            ("home/lamp", false),
            ("dev/phone/out", false),
            ("$SYS/#", false),
        ] {
            assert_eq!(may_subscribe(&rights, filter), allowed, "{filter}");
        }
    }

    #[test]
    fn sys_is_read_by_whom_a_list_names_it_for() {
        assert!(!may_subscribe(&Rights::default(), "$SYS/#"));
        assert!(!may_subscribe(&Rights::default(), "$share/g/$SYS/#"));
        assert!(!may_subscribe(&rights(&["#"], &[]), "$SYS/#"));
        assert!(may_subscribe(&rights(&["$SYS/broker/#"], &[]), "$SYS/#"));
        assert!(may_subscribe(&Rights::default(), "#"));
    }
}
