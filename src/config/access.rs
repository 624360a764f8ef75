//! How the gateway says who it is at the cloud, beside its certificate: what stands in the section `cloud` for it.

use std::{path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Cloud, json_schema::Span, units};

/// A header that the WebSocket's upgrade has in addition.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its value, when it is no secret.
    #[serde(default)]
    pub value: Option<String>,
    /// A file whose first line is its value; readable by its owner only.
    #[serde(default)]
    pub value_file: Option<PathBuf>,
}

/// Logging in at AWS IoT otherwise than by the certificate: by `keys_file`, `role` or `authorizer`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Aws {
    /// The region that signs. Default: as the host in `url` says.
    #[serde(default)]
    pub region: Option<String>,
    /// Access keys, in the shape of `~/.aws/credentials`; readable by its owner only.
    #[serde(default)]
    pub keys_file: Option<PathBuf>,
    /// Which of them. Default `default`.
    #[serde(default)]
    pub profile: Option<String>,
    /// Temporary access keys that the certificate buys.
    #[serde(default)]
    pub role: Option<AwsRole>,
    /// A custom authorizer.
    #[serde(default)]
    pub authorizer: Option<AwsAuthorizer>,
}

/// What the credentials provider of AWS IoT is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AwsRole {
    /// Its host name: `aws iot describe-endpoint --endpoint-type iot:CredentialProvider`.
    pub host: String,
    /// Its port. Default 443.
    #[serde(default = "https")]
    pub port: u16,
    /// The role alias.
    pub alias: String,
    /// The thing that has the certificate. Default: it is not told.
    #[serde(default)]
    pub thing: Option<String>,
}

fn https() -> u16 {
    443
}

/// What a custom authorizer is told; `cloud.username` and `cloud.password_file` it is told, too.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AwsAuthorizer {
    /// Its name. Default: the account's default authorizer.
    #[serde(default)]
    pub name: Option<String>,
    /// Its token key name.
    #[serde(default)]
    pub token_key_name: Option<String>,
    /// A file whose first line is the token; readable by its owner only.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// A file whose first line is the token's signature, Base64; readable by its owner only.
    #[serde(default)]
    pub signature_file: Option<PathBuf>,
}

/// Logging in at Azure by a shared access signature.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Azure {
    /// A file with the key, Base64, in its first line; readable by its owner only.
    pub key_file: PathBuf,
    /// The policy whose key it is. Default: it is the device's own.
    #[serde(default)]
    pub policy: Option<String>,
    /// What is signed for. Default `<host>/devices/<client id>`.
    #[serde(default)]
    pub resource: Option<String>,
    /// How long a signature is good, 5 min to 30 days. Default 1 h.
    #[serde(default = "default_lifetime", deserialize_with = "units::duration")]
    #[schemars(with = "Span")]
    pub lifetime: Duration,
}

fn default_lifetime() -> Duration {
    Duration::from_secs(3600)
}

impl Cloud {
    /// The files of all secrets but the certificate's key, with their places.
    pub(super) fn secret_files(&mut self) -> Vec<(String, &mut PathBuf)> {
        let named = |at: &str, file| (at.to_owned(), file);
        let mut files = Vec::new();
        files.extend(self.password_file.as_mut().map(|file| named("cloud.password_file", file)));
        let of_proxy = self.proxy.as_mut().and_then(|proxy| proxy.password_file.as_mut());
        files.extend(of_proxy.map(|file| named("cloud.proxy.password_file", file)));
        files.extend(self.token_file.as_mut().map(|file| named("cloud.token_file", file)));
        for (index, header) in self.headers.iter_mut().enumerate() {
            let file = header.value_file.as_mut();
            files.extend(file.map(|file| named(&format!("cloud.headers[{index}].value_file"), file)));
        }
        if let Some(aws) = &mut self.aws {
            files.extend(aws.keys_file.as_mut().map(|file| named("cloud.aws.keys_file", file)));
            if let Some(AwsAuthorizer { token_file, signature_file, .. }) = &mut aws.authorizer {
                let at = "cloud.aws.authorizer";
                files.extend(token_file.as_mut().map(|file| named(&format!("{at}.token_file"), file)));
                files
                    .extend(signature_file.as_mut().map(|file| named(&format!("{at}.signature_file"), file)));
            }
        }
        files.extend(self.azure.as_mut().map(|azure| named("cloud.azure.key_file", &mut azure.key_file)));
        files
    }
}
