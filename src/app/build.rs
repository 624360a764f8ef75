//! From a checked configuration to parts that are built but do not run yet.
//!
//! Everything that can fail for a reason that a person can mend fails here, before anything dials or
//! takes a message: the store, the certificates, the addresses, the devices.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::sync::mpsc;

use super::{
    CloudTopics, LocalTopics,
    beat::Beat,
    bridge_health::Has,
    buttons::Buttons,
    cloud_tree::CloudTree,
    description::Descriptions,
    discovery::Discovery,
    downlink::Downlink,
    homie::Homie,
    simulation::Hardware,
    translate::{self, Lanes},
    unopened::Unopened,
    uplink::{AnyUplink, NoCloud, Routes},
    ways,
};
use crate::{
    broker::{Broker, BrokerError},
    clock::Clock,
    commands::{CommandsOptions, Desk, SafeState, Tell, Timing, Told},
    config::{self, Config},
    devices::{DeviceError, Fleet},
    health::Board,
    link::{Link, LinkError, LinkOptions},
    model::{
        DeviceId, Fields, GatewayId, Inbound, QoS, Receipt, Receipts, Secret, Topic, TopicError, TopicFilter,
    },
    store::{Store, StoreError},
    web::{MOST_PRESSES, Web, WebError, WebOptions, Wish},
};

/// The name of the store's file in `gateway.data_dir`.
const STORE_FILE: &str = "hearthlink.db";
/// Messages from the cloud that wait for the desk. Full: the line stops reading.
const INBOX: usize = 64;
/// Receipts that wait to be told. Full: the newest is not issued, and counted.
const RECEIPTS: usize = 1024;
/// Outcomes that wait to be told at home. Full: the desk waits.
const TOLD: usize = 64;

/// Why the gateway cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The local broker: an address in use, a certificate.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// A device's kind or options.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The line: a certificate, a key.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The status page: an address in use.
    #[error(transparent)]
    Web(#[from] WebError),
    /// The cloud's topics.
    #[error("`cloud.prefix` is too long: {0}")]
    Prefix(#[from] TopicError),
    /// The password of the proxy, or of the status page.
    #[error("failed to read the password file `{path}`: {reason}")]
    Password {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The thread that opens the store ended early.
    #[error("the store could not be opened: {0}")]
    Interrupted(String),
}

/// The parts, joined on paper.
pub(super) struct Parts {
    pub(super) store: Store,
    /// Its file.
    pub(super) store_file: PathBuf,
    /// When `store` is not the real one.
    pub(super) unopened: Option<Unopened>,
    pub(super) board: Board,
    pub(super) clock: Clock,
    pub(super) broker: Broker,
    pub(super) fleet: Fleet,
    pub(super) last_states: HashMap<DeviceId, Fields>,
    pub(super) desk: Desk,
    pub(super) told: mpsc::Receiver<Told>,
    pub(super) safe_states: Vec<SafeState>,
    pub(super) local: LocalTopics,
    pub(super) discovery: Discovery,
    pub(super) homie: Option<Homie>,
    /// What the gateway has to say of itself.
    pub(super) has: Has,
    pub(super) descriptions: Descriptions,
    pub(super) line: Option<Line>,
    /// The lane of the devices' states in the store.
    pub(super) states_lane: Option<usize>,
    pub(super) receipts: Receipts,
    pub(super) issued: mpsc::Receiver<Receipt>,
    pub(super) web: Option<Web>,
    /// With a control on the page: its buttons, and the presses.
    pub(super) control: Option<(Buttons, mpsc::Receiver<Wish>)>,
}

/// What there is only with a cloud.
pub(super) struct Line {
    pub(super) link: Link,
    pub(super) inbox: mpsc::Receiver<Inbound>,
    pub(super) tree: CloudTree,
    pub(super) downlink: Downlink,
}

pub(super) async fn build(config: &Config, hardware: Hardware, clock: Clock) -> Result<Parts, BuildError> {
    let board = Board::new(config.gateway.id.as_str(), clock.clone());
    let devices = translate::devices(&config.devices);
    let fleet = match hardware {
        Hardware::Real => Fleet::build(&devices)?,
        Hardware::Simulated => {
            board.devices_are_simulated();
            Fleet::simulated(&devices)?
        }
    };
    let lanes = translate::lanes(config);
    let (receipts, issued) = Receipts::channel(translate::receipts(config.gateway.receipts), RECEIPTS);
    let (store, unopened) = open_store(config, &lanes, &receipts, clock.clone()).await?;
    let last_states = store.states().await?;
    Beat::remember(&store, &board).await;
    let lan = fleet.lan_filters();
    let mut line = line(config, &store, &receipts, &board, &clock)?;
    if let Some(line) = &mut line {
        line.downlink.close(fleet.lan_obeyed());
    }
    let tree = line.as_ref().map(|line| line.tree.clone());
    let broker = Broker::bind(
        translate::broker(&config.broker, closed_to_clients(config, &lan)),
        uplink(config, &lanes)?,
        store.clone(),
        board.clone(),
    )
    .await?;
    let options = CommandsOptions {
        allow: translate::allow_list(&config.commands),
        timing: Timing { max_age: config.commands.max_age, ..Timing::default() },
        mailboxes: fleet.mailboxes.clone(),
        tell: tree.as_ref().map_or_else(|| Arc::new(|_: &_, _: &_| Vec::new()) as Tell, CloudTree::tell),
        receipts: receipts.clone(),
    };
    let (sender, told) = mpsc::channel(TOLD);
    let desk = Desk::new(options, store.clone(), board.clone(), clock.clone(), sender);
    let (mut web, mut control) = (None, None);
    if let Some(options) = &config.web {
        let bound = Web::bind(page(options)?, board.clone()).await?;
        web = Some(match options.control {
            false => bound,
            true => {
                let (sender, wishes) = mpsc::channel(MOST_PRESSES);
                let allow = translate::allow_list(&config.commands);
                control = Some((Buttons { allow, board: board.clone() }, wishes));
                bound.with_control(sender)
            }
        });
    }
    Ok(Parts {
        store,
        store_file: store_file(config),
        unopened,
        board,
        clock,
        broker,
        fleet,
        last_states,
        desk,
        told,
        safe_states: translate::safe_states(&config.devices),
        local: LocalTopics::default(),
        discovery: Discovery::new(config),
        homie: Homie::new(config),
        has: Has::new(config),
        descriptions: Descriptions::new(config),
        line,
        states_lane: lanes.of_states,
        receipts,
        issued,
        web,
        control,
    })
}

/// What the gateway publishes about its devices, but for what a device of the network says there itself.
fn own_topics(config: &Config, lan: &[TopicFilter]) -> Vec<Topic> {
    let local = LocalTopics::default();
    let of_device = |device: &config::Device| {
        [local.state(&device.id), local.availability(&device.id), local.result(&device.id)]
    };
    let all = config.devices.iter().flat_map(of_device).chain(Discovery::new(config).topics());
    all.filter(|topic| !lan.iter().any(|filter| filter.matches(topic))).collect()
}

/// Where nobody but the gateway publishes.
fn closed_to_clients(config: &Config, lan: &[TopicFilter]) -> Vec<TopicFilter> {
    let homie = Homie::new(config).iter().flat_map(Homie::closed).collect::<Vec<_>>();
    own_topics(config, lan).iter().map(TopicFilter::from).chain(homie).collect()
}

async fn open_store(
    config: &Config,
    lanes: &Lanes,
    receipts: &Receipts,
    clock: Clock,
) -> Result<(Store, Option<Unopened>), BuildError> {
    let path = store_file(config);
    let options = translate::store(&config.store, lanes, receipts);
    let unopened = Unopened::new(path, options, clock);
    let opened = tokio::task::spawn_blocking(move || unopened.open()).await;
    Ok(opened.map_err(|error| BuildError::Interrupted(error.to_string()))??)
}

fn tree(cloud: &config::Cloud, gateway: &GatewayId) -> Result<CloudTree, BuildError> {
    Ok(CloudTree::new(cloud.terms().tree, CloudTopics::new(&cloud.prefix, gateway)?))
}

fn uplink(config: &Config, lanes: &Lanes) -> Result<AnyUplink, BuildError> {
    let Some(cloud) = &config.cloud else { return Ok(Arc::new(NoCloud)) };
    let tree = tree(cloud, &config.gateway.id)?;
    Ok(Arc::new(Routes {
        routes: config.routes.iter().cloned().zip(lanes.of_routes.iter().copied()).collect(),
        prefix: cloud.prefix.clone(),
        gateway: config.gateway.id.clone(),
        // What is subscribed must not be published.
        sets: tree.closed(translate::asks_who_sends(&config.commands)),
        remembered: Default::default(),
    }))
}

/// What no route from the cloud may say at home, whatever the devices are: commands, and what is the gateway's own.
fn closed_to_the_cloud(config: &Config) -> Vec<TopicFilter> {
    let local = LocalTopics::default();
    let own = own_topics(config, &[]);
    let announcements = Discovery::new(config).tree();
    // Who sets a value there commands a device.
    let homie = config.homie_tree();
    let trees = [local.sets(), local.bridge()].into_iter().chain(announcements).chain(homie);
    trees.chain(own.iter().map(TopicFilter::from)).collect()
}

fn line(
    config: &Config,
    store: &Store,
    receipts: &Receipts,
    board: &Board,
    clock: &Clock,
) -> Result<Option<Line>, BuildError> {
    let (Some(cloud), Some(options)) = (&config.cloud, link_options(config)?) else { return Ok(None) };
    let gateway = &config.gateway.id;
    let tree = tree(cloud, gateway)?;
    let downlink = Downlink::new(&config.routes_in, &cloud.prefix, gateway, closed_to_the_cloud(config));
    let options = LinkOptions { receipts: receipts.clone(), ..options };
    let (sender, inbox) = mpsc::channel(INBOX);
    let link = Link::prepare(options, store.clone(), sender, board.clone(), clock.clone())?;
    Ok(Some(Line { link, inbox, tree, downlink }))
}

/// What the link needs to know; `None`: there is no cloud.
pub(super) fn link_options(config: &Config) -> Result<Option<LinkOptions>, BuildError> {
    let Some(cloud) = &config.cloud else { return Ok(None) };
    let gateway = &config.gateway.id;
    let tree = tree(cloud, gateway)?;
    let downlink = Downlink::new(&config.routes_in, &cloud.prefix, gateway, closed_to_the_cloud(config));
    let of_proxy = cloud.proxy.as_ref().and_then(|proxy| proxy.password_file.as_deref());
    let of_proxy = of_proxy.map(password_in).transpose()?;
    let commands = tree.commands(translate::asks_who_sends(&config.commands));
    let subscriptions = commands.into_iter().chain(downlink.filters().cloned());
    let subscriptions = subscriptions.map(|filter| (filter, QoS::AtLeastOnce));
    let devices = config.devices.iter();
    Ok(Some(LinkOptions {
        subscriptions: subscriptions.collect(),
        hellos: devices.filter_map(|device| tree.hello(&device.id, &device.kind)).collect(),
        proxy: ways::proxy(cloud, of_proxy),
        ..translate::link(cloud, gateway, &tree)
    }))
}

fn page(web: &config::Web) -> Result<WebOptions, BuildError> {
    let password = web.password_file.as_deref().map(password_in).transpose()?;
    Ok(WebOptions { address: web.address, hosts: web.hosts.clone(), password: password.map(Secret::new) })
}

/// Where the store of a gateway with this configuration is.
pub fn store_file(config: &Config) -> PathBuf {
    config.gateway.data_dir.join(STORE_FILE)
}

/// The password in the first line of a file.
///
/// # Errors
/// [`BuildError::Password`]; an empty line is none.
pub fn password_in(path: &Path) -> Result<String, BuildError> {
    let error = |reason: String| BuildError::Password { path: path.to_owned(), reason };
    let text = std::fs::read_to_string(path).map_err(|reason| error(reason.to_string()))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(error("its first line is empty".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_device_is_the_gateways_own_unless_a_device_of_the_network_says_it_there() {
        let text = "gateway: {id: x}\ndevices:\n  - {id: toaster, kind: toaster}\n";
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hearthlink.yaml");
        std::fs::write(&path, text).unwrap();
        let config = config::load(&path).unwrap();
        let topics = |lan: &[&str]| {
            let lan: Vec<TopicFilter> =
                lan.iter().map(|filter| TopicFilter::parse(filter).unwrap()).collect();
            own_topics(&config, &lan).iter().map(|topic| topic.as_str().to_owned()).collect::<Vec<_>>()
        };
        let announced = ["bridge", "toaster"].map(|id| format!("homeassistant/device/{id}/config"));
        let announced = announced.each_ref().map(String::as_str);
        assert_eq!(
            topics(&[]),
            ["home/toaster", "home/toaster/availability", "home/toaster/result", announced[0], announced[1]]
        );
        let of_others = topics(&["stat/+", "home/+/result"]);
        assert_eq!(of_others, ["home/toaster", "home/toaster/availability", announced[0], announced[1]]);
        assert!(closed_to_the_cloud(&config).iter().any(|closed| closed.as_str() == "homeassistant/#"));
    }
}
