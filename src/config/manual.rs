//! Which paragraph of the manual is about a part of the file.
//!
//! Owns the table. `tests/manual.rs` looks whether every paragraph exists. A part that is not named has the paragraph of the
//! nearest one around it.

/// Parts of the file and their paragraphs. Of several that fit, the longest counts.
const PARAGRAPHS: [(&str, &str); 31] = [
    ("gateway", "docs/cli.md#init"),
    ("gateway.receipts", "docs/commands.md"),
    ("broker", "docs/broker.md"),
    ("broker.listeners", "docs/broker.md#listeners"),
    ("broker.users", "docs/broker.md#users"),
    ("broker.limits", "docs/broker.md#limits"),
    ("cloud", "docs/clouds.md"),
    ("cloud.ladder", "docs/ways.md#the-ladder"),
    ("cloud.other_urls", "docs/ways.md#several-brokers"),
    ("cloud.proxy", "docs/ways.md#proxies"),
    ("cloud.alpn", "docs/ways.md#transports"),
    ("cloud.certificate_file", "docs/enrolment.md#putting-it-in-place"),
    ("cloud.key_file", "docs/enrolment.md#putting-it-in-place"),
    ("cloud.username", "docs/access.md#user-and-password"),
    ("cloud.password_file", "docs/access.md#user-and-password"),
    ("cloud.token_file", "docs/access.md#bearer-token"),
    ("cloud.headers", "docs/access.md#headers"),
    ("cloud.aws", "docs/clouds/aws-iot.md#access-keys"),
    ("cloud.aws.role", "docs/clouds/aws-iot.md#keys-that-the-certificate-buys"),
    ("cloud.aws.authorizer", "docs/clouds/aws-iot.md#a-custom-authorizer"),
    ("cloud.azure", "docs/access.md#azure-iot-hub"),
    ("cloud.profile", "docs/profiles.md#the-table"),
    ("cloud.version", "docs/profiles.md#which-mqtt"),
    ("cloud.limits", "docs/profiles.md#limits-of-your-own"),
    ("devices", "docs/devices.md#the-kinds"),
    ("commands", "docs/commands.md#the-allow-list"),
    ("routes", "docs/routes.md#out"),
    ("routes_in", "docs/routes.md#in"),
    ("store", "docs/flash.md#two-settings"),
    ("home_assistant", "docs/home-assistant.md"),
    ("homie", "docs/homie.md"),
];

/// The paragraph about the value at `devices[2].options`; `None`: the manual has nothing beyond the example file.
pub(super) fn paragraph(at: &str) -> Option<&'static str> {
    let fits = |part: &str| {
        at.strip_prefix(part).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let fitting = PARAGRAPHS.iter().filter(|(part, _)| fits(part));
    fitting.max_by_key(|(part, _)| part.len()).map(|(_, paragraph)| *paragraph)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_paragraph_counts_and_a_name_that_only_begins_alike_does_not() {
        assert_eq!(paragraph("routes[0].queue"), Some("docs/routes.md#out"));
        assert_eq!(paragraph("routes_in[0].local"), Some("docs/routes.md#in"));
        assert_eq!(
            paragraph("cloud.aws.role.host"),
            Some("docs/clouds/aws-iot.md#keys-that-the-certificate-buys")
        );
        assert_eq!(paragraph("cloud.keep_alive"), Some("docs/clouds.md"));
        assert_eq!((paragraph("colour"), paragraph("")), (None, None));
    }
}
