//! The manual's page of every setting is what the schema says now.

#[path = "../examples/reference/page.rs"]
mod page;

#[test]
fn the_page_of_every_setting_is_made_from_the_schema_of_today() {
    let kept = include_str!("../docs/configuration.md");
    assert!(kept == page::page(), "docs/configuration.md is old: `cargo run --example reference -- docs`");
}

/// The file's shape does not know the broker, so it has the defaults in words.
#[test]
fn the_limits_defaults_are_told_as_the_broker_has_them() {
    let schema = hearthlink::config::json_schema([]);
    let told = |name: &str| {
        let about = &schema["$defs"]["Limits"]["properties"][name]["description"];
        let about = about.as_str().unwrap_or_else(|| panic!("no {name}")).replace('\n', " ");
        let default = about.split("Default ").nth(1).unwrap_or_else(|| panic!("{name}: {about}"));
        default.trim_end_matches('.').to_owned()
    };
    let limits = hearthlink::broker::Limits::default();
    let seconds = |time: std::time::Duration| match time.as_secs() {
        days if days % 86_400 == 0 => format!("{} days", days / 86_400),
        seconds => format!("{seconds} s"),
    };
    let mebibytes = |bytes: usize| {
        assert_eq!(bytes % (1 << 20), 0);
        format!("{} MiB", bytes >> 20)
    };
    let thousands = |count: usize| match count {
        0..1_000 => count.to_string(),
        _ => format!("{},{:03}", count / 1_000, count % 1_000),
    };
    for (name, default) in [
        ("max_clients", thousands(limits.max_clients)),
        ("max_clients_per_address", thousands(limits.max_clients_per_address)),
        ("max_handshakes", thousands(limits.max_handshakes)),
        ("max_sessions", thousands(limits.max_sessions)),
        ("handshake_time", seconds(limits.handshake_time)),
        ("max_packet", mebibytes(limits.max_packet)),
        ("incoming_in_all", mebibytes(limits.incoming_bytes)),
        ("queue_per_session", mebibytes(limits.queue_bytes_per_session)),
        ("queue_in_all", mebibytes(limits.queue_bytes)),
        ("inflight", thousands(limits.inflight.into())),
        ("receive_maximum", thousands(limits.receive_maximum.into())),
        ("retained_size", mebibytes(limits.retained_bytes)),
        ("retained_count", thousands(limits.retained_count)),
        ("subscriptions_per_client", thousands(limits.subscriptions_per_client)),
        ("subscriptions_in_all", mebibytes(limits.subscription_bytes)),
        ("topic_depth", thousands(limits.topic_depth)),
        ("topic_length", thousands(limits.topic_length)),
        ("longest_session", seconds(limits.longest_session)),
    ] {
        assert_eq!(told(name), default, "{name}");
    }
}
