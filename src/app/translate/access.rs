//! How the gateway says who it is at the cloud, from the file's shape into the link's words.

use crate::{
    config,
    link::{Access, Authorizer, AwsKeys, Header, HeaderSource, Login, Password, Role, Sas, SignedToken},
};

/// The checks of the configuration have left one way.
pub(super) fn access(cloud: &config::Cloud, client_id: &str) -> Access {
    Access { login: login(cloud, client_id), headers: cloud.headers.iter().filter_map(header).collect() }
}

fn login(cloud: &config::Cloud, client_id: &str) -> Login {
    let password = cloud
        .username
        .as_ref()
        .map(|username| Password { username: username.clone(), file: cloud.password_file.clone() });
    if let Some(azure) = &cloud.azure {
        return Login::AzureSas(Sas {
            username: cloud.username.clone(),
            device: client_id.to_owned(),
            resource: azure.resource.clone(),
            key_file: azure.key_file.clone(),
            policy: azure.policy.clone(),
            lifetime: azure.lifetime,
        });
    }
    if let Some(aws) = &cloud.aws {
        if let Some(authorizer) = &aws.authorizer {
            return Login::AwsAuthorizer(self::authorizer(authorizer, password));
        }
        if let Some(keys) = keys(aws) {
            return Login::AwsSignature { region: aws.region.clone(), keys };
        }
    }
    match (&cloud.token_file, password) {
        (Some(file), _) => Login::Token { file: file.clone(), username: cloud.username.clone() },
        (None, Some(password)) => Login::Password(password),
        (None, None) => Login::Anonymous,
    }
}

fn authorizer(authorizer: &config::AwsAuthorizer, password: Option<Password>) -> Authorizer {
    let token = authorizer.token_key_name.clone().zip(authorizer.token_file.clone());
    let signature_file = authorizer.signature_file.clone();
    Authorizer {
        name: authorizer.name.clone(),
        token: token.map(|(key_name, file)| SignedToken { key_name, file, signature_file }),
        password,
    }
}

fn keys(aws: &config::Aws) -> Option<AwsKeys> {
    let of_role = aws.role.as_ref().map(|role| {
        let config::AwsRole { host, port, alias, thing } = role.clone();
        AwsKeys::Role(Role { host, port, alias, thing })
    });
    of_role.or_else(|| {
        let profile = aws.profile.clone().unwrap_or_else(|| "default".to_owned());
        aws.keys_file.clone().map(|path| AwsKeys::File { path, profile })
    })
}

fn header(header: &config::Header) -> Option<Header> {
    let value = match (&header.value_file, &header.value) {
        (Some(file), _) => HeaderSource::File(file.clone()),
        (None, Some(value)) => HeaderSource::Here(value.clone()),
        (None, None) => return None,
    };
    Some(Header { name: header.name.clone(), value })
}
