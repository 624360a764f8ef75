//! What is wrong with the line, as a kind for programs, a sentence for people and what to do.
//!
//! One entry a kind, with all three in one place, so that none can be forgotten; `docs/doctor.md` shows the same list
//! and a test compares them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The kinds, each with what it means for whoever reads the code, what is wrong and what to do.
macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $kind:ident: $sentence:literal, $remedy:literal;)+) => {
        /// What is wrong with the line to the cloud. Each kind has its own sentence and its own remedy.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum FaultKind {
            $($(#[doc = $doc])+ $kind,)+
        }

        impl FaultKind {
            /// Every kind, in the order in which a connection is made.
            pub const ALL: &[Self] = &[$(Self::$kind,)+];

            /// What is wrong, as the beginning of a sentence.
            pub fn sentence(self) -> &'static str {
                match self { $(Self::$kind => $sentence,)+ }
            }

            /// What a person can do about it.
            pub fn remedy(self) -> &'static str {
                match self { $(Self::$kind => $remedy,)+ }
            }
        }
    };
}

kinds! {
    /// The name does not resolve.
    Dns: "The cloud's host name cannot be resolved",
        "Check `cloud.url` for a misspelt host name and the router's DNS.";
    /// Our own clock is surely wrong, and no certificate can be judged by it.
    OwnClock: "This machine's clock is wrong, so no certificate can be checked",
        "Look at `timedatectl`: let it synchronise (NTP, port 123 outwards) or set the clock; Hearthlink tries again by itself.";
    /// The proxy's name does not resolve or nothing answers at its address.
    ProxyUnreachable: "The proxy in front of the cloud does not answer",
        "Check host and port of the proxy in the configuration or the environment (`https_proxy`), and that it runs.";
    /// The proxy does not open the tunnel.
    ProxyRefused: "The proxy refuses to connect to the cloud",
        "Let the proxy allow CONNECT to the host and port in `cloud.url`, or reach the cloud without it (`no_proxy`).";
    /// The proxy wants a name and a password, or does not accept ours.
    ProxyCredentials: "The proxy wants a user name and a password",
        "Give the proxy's user and password in the configuration, and check them.";
    /// Nothing answers at the address, or it refuses.
    Tcp: "Nothing answers at the cloud's address",
        "Check that the Internet works, that `cloud.url` has the right port and that no firewall blocks it.";
    /// What answers at the port does not speak TLS.
    NotTls: "What answers at the cloud's address does not speak TLS",
        "Check the port in `cloud.url`: it must be the broker's encrypted one (often 443, 8883 or 8884).";
    /// Somebody between us and the cloud opens TLS.
    TlsIntercepted: "Something between here and the cloud opens the encrypted connection",
        "Have the owner of the proxy or firewall that made the named certificate leave the cloud's host alone; if that is the cloud's own CA, put it into `cloud.ca_file`.";
    /// The server's certificate was signed by nobody we trust.
    ServerCertificateUntrusted: "The cloud's certificate was not signed by the configured CA",
        "Set `cloud.ca_file` to the CA that signed the cloud's certificate; a proxy that opens TLS can show up like this too.";
    /// The server's certificate is for another host name.
    ServerNameMismatch: "The cloud's certificate is for another host name",
        "Write the host name in `cloud.url` as it stands in the cloud's certificate.";
    /// The server's certificate, or one of the CAs above it, is no longer valid.
    ServerCertificateExpired: "The cloud's certificate, or its CA's, has expired",
        "The cloud's operator must renew it; if only you see this, check this machine's clock with `timedatectl`.";
    /// The server's certificate is not valid yet: most often our own clock.
    ServerCertificateNotYetValid: "The cloud's certificate is not valid yet",
        "Check this machine's clock with `timedatectl`; it is probably not synchronised yet.";
    /// The server does not accept our certificate.
    ClientCertificateRefused: "The cloud does not accept this gateway's certificate",
        "Register the certificate in `cloud.certificate_file` with the cloud, have its CA trusted there, or get a new one if it was revoked.";
    /// A certificate, a CA or a key in our files cannot be used.
    CredentialFiles: "The files with this gateway's certificate or key cannot be used",
        "Mend the file that is named; Hearthlink reads it again when it changes.";
    /// Our own certificate is no longer valid.
    ClientCertificateExpired: "This gateway's own certificate has expired",
        "Put a renewed certificate at `cloud.certificate_file`; Hearthlink takes it up by itself.";
    /// Any other TLS failure.
    Tls: "The encrypted connection to the cloud failed",
        "Read the detail; the server may speak only an older TLS than 1.2.";
    /// There is nothing for MQTT at this path.
    WrongPath: "The cloud's server has no MQTT at this path",
        "Check the path in `cloud.url`: most brokers use `/mqtt`, RabbitMQ uses `/ws`.";
    /// The server does not take the WebSocket subprotocol.
    Subprotocol: "The cloud's server does not take the WebSocket subprotocol",
        "Check that `cloud.url` leads to the broker's own WebSocket listener and that a proxy before it passes `Sec-WebSocket-Protocol: mqtt` on.";
    /// The server speaks no WebSocket.
    WebSocket: "The cloud's server does not speak WebSocket at this address",
        "Check port and path in `cloud.url`, most brokers use `/mqtt`.";
    /// User name or password refused, or the certificate is not mapped to a user.
    Credentials: "The cloud refused the user name or password",
        "Check `cloud.username` and the file named by `cloud.password_file`.";
    /// What we are to log in with cannot be used: a file of it is missing, say.
    OwnCredentials: "What this gateway is to log in with cannot be used",
        "Put right what the detail names; Hearthlink reads it again at every attempt.";
    /// Whoever sells us keys for the cloud does not.
    KeyProvider: "AWS's credentials provider gave this gateway no keys",
        "Check `cloud.aws.role`: host and alias, that the thing has the certificate and that its policy allows `iot:AssumeRoleWithCertificate`.";
    /// The cloud's policy forbids what we want (connect, subscribe or publish).
    NotAuthorized: "The cloud does not allow this gateway what it asks for",
        "Let the cloud's policy allow this client id to connect, and its topics below `cloud.prefix` to be published and subscribed.";
    /// The cloud refuses a subscription.
    SubscriptionRefused: "The cloud refuses a subscription",
        "Let the cloud's policy allow this gateway to subscribe to the named filter and to receive what comes on it.";
    /// The cloud does not like the client id.
    ClientId: "The cloud refused this gateway's client id",
        "Check `gateway.id`; some clouds want it to equal the certificate's name.";
    /// The cloud has banned the client.
    Banned: "The cloud has banned this gateway's client id",
        "Lift the ban in the cloud (it may be for flapping or for too many failed logins), or give the gateway another `cloud.client_id`.";
    /// Another connection with our client id took over.
    DuplicateClientId: "Another client with the same client id took over the connection",
        "Give each gateway its own `gateway.id`.";
    /// The cloud's account, session or rate limit is used up.
    QuotaExceeded: "The cloud's quota for this gateway is used up",
        "Raise the quota in the cloud, or send less: route fewer topics, or thin them with `keep` and set `cloud.backlog_rate`.";
    /// A message is larger than the cloud takes.
    TooLarge: "A message is larger than the cloud takes",
        "Let the named topic publish less at a time or do not route it to the cloud, or raise the cloud's packet limit.";
    /// The cloud speaks neither MQTT 5 nor 3.1.1 with us, or broke the protocol.
    Protocol: "The cloud and this gateway do not understand each other's MQTT",
        "Check that `cloud.url` leads to an MQTT broker.";
    /// The cloud is busy or going down.
    ServerUnavailable: "The cloud is busy or shutting down",
        "Nothing to do here: Hearthlink tries again by itself.";
    /// The cloud wants to hear from us more often than we speak.
    KeepAlive: "The cloud ends the line because this gateway does not speak often enough",
        "Set `cloud.keep_alive` lower than the cloud's limit.";
    /// Something on the way cuts the line whenever nothing was said for about the same time.
    IdleCut: "Something on the way cuts the line whenever it is silent",
        "Set `cloud.keep_alive` lower than the named silence; a router, firewall or load balancer on the way forgets idle connections.";
    /// The line looks open, and nothing comes through it any more.
    HalfOpen: "The line to the cloud was dead although it looked open",
        "Hearthlink tests the line and dials again by itself; if this comes often, look at the Internet router and set `cloud.keep_alive` lower.";
    /// No answer within the limit: the cloud hangs.
    NoAnswer: "The cloud does not answer",
        "Check the Internet connection; Hearthlink tries again by itself.";
    /// The cloud closed the connection without a word.
    Closed: "The cloud closed the connection",
        "Look into the cloud's log for the reason; Hearthlink tries again by itself.";
}

impl FaultKind {
    /// The name of the kind, as `/api/status` and `doctor --json` have it.
    pub fn name(self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(name)) => name,
            // A kind without fields is written as its name.
            _ => unreachable!("a kind is written as a text"),
        }
    }
}

/// The same with a blank for each control character.
pub fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// A fault with its detail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// What is wrong.
    pub kind: FaultKind,
    /// What the library or the cloud said, for whoever wants to know more.
    pub detail: String,
}

impl Fault {
    /// A fault with what was said. Some of it may come from a stranger's certificate or answer, so nothing in it can
    /// steer a terminal.
    pub fn new(kind: FaultKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: printable(&detail.into()) }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}). {}", self.kind.sentence(), self.detail, self.kind.remedy())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_kinds_have_the_same_name_sentence_or_remedy() {
        let distinct = |texts: Vec<String>| texts.iter().collect::<HashSet<_>>().len();
        let all = FaultKind::ALL;
        assert_eq!(distinct(all.iter().map(|kind| kind.name()).collect()), all.len());
        assert_eq!(distinct(all.iter().map(|kind| kind.sentence().to_owned()).collect()), all.len());
        assert_eq!(distinct(all.iter().map(|kind| kind.remedy().to_owned()).collect()), all.len());
        assert!(all.iter().all(|kind| !kind.sentence().ends_with('.') && kind.remedy().ends_with('.')));
    }

    #[test]
    fn what_a_stranger_says_steers_no_terminal() {
        let fault = Fault::new(FaultKind::Tls, "signed by `CN=\u{1b}[2Ja\u{9b}\r\nb`");
        assert_eq!(fault.detail, "signed by `CN= [2Ja   b`");
    }
}
