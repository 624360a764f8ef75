//! The status page and, before there is a configuration, the one that says what to write (`guide`): what people look at,
//! `/api/status` and `/metrics` for programs, `/api/events` for its script.
//!
//! Owns the HTTP listener and the page. Gets the board's snapshots and nothing else, so whoever takes the
//! page over can read and never act; where the configuration has a control, it gets the way to the command desk as well,
//! for the buttons that are on the board (`control`). Invariants: GET and HEAD only, but for these; a request whose `Host`
//! is not this machine's is refused with 421, so that a web page elsewhere cannot read it through DNS rebinding; beyond
//! loopback nobody reads without the password; nothing is loaded from elsewhere (strict CSP); connections and their time
//! are bounded.
//!
//! Rejected: `axum::serve`, which bounds neither.

mod chart;
mod control;
mod editions;
mod entrance;
mod events;
mod guard;
mod guide;
mod metrics;
mod page;
mod server;
mod view;
pub(crate) mod words;

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, FromRef, Request, State},
    http::{StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use control::Control;
pub use control::{MOST_PRESSES, Wish};
use editions::Editions;
use entrance::Entrance;
use guard::{Admitted, Pass};
pub use guide::{Draft, Guide, NOT_READY, State as DraftState};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc},
};
use tokio_util::sync::CancellationToken;

use crate::{
    health::{Board, Level},
    model::Secret,
};

/// Where the page is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebOptions {
    /// Address and port; port 0 is a new one each time.
    pub address: SocketAddr,
    /// Names that this machine goes by, beside its addresses and `localhost`.
    pub hosts: Vec<String>,
    /// What whoever looks must know. `None` is for loopback only.
    pub password: Option<Secret>,
}

impl WebOptions {
    /// A page under addresses only, without a password.
    pub fn at(address: SocketAddr) -> Self {
        Self { address, hosts: Vec::new(), password: None }
    }
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// The address cannot be had.
    #[error("failed to listen on {address} for the status page: {reason}; choose another `web.address`")]
    Bind {
        /// Which address.
        address: SocketAddr,
        /// What the system said.
        reason: std::io::Error,
    },
    /// Everybody on the network could read it.
    #[error(
        "the status page at {0} would be open to everybody on the network; give it a `web.password_file`"
    )]
    Open(SocketAddr),
    /// The digest of the password could not be made.
    #[error("failed to lock the status page: the system has no random numbers")]
    NoRandomness,
}

/// A listener, and who comes in by it.
struct Door {
    listener: TcpListener,
    address: SocketAddr,
    entrance: Arc<Entrance>,
}

impl Door {
    async fn open(options: WebOptions) -> Result<Self, WebError> {
        let bind = |reason| WebError::Bind { address: options.address, reason };
        if options.password.is_none() && !options.address.ip().is_loopback() {
            return Err(WebError::Open(options.address));
        }
        let listener = TcpListener::bind(options.address).await.map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let entrance = Entrance::new(address.ip(), options.hosts, options.password.as_ref());
        let entrance = Arc::new(entrance.map_err(|_| WebError::NoRandomness)?);
        Ok(Self { listener, address, entrance })
    }
}

/// The page, bound and not served yet.
pub struct Web {
    door: Door,
    board: Board,
    control: Option<Control>,
}

impl Web {
    /// Binds the address.
    ///
    /// # Errors
    /// [`WebError::Bind`] with the address; [`WebError::Open`] without a password elsewhere than on loopback.
    pub async fn bind(options: WebOptions, board: Board) -> Result<Self, WebError> {
        Ok(Self { door: Door::open(options).await?, board, control: None })
    }

    /// With buttons to press, whose presses go there. Has room for [`MOST_PRESSES`]; full: who presses waits.
    #[must_use]
    pub fn with_control(mut self, wishes: mpsc::Sender<Wish>) -> Self {
        self.control = Some(Control::new(wishes));
        self
    }

    /// Where it listens.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        vec![self.door.address]
    }

    /// Serves until `stop`; requests under way are cut off then, since they change nothing, and a press is the desk's.
    ///
    /// # Errors
    /// None today: what goes wrong with one connection ends that one.
    pub async fn run(self, stop: CancellationToken) -> Result<(), WebError> {
        let Self { door: Door { listener, entrance, .. }, board, control } = self;
        let room = Room { editions: Editions::new(board.clone()), board, seats: events::seats(), control };
        let editions = room.editions.clone().run(stop.clone());
        tokio::join!(editions, server::serve(listener, router(entrance, room), stop));
        Ok(())
    }
}

/// What the answers are made from.
#[derive(Clone)]
struct Room {
    board: Board,
    editions: Arc<Editions>,
    /// Of those who read events.
    seats: Arc<Semaphore>,
    control: Option<Control>,
}

impl FromRef<Room> for Board {
    fn from_ref(room: &Room) -> Self {
        room.board.clone()
    }
}

impl FromRef<Room> for Arc<Editions> {
    fn from_ref(room: &Room) -> Self {
        room.editions.clone()
    }
}

fn router(entrance: Arc<Entrance>, room: Room) -> Router {
    let pass = Pass { entrance, has_control: room.control.is_some() };
    Router::new()
        .route("/", get(page::show))
        .route(
            "/devices/{device}/set",
            post(control::press).layer(DefaultBodyLimit::max(control::LONGEST_FORM)),
        )
        .route("/api/events", get(events::listen))
        .route("/api/status", get(status))
        .route("/api/receipts", get(async |State(board): State<Board>| Json(board.receipts())))
        .route("/metrics", get(metrics::show))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route(
            "/page.js",
            get(async || asset("text/javascript; charset=utf-8", include_str!("assets/page.js"))),
        )
        .merge(looks())
        .fallback(async || (StatusCode::NOT_FOUND, "There is no such page. The status page is at /\n"))
        .with_state(room)
        .layer(middleware::from_fn_with_state(pass, guard::check))
}

/// How all our pages look.
fn looks<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/page.css", get(async || asset("text/css; charset=utf-8", include_str!("assets/page.css"))))
        .route("/icon.svg", get(async || asset("image/svg+xml", include_str!("assets/icon.svg"))))
}

async fn status(State(board): State<Board>) -> Response {
    aside(move || Json(board.snapshot()).into_response()).await
}

/// Makes an answer that takes milliseconds with many devices, and holds up no message of the house with it.
async fn aside(make: impl FnOnce() -> Response + Send + 'static) -> Response {
    let made = tokio::task::spawn_blocking(make).await;
    // It panicked, which is in the log.
    made.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

/// For monitors: 503 with the sentence while a person is needed, else 200. Without the password only that.
async fn ready(State(board): State<Board>, request: Request) -> Response {
    let verdict = board.verdict();
    let code = match verdict.level {
        Level::Ok | Level::Warning => StatusCode::OK,
        Level::Error => StatusCode::SERVICE_UNAVAILABLE,
    };
    match request.extensions().get() {
        Some(Admitted) => (code, verdict.sentence + "\n").into_response(),
        None => code.into_response(),
    }
}

fn asset(content_type: &'static str, body: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, content_type)], body)
}
