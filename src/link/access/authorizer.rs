//! Custom authorizers of AWS IoT: a program of the account's owner that looks at a token or a password.
//!
//! <https://docs.aws.amazon.com/iot/latest/developerguide/custom-auth.html>: with a WebSocket what it is told stands in
//! the upgrade's headers; over plain MQTT in the user name, as a query behind it.

use super::{Grant, files, header, sigv4, ways::Authorizer};
use crate::model::{CloudUrl, Fault, Scheme};

const NAME: &str = "x-amz-customauthorizer-name";
const SIGNATURE: &str = "x-amz-customauthorizer-signature";

/// # Errors
/// [`crate::model::FaultKind::OwnCredentials`] when a file is of no use.
pub(super) async fn grant(authorizer: &Authorizer, url: &CloudUrl) -> Result<Grant, Fault> {
    let mut told = Vec::new();
    if let Some(name) = &authorizer.name {
        told.push((NAME, name.clone()));
    }
    if let Some(token) = &authorizer.token {
        told.push((&token.key_name, files::first_line(&token.file).await?));
        if let Some(file) = &token.signature_file {
            told.push((SIGNATURE, files::first_line(file).await?));
        }
    }
    let mut grant = match &authorizer.password {
        Some(password) => super::password(password).await?,
        None => Grant::default(),
    };
    if url.scheme() == Scheme::WebSocket {
        grant.headers = told.iter().map(|(name, value)| header(name, value)).collect::<Result<_, _>>()?;
    } else if !told.is_empty() {
        let query: Vec<String> = told
            .iter()
            .map(|(name, value)| format!("{}={}", sigv4::encoded(name), sigv4::encoded(value)))
            .collect();
        let username = grant.username.take().unwrap_or_default();
        let sign = if username.contains('?') { '&' } else { '?' };
        grant.username = Some(format!("{username}{sign}{}", query.join("&")));
    }
    Ok(grant)
}

#[cfg(test)]
mod tests {
    use super::{
        super::ways::{Password, SignedToken},
        *,
    };

    fn url(text: &str) -> CloudUrl {
        CloudUrl::parse(text).unwrap()
    }

    #[tokio::test]
    async fn a_signed_token_goes_into_headers_of_an_upgrade_and_into_the_user_name_without_one() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let mut authorizer = Authorizer {
            name: Some("home".to_owned()),
            token: Some(SignedToken {
                key_name: "key-name".to_owned(),
                file: file("token", "a token&\n"),
                signature_file: Some(file("signature", "ab+/cd==\n")),
            }),
            password: Some(Password { username: "me".to_owned(), file: Some(file("password", "toast\n")) }),
        };
        let grant = super::grant(&authorizer, &url("wss://h")).await.unwrap();
        let headers: Vec<(&str, &str)> =
            grant.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(headers, [(NAME, "home"), ("key-name", "a token&"), (SIGNATURE, "ab+/cd==")]);
        assert_eq!((grant.username.as_deref(), grant.password.as_deref()), (Some("me"), Some("toast")));
        assert!(grant.headers[1].1.is_sensitive());

        let grant = super::grant(&authorizer, &url("mqtts://h")).await.unwrap();
        let query = "x-amz-customauthorizer-name=home&key-name=a%20token%26\
                     &x-amz-customauthorizer-signature=ab%2B%2Fcd%3D%3D";
        assert_eq!(grant.username, Some(format!("me?{query}")));
        assert_eq!((grant.headers.len(), grant.password.as_deref()), (0, Some("toast")));

        authorizer.password = None;
        let grant = super::grant(&authorizer, &url("mqtts://h")).await.unwrap();
        assert_eq!((grant.username, grant.password), (Some(format!("?{query}")), None));
        let nothing = super::grant(&Authorizer::default(), &url("mqtts://h")).await.unwrap();
        assert_eq!((nothing.username, nothing.password), (None, None));
    }
}
