//! The five questions: what the gateway is called, where the cloud is, how it logs in, which devices, which port.
//!
//! Owns how answers are read, from flags and from people. A flag answers its question; of a person the rest is asked;
//! where there is nobody, all must be answered, or `--yes` takes the defaults.

use std::{fs, io::BufRead, io::Write, path::Path};

use anyhow::bail;
use clap::ValueEnum;

use super::{
    super::question::Dialogue,
    Arguments,
    offers::{self, Offer, Taking},
};
use crate::model::{CloudUrl, GatewayId};

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answers {
    pub(super) name: GatewayId,
    /// `None`: there is no cloud.
    pub(super) line: Option<Line>,
    /// Which offers are taken, by their places.
    pub(super) devices: Vec<usize>,
    /// The status page's.
    pub(super) port: u16,
}

/// The line to the cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) url: String,
    pub(super) login: Login,
    pub(super) username: String,
    /// Before the names of certificate and key.
    pub(super) stem: String,
}

/// How the gateway says who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Login {
    /// By a certificate, as `hearthlink enroll` gets it.
    Certificate,
    /// By a user name and a password.
    Password,
    /// By a bearer token.
    Token,
    /// By nothing.
    None,
}

impl Line {
    /// The files that it needs to log in, beside the configuration.
    pub(super) fn files(&self) -> Vec<String> {
        match self.login {
            Login::Certificate => vec![format!("{}.pem", self.stem), format!("{}.key", self.stem)],
            Login::Password => vec!["cloud-password".to_owned()],
            Login::Token => vec!["cloud-token".to_owned()],
            Login::None => Vec::new(),
        }
    }

    /// Whether all of them are in `directory`. What is in them is the check's affair.
    pub(super) fn has_files(&self, directory: &Path) -> bool {
        self.files().iter().all(|file| directory.join(file).exists())
    }
}

/// What nobody is asked for is taken from here.
pub(super) struct Defaults {
    pub(super) name: String,
    pub(super) port: u16,
}

impl Defaults {
    /// Of this machine.
    pub(super) fn of_machine(port: u16) -> Self {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Self { name: name_of(&host), port }
    }
}

/// A host's name as a gateway's, as far as it can be one.
fn name_of(host: &str) -> String {
    let first = host.trim().split('.').next().unwrap_or_default();
    let name = GatewayId::parse(first).ok().filter(|_| !["localhost", "bridge"].contains(&first));
    name.map_or_else(|| "home".to_owned(), |name| name.to_string())
}

/// Reads a gateway's name.
///
/// # Errors
/// What a name is.
pub(super) fn name(text: &str) -> Result<GatewayId, String> {
    GatewayId::parse(text).map_err(|error| error.to_string())
}

/// Where the cloud is; `None`: there is none. By this name, for clap reads an `Option` of an `Option` in its own way.
pub(super) type Place = Option<String>;

/// Reads the cloud's address; `none`, or nothing, for none.
///
/// # Errors
/// What is wrong with it.
pub(super) fn url(text: &str) -> Result<Place, String> {
    if ["none", ""].contains(&text) {
        return Ok(None);
    }
    CloudUrl::parse(text).map(|_| Some(text.to_owned())).map_err(|error| error.to_string())
}

fn port(text: &str) -> Result<u16, String> {
    let port = text.parse().ok().filter(|port| *port != 0);
    port.ok_or_else(|| format!("`{text}` is no port\nwrite a number from 1 to 65535"))
}

fn login(text: &str) -> Result<Login, String> {
    let known = "write `certificate`, `password`, `token` or `none`";
    Login::from_str(text, true).map_err(|_| format!("`{text}` is no way that is known here\n{known}"))
}

/// Answers that are given on the command line; the others are the defaults.
///
/// # Errors
/// A flag that cannot be understood.
pub(super) fn without_questions(
    arguments: &Arguments,
    defaults: &Defaults,
    offers: &dyn Fn(bool) -> Vec<Offer>,
) -> anyhow::Result<Answers> {
    let name = match &arguments.name {
        Some(name) => name.clone(),
        None => self::name(&defaults.name).map_err(anyhow::Error::msg)?,
    };
    let url = arguments.cloud.clone().flatten();
    let line = url.map(|url| line(url, arguments.login.unwrap_or(Login::Certificate), arguments, &name));
    let offers = offers(line.is_none());
    let devices = arguments.devices.clone().unwrap_or_else(|| offers::default(&offers));
    let devices = offers::chosen(&devices, &offers).map_err(anyhow::Error::msg)?;
    Ok(Answers { name, line, devices, port: arguments.port.unwrap_or(defaults.port) })
}

fn line(url: String, login: Login, arguments: &Arguments, name: &GatewayId) -> Line {
    let username = arguments.username.clone().unwrap_or_else(|| name.to_string());
    Line { url, login, username, stem: name.to_string() }
}

/// The flags that answer the questions which are still open.
pub(super) fn open_questions(arguments: &Arguments) -> Vec<&'static str> {
    let has_cloud = !matches!(arguments.cloud, Some(None));
    let flags = [
        ("--name", arguments.name.is_none()),
        ("--cloud", arguments.cloud.is_none()),
        ("--login", has_cloud && arguments.login.is_none()),
        ("--devices", arguments.devices.is_none()),
        ("--port", arguments.port.is_none()),
    ];
    flags.into_iter().filter(|(_, is_open)| *is_open).map(|(flag, _)| flag).collect()
}

/// Asks for what no flag answers.
///
/// # Errors
/// Nobody answers, or a flag cannot be understood.
pub(super) fn by_questions<R: BufRead, W: Write>(
    arguments: &Arguments,
    defaults: &Defaults,
    offers: &dyn Fn(bool) -> Vec<Offer>,
    dialogue: &mut Dialogue<R, W>,
) -> anyhow::Result<Answers> {
    let name = match &arguments.name {
        Some(name) => name.clone(),
        None => dialogue.ask("1. What is this gateway to be called?", &defaults.name, name)?,
    };
    let url = match &arguments.cloud {
        Some(url) => url.clone(),
        None => {
            dialogue.ask("2. Where is the cloud's broker (wss://… or mqtts://…, or none)?", "none", url)?
        }
    };
    let line = match url {
        None => None,
        Some(url) => {
            let login = match arguments.login {
                Some(login) => login,
                None => dialogue.ask(
                    "3. How does it log in there (certificate, password, token or none)?",
                    "certificate",
                    login,
                )?,
            };
            let mut line = line(url, login, arguments, &name);
            if login == Login::Password && arguments.username.is_none() {
                line.username = dialogue.ask("   Which user name?", &line.username, username)?;
            }
            Some(line)
        }
    };
    let offers = offers(line.is_none());
    let devices = match &arguments.devices {
        Some(devices) => offers::chosen(devices, &offers).map_err(anyhow::Error::msg)?,
        None => {
            for (place, offer) in
                offers.iter().enumerate().filter(|(_, offer)| offer.taking != Taking::ByHand)
            {
                dialogue.tell(&format!("   {:>2}  {:<14} {}", place + 1, offer.id, offer.about))?;
            }
            let question = "4. Which of these devices is it to have (names or numbers, all or none)?";
            dialogue.ask(question, &offers::default(&offers), |answer| offers::chosen(answer, &offers))?
        }
    };
    let port = match arguments.port {
        Some(port) => port,
        None => dialogue.ask("5. On which port is the status page?", &defaults.port.to_string(), port)?,
    };
    Ok(Answers { name, line, devices, port })
}

fn username(text: &str) -> Result<String, String> {
    let is_good = !text.is_empty() && !text.chars().any(char::is_control);
    is_good
        .then(|| text.to_owned())
        .ok_or_else(|| "a user name has no characters that cannot be printed".to_owned())
}

/// Fails where questions are open and nobody can be asked.
///
/// # Errors
/// The flags that are missing.
pub(super) fn nobody_is_there(arguments: &Arguments) -> anyhow::Result<()> {
    let open = open_questions(arguments);
    if !open.is_empty() {
        bail!("there is no terminal to ask at; say {} as well, or `--yes` for the defaults", open.join(", "));
    }
    Ok(())
}
