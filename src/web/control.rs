//! The one thing that the page can do, where the configuration has it: press a button of a device.
//!
//! Owns the way from a form to whoever has commands run, and the bound on it. Never decides whether a command may run: a
//! wish goes the way of every other one (`app::buttons`), with an id and a short life. Invariants: without `web.control`
//! nothing is pressed; nothing but a button that is on the board is; a browser has to say that a page of ours asks; at
//! most [`MOST_PRESSES`] are under way, and no button twice, for a double click is one wish.
//!
//! Whether a page of ours asks is what the browser says of itself (`Sec-Fetch-Site`, or `Origin` over plain HTTP, where
//! browsers leave the other one out), which no page can forge; whoever is no browser says it by hand. Rejected: a token
//! in each form. The page is made once for all who look, and the token would say no more than the browser does.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

use super::{Room, entrance::is_from_here};
use crate::{
    health::Board,
    model::{CommandId, DeviceId},
};

/// How many may be under way. Full: the next one is refused with 503.
pub const MOST_PRESSES: usize = 8;
/// How long an answer waits for the command's end, so that the page that follows shows it.
const PATIENCE: Duration = Duration::from_secs(3);
/// The longest form, in bytes; a longer one is refused with 413.
pub(super) const LONGEST_FORM: usize = 1024;

/// Somebody has pressed a button.
#[derive(Debug, Clone, PartialEq)]
pub struct Wish {
    /// The command's name.
    pub id: CommandId,
    /// Who is to act.
    pub device: DeviceId,
    /// Which of its fields is to be set.
    pub field: String,
    /// To what.
    pub value: Value,
    /// When that was; its life begins then.
    pub pressed: Instant,
}

/// Where wishes go. Clones share their bound.
#[derive(Debug, Clone)]
pub(super) struct Control {
    wishes: mpsc::Sender<Wish>,
    under_way: Arc<Mutex<Vec<Button>>>,
}

/// A device, its field, and the value.
type Button = (DeviceId, String, Value);

/// Whether a press may begin.
enum Beginning {
    /// Until it is dropped.
    Begun(Begun),
    /// The same button is pressed already.
    Pressed,
    /// Too many are.
    Full,
}

/// A press that is under way.
struct Begun {
    under_way: Arc<Mutex<Vec<Button>>>,
    button: Button,
}

impl Drop for Begun {
    fn drop(&mut self) {
        held(&self.under_way).retain(|button| *button != self.button);
    }
}

fn held(under_way: &Mutex<Vec<Button>>) -> MutexGuard<'_, Vec<Button>> {
    // A list of whole buttons, whoever panicked.
    under_way.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Control {
    pub(super) fn new(wishes: mpsc::Sender<Wish>) -> Self {
        Self { wishes, under_way: Arc::default() }
    }

    fn begin(&self, button: &Button) -> Beginning {
        let mut under_way = held(&self.under_way);
        if under_way.contains(button) {
            return Beginning::Pressed;
        }
        if under_way.len() >= MOST_PRESSES {
            return Beginning::Full;
        }
        under_way.push(button.clone());
        Beginning::Begun(Begun { under_way: self.under_way.clone(), button: button.clone() })
    }
}

/// A form of the page. Answers with the way back to it, once the command has ended or [`PATIENCE`] has.
pub(super) async fn press(
    State(Room { board, control, .. }): State<Room>,
    Path(device): Path<String>,
    headers: HeaderMap,
    form: Bytes,
) -> Response {
    let Some(control) = control else {
        let text = "This page can only be read. `control: true` under `web` in the configuration gives it buttons.\n";
        return (StatusCode::FORBIDDEN, text).into_response();
    };
    if !is_from_here(&headers) {
        let text =
            "Nobody says that this page asks. A program sends `Origin: http://` and the host that it asks.\n";
        return (StatusCode::FORBIDDEN, text).into_response();
    }
    let Some(button) = wanted(&board, &device, &form) else {
        return (StatusCode::NOT_FOUND, "There is no such button.\n").into_response();
    };
    let back = (StatusCode::SEE_OTHER, [(header::LOCATION, "/#commands")]);
    let pressed = Instant::now();
    let _begun = match control.begin(&button) {
        Beginning::Begun(begun) => begun,
        Beginning::Pressed => return back.into_response(),
        Beginning::Full => {
            let text = "Other presses are not done yet. Wait a few seconds.\n";
            return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "3")], text).into_response();
        }
    };
    let (device, field, value) = button;
    let id = format!("page-{:016x}", fastrand::u64(..));
    let id = CommandId::parse(&id).expect("hexadecimal digits are printable and few");
    let mut changes = board.watch();
    if control.wishes.send(Wish { id: id.clone(), device, field, value, pressed }).await.is_err() {
        return (StatusCode::SERVICE_UNAVAILABLE, "The gateway is stopping.\n").into_response();
    }
    let ended = async { while !board.has_ended(&id) && changes.changed().await.is_ok() {} };
    // Not ended by then: it is on the page when it is, and never runs later than its life.
    let _ = timeout(PATIENCE, ended).await;
    back.into_response()
}

/// The button that a form means: its one pair is the field and the value, as JSON.
fn wanted(board: &Board, device: &str, form: &[u8]) -> Option<Button> {
    let (field, value) = std::str::from_utf8(form).ok()?.split_once('=')?;
    let plain = |text: &str| {
        let text = text.replace('+', " ");
        percent_decode_str(&text).decode_utf8().ok().map(|text| text.into_owned())
    };
    let (field, value) = (plain(field)?, plain(value)?);
    let device = DeviceId::parse(device).ok()?;
    let value = serde_json::from_str(&value).ok()?;
    board.has_button(&device, &field, &value).then_some((device, field, value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{clock::Clock, health::ButtonReport};

    #[test]
    fn a_button_is_pressed_once_at_a_time_and_few_are() {
        let control = Control::new(mpsc::channel(1).0);
        let button = |value: usize| (DeviceId::parse("door").unwrap(), "state".to_owned(), json!(value));
        let mut begun = Vec::new();
        for value in 0..MOST_PRESSES {
            let Beginning::Begun(press) = control.begin(&button(value)) else { panic!("{value}") };
            begun.push(press);
            assert!(matches!(control.begin(&button(value)), Beginning::Pressed));
        }
        assert!(matches!(control.begin(&button(MOST_PRESSES)), Beginning::Full));
        begun.remove(0);
        assert!(matches!(control.begin(&button(0)), Beginning::Begun(_)));
    }

    #[test]
    fn only_a_button_that_is_shown_can_be_meant() {
        let board = Board::new("home", Clock::system());
        let toaster = DeviceId::parse("toaster").unwrap();
        let button = |field: &str, value: Value| ButtonReport {
            field: field.into(),
            name: field.into(),
            words: value.to_string(),
            value,
        };
        let buttons =
            vec![button("state", json!("ON")), button("mode", json!("half & half")), button("n", json!(1))];
        board.buttons(&toaster, buttons);
        for (form, expected) in [
            ("state=%22ON%22", Some(("state", json!("ON")))),
            ("mode=%22half+%26+half%22", Some(("mode", json!("half & half")))),
            ("n=1", Some(("n", json!(1)))),
            ("n=1.0", None),
            ("state=%22OFF%22", None),
            ("state=ON", None),
            ("state=%22ON%22&mode=1", None),
            ("mode=%22ON%22", None),
            ("state", None),
            ("", None),
        ] {
            let found = wanted(&board, "toaster", form.as_bytes());
            let expected = expected.map(|(field, value)| (toaster.clone(), field.to_owned(), value));
            assert_eq!(found, expected, "{form}");
        }
        assert_eq!(wanted(&board, "kettle", b"n=1"), None);
        assert_eq!(wanted(&board, "toaster", b"n=\xff"), None);
    }
}
