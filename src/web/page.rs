//! The page, made of its sections. Everything that is shown goes through the templates' escaping.
//!
//! Owns the order of the sections. Each is an element with an id, so that an event can bring it alone.

use std::{io::Write, sync::Arc};

use askama::Template;
use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use flate2::{Compression, write::GzEncoder};

use super::{
    editions::{EditionId, Editions},
    view::View,
};
use crate::health::DeviceReport;

macro_rules! sections {
    ($($name:ident $path:literal),* $(,)?) => {
        $(
            #[derive(Template)]
            #[template(path = $path)]
            struct $name<'a> {
                view: &'a View<'a>,
            }
        )*

        /// The sections of the page, in its order, but for the rows of devices.
        pub(super) fn sections(view: &View<'_>) -> Vec<String> {
            vec![$(set($name { view })),*]
        }
    };
}

sections! {
    Verdict "verdict.html",
    Line "line.html",
    Queue "queue.html",
    Attention "attention.html",
    Control "control.html",
    Buses "buses.html",
    Commands "commands.html",
    Host "host.html",
    Broker "broker.html",
    Footer "footer.html",
}

#[derive(Template)]
#[template(path = "device.html")]
struct Row<'a> {
    view: &'a View<'a>,
    device: &'a DeviceReport,
}

#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    view: &'a View<'a>,
    edition: EditionId,
}

fn set(template: impl Template) -> String {
    template.render().unwrap_or_else(|error| {
        tracing::error!(%error, "a part of the status page could not be made");
        String::new()
    })
}

/// One device.
pub(super) fn row(view: &View<'_>, device: &DeviceReport) -> String {
    set(Row { view, device })
}

/// All of it.
pub(super) fn whole(view: &View<'_>, edition: EditionId) -> String {
    set(Page { view, edition })
}

/// Packed by gzip; of nothing, nothing, which whoever asked is told of. The fastest packing: what a stronger one saves on
/// a home's network, a Pi Zero pays for.
pub(super) fn pack(text: &str) -> Vec<u8> {
    if text.is_empty() {
        return Vec::new();
    }
    let mut packer = GzEncoder::new(Vec::with_capacity(text.len() / 8), Compression::fast());
    // Writing to memory cannot fail.
    let _ = packer.write_all(text.as_bytes());
    packer.finish().unwrap_or_default()
}

pub(super) async fn show(State(editions): State<Arc<Editions>>, headers: HeaderMap) -> Response {
    let is_packed = takes_gzip(&headers);
    let Some(page) = editions.page(is_packed).await else {
        let text = "The page could not be made; /api/status may still work.\n";
        return (StatusCode::INTERNAL_SERVER_ERROR, text).into_response();
    };
    let mut response = ([(header::VARY, "accept-encoding")], Html(page)).into_response();
    if is_packed {
        response.headers_mut().insert(header::CONTENT_ENCODING, header::HeaderValue::from_static("gzip"));
    }
    response
}

/// Whether the browser unpacks gzip (RFC 9110, 12.5.3).
fn takes_gzip(headers: &HeaderMap) -> bool {
    let lists = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().strip_prefix("q=").map(str::parse::<f32>);
        name.trim().eq_ignore_ascii_case("gzip") && weight != Some(Ok(0.0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_made_is_not_packed_into_a_page() {
        assert!(pack("").is_empty());
        assert!(!pack("x").is_empty());
    }

    #[test]
    fn only_who_unpacks_gets_it_packed() {
        for (asked, expected) in [
            (None, false),
            (Some("gzip, deflate, br"), true),
            (Some("br;q=1.0, GZIP;q=0.5"), true),
            (Some("gzip;q=0"), false),
            (Some("gzip;q=0.000, br"), false),
            (Some("identity"), false),
            (Some("x-gzip"), false),
        ] {
            let headers = asked.map(|asked| (header::ACCEPT_ENCODING, asked.parse().unwrap()));
            assert_eq!(takes_gzip(&headers.into_iter().collect()), expected, "{asked:?}");
        }
    }
}
