//! `/api/events`: the page's changes as server-sent events, for its script.
//!
//! Owns the seats: [`SEATS`] readers at a time; further ones get 503 and ask for the page every two seconds
//! instead. A stream ends when its reader has not taken anything for a minute, after [`LONGEST`] (the
//! browser comes again by itself, from where it was), and when the gateway stops.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{self, Instant},
};

use super::{
    Room,
    editions::{Bulletin, EditionId, Editions},
    server::{Visitor, visitor},
};

/// Readers at a time: a quarter of the connections, so that the page and its programs always have room.
const SEATS: usize = 16;
/// After so long without a change the reader is told that the line is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a reader may take nothing.
const PATIENCE: Duration = Duration::from_secs(60);
/// A stream's life.
const LONGEST: Duration = Duration::from_secs(3600);
/// When the browser comes again, in milliseconds; before anything else.
const GREETING: &str = "retry: 2000\n\n";

pub(super) fn seats() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(SEATS))
}

struct Reader {
    editions: Arc<Editions>,
    bulletins: watch::Receiver<Option<Arc<Bulletin>>>,
    /// What it has; `None`: nothing that we know.
    seen: Option<EditionId>,
    is_greeted: bool,
    visitor: Option<Visitor>,
    ends: Instant,
    _seat: OwnedSemaphorePermit,
}

pub(super) async fn listen(State(room): State<Room>, request: Request) -> Response {
    let Ok(seat) = room.seats.clone().try_acquire_owned() else {
        let text = "So many look on already; ask for the page instead.\n";
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "60")], text).into_response();
    };
    let reader = Reader {
        bulletins: room.editions.subscribe(),
        editions: room.editions,
        seen: seen(request.headers(), request.uri().query()),
        is_greeted: false,
        visitor: visitor(&request).cloned(),
        ends: Instant::now() + LONGEST,
        _seat: seat,
    };
    let body = Body::from_stream(stream::unfold(reader, Reader::next));
    // A proxy in between that collects answers would hold the events back.
    let unbuffered = (HeaderName::from_static("x-accel-buffering"), "no");
    ([(header::CONTENT_TYPE, "text/event-stream"), unbuffered], body).into_response()
}

/// What the browser says that it has: after a break in a header, at first in the address.
fn seen(headers: &HeaderMap, query: Option<&str>) -> Option<EditionId> {
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    last.or_else(|| query?.strip_prefix("since=")).and_then(EditionId::parse)
}

impl Reader {
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        let event = if self.is_greeted { self.wait().await? } else { self.greet().await? };
        if let Some(visitor) = &self.visitor {
            visitor.stays_until(Instant::now() + PATIENCE);
        }
        Some((Ok(event), self))
    }

    /// What is new since it was here last.
    async fn greet(&mut self) -> Option<Bytes> {
        self.is_greeted = true;
        let event = self.catch_up().await?;
        Some([GREETING.as_bytes(), &event].concat().into())
    }

    /// The next bulletin, or a sign of life; `None`: its time is over.
    async fn wait(&mut self) -> Option<Bytes> {
        let silence = Instant::now() + KEEP_ALIVE;
        loop {
            // Cancel safety: a bulletin is marked as seen only when it is taken.
            tokio::select! {
                () = time::sleep_until(self.ends) => return None,
                () = time::sleep_until(silence) => return Some(Bytes::from_static(b": still here\n\n")),
                changed = self.bulletins.changed() => changed.ok()?,
            }
            let Some(bulletin) = self.bulletins.borrow_and_update().clone() else { continue };
            match self.seen {
                Some(seen) if bulletin.is_known_to(seen) => {}
                Some(seen) if bulletin.suffices(seen) => {
                    self.seen = Some(bulletin.to);
                    return Some(bulletin.event.clone());
                }
                Some(_) | None => return self.catch_up().await,
            }
        }
    }

    async fn catch_up(&mut self) -> Option<Bytes> {
        let (edition, event) = self.editions.news(self.seen).await?;
        self.seen = Some(edition);
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn after_a_break_the_browsers_own_word_counts() {
        let id = |text| EditionId::parse(text).map(|id| id.to_string());
        assert_eq!(id("1764504000000-7").as_deref(), Some("1764504000000-7"));
        let header = HeaderMap::from_iter([(
            HeaderName::from_static("last-event-id"),
            HeaderValue::from_static("5-9"),
        )]);
        for (headers, query, expected) in [
            (HeaderMap::new(), None, None),
            (HeaderMap::new(), Some("since=5-7"), Some("5-7")),
            (HeaderMap::new(), Some("since=x"), None),
            (HeaderMap::new(), Some("other=5-7"), None),
            (header.clone(), Some("since=5-7"), Some("5-9")),
            (header, None, Some("5-9")),
        ] {
            assert_eq!(seen(&headers, query).map(|id| id.to_string()).as_deref(), expected);
        }
    }
}
