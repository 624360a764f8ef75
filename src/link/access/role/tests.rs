//! Buying keys from a provider that is played by hand on the other end of a pipe.

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

pub(in crate::link::access) const NOW: Timestamp = Timestamp::from_millis(1_796_000_000_000);

const LIMIT: Duration = Duration::from_secs(15);

pub(in crate::link::access) fn role() -> Role {
    Role {
        host: "c1.credentials.iot.eu-central-1.amazonaws.com".to_owned(),
        port: 443,
        alias: "gate way".to_owned(),
        thing: Some("attic".to_owned()),
    }
}

/// What a provider answers that sells keys until `expires`.
pub(in crate::link::access) fn sold(id: &str, expires: Timestamp) -> String {
    let body = format!(
        r#"{{"credentials":{{"accessKeyId":"{id}","secretAccessKey":"s","sessionToken":"t=","expiration":"{expires}"}}}}"#
    );
    answer("200 OK", &body)
}

pub(in crate::link::access) fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// Reads a request's head.
pub(in crate::link::access) async fn head(stream: &mut DuplexStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// Buys from a provider that answers this and hangs up; beside the outcome what it was asked.
async fn bought(answer: impl AsRef<[u8]>) -> (Result<Bought, Fault>, String) {
    let (ours, mut theirs) = duplex(1 << 17);
    let (role, open) = (role(), |_| async { Ok(ours) });
    let provider = async {
        let head = head(&mut theirs).await;
        theirs.write_all(answer.as_ref()).await.unwrap();
        drop(theirs);
        head
    };
    tokio::join!(buy(&role, NOW, LIMIT, open), provider)
}

async fn detail(answer: impl AsRef<[u8]>) -> String {
    let fault = bought(answer).await.0.unwrap_err();
    assert_eq!(fault.kind, FaultKind::KeyProvider);
    assert!(fault.detail.starts_with("`c1.credentials.iot.eu-central-1.amazonaws.com`: "), "{fault:?}");
    fault.detail
}

#[tokio::test]
async fn keys_are_asked_for_as_documented_and_come_with_their_end() {
    let expires = NOW.plus(Duration::from_secs(3600));
    let (bought, asked) = bought(sold("ASIA1", expires)).await;
    let bought = bought.unwrap();
    assert_eq!((bought.keys.id.as_str(), bought.keys.secret.as_str()), ("ASIA1", "s"));
    assert_eq!(bought.keys.token.as_deref(), Some("t="));
    assert_eq!((bought.expires, bought.renew_at), (expires, NOW.plus(Duration::from_secs(3300))));
    let asked = asked.to_ascii_lowercase();
    assert!(asked.starts_with("get /role-aliases/gate%20way/credentials http/1.1\r\n"), "{asked}");
    assert!(asked.contains("host: c1.credentials.iot.eu-central-1.amazonaws.com\r\n"), "{asked}");
    assert!(asked.contains("x-amzn-iot-thingname: attic\r\n"), "{asked}");
}

#[tokio::test]
async fn what_the_provider_says_when_it_refuses_is_told() {
    let json = answer("403 Forbidden", r#"{"message":"Invalid thing name passed"}"#);
    assert!(detail(json).await.ends_with("HTTP status 403 Forbidden: Invalid thing name passed"));
    let text = answer("502 Bad Gateway", "a\r\nproxy's\x1b[31m words");
    assert!(detail(text).await.ends_with("HTTP status 502 Bad Gateway: a  proxy's [31m words"));
    let silent = answer("500 Internal Server Error", "");
    assert!(detail(silent).await.ends_with("HTTP status 500 Internal Server Error"));
    let long = detail(answer("400 Bad Request", &"x".repeat(5000))).await;
    assert!(long.ends_with(&"x".repeat(LONGEST_WORDS)) && long.len() < 500, "{long}");
}

#[tokio::test]
async fn answers_that_sell_nothing_are_told_apart_and_never_repeated() {
    let other = detail(answer("200 OK", r#"{"credentials":{"secretAccessKey":"hush"}}"#)).await;
    assert!(other.contains("no `credentials`") && !other.contains("hush"), "{other}");
    let old = detail(sold("ASIA1", NOW)).await;
    assert!(old.contains("expired on 2026") && old.contains("timedatectl"), "{old}");
    let endless = detail(answer("200 OK", &"x".repeat(LARGEST + 1))).await;
    assert!(endless.contains("broke off"), "{endless}");
    assert!(detail("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc").await.contains("broke off"));
    assert!(detail("SSH-2.0-OpenSSH\r\n").await.contains("the connection broke"));
    assert!(detail("").await.contains("the connection broke"));
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_does_not_answer_is_given_up() {
    let (ours, _theirs) = duplex(1 << 17);
    let fault = buy(&role(), NOW, LIMIT, |_| async { Ok(ours) }).await.unwrap_err();
    assert!(fault.detail.contains("no answer within 15 s"), "{fault:?}");
    let never = std::future::pending::<Result<DuplexStream, Fault>>();
    let fault = buy(&role(), NOW, LIMIT, |_| never).await.unwrap_err();
    assert!(fault.detail.contains("no answer within 15 s"), "{fault:?}");
}

#[tokio::test]
async fn trouble_on_the_way_to_the_provider_is_not_called_the_clouds() {
    let lost = async { Err::<DuplexStream, _>(Fault::new(FaultKind::Dns, "no such name")) };
    let fault = buy(&role(), NOW, LIMIT, |_| lost).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::KeyProvider);
    assert!(fault.detail.ends_with("(no such name)"), "{fault:?}");
}
