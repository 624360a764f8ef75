//! The buttons of the status page: which there are, and what a press becomes.
//!
//! Owns the list that goes on the board, and the command that a wish is made into: as one from a client at home, dated by
//! its life, with an origin of its own. Invariant: there is no button for what `commands.allow` refuses to somebody
//! without a name, whatever the hour; admission looks again at each press, with quiet hours and rates.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::LocalTopics;
use crate::{
    commands::{AllowList, Incoming},
    health::{Board, ButtonReport},
    model::{Ack, DeviceId, Entity, Fields, Message, Origin, Platform, QoS, Request, Staleness},
    web::Wish,
};

/// How long a press is good for. Later nobody stands before the page any more.
const LIFE: Duration = Duration::from_secs(10);
/// How many buttons a device has at most, and how long the words on one are, in characters; some are a stranger's.
const MOST_BUTTONS: usize = 24;
const LONGEST_WORD: usize = 64;

/// Who puts buttons on the board.
pub(super) struct Buttons {
    pub(super) allow: AllowList,
    pub(super) board: Board,
}

impl Buttons {
    /// The device has these entities now.
    pub(super) fn tell(&self, device: &DeviceId, entities: &[Entity]) {
        let buttons = entities.iter().flat_map(of_entity).filter(|button| {
            let fields = Fields::from_iter([(button.field.clone(), button.value.clone())]);
            let may = |request| self.allow.may(device, &request, &Origin::Page);
            let fits = |text: &str| text.chars().count() <= LONGEST_WORD;
            fits(&button.field) && fits(&button.words) && Request::from_fields(fields).is_ok_and(may)
        });
        self.board.buttons(device, buttons.take(MOST_BUTTONS).collect());
    }
}

/// What an entity can be set to with one press.
fn of_entity(entity: &Entity) -> Vec<ButtonReport> {
    let is_press = matches!(entity.platform, Platform::Button { .. });
    let name = entity.title();
    let button = |value: Value| ButtonReport {
        field: entity.field.clone(),
        name: name.clone(),
        words: match &value {
            // What it sends says nothing to a person.
            _ if is_press => "press".to_owned(),
            Value::String(word) => word.clone(),
            other => other.to_string(),
        },
        value,
    };
    entity.platform.choices().into_iter().map(button).collect()
}

/// Presses, to the desk, until `stop`.
pub(super) async fn from_page(
    mut wishes: mpsc::Receiver<Wish>,
    topics: LocalTopics,
    desk: mpsc::Sender<Incoming>,
    stop: CancellationToken,
) {
    // Cancel safety: a wish that is taken out is handed on, or the gateway is stopping.
    while let Some(Some(wish)) = stop.run_until_cancelled(wishes.recv()).await {
        let Wish { id, device, field, value, pressed } = wish;
        let mut payload = Fields::from_iter([(field, value)]);
        // Last: what the command says of itself goes before a field of the same name.
        payload.insert("id".to_owned(), json!(id.as_str()));
        payload.insert("ttl".to_owned(), json!(LIFE.as_secs()));
        let command = Incoming {
            message: Message::new(topics.set(&device), Value::Object(payload).to_string(), QoS::AtLeastOnce),
            device,
            received: pressed,
            redelivered: false,
            staleness: Staleness::Live,
            origin: Origin::Page,
            ack: Ack::none(),
        };
        if desk.send(command).await.is_err() {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        clock::Clock,
        commands::{Rule, Values},
        model::Sender,
    };

    fn entity(field: &str, platform: Platform) -> Entity {
        let (name, device_class, unit, state_class) = (None, None, None, None);
        let (precision, category, is_assumed) = (None, None, false);
        let field = field.to_owned();
        Entity { field, name, platform, device_class, unit, state_class, precision, category, is_assumed }
    }

    #[test]
    fn there_is_a_button_only_for_what_the_list_allows_to_somebody_without_a_name() {
        let board = Board::new("home", Clock::system());
        let toaster = DeviceId::parse("toaster").unwrap();
        let rule = |set: &[(&str, Values)]| {
            let set: BTreeMap<String, Values> =
                set.iter().map(|(field, values)| ((*field).to_owned(), values.clone())).collect();
            Rule::new(toaster.clone(), set)
        };
        let for_anna =
            Rule { senders: vec![Sender::parse("anna").unwrap()], ..rule(&[("mode", Values::Any)]) };
        let one = Values::OneOf(vec![json!("OFF")]);
        let allow = AllowList::new([rule(&[("state", one), ("reset", Values::Any)]), for_anna]);
        let buttons = Buttons { allow, board: board.clone() };
        let long = "x".repeat(LONGEST_WORD + 1);
        buttons.tell(
            &toaster,
            &[
                entity("state", Platform::Switch { on: json!("ON"), off: json!("OFF") }),
                entity("mode", Platform::Select { options: vec!["eco".to_owned()] }),
                entity("reset", Platform::Button { press: json!(1) }),
                entity("reset", Platform::Select { options: vec![long] }),
                entity("browning", Platform::Number { min: 1.0, max: 6.0, step: 1.0 }),
            ],
        );
        let shown = board.snapshot().buttons;
        let [(device, shown)] = shown.as_slice() else { panic!("{shown:?}") };
        let shown: Vec<_> =
            shown.iter().map(|b| (b.field.as_str(), b.words.as_str(), b.value.clone())).collect();
        assert_eq!(*device, toaster);
        assert_eq!(shown, [("state", "OFF", json!("OFF")), ("reset", "press", json!(1))]);
        buttons.tell(&toaster, &[]);
        assert!(board.snapshot().buttons.is_empty());
    }
}
