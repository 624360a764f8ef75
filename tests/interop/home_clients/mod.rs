//! The clients that people have at home, on every transport of the local broker and in both versions of MQTT.
//!
//! paho-mqtt (Debian's), mqtt.js (npm, the version in `mqttjs/package-lock.json`) and rumqttc speak TCP, TLS and
//! WebSockets with and without TLS. Each is a [`Station`](station::Station) that does what the test says and
//! tells what its library gave out, so that one claim is written once and judged here for all of them.
//! `mosquitto_pub` and `mosquitto_sub` speak TCP and TLS only: those of Debian 12 (2.0.11) have no WebSockets.
//!
//! The broker is the real binary with its four listeners on ports of the kernel's choice, none of them open to
//! anonymous clients.

mod both;
mod crossing;
mod five;
mod house;
mod mosquitto;
mod rumqttc;
mod station;
mod words;

/// The same claims for every library.
macro_rules! claims {
    ($($claim:path => $name:ident,)*) => {
        mod paho_mqtt { $(#[test] fn $name() { $claim(super::station::Kind::Paho); })* }
        mod mqtt_js { $(#[test] fn $name() { $claim(super::station::Kind::MqttJs); })* }
        mod rumqttc_client { $(#[test] fn $name() { $claim(super::station::Kind::Rumqttc); })* }
    };
}

claims! {
    super::both::access => a_password_lets_in_and_a_wrong_one_is_refused_by_its_code,
    super::both::round_trip => every_qos_brings_any_topic_and_payload_back_unchanged,
    super::both::order => five_hundred_messages_come_once_and_in_order,
    super::both::retained => a_retained_message_waits_for_later_subscribers_until_it_is_cleared,
    super::both::will => a_will_is_published_for_who_dies_and_not_for_who_leaves,
    super::both::persistence => a_lasting_session_gets_what_it_missed_and_a_clean_one_does_not,
    super::both::survival => what_was_acknowledged_is_there_after_a_power_cut,
    super::five::properties => properties_arrive_as_they_were_sent,
    super::five::request => a_request_is_answered_where_and_as_it_asks,
    super::five::expiry => a_message_grows_old_and_is_not_delivered_when_it_has_expired,
    super::five::identifiers => a_message_tells_by_which_subscriptions_it_came,
    super::five::options => no_local_and_retain_as_published_are_honoured,
    super::five::sharing => two_clients_share_a_subscription_and_no_message_comes_twice,
    super::five::session_expiry => a_session_lives_as_long_as_its_client_asked,
}
