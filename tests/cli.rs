//! The real binary: what it says, with which exit code, and that a bad configuration starts nothing.

#![allow(clippy::unwrap_used, reason = "a test's panic is its verdict, in its helpers, too")]

#[path = "support/port.rs"]
mod port;

use std::{
    fs,
    io::{self, Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use port::Port;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;

fn hearthlink(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hearthlink"));
    command.args(arguments).env_remove("JOURNAL_STREAM").env_remove("HEARTHLINK_LOG");
    command
}

fn output(arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = hearthlink(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// A directory and two ports that nobody else has.
struct Home {
    directory: TempDir,
    broker: u16,
    page: u16,
    /// That of the broker and that of the page.
    _ports: [Port; 2],
}

impl Home {
    fn new() -> Self {
        let ports = [Port::reserve(), Port::reserve()];
        let [broker, page] = ports.each_ref().map(|port| port.address().port());
        Self { directory: tempfile::tempdir().unwrap(), broker, page, _ports: ports }
    }

    /// Writes a good configuration with `more` behind it.
    fn file(&self, more: &str) -> String {
        let Self { directory, broker, page, .. } = self;
        let path = directory.path().join("hearthlink.yaml");
        let text = format!(
            "gateway: {{id: home, data_dir: data}}\nbroker: {{listeners: [{{address: \"127.0.0.1:{broker}\"}}]}}\n\
             web: {{address: \"127.0.0.1:{page}\"}}\n{more}"
        );
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Writes a file beside the configuration.
    fn secret(&self, name: &str, text: &str, mode: u32) {
        let path = self.directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn data(&self) -> std::path::PathBuf {
        self.directory.path().join("data")
    }
}

fn is_open(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// Waits for `done`, for up to 20 seconds.
#[track_caller]
fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < end, "{what} did not happen");
        thread::sleep(Duration::from_millis(50));
    }
}

/// A running gateway; killed when the test ends early.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_issues_bad_configurations_are_refused_by_check_and_by_run_and_nothing_starts() {
    let home = Home::new();
    let key = home.directory.path().join("open.key");
    fs::write(&key, "key").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let toaster = "{id: toaster, kind: toaster}";
    for (bad, place, what) in [
        ("colour: red\n".to_owned(), "4:1", "unknown key `colour`"),
        ("devices: 5\n".to_owned(), "4:10", "expected a list, found a number"),
        ("cloud: {url: \"wss://a\", ca_file: no.pem}\n".to_owned(), "4:34", "there is no file"),
        (format!("devices: [{toaster}, {toaster}]\n"), "4:46", "`toaster` is used twice"),
        ("cloud: {url: \"wss://a\", key_file: open.key}\n".to_owned(), "4:35", "chmod 600"),
        ("cloud: {url: \"wss://a\"}\nroutes: [{local: \"#\"}]\n".to_owned(), "5:10", "would loop"),
        ("devices: [{id: a, kind: toster}]\n".to_owned(), "4:25", "did you mean `toaster`?"),
        (
            "devices: [{id: a, kind: toaster, options: {brownin: 2}}]\n".to_owned(),
            "4:44",
            "did you mean `browning`?",
        ),
        ("devices: [{id: a, kind: toaster, options: {browning: 9}}]\n".to_owned(), "4:54", "from 1 to 6"),
        (
            "devices: [{id: a, kind: toaster, on_line_lost: {after: 1h, set: {state: TOGGLE}}}]\ncloud: {url: \"wss://a\"}\n"
                .to_owned(),
            "4:73",
            "takes `ON` or `OFF`",
        ),
    ] {
        let file = home.file(&bad);
        for command in ["check", "run"] {
            let (code, stdout, stderr) = output(&[command, "--config", &file]);
            assert_eq!(code, 78, "{command} {bad}\n{stdout}{stderr}");
            assert!(stderr.contains(&format!("{file}:{place}]")), "{place}: {stderr}");
            // The text is wrapped to the terminal's width.
            let words =
                stderr.replace('\n', " ").split_whitespace().collect::<Vec<_>>().join(" ").replace("│ ", "");
            assert!(words.contains(what), "`{what}` is not in {words}");
        }
        assert!(!home.data().exists() && !is_open(home.broker) && !is_open(home.page), "{bad}");
    }
}

#[test]
fn check_says_in_one_line_that_a_configuration_is_good() {
    let home = Home::new();
    let (code, stdout, stderr) =
        output(&["check", "--config", &home.file("devices: [{id: attic, kind: thermometer}]\n")]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.contains("is good: gateway home, no cloud, 1 device, 1 listener"), "{stdout}");
    assert_eq!(stdout.lines().count(), 1);
    assert!(!home.data().exists());
}

#[test]
fn check_finds_what_is_wrong_with_serial_ports_and_only_warns_of_what_may_be_plugged_in() {
    let home = Home::new();
    let port = "/dev/serial/by-id/usb-not-here";
    let warned = home.file(&format!(
        "devices:\n- id: a\n  kind: serial_line\n  options:\n    port: /dev/ttyUSB97\n\
         - {{id: b, kind: serial_line, options: {{port: {port}}}}}\n"
    ));
    let (code, stdout, stderr) = output(&["check", "--config", &warned]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("is good") && stdout.contains("2 devices"), "{stdout}");
    for part in [
        "hearthlink.yaml:8:11",
        "/dev/ttyUSB97 is named in the order of plugging in",
        "/dev/ttyUSB97 is not there",
        "hearthlink.yaml:9:46",
        "usb-not-here is not there; is it plugged in?",
        "below /dev/serial/by-id",
        "3 warnings about the configuration",
    ] {
        assert!(stderr.contains(part), "{stderr} lacks {part}");
    }
    for (device, place, part) in [
        (format!("{{port: {port}, baud: 300}}"), "6:84", "`a` shares this port and has 9600"),
        (format!("{{port: {port}, pattern: '(?P<t>'}}"), "6:87", "no regular expression"),
    ] {
        let wrong = home.file(&format!(
            "devices:\n- {{id: a, kind: serial_line, options: {{port: {port}}}}}\n\
             - {{id: b, kind: serial_line, options: {device}}}\n"
        ));
        let (code, _, stderr) = output(&["check", "--config", &wrong]);
        assert_eq!(code, 78, "{stderr}");
        assert!(stderr.contains(part) && stderr.contains(&format!("{wrong}:{place}]")), "{place}: {stderr}");
        assert!(stderr.contains("1 problem and"), "{stderr}");
    }
}

#[test]
fn check_finds_what_is_wrong_with_gpio_pins_and_their_interlocks() {
    let home = Home::new();
    let first = "- {id: up, kind: gpio_output, options: {pin: 5, interlock: [down]}}\n\
                 - {id: down, kind: gpio_output, options: {pin: 6}}\n";
    let good = home.file(&format!("devices:\n{first}"));
    let (code, stdout, stderr) = output(&["check", "--config", &good]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("2 devices"), "{stdout}");
    // On another machine than a Pi it says so, and no more.
    assert!(stderr.is_empty() || stderr.contains("this is no Raspberry Pi that is known"), "{stderr}");
    for (device, at, part) in [
        (
            "{id: c, kind: gpio_input, options: {pin: 6}}",
            "6}",
            "`down` has GPIO 6 already; a pin has one owner",
        ),
        ("{id: c, kind: gpio_counter, options: {pin: 31}}", "31", "31 is not the BCM number"),
        ("{id: c, kind: gpio_pwm, options: {pin: 31}}", "31", "25, 26, 27"),
        (
            "{id: c, kind: gpio_output, options: {pin: 7, interlock: [lef]}}",
            "lef",
            "no `gpio_output` called `lef`",
        ),
        (
            "{id: c, kind: gpio_output, options: {pin: 7, chip: {label: pinctrl-bcm2711}}}",
            "{label",
            "the chip that `up` has as the GPIO of the Raspberry Pi; name it the same way",
        ),
        (
            "{id: c, kind: gpio_output, options: {pin: 7, chip: /dev/gpiochip0}}",
            "/dev",
            "beside the Pi's own by its label",
        ),
        (
            "{id: c, kind: gpio_output, options: {pin: 7}, on_line_lost: {after: 1h, set: {state: UP}}}",
            "UP",
            "`ON` or `OFF`",
        ),
    ] {
        let line = format!("- {device}");
        let place = format!("7:{}", line.find(at).unwrap() + 1);
        let wrong = home.file(&format!("devices:\n{first}{line}\ncloud: {{url: \"wss://a\"}}\n"));
        let (code, _, stderr) = output(&["check", "--config", &wrong]);
        assert_eq!(code, 78, "{device}: {stderr}");
        let words =
            stderr.replace('\n', " ").split_whitespace().collect::<Vec<_>>().join(" ").replace("│ ", "");
        assert!(words.contains(part), "`{part}` is not in {words}");
        assert!(stderr.contains(&format!("{wrong}:{place}]")), "{place}: {stderr}");
        assert!(stderr.contains("1 problem"), "{stderr}");
    }
    let by_path = home.file(
        "devices:\n- {id: a, kind: gpio_output, options: {pin: 7, chip: /dev/gpiochip0}}\n\
         - {id: b, kind: gpio_output, options: {pin: 8}}\n",
    );
    let (code, _, stderr) = output(&["check", "--config", &by_path]);
    assert_eq!(code, 78, "{stderr}");
    assert!(stderr.contains("it may be the chip that `a` has"), "{stderr}");
    let beside = home.file(
        "devices:\n- {id: a, kind: gpio_output, options: {pin: 7}}\n\
         - {id: b, kind: gpio_output, options: {pin: 7, chip: {label: expander}}}\n",
    );
    let (code, _, stderr) = output(&["check", "--config", &beside]);
    assert_eq!(code, 0, "{stderr}");
    let named = home.file(
        "devices:\n- {id: a, kind: gpio_output, options: {line: PUMP, chip: /dev/gpiochip97}}\n\
         - {id: b, kind: gpio_output, options: {line: PUMP, chip: {label: expander}}}\n",
    );
    let (code, _, stderr) = output(&["check", "--config", &named]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("there is no /dev/gpiochip97") && stderr.contains(":5:"), "{stderr}");
}

#[test]
fn every_example_of_the_devices_guide_is_a_good_configuration() {
    let home = Home::new();
    let docs = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/docs"));
    let pages = fs::read_dir(docs.join("devices")).unwrap().map(|entry| entry.unwrap().path());
    let pages: Vec<String> = pages
        .chain(["devices.md", "home-assistant.md"].map(|page| docs.join(page)))
        .map(|page| fs::read_to_string(page).unwrap())
        .collect();
    let examples: Vec<&str> = pages
        .iter()
        .flat_map(|page| page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()))
        .collect();
    assert!(examples.len() >= 15, "{} examples", examples.len());
    for example in examples {
        for named in example.split("bind_key_file: ").skip(1) {
            home.secret(named.split([',', '}', '\n']).next().unwrap(), KEY, 0o600);
        }
        let (code, _, stderr) = output(&["check", "--config", &home.file(example)]);
        assert_eq!(code, 0, "{example}\n{stderr}");
    }
}

/// A bind key, as the example of bthome.io/encryption has it.
const KEY: &str = "231d39c1d7cc1ab1aee224cd096db932";

#[test]
fn check_says_what_is_wrong_with_a_bind_key_and_never_shows_it() {
    let home = Home::new();
    home.secret("good", KEY, 0o600);
    home.secret("open", KEY, 0o644);
    home.secret("short", &KEY[..31], 0o600);
    for (options, place, parts) in [
        ("encrypted: true", "5:34", ["`bind_key`", "missing"]),
        (&*format!("bind_key: {}", &KEY[..31]), "5:75", ["`bind_key`", "32 hexadecimal digits, in quotes"]),
        ("bind_key: 11112222333344445555666677778888", "5:75", ["`bind_key`", "32 hexadecimal digits"]),
        (&*format!("bind_key: \"{KEY}\", bind_key_file: good"), "5:126", ["`bind_key_file`", "leave one"]),
        ("bind_key_file: nowhere", "5:80", ["`bind_key_file`", "cannot read"]),
        ("bind_key_file: open", "5:80", ["mode 0644", "chmod 600"]),
        ("bind_key_file: short", "5:80", ["no key", "32 hexadecimal digits"]),
    ] {
        let device =
            format!("{{id: a, kind: bthome, options: {{address: \"54:48:E6:8F:80:A5\", {options}}}}}");
        let file = home.file(&format!("devices:\n- {device}\n"));
        let (code, _, stderr) = output(&["check", "--config", &file]);
        assert_eq!(code, 78, "{options}: {stderr}");
        assert!(stderr.contains(&format!("{file}:{place}]")), "{options}: {place}\n{stderr}");
        for part in parts {
            assert!(stderr.contains(part), "{options}: {stderr} lacks {part}");
        }
        assert!(!stderr.contains("231d") && !stderr.contains("1111"), "{options}: {stderr}");
    }
    let good = "{id: a, kind: bthome, options: {address: \"54:48:E6:8F:80:A5\", bind_key_file: good}}";
    let (code, _, stderr) = output(&["check", "--config", &home.file(&format!("devices: [{good}]\n"))]);
    assert_eq!(code, 0, "{stderr}");
}

#[test]
fn a_gateway_runs_until_sigterm_and_tells_status_how_it_is() {
    let home = Home::new();
    let file = home.file("devices: [{id: attic, kind: thermometer}]\n");
    let mut child = Running(hearthlink(&["run", "--config", &file]).stderr(Stdio::piped()).spawn().unwrap());
    wait_for("the page", || is_open(home.page));
    assert!(is_open(home.broker));
    wait_for("a reading", || output(&["status", "--config", &file]).1.contains("temperature"));
    let (code, stdout, _) = output(&["status", "--config", &file]);
    assert_eq!(code, 0, "{stdout}");
    assert!(stdout.starts_with("Everything at home is working. No cloud is configured.\n"), "{stdout}");
    assert!(stdout.contains("Queue    nothing waits") && stdout.contains("attic  online"), "{stdout}");
    let (_, json, _) = output(&["status", "--json", "--url", &format!("http://localhost:{}", home.page)]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["gateway"], "home");

    // A second one on the same disk and addresses is told so, and does the first one no harm.
    let (code, _, stderr) = output(&["run", "--config", &file]);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("in use by another Hearthlink"), "{stderr}");

    let process = child.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &process]).status().unwrap().success());
    wait_for("the end", || child.0.try_wait().unwrap().is_some());
    assert_eq!(child.0.wait().unwrap().code(), Some(0));
    let (code, stdout, stderr) = output(&["status", "--config", &file]);
    assert_eq!((code, stdout.as_str()), (69, ""));
    assert!(stderr.contains("no gateway answers"), "{stderr}");
}

/// Writes a certificate for 127.0.0.1 that signed itself; gives it.
fn certificate(directory: &Path) -> Vec<u8> {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let key = directory.join("broker.key");
    fs::write(directory.join("broker.pem"), cert.pem()).unwrap();
    fs::write(&key, signing_key.serialize_pem()).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    cert.der().to_vec()
}

/// A TLS connection to the broker that trusts just this certificate.
fn secure(port: u16, certificate: &[u8]) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.to_vec().into()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut connection =
        ClientConnection::new(Arc::new(config), "127.0.0.1".try_into().unwrap()).map_err(io::Error::other)?;
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    connection.complete_io(&mut stream)?;
    Ok(StreamOwned::new(connection, stream))
}

#[test]
fn sighup_brings_new_certificates_and_drops_nobody_and_a_bad_file_changes_nothing() {
    let home = Home::new();
    let directory = home.directory.path();
    let first = certificate(directory);
    let file = directory.join("hearthlink.yaml");
    let tls = "tls: {certificate_file: broker.pem, key_file: broker.key}";
    let text = format!(
        "gateway: {{id: home, data_dir: data}}\nbroker: {{listeners: [{{address: \"127.0.0.1:{}\", {tls}}}]}}\n",
        home.broker
    );
    fs::write(&file, text).unwrap();
    let log = directory.join("log");
    let mut command = hearthlink(&["run", "--config", file.to_str().unwrap()]);
    let to_log = command.stderr(fs::File::create(&log).unwrap()).stdout(Stdio::null());
    let child = Running(to_log.spawn().unwrap());
    wait_for("the broker", || is_open(home.broker));
    let mut old = secure(home.broker, &first).unwrap();
    old.write_all(b"\x10\x0f\0\x04MQTT\x04\x02\0\x3c\0\x03old").unwrap();
    let mut answer = [0; 4];
    old.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [0x20, 2, 0, 0]);

    let hang_up = || {
        let process = child.0.id().to_string();
        assert!(Command::new("kill").args(["-HUP", &process]).status().unwrap().success());
    };
    let second = certificate(directory);
    assert!(secure(home.broker, &second).is_err(), "nobody said that it is there");
    hang_up();
    wait_for("the new certificate", || secure(home.broker, &second).is_ok());
    fs::write(directory.join("broker.pem"), "nothing").unwrap();
    hang_up();
    let said = || fs::read_to_string(&log).unwrap();
    wait_for("a word in the log", || said().contains("the old certificates stay"));
    assert!(said().contains("broker.pem") && said().contains("there is no certificate in it"), "{}", said());
    secure(home.broker, &second).unwrap();
    old.write_all(&[0xC0, 0]).unwrap();
    let mut answer = [0; 2];
    old.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [0xD0, 0], "the old client has noticed nothing");
}

#[test]
fn status_says_when_the_configuration_gives_it_nobody_to_ask() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.yaml");
    fs::write(&file, "gateway: {id: home}\n").unwrap();
    let (code, _, stderr) = output(&["status", "--config", file.to_str().unwrap()]);
    assert_eq!(code, 78);
    assert!(stderr.contains("no `web` section"), "{stderr}");
    let (code, ..) = output(&["status", "--url", "https://localhost"]);
    assert_eq!(code, 2);
}

#[test]
fn a_password_from_standard_input_becomes_a_hash_that_the_configuration_takes() {
    let mut child =
        hearthlink(&["hash-password"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"toast\n").unwrap();
    let hash = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    let home = Home::new();
    let path = home.directory.path().join("hearthlink.yaml");
    let users = format!("broker: {{users: [{{name: a, password_hash: \"{}\"}}]}}\n", hash.trim());
    fs::write(&path, format!("gateway: {{id: home}}\n{users}")).unwrap();
    assert_eq!(output(&["check", "--config", path.to_str().unwrap()]).0, 0, "{hash}");
}

/// `hearthlink user …` with a line on standard input.
fn user(config: &str, arguments: &[&str], line: &str) -> (i32, String, String) {
    let mut command = hearthlink(&[&["user"], arguments, &["--config", config]].concat());
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    // It may end without reading.
    let _ = child.stdin.take().unwrap().write_all(line.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn users_are_added_listed_and_removed_and_the_configuration_takes_them() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("hearthlink.yaml");
    // Not good before its first user is there.
    let text = "gateway: {id: home}\nbroker: {listeners: [{address: \"0.0.0.0:1883\"}]}\n";
    fs::write(&file, text).unwrap();
    let config = file.to_str().unwrap();
    let (code, _, stderr) = output(&["check", "--config", config]);
    assert!(code == 78 && stderr.contains("hearthlink user add NAME"), "{stderr}");

    let (code, stdout, stderr) = user(config, &["add", "anna", "--stdin"], "toast\n");
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("`anna` is added") && !format!("{stdout}{stderr}").contains("toast"), "{stdout}");
    let users = directory.path().join("users.yaml");
    assert_eq!(fs::metadata(&users).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(output(&["check", "--config", config]).0, 0);

    let by_hand = fs::read_to_string(&users).unwrap() + "    acl: {read: [\"home/#\"]} # hers\n";
    fs::write(&users, &by_hand).unwrap();
    fs::set_permissions(&users, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(user(config, &["add", "anna", "--stdin"], "burnt\n").1.contains("has a new password"));
    assert_eq!(user(config, &["add", "b: #\"'", "--stdin"], "toast\n").0, 0);
    let text = fs::read_to_string(&users).unwrap();
    assert!(text.contains("    acl: {read: [\"home/#\"]} # hers\n") && !text.contains("toast"), "{text}");
    assert_eq!(text.matches("argon2id").count(), 2, "{text}");
    assert_eq!(fs::metadata(&users).unwrap().permissions().mode() & 0o777, 0o600);
    let (_, stdout, _) = user(config, &["list"], "");
    let lines: Vec<&str> = stdout.lines().collect();
    assert!(
        lines[0].starts_with("anna  password, its own topics") && lines[1].starts_with("b: #\"'  "),
        "{stdout}"
    );

    assert_eq!(user(config, &["remove", "anna"], "").0, 0);
    assert_eq!(user(config, &["list"], "").1.lines().count(), 1);
    assert_eq!(output(&["check", "--config", config]).0, 0);
    for (arguments, line, said) in [
        (&["remove", "anna"][..], "", "no user `anna`"),
        (&["add", "anna", "--stdin"], "\n", "the password is empty"),
        (&["add", "", "--stdin"], "toast\n", "at least one character"),
    ] {
        let before = fs::read_to_string(&users).unwrap();
        let (code, _, stderr) = user(config, arguments, line);
        assert!(code == 1 && stderr.contains(said), "{code} {stderr}");
        assert_eq!(fs::read_to_string(&users).unwrap(), before);
    }
    let left = fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(left, 2, "nothing is left beside the two files");

    fs::write(directory.path().join("users.yaml.new"), "").unwrap();
    let (code, _, stderr) = user(config, &["remove", "b: #\"'"], "");
    assert!(code == 1 && stderr.contains("another `hearthlink user` is at work"), "{stderr}");
}

#[test]
fn a_user_of_the_configuration_is_not_added_a_second_time() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("hearthlink.yaml");
    fs::write(&file, "gateway: {id: home}\nbroker: {users: [{name: a, certificate_name: a}]}\n").unwrap();
    let (code, _, stderr) = user(file.to_str().unwrap(), &["add", "a", "--stdin"], "toast\n");
    assert!(code == 1 && stderr.contains("stands in `broker.users`"), "{stderr}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn the_example_and_every_file_named_on_the_command_line_are_found() {
    let (code, stdout, _) = output(&["--version"]);
    assert_eq!((code, stdout.trim()), (0, concat!("hearthlink ", env!("CARGO_PKG_VERSION"))));
    let (code, _, stderr) = output(&["check", "--config", "/nowhere/hearthlink.yaml"]);
    assert_eq!(code, 78);
    assert!(stderr.contains("/nowhere/hearthlink.yaml") && stderr.contains("--config FILE"), "{stderr}");
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.example.yaml");
    let (_, _, stderr) = output(&["check", "--config", example.to_str().unwrap()]);
    // Nothing but the files that it names, which are not there.
    assert_eq!(stderr.matches("×").count(), stderr.matches("there is no file").count(), "{stderr}");
}
