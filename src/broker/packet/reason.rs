//! Why something was refused or ended: MQTT 5's reason codes and what 3.1.1 has for them.

/// The reason codes that this broker uses (MQTT 5 section 2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::broker) enum Reason {
    Success = 0x00,
    NoSubscriptionExisted = 0x11,
    UnspecifiedError = 0x80,
    MalformedPacket = 0x81,
    ProtocolError = 0x82,
    ImplementationSpecific = 0x83,
    UnsupportedVersion = 0x84,
    ClientIdNotValid = 0x85,
    BadUserNameOrPassword = 0x86,
    NotAuthorized = 0x87,
    ServerUnavailable = 0x88,
    ServerShuttingDown = 0x8B,
    BadAuthenticationMethod = 0x8C,
    KeepAliveTimeout = 0x8D,
    SessionTakenOver = 0x8E,
    TopicFilterInvalid = 0x8F,
    TopicNameInvalid = 0x90,
    PacketIdNotFound = 0x92,
    ReceiveMaximumExceeded = 0x93,
    TopicAliasInvalid = 0x94,
    PacketTooLarge = 0x95,
    QuotaExceeded = 0x97,
    ConnectionRateExceeded = 0x9F,
}

impl Reason {
    /// The code of a MQTT 5 packet.
    pub(in crate::broker) fn code(self) -> u8 {
        self as u8
    }

    /// The return code of a 3.1.1 CONNACK (section 3.2.2.3); `None`: 3.1.1 closes without one.
    pub(in crate::broker) fn return_code(self) -> Option<u8> {
        match self {
            Self::Success => Some(0),
            Self::UnsupportedVersion => Some(1),
            Self::ClientIdNotValid => Some(2),
            Self::ServerUnavailable
            | Self::ServerShuttingDown
            | Self::QuotaExceeded
            | Self::ConnectionRateExceeded => Some(3),
            Self::BadUserNameOrPassword => Some(4),
            Self::NotAuthorized | Self::BadAuthenticationMethod => Some(5),
            _ => None,
        }
    }

    /// What a person who reads a client's log can do with it; empty: the code's name says it all.
    pub(in crate::broker) fn explanation(self) -> &'static str {
        match self {
            Self::NotAuthorized => "this user has no right to that",
            Self::ClientIdNotValid => "too long, or another user's client has this client id",
            Self::ServerUnavailable => "the broker is full: its limits `max_clients` and `max_sessions`",
            Self::BadAuthenticationMethod => {
                "no extended authentication here: a user name and a password will do"
            }
            Self::SessionTakenOver => "another connection came with the same client id",
            Self::TopicFilterInvalid => {
                "not a topic filter, or beyond the limits `topic_depth` and `topic_length`"
            }
            Self::TopicNameInvalid => "beyond the limits `topic_depth` and `topic_length`",
            Self::ReceiveMaximumExceeded => "more unacknowledged publishes than CONNACK's Receive Maximum",
            Self::PacketTooLarge => "the answer is larger than the client's Maximum Packet Size",
            Self::QuotaExceeded => "a limit is reached: `subscriptions_per_client` or `subscriptions_in_all`",
            Self::ConnectionRateExceeded => "too many wrong passwords from this network: try again later",
            Self::Success
            | Self::NoSubscriptionExisted
            | Self::UnspecifiedError
            | Self::MalformedPacket
            | Self::ImplementationSpecific
            | Self::ProtocolError
            | Self::UnsupportedVersion
            | Self::BadUserNameOrPassword
            | Self::ServerShuttingDown
            | Self::KeepAliveTimeout
            | Self::PacketIdNotFound
            | Self::TopicAliasInvalid => "",
        }
    }

    /// Whether the client broke the protocol: no refusal that a client in order may meet.
    pub(in crate::broker) fn is_offence(self) -> bool {
        matches!(
            self,
            Self::MalformedPacket
                | Self::ProtocolError
                | Self::UnsupportedVersion
                | Self::TopicNameInvalid
                | Self::ReceiveMaximumExceeded
                | Self::TopicAliasInvalid
                | Self::PacketTooLarge
        )
    }

    /// Whether it means that something was not done (MQTT 5 section 2.4).
    pub(in crate::broker) fn is_failure(self) -> bool {
        self.code() >= 0x80
    }
}
