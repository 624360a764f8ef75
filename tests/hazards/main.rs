//! Every known way to kill or confuse an embeddable broker, each by its name and each harmless to ours.
//!
//! `cargo test --test hazards` runs the list against ours, one test a hazard.
//! `cargo test --features interop --test hazards -- --ignored --nocapture table` runs the same list against
//! ours, stock rumqttd and Debian's Mosquitto and prints who held, so that the reason for a broker of our own
//! stays checkable; `docs/broker-hazards.md` has the last table.
//!
//! Owns the list. A hazard knows a broker by its addresses only ([`Target`]), starts with a fresh one, and has
//! held when its own expectation does and an innocent pair of clients is served afterwards.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

#[path = "../support/certificates.rs"]
#[allow(dead_code, reason = "shared with tests/broker")]
mod certificates;
#[cfg(feature = "interop")]
mod foreign;
#[cfg(feature = "interop")]
#[path = "../interop/process.rs"]
#[allow(dead_code, reason = "shared with tests/interop")]
mod process;
#[path = "../support/raw.rs"]
#[allow(dead_code, reason = "shared with tests/broker")]
mod raw;
#[path = "../support/rig.rs"]
#[allow(dead_code, reason = "shared with tests/broker")]
mod rig;
#[cfg(feature = "interop")]
mod table;
mod target;

mod acknowledgements;
mod clients;
mod flood;
mod garbage;
mod groups;
mod retained;
mod slow;
mod topics;

use target::{Hazard, Ours, Verdict};

/// The list, and a test of ours for each: `attributes module::name [clients N]: why;`.
macro_rules! hazards {
    ($($(#[$attribute:meta])* $module:ident :: $name:ident $([clients $clients:literal])? : $why:literal;)*) => {
        /// All of them, in the order of the table.
        pub const ALL: &[Hazard] = &[$(hazard::$name),*];

        #[allow(non_upper_case_globals, reason = "a hazard's name is its function's and its test's")]
        mod hazard {
            $(pub const $name: super::Hazard = super::Hazard {
                name: stringify!($name),
                why: $why,
                clients: { let clients = 500; $(let clients = { let _ = clients; $clients };)? clients },
                run: |target| Box::pin(super::$module::$name(target)),
            };)*
        }

        mod ours {
            $($(#[$attribute])* #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::holds(&super::hazard::$name).await;
            })*
        }
    };
}

hazards! {
    topics::a_topic_whose_first_character_is_not_ascii:
        "rumqttd cuts the first byte off to look for `$`, in the middle of a character";
    topics::a_filter_whose_first_character_is_not_ascii: "the same for filters";
    topics::a_retained_topic_whose_first_character_is_not_ascii: "the same for retained messages";
    topics::a_publish_to_a_wildcard_topic: "the one message would match as a filter does";
    topics::a_subscription_with_a_wildcard_in_the_wrong_place: "`a/#/b` means nothing";
    topics::subscriptions_to_sys_and_to_everything: "`#` must not match `$SYS/…` (MQTT-4.7.2-1)";

    clients::client_ids_with_slash_plus_hash_and_dollar: "rumqttd panics when such an id comes twice";
    clients::empty_client_ids: "without a clean session there is nothing to come back to (MQTT-3.1.3-8)";
    clients::a_second_connect: "a protocol error that must end its client only (MQTT-3.1.0-2)";
    clients::keep_alive_0: "means no limit (MQTT-3.1.2-24), and some brokers hang up";
    clients::an_unsubscribe_of_several_and_of_unknown_filters: "each filter has its own answer";
    clients::the_connection_limit_and_a_refused_client_that_retries [clients 8]:
        "rumqttd panics at its limit, some brokers never free the place";
    clients::strangers_who_leave_and_the_connection_limit [clients 8]:
        "Mosquitto 2.0.11 lets one client more in for each connection that ends before CONNECT";
    clients::a_client_id_taken_over_a_thousand_times_under_load:
        "the old connection, its queue and its subscriptions must go each time";
    groups::a_shared_subscriber_lost_with_a_message_in_flight:
        "what it had not acknowledged must neither be lost nor hold up the group";
    groups::the_only_shared_subscriber_lost_with_a_message_in_flight:
        "rumqttd panics: the group is gone before its cursor is set back";
    groups::a_shared_subscriber_that_unsubscribes_with_a_message_in_flight:
        "the acknowledgement comes when nobody subscribes any more";

    acknowledgements::acknowledgements_out_of_order: "rumqttd ends the client; others never move on";
    acknowledgements::acknowledgements_twice: "must be forgiven: the first may have crossed a re-send";
    acknowledgements::acknowledgements_for_nothing: "an unknown packet id is an index out of bounds somewhere";
    acknowledgements::properties_towards_a_3_1_1_subscriber: "rumqttd panics: 3.1.1 has no place for them";
    acknowledgements::retained_properties_towards_a_3_1_1_subscriber: "the same for a retained message";

    retained::an_empty_publish_that_is_not_retained: "must not delete the retained message (MQTT-3.3.1-12)";
    retained::a_repeated_subscription: "sends the retained message again and changes the QoS (MQTT-3.8.4-3)";
    retained::five_thousand_retained_messages_for_one_new_subscriber:
        "more than a queue holds: all must arrive, at the subscriber's pace";

    flood::a_busy_subscribers_disconnect: "rumqttd panics when a subscriber leaves with 200 messages under way";
    flood::a_subscriber_that_never_reads: "an unbounded queue, or a publisher that waits for it";
    flood::payloads_of_ten_megabytes: "must be refused before they are in memory";

    slow::one_idle_connection_on_the_tls_port: "a handshake within the accept loop holds up everybody";
    slow::one_idle_connection_on_the_websocket_port: "the same for the HTTP upgrade";
    slow::strangers_who_say_nothing: "must not keep a place for ever";
    slow::a_connect_that_drips: "slow loris: a byte now and then is no better than silence";
    slow::a_connect_that_stops_half_way: "the same, with most of it said at once";
    slow::a_tls_handshake_that_drips: "the same within TLS's first record";
    slow::a_connect_that_drips_within_tls: "the same behind a handshake that went well";
    slow::an_http_upgrade_that_drips: "the same within the HTTP header";

    garbage::packets_that_break_the_protocol: "each must end its client and nobody else";
    garbage::first_packets_that_are_no_connect: "must not be answered, nor waited for";
    garbage::random_bytes: "from 50 clients, before and after CONNECT";
    garbage::websocket_frames_that_break_the_protocol: "must end their client (MQTT-6.0.0-1, RFC 6455)";
    garbage::a_half_closed_socket: "a client that cannot speak any more is a lost client";
}

/// Ours holds, or the test fails with the reason.
async fn holds(hazard: &Hazard) {
    let ours = Ours::start(hazard.clients).await;
    let verdict = hazard.judge(&ours.target).await;
    ours.stop().await;
    assert!(verdict == Verdict::Held, "{verdict}: {}", hazard.why);
}
