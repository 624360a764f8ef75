//! The page's server: three files, one stream of events, a few buttons.
//!
//! Owns HTTP. Never decides anything about toast. Invariants: only the page itself may press a button
//! (the request's `Origin` is ours, and so is its `Host`, so that neither another site nor a renamed
//! one can); the page loads nothing from anywhere else; at most [`MOST_PAGES`] pages follow events.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{
        Html, IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
    routing::{get, post},
};
use futures_util::stream;
use serde_json::json;
use tokio::{
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::{App, PRESS_LIFE, View};
use crate::demo::cloud::{Line, LineState};

const MOST_PAGES: usize = 32;
/// For how many seconds the page's other buttons may cut the line: less and more than a press lives.
const CUTS: [u64; 2] = [5, 20];
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

struct Desk {
    app: App,
    line: Line,
    /// What `Host` may say.
    hosts: [String; 2],
    pages: Arc<Semaphore>,
    stop: CancellationToken,
}

type Shared = State<Arc<Desk>>;

pub(super) async fn serve(
    listener: TcpListener,
    address: SocketAddr,
    app: App,
    line: Line,
    stop: CancellationToken,
) {
    let desk = Arc::new(Desk {
        app,
        line,
        hosts: [address.to_string(), format!("localhost:{}", address.port())],
        pages: Arc::new(Semaphore::new(MOST_PAGES)),
        stop: stop.clone(),
    });
    let script = ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("page.js"));
    let style = ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("page.css"));
    let router = Router::new()
        .route("/", get(|| async { Html(include_str!("page.html")) }))
        .route("/page.js", get(move || async move { script }))
        .route("/page.css", get(move || async move { style }))
        .route("/events", get(events))
        .route("/toast", post(toast))
        .route("/cut/{seconds}", post(cut))
        .layer(middleware::from_fn_with_state(desk.clone(), guard))
        .with_state(desk);
    // It ends by the token alone: errors of single connections are not errors of `serve`.
    let _ = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await;
}

/// Turns strangers away and adds the headers that keep the page to itself.
async fn guard(State(desk): Shared, request: Request, next: Next) -> Response {
    let mut response = if let Err(sentence) = desk.check(request.method().is_safe(), request.headers()) {
        (StatusCode::FORBIDDEN, sentence).into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

impl Desk {
    fn check(&self, is_safe: bool, headers: &HeaderMap) -> Result<(), &'static str> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let host = text(header::HOST).filter(|host| self.hosts.iter().any(|ours| ours == host));
        let Some(host) = host else { return Err("This page has another address.\n") };
        let origin = text(header::ORIGIN).and_then(|origin| origin.strip_prefix("http://"));
        if is_safe || origin == Some(host) {
            Ok(())
        } else {
            Err("Only the page itself may press its buttons.\n")
        }
    }
}

async fn toast(State(desk): Shared) -> Response {
    match desk.app.press(PRESS_LIFE).await {
        Ok(id) => {
            let answer = json!({ "id": id, "life_seconds": PRESS_LIFE.as_secs() });
            (StatusCode::ACCEPTED, Json(answer)).into_response()
        }
        Err(error) => {
            let answer = json!({ "error": format!("The cloud did not take it: {error}.") });
            (StatusCode::SERVICE_UNAVAILABLE, Json(answer)).into_response()
        }
    }
}

async fn cut(State(desk): Shared, Path(seconds): Path<u64>) -> Response {
    if !CUTS.contains(&seconds) {
        return StatusCode::NOT_FOUND.into_response();
    }
    if desk.line.state() != LineState::Up {
        let answer = json!({ "error": "The line is cut already." });
        return (StatusCode::CONFLICT, Json(answer)).into_response();
    }
    desk.line.cut();
    tokio::spawn(async move {
        // Cancel safety: a stop ends the line anyway.
        tokio::select! {
            () = desk.stop.cancelled() => {}
            () = sleep(Duration::from_secs(seconds)) => desk.line.restore(),
        }
    });
    StatusCode::ACCEPTED.into_response()
}

/// One page that follows.
struct Follower {
    view: watch::Receiver<View>,
    stop: CancellationToken,
    _seat: OwnedSemaphorePermit,
}

async fn events(State(desk): Shared) -> Response {
    let Ok(seat) = desk.pages.clone().try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "Too many pages are open.\n").into_response();
    };
    let mut view = desk.app.view();
    // The page wants to begin with what is known.
    view.mark_changed();
    let follower = Follower { view, stop: desk.stop.clone(), _seat: seat };
    let events = stream::unfold(follower, |mut follower| async move {
        // Cancel safety: `changed` loses nothing. Views in between may be skipped: each is whole.
        tokio::select! {
            () = follower.stop.cancelled() => None,
            changed = follower.view.changed() => {
                changed.ok()?;
                let event = Event::default().json_data(&*follower.view.borrow_and_update()).ok()?;
                Some((Ok::<_, Infallible>(event), follower))
            }
        }
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))).into_response()
}
