//! Who is let in by what.

use argon2::password_hash::{PasswordHasher, SaltString};

use super::*;

fn hash(password: &str) -> String {
    let salt = SaltString::encode_b64(b"0123456789abcdef").unwrap();
    Argon2::default().hash_password(password.as_bytes(), &salt).unwrap().to_string()
}

fn users() -> Auth {
    let users = [
        User { name: "plug".into(), password_hash: Some(hash("secret")), ..User::default() },
        User { name: "phone".into(), certificate_name: Some("phone.home".into()), ..User::default() },
    ];
    Auth::new(&users, Duration::from_secs(10)).unwrap()
}

async fn identify(
    claim: (Option<&str>, Option<&str>),
    certificate: &[&str],
    anonymous: bool,
) -> Result<Option<String>, Reason> {
    let names: Vec<String> = certificate.iter().map(|name| (*name).to_owned()).collect();
    let claim = Claim {
        network: Network::of(std::net::Ipv4Addr::LOCALHOST.into()),
        client: "x",
        user: claim.0,
        password: claim.1.map(|password| password.as_bytes().to_owned()),
        certificate_names: &names,
        anonymous,
        acl: None,
    };
    users().identify(claim).await.map(|identity| identity.user.map(|name| name.as_ref().to_owned()))
}

#[tokio::test]
async fn who_a_client_is_follows_from_what_it_shows() {
    let bad = Err(Reason::BadUserNameOrPassword);
    let plug = Ok(Some("plug".to_owned()));
    let phone = Ok(Some("phone".to_owned()));
    for (user, password, certificate, anonymous, expected) in [
        (Some("plug"), Some("secret"), &[][..], false, plug.clone()),
        (Some("plug"), Some("wrong"), &[], false, bad.clone()),
        (Some("plug"), Some("wrong"), &[], true, bad.clone()),
        (Some("plug"), None, &[], false, bad.clone()),
        (Some("nobody"), Some("secret"), &[], false, bad.clone()),
        // A user without a password has none that could be guessed.
        (Some("phone"), Some(""), &[], false, bad.clone()),
        (None, None, &[], false, Err(Reason::NotAuthorized)),
        (None, None, &[], true, Ok(None)),
        (None, None, &["phone.home"], false, phone.clone()),
        (Some("phone"), None, &["x", "phone.home"], false, phone.clone()),
        (None, None, &["stranger"], false, Err(Reason::NotAuthorized)),
        (Some("plug"), Some("secret"), &["phone.home"], false, plug.clone()),
    ] {
        let found = identify((user, password), certificate, anonymous).await;
        assert_eq!(found, expected, "{user:?} {password:?} {certificate:?} {anonymous}");
    }
}

#[test]
fn an_unknown_user_is_checked_like_a_known_one() {
    assert!(check_hash(NOBODY).is_ok(), "the stand-in must be a hash that is computed");
}

#[test]
fn a_hash_that_is_none_is_refused_at_the_start() {
    let user = User { name: "x".into(), password_hash: Some("secret".into()), ..User::default() };
    assert!(matches!(Auth::new(&[user], Duration::from_secs(10)), Err(BrokerError::PasswordHash { .. })));
}

#[tokio::test(start_paused = true)]
async fn of_a_burst_of_guesses_the_others_wait_from_the_first_wrong_one_on() {
    let auth = users();
    let guesses = (0..50).map(|_| {
        auth.identify(Claim {
            network: Network::of(std::net::Ipv4Addr::LOCALHOST.into()),
            client: "x",
            user: Some("plug"),
            password: Some(b"wrong".to_vec()),
            certificate_names: &[],
            anonymous: false,
            acl: None,
        })
    });
    let start = tokio::time::Instant::now();
    let answers = futures_util::future::join_all(guesses).await;
    assert!(answers.iter().all(Result::is_err));
    // Two were under way when the first was found wrong, the others 100 ms apart at least.
    assert!(start.elapsed() > Duration::from_millis(4_000), "{:?}", start.elapsed());
}
