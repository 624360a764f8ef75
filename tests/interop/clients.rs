//! `mosquitto_pub` and `mosquitto_sub` as phone, devices and watchers.

use std::{path::Path, process::Command, time::Duration};

use super::{
    place::Place,
    process::{PATIENCE, Process, program},
};

/// A broker that they connect to, with the options that it takes to get in.
#[derive(Clone)]
pub struct Broker {
    place: Place,
    options: Vec<String>,
}

impl Broker {
    /// A plain listener on loopback.
    pub fn at(port: u16) -> Self {
        Self::seen_from(&Place::default(), "localhost", port)
    }

    /// A plain listener, as clients see it who run at `place`.
    pub fn seen_from(place: &Place, host: &str, port: u16) -> Self {
        let options = ["-h", host, "-p", &port.to_string()].map(str::to_owned).to_vec();
        Self { place: place.clone(), options }
    }

    /// The same with further options.
    pub fn with(&self, options: &[&str]) -> Self {
        let mut broker = self.clone();
        broker.options.extend(options.iter().map(|&option| option.to_owned()));
        broker
    }

    /// What it takes, for another of Mosquitto's programs.
    pub fn options(&self) -> &[String] {
        &self.options
    }

    /// `mosquitto_pub` with `options`, and how it ended: its exit code and what it said.
    #[track_caller]
    pub fn try_publish(&self, options: &[&str]) -> (i32, String) {
        let mut publisher = self.publisher(options);
        let status = publisher.wait(PATIENCE);
        (status.code().unwrap_or(-1), publisher.lines().join("\n"))
    }

    /// Publishes and insists that it worked.
    #[track_caller]
    pub fn publish(&self, options: &[&str]) {
        let (code, said) = self.try_publish(options);
        assert_eq!(code, 0, "mosquitto_pub {options:?}: {said}");
    }

    /// A `mosquitto_pub` that runs on, for example with `-l`.
    #[track_caller]
    pub fn publisher(&self, options: &[&str]) -> Process {
        let mut command = self.place.command(program("mosquitto_pub"));
        Process::start(
            format!("mosquitto_pub {}", options.join(" ")),
            command.args(&self.options).args(options),
        )
    }

    /// A `mosquitto_sub` that is subscribed when this returns.
    #[track_caller]
    pub fn subscribe(&self, options: &[&str]) -> Subscriber {
        let subscriber = self.try_subscribe(options);
        subscriber.process.wait_for_line("Subscribed (mid: 1)");
        subscriber
    }

    /// The same with a `mosquitto_sub` that writes into a file, and so never lets the broker wait for the test.
    #[track_caller]
    pub fn subscribe_into(&self, file: &Path, options: &[&str]) -> Subscriber {
        let (name, mut command) = self.subscriber(options);
        let subscriber = Subscriber { process: Process::start_into(name, &mut command, file) };
        subscriber.process.wait_for_line("Subscribed (mid: 1)");
        subscriber
    }

    /// A `mosquitto_sub` that perhaps gets in and perhaps not.
    #[track_caller]
    pub fn try_subscribe(&self, options: &[&str]) -> Subscriber {
        let (name, mut command) = self.subscriber(options);
        Subscriber { process: Process::start(name, &mut command) }
    }

    fn subscriber(&self, options: &[&str]) -> (String, Command) {
        // Without `stdbuf` what `-d` says stays in a buffer until the first message.
        let mut command = self.place.command("stdbuf");
        command.arg("-oL").arg(program("mosquitto_sub"));
        // `-d` tells when it is subscribed; `%P` are the user properties of MQTT 5, nothing before.
        command.args(&self.options).args(["-d", "-F", "MSG\t%t\t%q\t%r\t%P\t%p"]).args(options);
        (format!("mosquitto_sub {}", options.join(" ")), command)
    }
}

/// What a subscriber received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    pub topic: String,
    pub qos: u8,
    pub retained: bool,
    pub properties: String,
    pub payload: String,
}

impl Received {
    pub fn parse(line: &str) -> Option<Self> {
        let mut parts = line.strip_prefix("MSG\t")?.splitn(5, '\t').map(str::to_owned);
        Some(Self {
            topic: parts.next()?,
            qos: parts.next()?.parse().ok()?,
            retained: parts.next()? == "1",
            properties: parts.next()?,
            payload: parts.next()?,
        })
    }

    /// The value of an MQTT 5 user property.
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties.split(' ').find_map(|pair| pair.strip_prefix(name)?.strip_prefix(':'))
    }

    /// The payload as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.payload).unwrap_or_else(|error| panic!("{self:?} is no JSON: {error}"))
    }
}

/// A running `mosquitto_sub`.
pub struct Subscriber {
    pub process: Process,
}

impl Subscriber {
    /// Everything it received so far.
    pub fn received(&self) -> Vec<Received> {
        self.process.lines().iter().filter_map(|line| Received::parse(line)).collect()
    }

    /// Waits for the first message that `wanted` likes.
    #[track_caller]
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&Received) -> bool) -> Received {
        self.process.wait_for(what, PATIENCE, |lines| {
            lines.iter().filter_map(|line| Received::parse(line)).find(|message| wanted(message))
        })
    }

    /// Waits until the broker has answered a SUBSCRIBE that it sent after its first `said` lines; it sends one on each
    /// connection. Then it has all that was queued for it, and the broker has read all that it said: see
    /// `exactly_once` for what that is worth.
    #[track_caller]
    pub fn wait_until_back(&self, said: usize) {
        self.process.wait_for_new_line(said, "received SUBACK");
    }

    /// Waits until it received as many as `count` messages, and returns them all.
    #[track_caller]
    pub fn wait_for_count(&self, count: usize, patience: Duration) -> Vec<Received> {
        self.process.wait_for(&format!("{count} messages"), patience, |lines| {
            let is_message = |line: &&String| line.starts_with("MSG\t");
            (lines.iter().filter(is_message).count() >= count)
                .then(|| lines.iter().filter_map(|line| Received::parse(line)).collect())
        })
    }
}
