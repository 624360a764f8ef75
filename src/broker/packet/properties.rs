//! MQTT 5 properties, between the crate's list and our own words.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use mqtt_protocol_core::mqtt::{
    packet::{
        ContentType, CorrelationData, MessageExpiryInterval, PayloadFormat, PayloadFormatIndicator,
        PropertiesParse, Property, PropertyId, ResponseTopic, SubscriptionIdentifier, UserProperty,
    },
    result_code::MqttError,
};

use super::{PacketError, Reader, Wishes, without_nul};
use crate::model::Properties;

/// What may stand in PUBLISH and in a will.
const OF_A_MESSAGE: &[PropertyId] = &[
    PropertyId::PayloadFormatIndicator,
    PropertyId::MessageExpiryInterval,
    PropertyId::ContentType,
    PropertyId::ResponseTopic,
    PropertyId::CorrelationData,
    PropertyId::UserProperty,
];

/// What may stand in CONNECT.
const OF_CONNECT: &[PropertyId] = &[
    PropertyId::SessionExpiryInterval,
    PropertyId::ReceiveMaximum,
    PropertyId::MaximumPacketSize,
    PropertyId::TopicAliasMaximum,
    PropertyId::RequestResponseInformation,
    PropertyId::RequestProblemInformation,
    PropertyId::UserProperty,
    PropertyId::AuthenticationMethod,
    PropertyId::AuthenticationData,
];

/// Reads a list off the front of `reader`; only `allowed` and `also` may stand in it, each once.
pub(super) fn read(
    reader: &mut Reader<'_>,
    allowed: &[PropertyId],
    also: &[PropertyId],
) -> Result<Vec<Property>, PacketError> {
    // An empty list is by far the commonest, and needs nobody.
    if let Some((0, rest)) = reader.0.split_first() {
        reader.0 = rest;
        return Ok(Vec::new());
    }
    let (list, size) = Vec::<Property>::parse(reader.0).map_err(|error| match error {
        MqttError::ProtocolError => PacketError::protocol("a property has a value that it must not have"),
        _ => PacketError::malformed("the properties cannot be read (MQTT 5 section 2.2.2)"),
    })?;
    reader.bytes(size)?;
    check(&list, allowed, also)?;
    Ok(list)
}

/// Whether every property of the list may stand there, and stands there once.
pub(super) fn check(
    list: &[Property],
    allowed: &[PropertyId],
    also: &[PropertyId],
) -> Result<(), PacketError> {
    let mut seen = 0_u64;
    for property in list {
        let id = property.id();
        if !allowed.contains(&id) && !also.contains(&id) {
            return Err(PacketError::protocol("a property stands in a packet where it may not (2.2.2.2)"));
        }
        let bit = 1_u64 << (id as u8 & 63);
        if seen & bit != 0 && id != PropertyId::UserProperty {
            return Err(PacketError::protocol("a property may stand once in a packet (2.2.2.2)"));
        }
        seen |= bit;
    }
    Ok(())
}

/// Seconds on the wire; 0xFFFFFFFF is "for ever".
pub(super) fn expiry(seconds: u32) -> Option<Duration> {
    (seconds != u32::MAX).then(|| Duration::from_secs(u64::from(seconds)))
}

/// CONNECT's properties.
pub(super) fn wishes(reader: &mut Reader<'_>) -> Result<Wishes, PacketError> {
    let mut wishes = Wishes::default();
    let mut has_authentication_data = false;
    for property in read(reader, OF_CONNECT, &[])? {
        match property {
            Property::SessionExpiryInterval(seconds) => wishes.session_expiry = expiry(seconds.val()),
            Property::ReceiveMaximum(count) => wishes.receive_maximum = count.val(),
            Property::MaximumPacketSize(size) => wishes.maximum_packet_size = Some(size.val()),
            Property::TopicAliasMaximum(count) => wishes.topic_alias_maximum = count.val(),
            Property::RequestProblemInformation(wanted) => wishes.wants_reasons = wanted.val() != 0,
            Property::AuthenticationMethod(_) => wishes.wants_authentication = true,
            Property::AuthenticationData(_) => has_authentication_data = true,
            _ => {}
        }
    }
    if has_authentication_data && !wishes.wants_authentication {
        return Err(PacketError::protocol("authentication data needs a method (MQTT 5 section 3.1.2.11.10)"));
    }
    Ok(wishes)
}

/// The properties of a message, and what `also` may stand beside them.
pub(super) fn of_message(
    reader: &mut Reader<'_>,
    also: &[PropertyId],
) -> Result<(Option<Arc<Properties>>, Vec<Property>), PacketError> {
    let list = read(reader, OF_A_MESSAGE, also)?;
    if list.is_empty() {
        return Ok((None, list));
    }
    let mut properties = Properties::default();
    let mut others = Vec::new();
    for property in list {
        match property {
            Property::PayloadFormatIndicator(format) => {
                properties.is_text = Some(format.val() == PayloadFormat::String as u8);
            }
            Property::MessageExpiryInterval(seconds) => {
                properties.expiry = Some(Duration::from_secs(u64::from(seconds.val())));
            }
            Property::ContentType(text) => {
                properties.content_type = Some(without_nul(text.val())?.to_owned());
            }
            Property::ResponseTopic(text) => {
                // A response topic is published to later: no wildcards (MQTT-3.3.2-14).
                super::topic(text.val())?;
                properties.response_topic = Some(text.val().to_owned());
            }
            Property::CorrelationData(data) => {
                properties.correlation_data = Some(Bytes::copy_from_slice(data.val()));
            }
            Property::UserProperty(pair) => {
                let (name, value) = (without_nul(pair.key())?, without_nul(pair.val())?);
                properties.user.push((name.to_owned(), value.to_owned()));
            }
            other => others.push(other),
        }
    }
    let properties = (properties != Properties::default()).then(|| Arc::new(properties));
    Ok((properties, others))
}

/// Our words as a list for the wire. A text too long for the wire cannot be there: it came from it, or
/// is left out.
pub(super) fn to_list(
    properties: Option<&Properties>,
    left: Option<Duration>,
    identifiers: &[u32],
) -> Vec<Property> {
    let mut list = Vec::new();
    if let Some(properties) = properties {
        if let Some(is_text) = properties.is_text {
            let format = if is_text { PayloadFormat::String } else { PayloadFormat::Binary };
            list.extend(PayloadFormatIndicator::new(format).map(Property::PayloadFormatIndicator));
        }
        if let Some(left) = left {
            // Rounded up: a message that is still alive has a second at least.
            let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
            let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
            list.extend(MessageExpiryInterval::new(seconds).map(Property::MessageExpiryInterval));
        }
        if let Some(text) = &properties.content_type {
            list.extend(ContentType::new(text.as_str()).map(Property::ContentType));
        }
        if let Some(text) = &properties.response_topic {
            list.extend(ResponseTopic::new(text.as_str()).map(Property::ResponseTopic));
        }
        if let Some(data) = &properties.correlation_data {
            list.extend(CorrelationData::new(data.to_vec()).map(Property::CorrelationData));
        }
        for (name, value) in &properties.user {
            list.extend(UserProperty::new(name.as_str(), value.as_str()).map(Property::UserProperty));
        }
    }
    for &identifier in identifiers {
        list.extend(SubscriptionIdentifier::new(identifier).map(Property::SubscriptionIdentifier));
    }
    list
}
