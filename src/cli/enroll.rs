//! `enroll`: a key that is made here, a request, what comes back, and how long it lasts.
//!
//! Owns the words and the paths; what may be put in place is decided in `link::enrolment`. Reads only the shape of
//! the configuration, for the files that it names are what is still missing.

use std::{
    fmt::Write,
    io::{self, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::Args;
use serde_json::json;

use super::{
    DEFAULT_FILE, Exit, configuration,
    say::{failed, say},
};
use crate::{
    clock::Clock,
    config::Config,
    health::{CertificateStatus, Expiry},
    link::enrolment::{self, Anchors, Chain, End, Enrolment, Key, Origin},
};

/// Where systemd shows a service its credentials: copies, which nobody may change.
const CREDENTIALS: &str = "/run/credentials";
/// What a path means that stands for standard input or output.
const STANDARD: &str = "-";

/// Without --import and --show: makes a private key if there is none, and a request for a certificate.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The configuration, for `cloud.key_file`, `cloud.certificate_file` and `cloud.ca_file` [default:
    /// /etc/hearthlink/config.yaml, if it is there].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the private key is, or is made [default: `cloud.key_file`].
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Where the certificate is put [default: `cloud.certificate_file`].
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// The common name to ask for [default: `cloud.client_id`, or `gateway.id`].
    #[arg(long, value_name = "NAME", conflicts_with_all = ["import", "show"])]
    subject: Option<String>,
    /// Where the request is written, `-` for standard output [default: beside the certificate, with `.csr`].
    #[arg(long, value_name = "FILE", conflicts_with_all = ["import", "show"])]
    csr: Option<PathBuf>,
    /// Make a new key although there is one; it takes the old one's place together with its certificate.
    #[arg(long, conflicts_with_all = ["import", "show"])]
    new_key: bool,
    /// Check the certificate that came back (PEM, with the CAs between it and its root, `-` for standard input), and
    /// put it in place.
    #[arg(long, value_name = "CERT", conflicts_with = "show")]
    import: Option<PathBuf>,
    /// The CA by which the cloud knows its clients [default: `cloud.ca_file`].
    #[arg(long, value_name = "FILE", requires = "import")]
    ca: Option<PathBuf>,
    /// Whoever signed it: the cloud knows its clients by a CA that is not here, or one by one, as AWS IoT does.
    #[arg(long, requires = "import", conflicts_with = "ca")]
    any_ca: bool,
    /// Show the certificate that is in place, and how long it lasts; exit code 1 when it is over.
    #[arg(long)]
    show: bool,
    /// The same as JSON.
    #[arg(long, requires = "show")]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let config = match load(arguments.config.as_deref()) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let cloud = config.as_ref().and_then(|config| config.cloud.as_ref());
    let key = || cloud?.key_file.clone();
    let certificate = || cloud?.certificate_file.clone();
    let certificate_file = arguments.certificate.clone().or_else(certificate);
    let key_file = arguments.key.clone().or_else(key);
    let done = match (&certificate_file, &key_file) {
        (None, _) => return unnamed("certificate_file", "--certificate", "home.pem"),
        (Some(certificate), _) if arguments.show => show(certificate, key_file.as_deref(), arguments.json),
        (_, None) => return unnamed("key_file", "--key", "home.key"),
        (Some(certificate), Some(key)) => {
            let enrolment = Enrolment { key_file: key.clone(), certificate_file: certificate.clone() };
            match &arguments.import {
                Some(file) => {
                    let ca = || cloud?.ca_file.clone();
                    let ca = if arguments.any_ca { None } else { arguments.ca.clone().or_else(ca) };
                    import(&enrolment, file, ca.as_deref())
                }
                None => request(&enrolment, arguments, config.as_ref()),
            }
        }
    };
    done.unwrap_or_else(|error| failed(&error))
}

/// The configuration; none when nobody named one and there is none.
fn load(path: Option<&Path>) -> Result<Option<Config>, Exit> {
    let path = match path {
        Some(path) => path,
        None if Path::new(DEFAULT_FILE).exists() => Path::new(DEFAULT_FILE),
        None => return Ok(None),
    };
    configuration::shape(path).map(Some)
}

fn unnamed(option: &str, flag: &str, example: &str) -> Exit {
    eprintln!(
        "hearthlink: nobody says which file it is about: there is no configuration that has `cloud.{option}`."
    );
    eprintln!(
        "Write `{option}: {example}` below `cloud:` and name that file with --config, or say {flag} FILE."
    );
    Exit::Config
}

fn request(enrolment: &Enrolment, arguments: &Arguments, config: Option<&Config>) -> anyhow::Result<Exit> {
    if enrolment.key_file.starts_with(CREDENTIALS) {
        bail!(
            "`{}` is the copy that systemd shows to the service; say with --key where the key itself is, as in \
             `LoadCredential=` of the unit",
            enrolment.key_file.display()
        );
    }
    let id = || {
        let config = config?;
        let client_id = config.cloud.as_ref().and_then(|cloud| cloud.client_id.clone());
        Some(client_id.unwrap_or_else(|| config.gateway.id.to_string()))
    };
    let subject = arguments.subject.clone().or_else(id);
    let Some(subject) = subject else {
        bail!(
            "nobody says whose the certificate will be; say it with --subject NAME, or name a file with --config"
        );
    };
    let (key, origin) = enrolment.key(arguments.new_key)?;
    let request = key.request(&subject)?;
    let csr = arguments.csr.clone().unwrap_or_else(|| enrolment.certificate_file.with_extension("csr"));
    let told = told(&key, origin);
    if csr == Path::new(STANDARD) {
        eprintln!("{told}");
        say(request.trim_end());
        eprintln!("Have this request signed, and give what comes back to `hearthlink enroll --import`.");
        return Ok(Exit::Success);
    }
    enrolment::write_request(&csr, &request)?;
    let csr = csr.display();
    let config =
        arguments.config.as_ref().map_or(String::new(), |path| format!(" --config {}", path.display()));
    say(format_args!(
        "{told}\n\
         The request for a certificate of `CN={subject}` is in {csr}. It is no secret.\n\n\
         What to do now:\n\
         1. Give {csr} to whoever signs certificates for your cloud. At AWS IoT, for example, that is\n   \
         aws iot create-certificate-from-csr --set-as-active \\\n     \
         --certificate-signing-request file://{csr} --certificate-pem-outfile signed.pem\n\
         2. Give what comes back to `hearthlink enroll{config} --import signed.pem`, which checks it and puts it in place."
    ));
    Ok(Exit::Success)
}

fn told(key: &Key, origin: Origin) -> String {
    let (path, kind) = (key.path().display(), key.kind());
    match origin {
        Origin::Made => format!(
            "A new private key ({kind}) is in {path}, for its owner's eyes only. Nothing ever needs it elsewhere: do \
             not copy it."
        ),
        Origin::Kept => {
            format!("The private key in {path} ({kind}) stays; --new-key would make another one.")
        }
        Origin::MadeBeside => format!(
            "A new private key ({kind}) waits in {path}. The old one stays in use until the certificate for the new \
             one is imported."
        ),
        Origin::KeptBeside => format!(
            "The new private key ({kind}) still waits in {path} for its certificate. To ask for one of the old key \
             again, delete it."
        ),
    }
}

fn import(enrolment: &Enrolment, file: &Path, ca: Option<&Path>) -> anyhow::Result<Exit> {
    let chain = if file == Path::new(STANDARD) {
        let mut text = Vec::new();
        io::stdin().lock().read_to_end(&mut text).context("failed to read standard input")?;
        Chain::parse(Path::new("standard input"), &text)?
    } else {
        Chain::read(file)?
    };
    let anchors = match ca {
        Some(ca) => Anchors::Known(Chain::read(ca)?),
        None => Anchors::Unknown,
    };
    let clock = Clock::system();
    let now = clock.is_trusted().then(|| clock.now());
    let imported = enrolment.import(&chain, &anchors, now)?;
    let mut text = format!("The certificate is in place: {}.\n", enrolment.certificate_file.display());
    if imported.has_new_key {
        let _ = writeln!(text, "So is its new key: {}. The old key is gone.", enrolment.key_file.display());
    }
    if let Some(certificate) = chain.report() {
        text += &words_of(&certificate.at(now));
    }
    if let End::Open(issuer) = imported.end {
        let _ = writeln!(
            text,
            "Nobody here knows whether the cloud trusts `{issuer}`, who signed it: the first connection will show it."
        );
    }
    if now.is_none() {
        text += "This machine's clock is not set yet, so nobody could say whether the certificate is valid today.\n";
    }
    text += "\nWhat to do now: `hearthlink check`; then start the gateway; one that runs already tries the new \
             certificate by itself, and `hearthlink status` says if the cloud refuses it.";
    say(text);
    Ok(Exit::Success)
}

fn show(certificate_file: &Path, key_file: Option<&Path>, as_json: bool) -> anyhow::Result<Exit> {
    if !certificate_file.exists() {
        bail!(
            "there is no certificate at `{}` yet; `hearthlink enroll` makes the request for one",
            certificate_file.display()
        );
    }
    let chain = Chain::read(certificate_file)?;
    let clock = Clock::system();
    let certificate = chain.report().context("the certificate cannot be read")?;
    let status = certificate.at(clock.is_trusted().then(|| clock.now()));
    // Whoever may see the certificate may not be allowed to see the key.
    let fits = key_file.and_then(|path| Key::read(path).ok()).map(|key| chain.is_for(&key));
    if as_json {
        let mut value = serde_json::to_value(&status)?;
        value["file"] = json!(certificate_file);
        value["key_fits"] = json!(fits);
        say(value);
    } else {
        let mut text = format!("{}\n{}", certificate_file.display(), words_of(&status));
        if let (Some(path), Some(fits)) = (key_file, fits) {
            let words = if fits { "fits" } else { "IS FOR ANOTHER CERTIFICATE" };
            let _ = writeln!(text, "Key          {} {words}", path.display());
        }
        say(text.trim_end());
    }
    let is_good = status.expiry != Some(Expiry::Expired) && fits != Some(false);
    Ok(if is_good { Exit::Success } else { Exit::Failure })
}

fn words_of(status: &CertificateStatus) -> String {
    let certificate = &status.certificate;
    let until = match status.words() {
        Some(words) if status.expiry == Some(Expiry::Expired) => format!("expired {words}"),
        Some(words) => words,
        None => "this machine's clock is not set yet".to_owned(),
    };
    format!(
        "Subject      {}\nIssuer       {}\nSerial       {}\nSHA-256      {}\nValid from   {}\nValid until  {} ({until})\n",
        certificate.subject,
        certificate.issuer,
        certificate.serial,
        certificate.fingerprint_sha256,
        certificate.not_before,
        certificate.not_after,
    )
}
