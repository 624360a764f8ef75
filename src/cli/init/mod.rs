//! `init`: a first configuration, from five answers and from what hangs on this machine.
//!
//! Owns the order of things: look, ask, write beside, check, put in place. Invariants: nothing is written where nobody
//! answers; a file that says anything stays, but for `--force`; what is put in place has passed the same check as
//! `hearthlink check` makes; secrets go into files of their own that only their owner reads.

mod answers;
mod offers;
mod text;

use std::{
    fs::{self, OpenOptions, Permissions},
    io::{ErrorKind, Write},
    net::TcpListener,
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use clap::Args;

use self::{
    answers::{Answers, Defaults, Line, Login},
    text::Setting,
};
use super::{
    DEFAULT_FILE, Exit, check, configuration, first_start,
    fresh::{Fresh, directory},
    gateway::listener,
    progress::Progress,
    question,
    say::{failed, say},
};
use crate::{
    app::Hardware,
    config::{Config, Loader},
    devices::survey::{self, Survey},
    model::GatewayId,
    permissions::{mode_of_secret, remedy},
};

/// Where a configuration goes that may not lie where a service has it.
const FILE_HERE: &str = "hearthlink.yaml";
/// Where the queue goes then, beside it.
const DATA_HERE: &str = "hearthlink-data";
/// Is there where systemd runs (sd_booted(3)).
const SYSTEMD: &str = "/run/systemd/system";
/// How long sensors are listened for. Most say something every few seconds.
const LISTENING: Duration = Duration::from_secs(6);
/// How long all of Bluetooth may take.
const RADIO_WITHIN: Duration = Duration::from_secs(15);
/// The usual ports, and how many behind them are tried when somebody else has one.
const PAGE_PORT: u16 = first_start::ADDRESS.port();
const BROKER_PORT: u16 = 1883;
const PORTS: u16 = 32;

/// Asks five questions; each is answered by a flag instead, if there is one.
#[derive(Debug, Default, Args)]
pub(super) struct Arguments {
    /// The configuration to write [default: /etc/hearthlink/config.yaml, or hearthlink.yaml here for whoever may not
    /// write there].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What the gateway is called: a level of every topic in the cloud [default: this machine's name].
    #[arg(long, value_name = "NAME", value_parser = answers::name)]
    name: Option<GatewayId>,
    /// The cloud's broker, `wss://…` or `mqtts://…`, or `none` [default: none].
    #[arg(long, value_name = "URL", value_parser = answers::url)]
    cloud: Option<answers::Place>,
    /// How it logs in at the cloud [default: certificate].
    #[arg(long, value_name = "HOW", value_enum)]
    login: Option<Login>,
    /// The user name for a password [default: the gateway's name].
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// Which devices it has: `all` that can be taken over, `none`, or their names with commas.
    #[arg(long, value_name = "LIST")]
    devices: Option<String>,
    /// The port of the status page [default: 8080, or the next one that is free].
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Ask nothing: what no flag says is as it is by default.
    #[arg(long)]
    yes: bool,
    /// Replace the configuration that is there.
    #[arg(long)]
    force: bool,
    /// Do not listen for Bluetooth sensors, which takes some seconds.
    #[arg(long)]
    no_scan: bool,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let file = arguments.config.clone().unwrap_or_else(default_file);
    match init(arguments, &file) {
        Ok(exit) => exit,
        Err(error) => failed(&error),
    }
}

fn init(arguments: &Arguments, file: &Path) -> anyhow::Result<Exit> {
    if file.exists() && !Loader::new(file).is_blank() && !arguments.force {
        bail!(
            "{} is there already and stays as it is; `--force` replaces it, `--config FILE` writes another one",
            file.display()
        );
    }
    let is_asking = !arguments.yes && question::is_anybody_there();
    if !is_asking && !arguments.yes {
        answers::nobody_is_there(arguments)?;
    }
    // One that is replaced keeps its doors: whoever has them now is perhaps the gateway that runs on it.
    let old = Loader::new(file).shape_only().load().ok();
    let old_page = old.as_ref().and_then(|old| old.web.as_ref()).map(|web| web.address.port());
    let page_port = || if first_start::is_at(PAGE_PORT) { PAGE_PORT } else { free_port(PAGE_PORT, None) };
    let defaults = Defaults::of_machine(old_page.unwrap_or_else(page_port));
    let (survey, deafness) = look_around(arguments);
    let offers = |wants_simulated| offers::offers(&survey, wants_simulated && survey.sensors.is_empty());
    let answers = if is_asking {
        answers::by_questions(arguments, &defaults, &offers, &mut question::person())?
    } else {
        answers::without_questions(arguments, &defaults, &offers)?
    };
    let kept = old.as_ref().and_then(|old| listener(&old.broker, true)).map(|address| address.port());
    let broker_port = kept.filter(|port| *port != answers.port);
    let written = Draft {
        file,
        offers: offers(answers.line.is_none()),
        adapters: &survey.adapters,
        broker_port: broker_port.unwrap_or_else(|| free_port(BROKER_PORT, Some(answers.port))),
        answers,
    };
    written.put(is_asking, deafness.as_deref())
}

/// What `--yes` would write to `file`, with the status page at this port; nothing is written, and no radio listened to.
pub(super) fn example(file: &Path, port: u16) -> anyhow::Result<String> {
    let arguments = Arguments { port: Some(port), yes: true, no_scan: true, ..Arguments::default() };
    let (survey, _) = look_around(&arguments);
    let offers = |wants_simulated| offers::offers(&survey, wants_simulated);
    let answers = answers::without_questions(&arguments, &Defaults::of_machine(port), &offers)?;
    let broker_port = free_port(BROKER_PORT, Some(port));
    let draft = Draft { file, offers: offers(true), adapters: &survey.adapters, broker_port, answers };
    Ok(draft.text())
}

/// The command that asks for a configuration at `file`, wherever it is typed, with the status page at this port.
pub(super) fn command(file: &Path, port: u16) -> String {
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    format!("{}hearthlink init{} --port {port}", sudo(&file), flag(&file))
}

/// Where a service has its configuration; here, for whoever may not write there.
fn default_file() -> PathBuf {
    let usual = Path::new(DEFAULT_FILE);
    let may_write = |path: &Path| rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok();
    let mut above = usual.ancestors().skip(1);
    let is_ours = above.find(|directory| directory.exists()).is_some_and(may_write);
    if is_ours { usual.to_owned() } else { PathBuf::from(FILE_HERE) }
}

/// Looks at the machine; beside it why no Bluetooth sensors could be heard.
fn look_around(arguments: &Arguments) -> (Survey, Option<String>) {
    let mut survey = survey::look(Path::new("/"));
    if survey.adapters.is_empty() || arguments.no_scan {
        return (survey, None);
    }
    let _progress = Progress::lasting("Listening for Bluetooth sensors", LISTENING);
    let heard = match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => {
            let heard = runtime.block_on(async {
                // Its timer needs the runtime around it.
                let listening = tokio::time::timeout(RADIO_WITHIN, survey::listen(LISTENING));
                listening.await
            });
            // A daemon that hangs must not keep the terminal.
            runtime.shutdown_background();
            heard.unwrap_or_else(|_| Err("Bluetooth does not answer".to_owned()))
        }
        Err(error) => Err(error.to_string()),
    };
    match heard {
        Ok(sensors) => {
            survey.sensors = sensors;
            (survey, None)
        }
        Err(why) => (survey, Some(why)),
    }
}

/// The first port on loopback from `first` on that nobody has; `first` where all are taken.
fn free_port(first: u16, but: Option<u16>) -> u16 {
    let is_free = |port: &u16| Some(*port) != but && TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (first..first.saturating_add(PORTS)).find(is_free).unwrap_or(first)
}

/// A configuration that is to be written.
struct Draft<'a> {
    file: &'a Path,
    answers: Answers,
    offers: Vec<offers::Offer>,
    adapters: &'a [String],
    broker_port: u16,
}

impl Draft<'_> {
    fn put(&self, is_asking: bool, deafness: Option<&str>) -> anyhow::Result<Exit> {
        let directory = directory(self.file);
        let failed = || format!("failed to write {}", self.file.display());
        fs::create_dir_all(directory).with_context(failed)?;
        // Whoever breaks off here leaves nothing behind.
        let line = self.answers.line.as_ref();
        let secret = match line.filter(|line| is_asking && !line.has_files(directory)) {
            Some(line) => Secret::ask(line, directory)?,
            None => None,
        };
        let mut fresh = match Fresh::begin(self.file) {
            Ok(fresh) => fresh,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => bail!(
                "another `hearthlink init` is at work, or one was interrupted: then remove {}.new and try again",
                self.file.display()
            ),
            Err(error) => return Err(error).with_context(failed),
        };
        fresh.write(&self.text(), directory).with_context(failed)?;
        let config = match configuration::examine(fresh.path(), Hardware::Real) {
            Ok((config, _)) => config,
            Err(error) => {
                configuration::show(&error);
                bail!(
                    "with this the configuration would not be good, so {} is not written",
                    self.file.display()
                );
            }
        };
        fresh.place().with_context(failed)?;
        if let Some(secret) = secret {
            secret.keep();
        }
        say(self.farewell(&config, deafness));
        Ok(Exit::Success)
    }

    fn can_log_in(&self) -> bool {
        self.answers.line.as_ref().is_none_or(|line| line.has_files(directory(self.file)))
    }

    fn text(&self) -> String {
        let setting = Setting {
            offers: &self.offers,
            adapters: self.adapters,
            broker_port: self.broker_port,
            data_dir: (!is_of_service(self.file)).then_some(DATA_HERE),
            can_log_in: self.can_log_in(),
        };
        text::text(&self.answers, &setting)
    }

    /// What was done, and what to do now.
    fn farewell(&self, config: &Config, deafness: Option<&str>) -> String {
        let mut words = format!("{} is written: {}.\n", self.file.display(), check::summary(config));
        if self.broker_port != BROKER_PORT {
            words += &format!("Devices connect to port {}.\n", self.broker_port);
        }
        if let Some(why) = deafness {
            words += &format!("No Bluetooth sensor was listened for: {why}.\n");
        }
        let page = format!("http://127.0.0.1:{}/", self.answers.port);
        let flag = flag(self.file);
        let run = if is_of_service(self.file) && Path::new(SYSTEMD).exists() {
            "sudo systemctl restart hearthlink".to_owned()
        } else {
            format!("hearthlink run{flag}")
        };
        let line = self.answers.line.as_ref().filter(|_| !self.can_log_in());
        let has_sensor = self.answers.devices.iter().any(|place| self.offers[*place].id == offers::SENSOR);
        let (first, second, why) = match line {
            Some(line) if line.login == Login::Certificate => {
                let beside = |name: &String| shell(&directory(self.file).join(name).display().to_string());
                let files = line.files();
                let (certificate, key) = (beside(&files[0]), beside(&files[1]));
                let enroll = format!(
                    "{}hearthlink enroll --key {key} --certificate {certificate} --subject {}",
                    sudo(self.file),
                    self.answers.name
                );
                (enroll, run, "The first makes the key and asks for the certificate of the line to the cloud, which is \
                               commented out until then; everything else works already.".to_owned())
            }
            Some(line) => {
                let secret = directory(self.file).join(line.files().concat()).display().to_string();
                let write = match sudo(self.file) {
                    "" => format!("(umask 077; cat > {})", shell(&secret)),
                    sudo => {
                        let secret = shell(&secret);
                        let own = remedy(Path::new(&*secret));
                        format!("{sudo}sh -c 'umask 077; cat > {secret} && {own}'")
                    }
                };
                (
                    write,
                    run,
                    "The first takes what the gateway logs in with, and Ctrl-D; the line to the cloud is \
                              commented out until then, and everything else works already."
                        .to_owned(),
                )
            }
            None if has_sensor => {
                let port = match self.broker_port {
                    BROKER_PORT => String::new(),
                    other => format!(" -p {other}"),
                };
                let publish =
                    format!("mosquitto_pub{port} -t {} -m '{{\"temperature\": 21.5}}'", offers::SENSOR_TOPIC);
                (
                    run,
                    publish,
                    "The second one, in another terminal, says what a device would say.".to_owned(),
                )
            }
            None => {
                (run, format!("hearthlink status{flag}"), "The second one in another terminal.".to_owned())
            }
        };
        words += &format!("\nWhat to do now:\n  {first}\n  {second}\n{why}\nThe page to look at is {page}");
        words
    }
}

/// Whether the service runs on it, and not somebody in a terminal.
fn is_of_service(file: &Path) -> bool {
    file.starts_with("/etc")
}

/// What stands before a command that writes beside the service's file, or reads its keys.
fn sudo(file: &Path) -> &'static str {
    if is_of_service(file) { "sudo " } else { "" }
}

/// How a command is told of the file, where it must be.
fn flag(file: &Path) -> String {
    match file {
        usual if usual == Path::new(DEFAULT_FILE) => String::new(),
        other => format!(" --config {}", shell(&other.display().to_string())),
    }
}

/// A word as a shell takes it.
fn shell(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// A password or token that was asked for; gone again unless it is kept.
struct Secret(Option<PathBuf>);

/// The mode of a secret that is its owner's alone.
const SECRET: u32 = 0o600;

impl Secret {
    /// Asks for it, unseen, and writes it. `None`: there is none to ask for, or nothing was answered.
    fn ask(line: &Line, directory: &Path) -> anyhow::Result<Option<Self>> {
        let question = match line.login {
            Login::Password => "   Which password (nothing: later)? ",
            Login::Token => "   Which token (nothing: later)? ",
            Login::Certificate | Login::None => return Ok(None),
        };
        let secret = rpassword::prompt_password(question).context("failed to ask for it")?;
        if secret.is_empty() {
            return Ok(None);
        }
        let path = directory.join(line.files().concat());
        let failed = || format!("failed to write {}", path.display());
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(SECRET).open(&path).with_context(failed)?;
        let written = Self(Some(path.clone()));
        let like = fs::metadata(directory).with_context(failed)?;
        // Only root may give it to the gateway's group; what others make is theirs.
        if mode_of_secret(&like) != SECRET && fchown(&file, None, Some(like.gid())).is_ok() {
            file.set_permissions(Permissions::from_mode(mode_of_secret(&like))).with_context(failed)?;
        }
        writeln!(file, "{secret}").and_then(|()| file.sync_all()).with_context(failed)?;
        Ok(Some(written))
    }

    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        if let Some(path) = self.0.take() {
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests;
