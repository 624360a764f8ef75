//! The ways to log in that there are; `app/` translates the configuration into one.
//!
//! Says where secrets lie, never has one: they are read when they are needed, so that a file that was changed
//! counts at the next attempt, and nothing here needs to be hidden from a log.

use std::{path::PathBuf, time::Duration};

/// How the gateway says who it is, beside its certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// The way to log in.
    pub login: Login,
    /// What the WebSocket's upgrade says in addition.
    pub headers: Vec<Header>,
}

impl Access {
    /// The files in which secrets lie: a new one in them is a new way to be let in.
    pub(in crate::link) fn files(&self) -> Vec<&PathBuf> {
        let mut files = match &self.login {
            Login::Anonymous => Vec::new(),
            Login::Password(password) => password.file.iter().collect(),
            Login::Token { file, .. } => vec![file],
            Login::AwsSignature { keys: AwsKeys::File { path, .. }, .. } => vec![path],
            Login::AwsSignature { keys: AwsKeys::Role(_), .. } => Vec::new(),
            Login::AwsAuthorizer(authorizer) => {
                let token = authorizer.token.iter();
                let token = token.flat_map(|token| [&token.file].into_iter().chain(&token.signature_file));
                token
                    .chain(authorizer.password.iter().filter_map(|password| password.file.as_ref()))
                    .collect()
            }
            Login::AzureSas(sas) => vec![&sas.key_file],
        };
        files.extend(self.headers.iter().filter_map(|header| match &header.value {
            HeaderSource::File(file) => Some(file),
            HeaderSource::Here(_) => None,
        }));
        files
    }
}

/// The way to log in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Login {
    /// By the certificate alone, or not at all.
    #[default]
    Anonymous,
    /// User name and password of MQTT.
    Password(Password),
    /// A bearer token (RFC 6750): the upgrade's `Authorization`, or the password where there is no upgrade.
    Token {
        /// Its file.
        file: PathBuf,
        /// The MQTT user name beside it.
        username: Option<String>,
    },
    /// A WebSocket whose address is signed by an access key of AWS.
    AwsSignature {
        /// The region that signs; `None`: as the host name says.
        region: Option<String>,
        /// Whose.
        keys: AwsKeys,
    },
    /// A custom authorizer of AWS IoT.
    AwsAuthorizer(Authorizer),
    /// A shared access signature of Azure.
    AzureSas(Sas),
}

/// User name and password of MQTT.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Password {
    /// The user name.
    pub username: String,
    /// The password's file.
    pub file: Option<PathBuf>,
}

/// A header of the WebSocket's upgrade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: HeaderSource,
}

/// Where a header's value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderSource {
    /// Here, because it is no secret.
    Here(String),
    /// In the first line of a file.
    File(PathBuf),
}

/// Whose signature it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AwsKeys {
    /// Those of a profile in a shared credentials file, which may be temporary ones.
    File {
        /// The file.
        path: PathBuf,
        /// The profile in it, `default` most often.
        profile: String,
    },
    /// Temporary ones that the certificate buys.
    Role(Role),
}

/// What the credentials provider of AWS IoT is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// The host name that `aws iot describe-endpoint --endpoint-type iot:CredentialProvider` prints.
    pub host: String,
    /// Its port, 443.
    pub port: u16,
    /// The role alias.
    pub alias: String,
    /// The thing that the certificate belongs to.
    pub thing: Option<String>,
}

/// What a custom authorizer of AWS IoT is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Authorizer {
    /// Its name; `None`: the default one of the account.
    pub name: Option<String>,
    /// The signed token, if it wants one.
    pub token: Option<SignedToken>,
    /// User name and password, if it looks at them.
    pub password: Option<Password>,
}

/// A token whose signature AWS checks before it asks the authorizer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedToken {
    /// The authorizer's token key name.
    pub key_name: String,
    /// The token's file.
    pub file: PathBuf,
    /// The file of its signature, Base64; `None`: the authorizer has signing disabled.
    pub signature_file: Option<PathBuf>,
}

/// A shared access signature of Azure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sas {
    /// The MQTT user name; `None`: as IoT Hub wants it, from host and device.
    pub username: Option<String>,
    /// The device, which is the client id.
    pub device: String,
    /// What is signed for; `None`: the device at IoT Hub.
    pub resource: Option<String>,
    /// The file of the key, Base64.
    pub key_file: PathBuf,
    /// The policy whose key it is; `None`: the device's own key.
    pub policy: Option<String>,
    /// How long a signature is good.
    pub lifetime: Duration,
}
