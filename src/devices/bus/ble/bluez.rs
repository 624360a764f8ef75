//! The Bluetooth daemon as it is found on the system's message bus: is it there, and in what state is its adapter?
//!
//! Owns what btleplug has no call for: why nothing works, switching the adapter off and on, and how full a battery is.
//! A connection of its own each time, on a thread for what blocks, so that it still answers when btleplug's hangs.
//! Never reads an error's text; their names are part of the interface (BlueZ doc/, `org.bluez.Adapter`).

use std::{collections::HashMap, fs, path::Path as File, time::Duration};

use dbus::{
    Path,
    arg::{PropMap, RefArg, Variant, prop_cast},
    blocking::{Connection, Proxy},
};
use tokio::task::spawn_blocking;

use super::BleAddress;

const BLUEZ: &str = "org.bluez";
const ADAPTER: &str = "org.bluez.Adapter1";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
/// How long the daemon may take to answer.
const WITHIN: Duration = Duration::from_secs(5);
/// How long an adapter may take to come on: it may load its firmware.
const POWER_WITHIN: Duration = Duration::from_secs(10);
/// How long an adapter stays off when it is switched off and on.
const OFF_FOR: Duration = Duration::from_millis(500);

/// Why Bluetooth does not work. Every one of them is looked at again until it is gone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    #[error(
        "the system's message bus does not answer ({0}); Bluetooth needs `dbus`: is it installed and running?"
    )]
    NoBus(String),
    #[error(
        "the Bluetooth daemon is not running; start it with `systemctl enable --now bluetooth`, and if there is none, \
         `apt install bluez`"
    )]
    NoDaemon,
    #[error(
        "the gateway may not speak to the Bluetooth daemon; add its user to the group: `usermod -aG bluetooth \
         hearthlink`, and restart it"
    )]
    Refused,
    #[error(
        "there is no Bluetooth adapter; is it plugged in? On a Raspberry Pi, is `dtoverlay=disable-bt` in its \
         config.txt?"
    )]
    NoAdapter,
    #[error("the Bluetooth adapter {0} is not there; is it plugged in? {others}", others = There(.1))]
    NotThis(String, Vec<String>),
    #[error("the Bluetooth adapter {0} is blocked; unblock it with `rfkill unblock bluetooth`")]
    Blocked(String),
    #[error("the Bluetooth adapter {0} is switched off and does not come on ({1}); plug it out and in again")]
    Off(String, String),
    #[error(
        "the Bluetooth daemon does not answer as it should ({0}); restart it with `systemctl restart bluetooth`"
    )]
    Odd(String),
}

struct There<'a>(&'a [String]);

impl std::fmt::Display for There<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            f.write_str("There is none at all")
        } else {
            write!(f, "There is {}", self.0.join(", "))
        }
    }
}

/// An adapter as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sight {
    /// Its name: `hci0`.
    pub(super) name: String,
    pub(super) is_powered: bool,
    /// BlueZ says itself that it is blocked (`PowerState`, since 5.65).
    is_blocked: bool,
    pub(super) is_discovering: bool,
    /// Who the daemon is on the bus: another after each of its starts.
    pub(super) daemon: String,
}

/// Looks for the adapter called `wanted`, or for the first one.
pub(super) async fn look(wanted: Option<String>) -> Result<Sight, Trouble> {
    blocking(move || {
        let bus = bus()?;
        let daemon = daemon(&bus)?;
        let objects: HashMap<Path, HashMap<String, PropMap>> = proxy(&bus, "/", WITHIN)
            .method_call("org.freedesktop.DBus.ObjectManager", "GetManagedObjects", ())
            .map(|(objects,)| objects)
            .map_err(trouble)?;
        let mut adapters: Vec<Sight> = objects
            .iter()
            .filter_map(|(path, interfaces)| Some(sight(path, interfaces.get(ADAPTER)?, &daemon)))
            .collect();
        // hci9 before hci10.
        adapters.sort_by_key(|adapter| (adapter.name.len(), adapter.name.clone()));
        let Some(name) = wanted else { return adapters.into_iter().next().ok_or(Trouble::NoAdapter) };
        let others = adapters.iter().map(|adapter| adapter.name.clone()).collect();
        adapters.into_iter().find(|adapter| adapter.name == name).ok_or(Trouble::NotThis(name, others))
    })
    .await
}

/// Looks at the adapter called `name` again; cheaper than [`look`] where there are many devices around.
pub(super) async fn look_again(name: String) -> Result<Sight, Trouble> {
    blocking(move || {
        let bus = bus()?;
        let daemon = daemon(&bus)?;
        let path = format!("/org/bluez/{name}");
        let asked = proxy(&bus, &path, WITHIN).method_call(PROPERTIES, "GetAll", (ADAPTER,));
        let (properties,): (PropMap,) = asked.map_err(|error| match error.name() {
            Some(
                "org.freedesktop.DBus.Error.UnknownObject"
                | "org.freedesktop.DBus.Error.UnknownMethod"
                | "org.freedesktop.DBus.Error.UnknownInterface"
                | "org.freedesktop.DBus.Error.InvalidArgs",
            ) => Trouble::NotThis(name.clone(), Vec::new()),
            _ => trouble(error),
        })?;
        Ok(sight(&path.into(), &properties, &daemon))
    })
    .await
}

/// Switches the adapter on.
pub(super) async fn switch_on(sight: &Sight) -> Result<(), Trouble> {
    let (name, is_blocked) = (sight.name.clone(), sight.is_blocked || is_blocked(&sight.name));
    if is_blocked {
        return Err(Trouble::Blocked(name));
    }
    blocking(move || power(&name, true)).await
}

/// Switches the adapter off and on.
pub(super) async fn power_cycle(name: String) -> Result<(), Trouble> {
    blocking(move || {
        power(&name, false)?;
        std::thread::sleep(OFF_FOR);
        power(&name, true)
    })
    .await
}

/// How full the battery of a connected peripheral is, in per cent, where BlueZ tells. It may keep the battery service
/// (0x180F) to itself, so that it cannot be read as a characteristic.
pub(super) async fn battery(adapter: String, address: BleAddress) -> Option<u8> {
    let asked = blocking(move || {
        let bus = bus()?;
        let path = format!("/org/bluez/{adapter}/dev_{}", address.to_string().replace(':', "_"));
        proxy(&bus, &path, WITHIN)
            .method_call(PROPERTIES, "Get", ("org.bluez.Battery1", "Percentage"))
            .map(|(percentage,): (Variant<u8>,)| percentage.0)
            .map_err(trouble)
    });
    asked.await.ok()
}

async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, Trouble> + Send + 'static,
) -> Result<T, Trouble> {
    spawn_blocking(call).await.unwrap_or_else(|panic| Err(Trouble::Odd(panic.to_string())))
}

fn bus() -> Result<Connection, Trouble> {
    Connection::new_system().map_err(|error| Trouble::NoBus(words(&error)))
}

fn proxy<'a>(bus: &'a Connection, path: &'a str, within: Duration) -> Proxy<'a, &'a Connection> {
    bus.with_proxy(BLUEZ, path, within)
}

fn daemon(bus: &Connection) -> Result<String, Trouble> {
    let names = bus.with_proxy("org.freedesktop.DBus", "/org/freedesktop/DBus", WITHIN);
    let asked = names.method_call("org.freedesktop.DBus", "GetNameOwner", (BLUEZ,));
    let (owner,): (String,) = asked.map_err(|error| match error.name() {
        Some("org.freedesktop.DBus.Error.NameHasNoOwner") => Trouble::NoDaemon,
        _ => trouble(error),
    })?;
    Ok(owner)
}

fn sight(path: &Path, properties: &PropMap, daemon: &str) -> Sight {
    let is = |name: &str| prop_cast::<bool>(properties, name).copied().unwrap_or_default();
    let state = prop_cast::<String>(properties, "PowerState").map(String::as_str);
    Sight {
        name: path.rsplit('/').next().unwrap_or_default().to_owned(),
        is_powered: is("Powered"),
        is_blocked: state == Some("off-blocked"),
        is_discovering: is("Discovering"),
        daemon: daemon.to_owned(),
    }
}

fn power(name: &str, is_on: bool) -> Result<(), Trouble> {
    let bus = bus()?;
    let path = format!("/org/bluez/{name}");
    let value = Variant(Box::new(is_on) as Box<dyn RefArg>);
    let set: Result<(), dbus::Error> =
        proxy(&bus, &path, POWER_WITHIN).method_call(PROPERTIES, "Set", (ADAPTER, "Powered", value));
    set.map_err(|error| match error.name() {
        Some("org.bluez.Error.Blocked") => Trouble::Blocked(name.to_owned()),
        Some(
            "org.bluez.Error.Failed"
            | "org.bluez.Error.NotReady"
            | "org.bluez.Error.Busy"
            | "org.bluez.Error.InProgress",
        ) => Trouble::Off(name.to_owned(), words(&error)),
        _ => trouble(error),
    })
}

/// What the kernel says, for a BlueZ that does not.
fn is_blocked(name: &str) -> bool {
    let switches = fs::read_dir("/sys/class/rfkill").into_iter().flatten().flatten();
    let read = |folder: &File, file: &str| fs::read_to_string(folder.join(file)).unwrap_or_default();
    switches.map(|switch| switch.path()).any(|switch| {
        read(&switch, "name").trim() == name
            && ["soft", "hard"].iter().any(|kind| read(&switch, kind).trim() == "1")
    })
}

fn trouble(error: dbus::Error) -> Trouble {
    match error.name() {
        Some("org.freedesktop.DBus.Error.ServiceUnknown" | "org.freedesktop.DBus.Error.NameHasNoOwner") => {
            Trouble::NoDaemon
        }
        Some("org.freedesktop.DBus.Error.AccessDenied") => Trouble::Refused,
        Some("org.freedesktop.DBus.Error.Disconnected" | "org.freedesktop.DBus.Error.NoServer") => {
            Trouble::NoBus(words(&error))
        }
        _ => Trouble::Odd(words(&error)),
    }
}

fn words(error: &dbus::Error) -> String {
    error.message().or(error.name()).unwrap_or("no reason is given").trim_end_matches('.').to_owned()
}
