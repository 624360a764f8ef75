//! The page of the first start, while there is no configuration: what to write, and what is wrong with what was written.
//!
//! Owns a listener and the page; gets what is said of the file through a channel and looks at no file itself. Invariants:
//! on loopback only, since there is no password yet; the same rules for hosts, methods and what a browser may do as the
//! status page has (`guard`).

use std::net::SocketAddr;

use askama::Template;
use axum::{
    Router,
    extract::State as Shared,
    http::StatusCode,
    middleware,
    response::{Html, IntoResponse, Response},
    routing::get,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    Door, WebError, WebOptions, asset,
    guard::{self, Pass},
    server,
};

/// What `/readyz` says: by this the page is known.
pub const NOT_READY: &str = "There is no configuration yet.";

/// How the file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// There is none.
    Missing,
    /// What is wrong with it, for people, in lines.
    Bad(String),
    /// The gateway starts; where its status page will be, if it has one.
    Good(Option<String>),
}

/// What the page says.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The configuration's file, as it is called.
    pub file: String,
    /// The command that asks for what it needs.
    pub command: String,
    /// A whole configuration for this machine.
    pub example: String,
    /// How the file is.
    pub state: State,
}

/// The page, bound and not served yet.
pub struct Guide(Door);

impl Guide {
    /// Binds the address; port 0 is a new one each time.
    ///
    /// # Errors
    /// [`WebError::Bind`] with the address; [`WebError::Open`] elsewhere than on loopback.
    pub async fn bind(address: SocketAddr) -> Result<Self, WebError> {
        Ok(Self(Door::open(WebOptions::at(address)).await?))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Serves what was said last, until `stop`.
    pub async fn run(self, draft: watch::Receiver<Draft>, stop: CancellationToken) {
        let Door { listener, entrance, .. } = self.0;
        let pass = Pass { entrance, has_control: false };
        let script = || asset("text/javascript; charset=utf-8", include_str!("assets/guide.js"));
        let router = Router::new()
            .route("/", get(show))
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(async || (StatusCode::SERVICE_UNAVAILABLE, format!("{NOT_READY}\n"))))
            .route("/guide.js", get(async move || script()))
            .merge(super::looks())
            .fallback(async || {
                (StatusCode::NOT_FOUND, "There is no such page. What to write first is at /\n")
            })
            .with_state(draft)
            .layer(middleware::from_fn_with_state(pass, guard::check));
        server::serve(listener, router, stop).await;
    }
}

#[derive(Template)]
#[template(path = "guide.html")]
struct Page<'a> {
    draft: &'a Draft,
}

impl Page<'_> {
    fn tone(&self) -> &'static str {
        match self.draft.state {
            State::Missing => "warning",
            State::Bad(_) => "error",
            State::Good(_) => "ok",
        }
    }
}

async fn show(Shared(draft): Shared<watch::Receiver<Draft>>) -> Response {
    let draft = draft.borrow().clone();
    match (Page { draft: &draft }).render() {
        Ok(page) => Html(page).into_response(),
        Err(error) => {
            tracing::error!(%error, "the page of the first start could not be made");
            (StatusCode::INTERNAL_SERVER_ERROR, "The page could not be made.\n").into_response()
        }
    }
}
