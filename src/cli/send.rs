//! `send`: a command to a device at home, and what became of it.
//!
//! A client of the local broker like any other: it publishes on `home/<device>/set` and waits for the outcome with its id
//! on `home/<device>/result`. Invariants: the command carries an id and ends when nobody waits for it any more, so that
//! what is given up does not happen later; a password is never an argument. Rejected: a second way into the gateway,
//! which would need its own admission.

use std::{
    io::{self, IsTerminal},
    net::SocketAddr,
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::Args;
use rumqttc::{
    NetworkOptions,
    v5::{
        AsyncClient, Event, EventLoop, Incoming, MqttOptions,
        mqttbytes::{
            QoS,
            v5::{PubAckReason, SubscribeReasonCode},
        },
    },
};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    DEFAULT_FILE, Exit, configuration,
    gateway::listener,
    password,
    say::{failed, say},
};
use crate::{
    app::LocalTopics,
    model::{CommandId, DeviceId, Fields, Outcome, OutcomeStatus, Request, printable},
    web::words,
};

/// How long connecting may take.
const CONNECTS_WITHIN: Duration = Duration::from_secs(5);
/// How much later than its end the outcome may come: a command that is not confirmed is told at its end, and the gateway
/// counts from when it has it.
const GRACE: Duration = Duration::from_secs(2);
/// Requests that may wait for the connection: a subscription and a publish.
const REQUESTS: usize = 4;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The device, by its id.
    #[arg(value_name = "DEVICE", value_parser = |text: &str| DeviceId::parse(text))]
    device: DeviceId,
    /// What it is to do: a word for its state (`ON`), or an object of fields (`{"brightness": 3}`).
    #[arg(value_name = "ACTION")]
    action: String,
    /// The running gateway's configuration, for where its broker listens.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE)]
    config: PathBuf,
    /// The broker's listener, MQTT without TLS [default: what the configuration has on this machine].
    #[arg(long, value_name = "ADDRESS:PORT")]
    broker: Option<SocketAddr>,
    /// The user of the broker; the password is asked for, or read from standard input.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// How many seconds to wait for the outcome; after that the command is not begun any more.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    /// Print the outcome as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let address = match arguments.broker {
        Some(address) => address,
        None => match find(arguments) {
            Ok(address) => address,
            Err(exit) => return exit,
        },
    };
    match send(arguments, address) {
        Ok(Sent::Outcome(outcome)) => {
            if arguments.json {
                say(json!(outcome));
            } else {
                say(words_of(&outcome));
            }
            if outcome.status == OutcomeStatus::Applied { Exit::Success } else { Exit::Failure }
        }
        Ok(Sent::NoBroker(error)) => {
            eprintln!("hearthlink: no broker answers at {address} ({error}). Is the gateway running?");
            Exit::Unavailable
        }
        Err(error) => failed(&error),
    }
}

/// How it went.
enum Sent {
    Outcome(Box<Outcome>),
    /// There is no connection.
    NoBroker(String),
}

/// Where the broker of the configuration can be reached from here.
fn find(arguments: &Arguments) -> Result<SocketAddr, Exit> {
    let path = &arguments.config;
    let config = configuration::shape(path)?;
    if !config.devices.iter().any(|device| device.id == arguments.device) {
        let known: Vec<&str> = config.devices.iter().map(|device| device.id.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        eprintln!(
            "hearthlink: there is no device `{}` in {}; known there: {known}.",
            arguments.device,
            path.display()
        );
        return Err(Exit::Config);
    }
    listener(&config.broker, arguments.user.is_some()).ok_or_else(|| {
        eprintln!(
            "hearthlink: {} has no listener that can be used from here: MQTT over TCP without TLS.",
            path.display()
        );
        eprintln!(
            "Add `- address: 127.0.0.1:1883` to `broker.listeners`, or name one with --broker and --user."
        );
        Exit::Config
    })
}

/// What is published: what was asked for, with an id and an end.
struct Order {
    payload: String,
    id: String,
    /// Nobody asked for another end: it is not begun any more when we stop waiting.
    ends_with_us: bool,
}

/// # Errors
/// It is neither a word nor an object, or its id is none.
fn order(action: &str, within: Duration) -> anyhow::Result<Order> {
    let mut fields: Fields = match serde_json::from_str(action) {
        Ok(Value::Object(fields)) => fields,
        // `3` is a word, too: a state may be a number.
        Ok(Value::Array(_)) => {
            bail!("a list is nothing that a device can be set to; write an object or a word")
        }
        Ok(Value::String(word)) => Request::from_word(&word)?.fields().clone(),
        Ok(_) => Request::from_word(action)?.fields().clone(),
        Err(error) if action.trim_start().starts_with('{') => {
            bail!(
                "`{action}` is not JSON: {error}; put it between single quotes, so that the shell leaves it alone"
            )
        }
        Err(_) => Request::from_word(action)?.fields().clone(),
    };
    let id = match fields.get("id") {
        Some(Value::String(id)) => id.clone(),
        Some(other) => other.to_string(),
        None => {
            let id = format!("cli-{:016x}", fastrand::u64(..));
            fields.insert("id".to_owned(), id.clone().into());
            id
        }
    };
    // The gateway would tell of one that it does not take under an id of its own, which nobody here waits for.
    CommandId::parse(&id).with_context(|| format!("`{}` is no id", printable(&id)))?;
    let ends_with_us = !fields.contains_key("ttl");
    fields.entry("ttl").or_insert_with(|| within.as_secs().into());
    Ok(Order { payload: Value::Object(fields).to_string(), id, ends_with_us })
}

fn send(arguments: &Arguments, address: SocketAddr) -> anyhow::Result<Sent> {
    let within = Duration::from_secs(arguments.timeout);
    let Order { payload, id, ends_with_us } = order(&arguments.action, within)?;
    let mut options = MqttOptions::new(
        format!("hearthlink-send-{:08x}", fastrand::u32(..)),
        address.ip().to_string(),
        address.port(),
    );
    options.set_clean_start(true);
    options.set_keep_alive(Duration::from_secs(30));
    if let Some(user) = &arguments.user {
        let password = if io::stdin().is_terminal() { password::ask_once() } else { password::from_input() }?;
        options.set_credentials(user, password);
    }
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    options.set_network_options(network);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("failed to begin")?;
    runtime.block_on(async {
        let (requests, events) = AsyncClient::new(options, REQUESTS);
        let topics = LocalTopics::default();
        let wish = Wish {
            device: &arguments.device,
            set: topics.set(&arguments.device).to_string(),
            result: topics.result(&arguments.device).to_string(),
            payload,
            id,
        };
        let mut talk = Talk { requests, events };
        match timeout(CONNECTS_WITHIN, talk.connect()).await {
            Ok(Ok(())) => {}
            Ok(Err(refusal)) => return refusal,
            Err(_) => return Ok(Sent::NoBroker("it does not answer".to_owned())),
        }
        let outcome = timeout(within + GRACE, talk.order(&wish)).await;
        let Ok(outcome) = outcome else {
            let seconds = within.as_secs();
            bail!(if ends_with_us {
                format!(
                    "no outcome was heard within {seconds} s; what the device has not begun by now, it will not do: \
                     look at `hearthlink devices`"
                )
            } else {
                format!("no outcome was heard within {seconds} s: look at `hearthlink devices`")
            });
        };
        // Said while the broker still listens; an error only means that it does not.
        let _ = talk.requests.try_disconnect();
        let _ = timeout(Duration::from_millis(200), talk.events.poll()).await;
        outcome.map(|outcome| Sent::Outcome(Box::new(outcome)))
    })
}

/// What is to be sent, and where its outcome will be told.
struct Wish<'a> {
    device: &'a DeviceId,
    set: String,
    result: String,
    payload: String,
    id: String,
}

struct Talk {
    requests: AsyncClient,
    events: EventLoop,
}

impl Talk {
    /// Waits for the broker's welcome. An error is what is to be said instead.
    async fn connect(&mut self) -> Result<(), anyhow::Result<Sent>> {
        match self.events.poll().await {
            Ok(_) => Ok(()),
            Err(rumqttc::v5::ConnectionError::ConnectionRefused(code)) => Err(Err(anyhow::anyhow!(
                "the broker refuses this client ({code:?}); say --user NAME, or see `hearthlink user list`"
            ))),
            Err(error) => Err(Ok(Sent::NoBroker(error.to_string()))),
        }
    }

    async fn order(&mut self, wish: &Wish<'_>) -> anyhow::Result<Outcome> {
        self.requests.try_subscribe(&wish.result, QoS::AtLeastOnce).context("failed to subscribe")?;
        loop {
            match self.events.poll().await.context("the broker went away, so the outcome is not known")? {
                Event::Incoming(Incoming::SubAck(ack)) => {
                    let is_granted =
                        ack.return_codes.iter().all(|code| matches!(code, SubscribeReasonCode::Success(_)));
                    if !is_granted {
                        bail!("this client may not read `{}`; say --user NAME of one who may", wish.result);
                    }
                    self.requests
                        .try_publish(&wish.set, QoS::AtLeastOnce, false, wish.payload.clone())
                        .context("failed to publish")?;
                }
                Event::Incoming(Incoming::PubAck(ack)) => match ack.reason {
                    PubAckReason::Success => {}
                    PubAckReason::NoMatchingSubscribers => {}
                    PubAckReason::NotAuthorized => {
                        bail!("this client may not publish to `{}`; say --user NAME of one who may", wish.set)
                    }
                    other => bail!("the broker did not take the command: {other:?}"),
                },
                Event::Incoming(Incoming::Publish(publish)) => {
                    // Outcomes of others, too, come on this topic.
                    let outcome = serde_json::from_slice::<Outcome>(&publish.payload).ok();
                    let ours = outcome.filter(|outcome| outcome.id.as_str() == wish.id);
                    if let Some(outcome) = ours.filter(|outcome| outcome.device == *wish.device) {
                        return Ok(outcome);
                    }
                }
                _ => {}
            }
        }
    }
}

fn words_of(outcome: &Outcome) -> String {
    let mut text = format!("{}: {}", outcome.device, words::outcome(outcome.status));
    let reason = || outcome.reason.map(|reason| words::reason(reason).to_owned());
    if let Some(why) = outcome.detail.clone().or_else(reason) {
        text += &format!(", {why}");
    }
    if outcome.duplicate {
        text += " (that was earlier: a command with this id had run already)";
    }
    printable(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_becomes_an_object_with_an_id_and_an_end() {
        let read = |action: &str| -> (Value, String) {
            let order = order(action, Duration::from_secs(7)).unwrap();
            (serde_json::from_str(&order.payload).unwrap(), order.id)
        };
        let (value, id) = read("ON");
        assert_eq!(value, json!({"state": "ON", "id": id, "ttl": 7}));
        let (other, _) = read("ON");
        assert_ne!(value["id"], other["id"], "every command is one of its own");
        assert_eq!(
            read(r#"{"brightness": 3, "id": "a", "ttl": 1}"#).0,
            json!({"brightness": 3, "id": "a", "ttl": 1})
        );
        assert_eq!(read(r#"{"brightness": 3, "id": 5}"#).1, "5");
        assert_eq!(read(r#""ON""#).0["state"], "ON");
        assert_eq!(read("3").0["state"], "3");
        let ends_with_us = |action| order(action, Duration::from_secs(7)).unwrap().ends_with_us;
        assert!(ends_with_us("ON") && !ends_with_us(r#"{"state": "ON", "ttl": 9}"#));
        for bad in ["", "[1]", "{brightness: 3}", "{\"a\": 1", r#"{"state": "ON", "id": ""}"#] {
            assert!(order(bad, Duration::from_secs(7)).is_err(), "{bad}");
        }
    }
}
