//! The gateway's own certificate for the cloud, and how near its end is.
//!
//! Owns the thresholds: 30, 7 and 1 days. Pure: whoever asks says what time it is, and asks only with a clock that
//! can be believed. A threshold that is not below a third of a certificate's life is left out, so that one that is made
//! for a day or a week is not warned of from its first hour on.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::Timestamp;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// What is known of the certificate that the gateway shows to the cloud.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateReport {
    /// Whose it is, `CN=home`.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// Its number at whoever signed it, in hexadecimal with colons.
    pub serial: String,
    /// SHA-256 of it, in hexadecimal with colons, as `openssl x509 -fingerprint` writes it.
    pub fingerprint_sha256: String,
    /// From when on it is valid.
    pub not_before: Timestamp,
    /// Until when.
    pub not_after: Timestamp,
}

/// How near the end of a certificate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expiry {
    /// Far away.
    Far,
    /// 30 days or less are left.
    #[serde(rename = "within_30_days")]
    Month,
    /// 7 days or less.
    #[serde(rename = "within_7_days")]
    Week,
    /// A day or less.
    #[serde(rename = "within_1_day")]
    Day,
    /// It is over.
    Expired,
}

/// What stands on the board of the certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateStatus {
    /// The certificate.
    #[serde(flatten)]
    pub certificate: CertificateReport,
    /// Whole days that are left, below 0 when it is over; nothing while the clock cannot be believed.
    pub days_left: Option<i64>,
    /// How near its end is; nothing while the clock cannot be believed.
    pub expiry: Option<Expiry>,
}

impl Expiry {
    /// The time that is left when it begins.
    fn threshold(self) -> Option<Duration> {
        match self {
            Expiry::Far => None,
            Expiry::Month => Some(30 * DAY),
            Expiry::Week => Some(7 * DAY),
            Expiry::Day => Some(DAY),
            Expiry::Expired => Some(Duration::ZERO),
        }
    }
}

impl CertificateReport {
    /// How near the end is at this moment.
    pub fn expiry(&self, now: Timestamp) -> Expiry {
        // The last moment belongs to it (RFC 5280, 4.1.2.5).
        let Some(left) = self.not_after.since(now) else { return Expiry::Expired };
        let life = self.not_after.since(self.not_before).unwrap_or_default();
        let reached =
            |expiry: &Expiry| expiry.threshold().is_some_and(|most| left <= most && most < life / 3);
        [Expiry::Day, Expiry::Week, Expiry::Month].into_iter().find(reached).unwrap_or(Expiry::Far)
    }

    /// When that began.
    pub(super) fn since(&self, expiry: Expiry) -> Option<Timestamp> {
        let before = i64::try_from(expiry.threshold()?.as_millis()).ok()?;
        Some(Timestamp::from_millis(self.not_after.as_millis().checked_sub(before)?))
    }

    /// Seen at this moment; `None`: nobody knows what time it is.
    pub fn at(self, now: Option<Timestamp>) -> CertificateStatus {
        let day = i64::try_from(DAY.as_millis()).unwrap_or(i64::MAX);
        let left =
            |now: Timestamp| self.not_after.as_millis().saturating_sub(now.as_millis()).div_euclid(day);
        CertificateStatus {
            days_left: now.map(left),
            expiry: now.map(|now| self.expiry(now)),
            certificate: self,
        }
    }
}

impl CertificateStatus {
    /// Whether somebody should renew it, as far as anybody knows what time it is.
    pub(crate) fn is_near_its_end(&self) -> bool {
        self.expiry.is_some_and(|expiry| expiry > Expiry::Far)
    }

    /// `in 27 days`, `within a day`, `3 days ago`; nothing while the clock cannot be believed.
    pub fn words(&self) -> Option<String> {
        Some(match self.days_left? {
            days @ 2.. => format!("in {days} days"),
            1 => "in 1 day".to_owned(),
            0 => "within a day".to_owned(),
            -1 => "less than a day ago".to_owned(),
            -2 => "1 day ago".to_owned(),
            days => format!("{} days ago", -(days + 1)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    fn certificate(from: &str, until: &str) -> CertificateReport {
        CertificateReport {
            subject: "CN=home".into(),
            issuer: "CN=CA".into(),
            serial: "01".into(),
            fingerprint_sha256: "AB:CD".into(),
            not_before: moment(from),
            not_after: moment(until),
        }
    }

    #[test]
    fn each_threshold_is_reached_at_its_moment_and_not_a_second_before() {
        let certificate = certificate("2026-01-01T00:00:00Z", "2027-01-31T12:00:00Z");
        for (now, expected, days, words) in [
            ("2026-06-01T00:00:00Z", Expiry::Far, 244, "in 244 days"),
            ("2027-01-01T11:59:59Z", Expiry::Far, 30, "in 30 days"),
            ("2027-01-01T12:00:00Z", Expiry::Month, 30, "in 30 days"),
            ("2027-01-24T11:59:59Z", Expiry::Month, 7, "in 7 days"),
            ("2027-01-24T12:00:00Z", Expiry::Week, 7, "in 7 days"),
            ("2027-01-30T11:59:59Z", Expiry::Week, 1, "in 1 day"),
            ("2027-01-30T12:00:00Z", Expiry::Day, 1, "in 1 day"),
            ("2027-01-31T11:59:59Z", Expiry::Day, 0, "within a day"),
            ("2027-01-31T12:00:00Z", Expiry::Day, 0, "within a day"),
            ("2027-01-31T12:00:01Z", Expiry::Expired, -1, "less than a day ago"),
            ("2027-02-01T13:00:00Z", Expiry::Expired, -2, "1 day ago"),
            ("2027-02-10T12:00:01Z", Expiry::Expired, -11, "10 days ago"),
        ] {
            let status = certificate.clone().at(Some(moment(now)));
            let seen = (status.expiry, status.days_left, status.words());
            assert_eq!(seen, (Some(expected), Some(days), Some(words.to_owned())), "{now}");
        }
        let unknown = certificate.at(None);
        assert_eq!((unknown.expiry, unknown.days_left, unknown.words()), (None, None, None));
    }

    #[test]
    fn a_certificate_that_lives_short_on_purpose_is_warned_of_late() {
        // A day, a week and three months: from its first hour on.
        for (from, until, nothing, then) in [
            ("2026-01-01T00:00:00Z", "2026-01-02T01:00:00Z", "2026-01-02T01:00:00Z", Expiry::Expired),
            ("2026-01-01T00:00:00Z", "2026-01-08T00:00:00Z", "2026-01-06T23:59:59Z", Expiry::Day),
            ("2026-01-01T00:00:00Z", "2026-04-01T00:00:00Z", "2026-03-24T23:59:59Z", Expiry::Week),
        ] {
            let certificate = certificate(from, until);
            for now in [from, nothing] {
                assert_eq!(certificate.expiry(moment(now)), Expiry::Far, "{from} {now}");
            }
            assert_eq!(certificate.expiry(moment(nothing).plus(Duration::from_secs(1))), then, "{from}");
        }
    }
}
