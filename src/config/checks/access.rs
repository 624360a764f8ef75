//! How the gateway says who it is at the cloud: one way to log in, whole, with files that it can read.

use std::time::Duration;

use super::{Finding, between, files};
use crate::{
    config::{Aws, AwsAuthorizer, AwsRole, Azure, Cloud, Header},
    model::Scheme,
};

/// Headers that the upgrade has of itself.
const OF_THE_UPGRADE: [&str; 5] = ["host", "connection", "upgrade", "content-length", "transfer-encoding"];
/// Words in the names of headers whose values are secrets.
const SECRET_WORDS: [&str; 5] = ["authorization", "cookie", "key", "secret", "token"];
const DAY: Duration = Duration::from_secs(24 * 3600);

pub(super) fn all(cloud: &Cloud) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        cloud.clone().secret_files().into_iter().filter_map(|(at, path)| files::secret(&at, path)).collect();
    findings.extend(one_way(cloud));
    findings.extend(cloud.headers.iter().enumerate().flat_map(|(index, header)| headers(index, header)));
    if let Some(aws) = &cloud.aws {
        findings.extend(self::aws(cloud, aws));
    }
    if let Some(azure) = &cloud.azure {
        findings.extend(self::azure(azure));
    }
    findings
}

/// Two ways would be two answers to the same question.
fn one_way(cloud: &Cloud) -> Vec<Finding> {
    let authorizer = cloud.aws.as_ref().is_some_and(|aws| aws.authorizer.is_some());
    let is_signed = cloud.aws.as_ref().is_some_and(|aws| aws.keys_file.is_some() || aws.role.is_some());
    let mut ways = Vec::new();
    // An authorizer may look at the password, too.
    ways.extend((cloud.password_file.is_some() && !authorizer).then_some("password_file"));
    ways.extend(cloud.token_file.is_some().then_some("token_file"));
    ways.extend(cloud.aws.is_some().then_some("aws"));
    ways.extend(cloud.azure.is_some().then_some("azure"));
    let mut findings = Vec::new();
    if let [first, second, ..] = ways[..] {
        let what = format!("`{first}` and `{second}` are two ways to log in");
        findings.push(Finding::new(format!("cloud.{second}"), what, "keep the one that the cloud wants"));
    }
    if cloud.password_file.is_some() && cloud.username.is_none() {
        let what = "a password is given without username";
        findings.push(Finding::new("cloud.password_file", what, "add `username:`"));
    }
    if cloud.username.is_some() && is_signed {
        let what = "with a signature of AWS nobody looks at a user name";
        findings.push(Finding::new("cloud.username", what, "leave it out"));
    }
    findings
}

fn headers(index: usize, header: &Header) -> Vec<Finding> {
    let at = format!("cloud.headers[{index}]");
    let name = header.name.to_ascii_lowercase();
    let mut findings = Vec::new();
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        let what = format!("`{}` is no name of a header", header.name);
        findings.push(Finding::new(format!("{at}.name"), what, "write letters, digits and `-`"));
    } else if OF_THE_UPGRADE.contains(&name.as_str()) || name.starts_with("sec-websocket-") {
        let what = format!("`{}` is the upgrade's own header", header.name);
        findings.push(Finding::new(format!("{at}.name"), what, "leave it out: the gateway writes it"));
    }
    match (&header.value, &header.value_file) {
        (Some(value), None) => {
            if !value.bytes().all(|byte| byte == b' ' || byte == b'\t' || byte.is_ascii_graphic()) {
                let what = "this has a character that no header's value has";
                findings.push(Finding::new(format!("{at}.value"), what, "write it in ASCII, on one line"));
            }
            if SECRET_WORDS.iter().any(|word| name.contains(word)) {
                let what =
                    format!("`{}` looks like a secret, and whoever reads this file reads it", header.name);
                let remedy = "put it into a file of its own and name that in `value_file`";
                findings.push(Finding::new(format!("{at}.value"), what, remedy).warning());
            }
        }
        (None, Some(_)) => {}
        (None, None) => {
            findings.push(Finding::new(at, "this header has no value", "add `value_file:` or `value:`"))
        }
        (Some(_), Some(_)) => {
            let what = "this header has two values";
            findings.push(Finding::new(at, what, "keep one of `value` and `value_file`"));
        }
    }
    findings
}

fn aws(cloud: &Cloud, aws: &Aws) -> Vec<Finding> {
    let mut findings = Vec::new();
    let ways = [
        ("keys_file", aws.keys_file.is_some()),
        ("role", aws.role.is_some()),
        ("authorizer", aws.authorizer.is_some()),
    ];
    let given: Vec<&str> = ways.into_iter().filter_map(|(name, is_given)| is_given.then_some(name)).collect();
    match given[..] {
        [] => {
            let what = "this does not say how to log in";
            let remedy =
                "add `keys_file:`, `role:` or `authorizer:`; for the certificate alone leave `aws` out";
            findings.push(Finding::new("cloud.aws", what, remedy));
        }
        [_] => {}
        [first, second, ..] => {
            let what = format!("`{first}` and `{second}` are two ways to log in");
            findings.push(Finding::new(format!("cloud.aws.{second}"), what, "keep one"));
        }
    }
    if aws.profile.is_some() && aws.keys_file.is_none() {
        let what = "a profile is one in a file of keys, and none is named";
        findings.push(Finding::new("cloud.aws.profile", what, "add `keys_file:`, or leave it out"));
    }
    if aws.keys_file.is_some() || aws.role.is_some() {
        findings.extend(region(cloud, aws));
        if cloud.url.scheme() != Scheme::WebSocket {
            let what = "a signature of AWS goes into the address of a WebSocket, and `url` has none";
            let remedy = "write `url: wss://…`, or leave `aws` out and log in with the certificate";
            findings.push(Finding::new("cloud.aws", what, remedy));
        }
    }
    findings.extend(aws.role.iter().flat_map(|role| self::role(cloud, role)));
    findings.extend(aws.authorizer.iter().flat_map(|told| authorizer(cloud, told)));
    findings
}

fn region(cloud: &Cloud, aws: &Aws) -> Option<Finding> {
    match &aws.region {
        Some(region) => {
            let is_region =
                region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
            (!is_region || region.is_empty()).then(|| {
                let what = format!("`{region}` is no region");
                Finding::new("cloud.aws.region", what, "write it like `eu-central-1`")
            })
        }
        None => cloud.url.aws_region().is_none().then(|| {
            let what = format!("the host `{}` does not tell the region that signs", cloud.url.host());
            Finding::new("cloud.aws", what, "add `region:`, for example `region: eu-central-1`")
        }),
    }
}

fn role(cloud: &Cloud, role: &AwsRole) -> Vec<Finding> {
    let at = |name: &str| format!("cloud.aws.role.{name}");
    let mut findings = Vec::new();
    if cloud.certificate_file.is_none() {
        let what = "the keys are bought with the gateway's certificate, and none is configured";
        findings.push(Finding::new(
            "cloud.aws.role",
            what,
            "add `certificate_file:` and `key_file:` to `cloud`",
        ));
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    if role.host.is_empty() || !role.host.bytes().all(is_name) {
        let what = format!("`{}` is no host name", role.host);
        let remedy = "write what `aws iot describe-endpoint --endpoint-type iot:CredentialProvider` prints, without `https://`";
        findings.push(Finding::new(at("host"), what, remedy));
    }
    findings.extend(between(&at("port"), role.port, 1, u16::MAX));
    // AWS IoT API reference, CreateRoleAlias.
    let is_alias = |byte: u8| byte.is_ascii_alphanumeric() || b"_=,@-".contains(&byte);
    if !(1..=128).contains(&role.alias.len()) || !role.alias.bytes().all(is_alias) {
        let what = format!("`{}` is no role alias", role.alias);
        findings.push(Finding::new(at("alias"), what, "write its name, not the role's and not an ARN"));
    }
    // The same, CreateThing.
    let is_thing = |byte: u8| byte.is_ascii_alphanumeric() || b":_-".contains(&byte);
    if let Some(thing) = &role.thing
        && (!(1..=128).contains(&thing.len()) || !thing.bytes().all(is_thing))
    {
        findings.push(Finding::new(
            at("thing"),
            format!("`{thing}` is no thing's name"),
            "write its name, not its ARN",
        ));
    }
    findings
}

fn authorizer(cloud: &Cloud, authorizer: &AwsAuthorizer) -> Vec<Finding> {
    let at = |name: &str| format!("cloud.aws.authorizer.{name}");
    let AwsAuthorizer { name, token_key_name, token_file, signature_file } = authorizer;
    let mut findings = Vec::new();
    let half = |name: &str, what: &str, wants: &str| Finding::new(at(name), what, format!("add `{wants}:`"));
    match (token_key_name, token_file) {
        (Some(_), None) => {
            findings.push(half("token_key_name", "a token's name is given without the token", "token_file"));
        }
        (None, Some(_)) => {
            findings.push(half("token_file", "a token is given without its name", "token_key_name"));
        }
        (None, None) if signature_file.is_some() => {
            findings.push(half("signature_file", "a signature is given without its token", "token_file"));
        }
        (Some(_), Some(_)) | (None, None) => {}
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_=,@-".contains(&byte);
    for (place, name) in [("name", name), ("token_key_name", token_key_name)] {
        let Some(name) = name else { continue };
        if !(1..=128).contains(&name.len()) || !name.bytes().all(is_name) {
            let what = format!("`{name}` is no name of this kind");
            findings.push(Finding::new(at(place), what, "write letters, digits, `-` and `_`"));
        }
    }
    if token_file.is_none()
        && cloud.username.is_none()
        && signature_file.is_none()
        && token_key_name.is_none()
    {
        let what = "an authorizer looks at a token or a password, and there is neither";
        let remedy =
            "add `token_key_name:` and `token_file:` here, or `username:` and `password_file:` to `cloud`";
        findings.push(Finding::new("cloud.aws.authorizer", what, remedy));
    }
    findings
}

fn azure(azure: &Azure) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(between("cloud.azure.lifetime", azure.lifetime, Duration::from_secs(300), 30 * DAY));
    for (at, text) in [("policy", &azure.policy), ("resource", &azure.resource)] {
        if text.as_ref().is_some_and(String::is_empty) {
            findings.push(Finding::new(
                format!("cloud.azure.{at}"),
                "this is empty",
                "leave it out for the default",
            ));
        }
    }
    findings
}
