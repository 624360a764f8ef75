//! Which MQTT version to speak next: MQTT 5 first, 3.1.1 where the cloud knows no better, or always the one that
//! somebody chose.
//!
//! Pure. Invariants: what worked is kept until the cloud refuses it in so many words; two versions
//! that are both refused alternate under the backoff, never in a hot loop.

use crate::link::{Versions, diagnose::VersionHint, wire::Version};

/// Servers that do not know a version often just hang up; so do servers that have other troubles.
const HANG_UPS_TO_DOUBT: u8 = 2;

/// The choice, and what led to it.
#[derive(Debug)]
pub(super) struct Choice {
    version: Version,
    is_chosen: bool,
    is_proven: bool,
    hang_ups: u8,
    has_just_changed: bool,
    /// Since nothing was proven.
    has_changed: bool,
    is_in_doubt: bool,
}

impl Choice {
    /// The first of those that are wanted.
    pub(super) fn new(wanted: Versions) -> Self {
        let is_chosen = wanted != Versions::Any;
        Self { is_chosen, ..Self::of(Version::first_of(wanted)) }
    }

    fn of(version: Version) -> Self {
        Self {
            version,
            is_chosen: false,
            is_proven: false,
            hang_ups: 0,
            has_just_changed: false,
            has_changed: false,
            is_in_doubt: false,
        }
    }

    /// What to speak.
    pub(super) fn version(&self) -> Version {
        self.version
    }

    /// It worked.
    pub(super) fn proved(&mut self) {
        *self = Self { is_chosen: self.is_chosen, is_proven: true, ..Self::of(self.version) };
    }

    /// Another broker of the same cloud speaks this: where nothing is known it is the better guess.
    pub(super) fn hint(&mut self, version: Version) {
        if !self.is_proven && !self.is_chosen {
            self.version = version;
        }
    }

    /// The last failure says as little about the broker as about the version, and the same two meet again next. Only
    /// until the version has changed: then a hang-up is the broker's.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.is_in_doubt
    }

    /// An attempt failed before CONNACK. Says whether the next one, with the other version, may
    /// follow at once.
    pub(super) fn failed(&mut self, hint: VersionHint) -> bool {
        let had_just_changed = std::mem::take(&mut self.has_just_changed);
        let is_refused = match hint {
            VersionHint::None => false,
            VersionHint::Refused => true,
            VersionHint::PerhapsRefused => {
                self.hang_ups = self.hang_ups.saturating_add(1);
                !self.is_proven && self.hang_ups >= HANG_UPS_TO_DOUBT
            }
        };
        let is_hang_up = matches!(hint, VersionHint::PerhapsRefused);
        let may_change = !self.is_chosen && !self.is_proven && !self.has_changed;
        self.is_in_doubt = is_hang_up && !is_refused && may_change;
        if !is_refused || self.is_chosen {
            return false;
        }
        let has_just_changed = !had_just_changed;
        *self = Self { has_just_changed, has_changed: true, ..Self::of(self.version.other()) };
        has_just_changed
    }
}
