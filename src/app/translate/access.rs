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

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

    use super::*;
    use crate::config::Loader;

    /// What a configuration with this section makes of it; every file that it names is there.
    fn of(section: &str, directory: &Path) -> Access {
        for line in section.lines().filter(|line| line.contains("_file: ")) {
            let name = line.rsplit("_file: ").next().unwrap().trim_end_matches(" }");
            let path = directory.join(name);
            fs::write(&path, "something").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        let path = directory.join("hearthlink.yaml");
        fs::write(&path, format!("gateway: {{id: gw}}\n{section}")).unwrap();
        let config = Loader::new(&path).load().unwrap_or_else(|error| panic!("{}", error.render(false)));
        let cloud = config.cloud.unwrap();
        let client_id = cloud.client_id.clone().unwrap_or_else(|| "gw".to_owned());
        access(&cloud, &client_id)
    }

    #[test]
    fn each_example_of_the_pages_on_access_becomes_its_way_to_log_in() {
        let pages =
            [include_str!("../../../docs/access.md"), include_str!("../../../docs/clouds/aws-iot.md")]
                .concat();
        let sections: Vec<&str> =
            pages.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
        let directory = tempfile::tempdir().unwrap();
        let ways: Vec<Access> = sections.iter().map(|section| of(section, directory.path())).collect();
        let file = |name: &str| directory.path().join(name);
        let password = Password { username: "home".to_owned(), file: Some(file("cloud-password")) };
        let expected = [
            Login::Password(password.clone()),
            Login::Token { file: file("cloud-token"), username: None },
            Login::Anonymous,
            Login::AzureSas(Sas {
                username: None,
                device: "gateway".to_owned(),
                resource: None,
                key_file: file("azure-key"),
                policy: None,
                lifetime: Duration::from_secs(3600),
            }),
            Login::AwsSignature {
                region: None,
                keys: AwsKeys::File { path: file("aws-credentials"), profile: "home".to_owned() },
            },
            Login::AwsSignature {
                region: None,
                keys: AwsKeys::Role(Role {
                    host: "c1a2b3c4d5e6f7.credentials.iot.eu-central-1.amazonaws.com".to_owned(),
                    port: 443,
                    alias: "gateway".to_owned(),
                    thing: Some("home".to_owned()),
                }),
            },
            Login::AwsAuthorizer(Authorizer {
                name: Some("homes".to_owned()),
                token: Some(SignedToken {
                    key_name: "token".to_owned(),
                    file: file("cloud-token"),
                    signature_file: Some(file("cloud-token-signature")),
                }),
                password: Some(password),
            }),
        ];
        let logins: Vec<&Login> = ways.iter().map(|way| &way.login).collect();
        assert_eq!(logins, expected.iter().collect::<Vec<_>>());
        let header = |name: &str, value| Header { name: name.to_owned(), value };
        let headers = [
            header("X-Tenant", HeaderSource::Here("home".to_owned())),
            header("X-Api-Key", HeaderSource::File(file("cloud-api-key"))),
        ];
        assert_eq!(ways[2].headers, headers);
    }

    #[test]
    fn the_defaults_are_the_profile_default_and_no_password() {
        let directory = tempfile::tempdir().unwrap();
        let url = "cloud:\n  url: wss://a1-ats.iot.eu-central-1.amazonaws.com\n";
        let keys =
            of(&format!("{url}  aws:\n    region: us-east-1\n    keys_file: keys\n"), directory.path());
        let expected = AwsKeys::File { path: directory.path().join("keys"), profile: "default".to_owned() };
        let region = Some("us-east-1".to_owned());
        assert_eq!(keys.login, Login::AwsSignature { region, keys: expected });
        let named = of(&format!("{url}  username: me\n"), directory.path());
        assert_eq!(named.login, Login::Password(Password { username: "me".to_owned(), file: None }));
        assert_eq!(of(url, directory.path()), Access::default());
    }
}
