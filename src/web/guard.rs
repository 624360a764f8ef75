//! Who may ask, how, and what a browser may do with the answer.

use std::net::IpAddr;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

/// Nothing from elsewhere, nothing inline, in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Lets a request through when it reads and is meant for this machine; `bound` is where we listen.
pub(super) async fn check(State(bound): State<IpAddr>, request: Request, next: Next) -> Response {
    let mut response = if !is_ours(request.headers(), request.uri(), bound) {
        let text = "This is Hearthlink's status page, and it is asked for under a name that is not this machine's. \
                    Open it as http://127.0.0.1 or http://localhost with its port.\n";
        (StatusCode::MISDIRECTED_REQUEST, text).into_response()
    } else if ![Method::GET, Method::HEAD].contains(request.method()) {
        (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")], "This page can only be read.\n")
            .into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Whether every name in the request is this machine's. The port is not looked at: behind `ssh -L` it is
/// another one, and a page elsewhere cannot choose a name that is in the list.
fn is_ours(headers: &HeaderMap, uri: &Uri, bound: IpAddr) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let Ok(Ok(host)) = host.to_str().map(str::parse::<axum::http::uri::Authority>) else { return false };
    is_local(host.host(), bound) && uri.host().is_none_or(|host| is_local(host, bound))
}

fn is_local(host: &str, bound: IpAddr) -> bool {
    let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match literal.parse::<IpAddr>() {
        // Bound to every address, it is reached under any of them; an address cannot be rebound.
        Ok(address) => address.is_loopback() || address == bound || bound.is_unspecified(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_served() {
        for (host, bound, expected) in [
            ("localhost", "127.0.0.1", true),
            ("LOCALHOST:8080", "127.0.0.1", true),
            ("127.0.0.1:8080", "127.0.0.1", true),
            ("127.8.8.8", "127.0.0.1", true),
            ("[::1]:9000", "::1", true),
            ("192.168.1.7:80", "192.168.1.7", true),
            ("192.168.1.8:80", "192.168.1.7", false),
            ("192.168.1.8:80", "0.0.0.0", true),
            ("evil.example", "127.0.0.1", false),
            ("localhost.evil.example", "127.0.0.1", false),
            ("127.0.0.1.evil.example", "0.0.0.0", false),
            ("", "127.0.0.1", false),
        ] {
            let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_str(host).unwrap())]);
            let found = is_ours(&headers, &Uri::from_static("/"), bound.parse().unwrap());
            assert_eq!(found, expected, "{host} at {bound}");
        }
    }

    #[test]
    fn a_request_with_no_host_two_hosts_or_a_foreign_target_is_refused() {
        let bound = IpAddr::from([127, 0, 0, 1]);
        let ours = || (header::HOST, HeaderValue::from_static("localhost"));
        let two = {
            let mut headers = HeaderMap::from_iter([ours()]);
            headers.append(header::HOST, HeaderValue::from_static("localhost"));
            headers
        };
        assert!(!is_ours(&HeaderMap::new(), &Uri::from_static("/"), bound));
        assert!(!is_ours(&two, &Uri::from_static("/"), bound));
        assert!(!is_ours(&HeaderMap::from_iter([ours()]), &Uri::from_static("http://evil.example/"), bound));
    }
}
