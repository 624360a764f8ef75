//! Every request goes by here: who may ask (`entrance`), how, and what a browser may do with the answer.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use axum::{
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{
    entrance::{Entrance, Refusal, is_from_elsewhere},
    server::visitor,
};

/// Nothing from elsewhere, nothing inline, in nobody's frame.
macro_rules! policy {
    ($forms:literal) => {
        concat!(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
             base-uri 'none'; form-action ",
            $forms,
            "; frame-ancestors 'none'"
        )
    };
}

/// The policy, and to whom the page's own address is told. A form that may tell nobody says `Origin: null`.
const FOR_READING: (&str, &str) = (policy!("'none'"), "no-referrer");
const WITH_CONTROL: (&str, &str) = (policy!("'self'"), "same-origin");

/// What monitors ask, who have no password: whether it lives, and whether it is well.
const FOR_MONITORS: [&str; 2] = ["/healthz", "/readyz"];

/// In a request's extensions: who asks may see everything. Others see only [`FOR_MONITORS`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Admitted;

/// What a request is held against.
#[derive(Debug, Clone)]
pub(super) struct Pass {
    pub(super) entrance: Arc<Entrance>,
    /// Whether the page has forms.
    pub(super) has_control: bool,
}

/// Lets a request through when it reads or presses, is meant for this machine, and comes from somebody who may.
pub(super) async fn check(State(pass): State<Pass>, mut request: Request, next: Next) -> Response {
    let mut response = match refusal(&pass.entrance, &mut request).await {
        Some(response) => response,
        None => next.run(request).await,
    };
    let (policy, referrer) = if pass.has_control { WITH_CONTROL } else { FOR_READING };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, referrer),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn refusal(entrance: &Entrance, request: &mut Request) -> Option<Response> {
    let headers = request.headers();
    if !entrance.is_ours(headers, request.uri()) {
        let text = "This is Hearthlink's status page, and it is asked for under a name that is not this machine's. \
                    Open it under its address with its port, or put the name into `web.hosts`.\n";
        return Some((StatusCode::MISDIRECTED_REQUEST, text).into_response());
    }
    if is_from_elsewhere(request.method(), headers) {
        return Some((StatusCode::FORBIDDEN, "A page of another origin asks; it may not.\n").into_response());
    }
    let from = visitor(request).map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |visitor| visitor.address);
    match entrance.admit(from, headers).await {
        Ok(()) => drop(request.extensions_mut().insert(Admitted)),
        Err(_)
            if FOR_MONITORS.contains(&request.uri().path())
                && headers.get(header::AUTHORIZATION).is_none() => {}
        Err(Refusal::Password) => {
            let asks = [(header::WWW_AUTHENTICATE, "Basic realm=\"Hearthlink\", charset=\"UTF-8\"")];
            let text = "The password is in the file that `web.password_file` names; any user name will do.\n";
            return Some((StatusCode::UNAUTHORIZED, asks, text).into_response());
        }
        Err(Refusal::TooMany) => {
            let text = "Too many wrong passwords came from your address. Wait a few seconds.\n";
            return Some((StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "5")], text).into_response());
        }
    }
    // What has no control says so itself.
    let is_press = request.method() == Method::POST && request.uri().path().starts_with("/devices/");
    if ![Method::GET, Method::HEAD].contains(request.method()) && !is_press {
        let text = "This page can only be read.\n";
        return Some((StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")], text).into_response());
    }
    None
}
