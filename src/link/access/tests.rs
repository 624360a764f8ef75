//! Grants of each way to log in, and when bought keys are bought again.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

use super::{
    role::tests::{NOW, answer, head, role},
    *,
};

const LIMIT: Duration = Duration::from_secs(15);
const AWS_HOST: &str = "a1b2c3-ats.iot.eu-central-1.amazonaws.com";

fn url(is_websocket: bool) -> CloudUrl {
    let scheme = if is_websocket { "wss" } else { "mqtts" };
    CloudUrl::parse(&format!("{scheme}://{AWS_HOST}")).unwrap()
}

/// Of somebody who must not open anything.
async fn granted(login: Login, is_websocket: bool) -> Result<Grant, Fault> {
    let issuer = Issuer::new(Access { login, headers: Vec::new() });
    issuer.grant(&url(is_websocket), NOW, LIMIT, |_| no_connection()).await
}

async fn no_connection() -> Result<DuplexStream, Fault> {
    panic!("nobody is to be asked");
}

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

fn shown(grant: &Grant) -> Vec<(&str, &str)> {
    grant.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect()
}

#[tokio::test]
async fn a_password_is_read_anew_for_each_attempt() {
    let files = Files::new();
    let file = files.write("password", "toast\n");
    let login = || Login::Password(Password { username: "me".to_owned(), file: Some(file.clone()) });
    let grant = granted(login(), true).await.unwrap();
    assert_eq!((grant.username.as_deref(), grant.password.as_deref()), (Some("me"), Some("toast")));
    files.write("password", "burnt\n");
    assert_eq!(granted(login(), true).await.unwrap().password.as_deref(), Some("burnt"));
    std::fs::remove_file(&file).unwrap();
    assert_eq!(granted(login(), true).await.unwrap_err().kind, FaultKind::OwnCredentials);
    assert_eq!(granted(Login::Anonymous, true).await.unwrap(), Grant::default());
}

#[tokio::test]
async fn a_token_is_a_header_of_an_upgrade_and_a_password_without_one() {
    let files = Files::new();
    let file = files.write("token", "abc.def\n");
    let login =
        |username: Option<&str>| Login::Token { file: file.clone(), username: username.map(str::to_owned) };
    let grant = granted(login(None), true).await.unwrap();
    assert_eq!(shown(&grant), [("authorization", "Bearer abc.def")]);
    assert_eq!((grant.username, grant.password), (None, None));
    let grant = granted(login(Some("me")), false).await.unwrap();
    assert_eq!((grant.username.as_deref(), grant.password.as_deref()), (Some("me"), Some("abc.def")));
    let grant = granted(login(None), false).await.unwrap();
    assert_eq!((grant.username.as_deref(), grant.headers.len()), (Some("bearer"), 0));
    files.write("token", "ab\u{7}c\n");
    let fault = granted(login(None), true).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::OwnCredentials);
    assert!(!fault.detail.contains("ab"), "{}", fault.detail);
}

#[tokio::test]
async fn headers_come_from_the_configuration_and_from_files_and_only_with_an_upgrade() {
    let files = Files::new();
    let header = |name: &str, value| Header { name: name.to_owned(), value };
    let headers = vec![
        header("X-Tenant", HeaderSource::Here("home".to_owned())),
        header("X-Api-Key", HeaderSource::File(files.write("key", "hush\n"))),
    ];
    let password = Password { username: "me".to_owned(), file: None };
    let issuer = Issuer::new(Access { login: Login::Password(password), headers });
    let grant = issuer.grant(&url(true), NOW, LIMIT, |_| no_connection()).await.unwrap();
    assert_eq!(shown(&grant), [("x-tenant", "home"), ("x-api-key", "hush")]);
    assert_eq!(grant.username.as_deref(), Some("me"));
    let told = format!("{grant:?} {:?}", grant.headers);
    assert!(!told.contains("hush") && !told.contains("me\""), "{told}");
    let grant = issuer.grant(&url(false), NOW, LIMIT, |_| no_connection()).await.unwrap();
    assert!(grant.headers.is_empty());
}

#[tokio::test]
async fn static_keys_sign_the_address_in_the_region_that_its_host_tells() {
    let files = Files::new();
    let path = files.write("aws", "[default]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = s\n");
    let login = |region: Option<&str>| Login::AwsSignature {
        region: region.map(str::to_owned),
        keys: AwsKeys::File { path: path.clone(), profile: "default".to_owned() },
    };
    let grant = granted(login(None), true).await.unwrap();
    let query = grant.query.unwrap();
    let scope = sigv4::encoded("AKIDEXAMPLE/20261130/eu-central-1/iotdevicegateway/aws4_request");
    assert!(query.contains(&format!("X-Amz-Credential={scope}&X-Amz-Date=20261130T")), "{query}");
    assert_eq!((grant.renew_at, grant.username), (None, None));
    let other = granted(login(Some("us-east-1")), true).await.unwrap().query.unwrap();
    assert!(other.contains("%2Fus-east-1%2F"), "{other}");
    let fault = granted(login(None), false).await.unwrap_err();
    assert!(fault.detail.contains("plain MQTT"), "{}", fault.detail);
    for (host, region) in [("A1.IOT.us-west-2.amazonaws.com", Some("us-west-2")), ("iot.example.org", None)] {
        let url = CloudUrl::parse(&format!("wss://{host}")).unwrap();
        assert_eq!(region_of(&url).ok().as_deref(), region, "{host}");
    }
}

#[test]
fn the_host_that_is_signed_has_no_usual_port_and_no_capitals() {
    for (url, expected) in [
        ("wss://A.Example:443", "a.example"),
        ("wss://a.example:8443", "a.example:8443"),
        ("wss://[2001:DB8::1]:443", "[2001:db8::1]"),
        ("wss://[::1]:1", "[::1]:1"),
    ] {
        assert_eq!(CloudUrl::parse(url).unwrap().authority(), expected);
    }
}

/// An issuer that buys, and a provider that sells for an hour, or is shut.
struct Shop {
    issuer: Issuer,
    sold: Arc<AtomicUsize>,
}

impl Shop {
    fn new() -> Self {
        let login = Login::AwsSignature { region: None, keys: AwsKeys::Role(role()) };
        let issuer = Issuer::new(Access { login, headers: Vec::new() });
        Self { issuer, sold: Arc::default() }
    }

    async fn grant(&self, minutes: u64, is_open: bool) -> Result<Grant, Fault> {
        let now = NOW.plus(Duration::from_secs(60 * minutes));
        let sold = self.sold.clone();
        let open = |url: CloudUrl| async move {
            assert_eq!((url.host(), url.port()), (role().host.as_str(), 443));
            let (ours, mut theirs) = duplex(1 << 16);
            tokio::spawn(async move {
                head(&mut theirs).await;
                let text = if is_open {
                    let number = sold.fetch_add(1, Ordering::Relaxed) + 1;
                    role::tests::sold(&format!("ASIA{number}"), now.plus(Duration::from_secs(3600)))
                } else {
                    answer("403 Forbidden", r#"{"message":"shut"}"#)
                };
                theirs.write_all(text.as_bytes()).await.unwrap();
            });
            Ok(ours)
        };
        self.issuer.grant(&url(true), now, LIMIT, open).await
    }

    /// With whose keys it was signed.
    async fn id(&self, minutes: u64, is_open: bool) -> String {
        let query = self.grant(minutes, is_open).await.unwrap().query.unwrap();
        let id = query.split("X-Amz-Credential=").nth(1).unwrap().split("%2F").next().unwrap();
        assert!(query.ends_with("&X-Amz-Security-Token=t%3D"), "{query}");
        id.to_owned()
    }
}

#[tokio::test]
async fn bought_keys_are_kept_until_five_minutes_before_their_end_and_then_bought_anew() {
    let shop = Shop::new();
    let minute = |minutes: u64| NOW.plus(Duration::from_secs(60 * minutes));
    assert_eq!(shop.grant(0, true).await.unwrap().renew_at, Some(minute(55)));
    assert_eq!(shop.id(54, true).await, "ASIA1");
    assert_eq!(shop.id(55, true).await, "ASIA2");
    assert_eq!(shop.id(56, true).await, "ASIA2");
    assert_eq!(shop.sold.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn old_keys_do_while_no_new_ones_are_to_be_had_but_never_past_their_end() {
    let shop = Shop::new();
    let minute = |minutes: u64| NOW.plus(Duration::from_secs(60 * minutes));
    assert_eq!(shop.id(0, true).await, "ASIA1");
    assert_eq!(shop.id(57, false).await, "ASIA1");
    assert_eq!(shop.grant(57, false).await.unwrap().renew_at, Some(minute(58)));
    let fault = shop.grant(60, false).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::KeyProvider);
    assert!(fault.detail.ends_with("HTTP status 403 Forbidden: shut"), "{}", fault.detail);
    assert_eq!(shop.id(60, true).await, "ASIA2");
}

#[tokio::test]
async fn keys_that_the_cloud_refused_are_not_used_again() {
    let shop = Shop::new();
    assert_eq!(shop.id(0, true).await, "ASIA1");
    shop.issuer.was_refused().await;
    assert_eq!(shop.id(1, true).await, "ASIA2");
}

#[test]
fn what_ends_soon_is_renewed_after_four_fifths_of_its_life() {
    let after = |seconds| NOW.plus(Duration::from_secs(seconds));
    for (life, renewed) in [(3600, 3300), (1500, 1200), (900, 720), (10, 8), (0, 0)] {
        assert_eq!(renewal(NOW, after(life)), after(renewed), "{life}");
    }
}
