//! The signer against what others publish; `../vectors/*.json` say where each comes from.

use serde_json::Value;

use super::*;

const SUITE: &str = include_str!("../vectors/aws-c-auth.json");
const DEVICE_SDK: &str = include_str!("../vectors/aws-iot-device-sdk-js.json");
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

fn cases(file: &str, list: &str) -> Vec<Value> {
    serde_json::from_str::<Value>(file).unwrap()[list].as_array().unwrap().clone()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}"))
}

fn keys(id: &str, secret: &str, token: Option<&str>) -> Keys {
    Keys { id: id.to_owned(), secret: secret.to_owned(), token: token.map(str::to_owned) }
}

/// Method, path and query as they are sent, headers, and the payload.
struct Sent {
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    payload: String,
}

impl Sent {
    fn parse(text: &str, is_normalised: bool) -> Self {
        let (head, payload) = text.split_once("\n\n").unwrap_or((text, ""));
        let (line, headers) = head.split_once('\n').unwrap();
        let (method, rest) = line.split_once(' ').unwrap();
        let (target, _) = rest.rsplit_once(' ').unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut list: Vec<(String, String)> = Vec::new();
        for line in headers.lines() {
            match line.strip_prefix(' ') {
                // A value that goes on.
                Some(more) => list.last_mut().unwrap().1.extend([" ", more]),
                None => {
                    let (name, value) = line.split_once(':').unwrap();
                    list.push((name.to_owned(), value.to_owned()));
                }
            }
        }
        let path = if is_normalised { normalised(path) } else { path.to_owned() };
        let (method, query, payload) = (method.to_owned(), query.to_owned(), payload.to_owned());
        Self { method, path, query, headers: list, payload }
    }

    fn check(&self, name: &str, expected: &Value, is_payload_signed: bool, keys: &Keys, scope: &Scope) {
        let headers: Vec<(&str, &str)> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let payload = if is_payload_signed { self.payload.as_bytes() } else { b"" };
        let request = Request {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            headers: &headers,
            payload,
        };
        let canonical = request.canonical();
        assert_eq!(canonical, text(expected, "canonical"), "{name}");
        let string_to_sign = scope.string_to_sign(&canonical);
        assert_eq!(string_to_sign, text(expected, "string_to_sign"), "{name}");
        assert_eq!(scope.signature(keys, &string_to_sign), text(expected, "signature"), "{name}");
    }
}

fn suite(check: impl Fn(&str, &Value, &Keys, &Scope)) {
    let now = Timestamp::parse_rfc3339("2015-08-30T12:36:00Z").unwrap();
    let scope = Scope::new(now, "us-east-1", "service");
    let cases = cases(SUITE, "vectors");
    assert_eq!(cases.len(), 38);
    for case in &cases {
        let keys = keys("AKIDEXAMPLE", SECRET, case["token"].as_str());
        check(text(case, "name"), case, &keys, &scope);
    }
}

#[test]
fn every_published_vector_comes_out_with_the_signature_in_the_query() {
    suite(|name, case, keys, scope| {
        let mut sent = Sent::parse(text(case, "request"), case["normalize"] == true);
        let headers: Vec<(&str, &str)> =
            sent.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let request = Request { method: "", path: "", query: "", headers: &headers, payload: b"" };
        let own = if sent.query.is_empty() { String::new() } else { format!("{}&", sent.query) };
        let parameters = scope.parameters(keys, &request.signed_headers());
        let mut query = format!("{own}{parameters}&X-Amz-Expires=3600");
        if let (Some(token), false) = (&keys.token, case["omit_session_token"] == true) {
            query.push_str(&format!("&X-Amz-Security-Token={}", encoded(token)));
        }
        let target = text(&case["query"], "target");
        assert!(target.contains(&query[own.len()..]), "{name}: {query} is not in {target}");
        sent.query = query;
        sent.check(name, &case["query"], case["sign_body"] == true, keys, scope);
    });
}

#[test]
fn every_published_vector_comes_out_with_the_signature_in_a_header() {
    suite(|name, case, keys, scope| {
        let mut sent = Sent::parse(text(&case["header"], "request"), case["normalize"] == true);
        let authorization = sent.headers.iter().find(|(name, _)| name == "Authorization").unwrap().1.clone();
        let signed = authorization.split("SignedHeaders=").nth(1).unwrap().split(',').next().unwrap();
        let signed: Vec<&str> = signed.split(';').collect();
        sent.headers.retain(|(name, _)| signed.contains(&name.to_ascii_lowercase().as_str()));
        sent.check(name, &case["header"], case["sign_body"] == true, keys, scope);
    });
}

/// What an upgrade's address says behind `?`.
#[test]
fn a_web_socket_of_aws_iot_is_signed_as_its_device_sdk_does_it() {
    for case in cases(DEVICE_SDK, "cases") {
        let keys = keys(text(&case, "id"), text(&case, "secret"), case["token"].as_str());
        let now = Timestamp::parse_rfc3339(text(&case, "at")).unwrap();
        let scope = Scope::new(now, text(&case, "region"), IOT);
        let (address, query) = text(&case, "url").split_once('?').unwrap();
        let host = address.trim_start_matches("wss://").trim_end_matches("/mqtt");
        assert_eq!(presigned(&keys, &scope, host, "/mqtt", ""), query);
    }
}

#[test]
fn a_query_of_the_address_itself_is_signed_too_and_not_repeated() {
    let keys = keys("AKIDEXAMPLE", SECRET, Some("token"));
    let scope = Scope::new(Timestamp::from_millis(0), "us-east-1", IOT);
    let plain = presigned(&keys, &scope, "host", "/mqtt", "");
    let with_own = presigned(&keys, &scope, "host", "/mqtt", "b=1&a=%20");
    assert!(with_own.starts_with("X-Amz-Algorithm=") && !with_own.contains("a=%20"), "{with_own}");
    assert!(with_own.ends_with("&X-Amz-Security-Token=token"), "{with_own}");
    let signature = |query: &str| query.split("X-Amz-Signature=").nth(1).unwrap()[..64].to_owned();
    assert_ne!(signature(&plain), signature(&with_own));
}

#[test]
fn the_secret_is_not_shown() {
    let keys = keys("AKIDEXAMPLE", SECRET, Some("a-token"));
    let shown = format!("{keys:?}");
    assert!(
        shown.contains("AKIDEXAMPLE") && !shown.contains(SECRET) && !shown.contains("a-token"),
        "{shown}"
    );
}
