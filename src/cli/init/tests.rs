//! Every combination of answers makes a configuration that passes the check, and so does every commented example.

use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;

use super::{
    super::question::Dialogue,
    offers::{Offer, Taking},
    *,
};
use crate::devices::{
    ble::BleAddress,
    survey::{FoundChip, FoundSensor},
};

fn sensor(kind: &'static str, last: u8, is_plain: bool) -> FoundSensor {
    let name = Some("Bad: `#` \"name\" {%".to_owned());
    FoundSensor { address: BleAddress([0xa4, 0xc1, 0x38, 1, 2, last]), kind, name, is_plain }
}

fn chip(number: u8, label: &str, is_of_pi: bool) -> FoundChip {
    let path = PathBuf::from(format!("/dev/gpiochip{number}"));
    FoundChip { path, label: label.to_owned(), lines: 54, is_of_pi }
}

/// A machine on which everything hangs, with names that nobody should give.
fn full() -> Survey {
    Survey {
        serial_ports: ["usb-A: #1 \"x\" {y}", "usb-B"]
            .map(|name| Path::new("/dev/serial/by-id").join(name))
            .to_vec(),
        chips: vec![chip(0, "pinctrl-bcm2711", true), chip(1, "twin: #", false), chip(2, "twin: #", false)],
        adapters: vec!["hci0".to_owned()],
        sensors: vec![
            sensor("bthome", 3, true),
            sensor("bthome", 3, true),
            sensor("atc", 4, true),
            sensor("mibeacon", 5, false),
            sensor("ruuvi", 6, true),
        ],
    }
}

/// Any answers; the offers are those of [`full`].
fn any_answers() -> impl Strategy<Value = (Answers, bool)> {
    let names = prop_oneof![Just("null"), Just("1e5"), Just("-"), Just("true"), Just("home"), Just("007")];
    let urls = prop_oneof![
        Just("wss://broker.example.org/mqtt"),
        Just("mqtts://broker.example.org"),
        Just("WSS://[2001:db8::1]:8443/a%20b?c=d&e")
    ];
    let logins =
        prop_oneof![Just(Login::Certificate), Just(Login::Password), Just(Login::Token), Just(Login::None)];
    let user = prop_oneof![Just("home"), Just("a: #\"b\\"), Just("ü {%")];
    let line = proptest::option::of((urls, logins, user));
    let possible: Vec<usize> = places(|offer| offer.taking != Taking::ByHand);
    let devices = proptest::sample::subsequence(possible.clone(), 0..=possible.len());
    (names, line, devices, 1..=u16::MAX, any::<bool>()).prop_map(|(name, line, devices, port, has_files)| {
        let name = GatewayId::parse(name).unwrap();
        let line = line.map(|(url, login, username)| Line {
            url: url.to_owned(),
            login,
            username: username.to_owned(),
            stem: name.to_string(),
        });
        (Answers { name, line, devices, port }, has_files)
    })
}

fn places(is_meant: impl Fn(&Offer) -> bool) -> Vec<usize> {
    let offers = offers::offers(&full(), true);
    offers.iter().enumerate().filter(|(_, offer)| is_meant(offer)).map(|(place, _)| place).collect()
}

/// A file that only its owner reads.
fn put(path: &Path) {
    fs::write(path, "something\n").unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn write_to(directory: &Path, answers: Answers) -> anyhow::Result<PathBuf> {
    let file = directory.join("home.yaml");
    let survey = full();
    let broker_port = if answers.port == BROKER_PORT { BROKER_PORT + 1 } else { BROKER_PORT };
    let offers = offers::offers(&survey, true);
    let draft = Draft { file: &file, answers, offers, adapters: &survey.adapters, broker_port };
    draft.put(false, None)?;
    Ok(file)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_combination_of_answers_makes_a_configuration_that_passes_the_check((answers, has_files) in any_answers()) {
        let directory = tempfile::tempdir().unwrap();
        if let Some(line) = answers.line.as_ref().filter(|_| has_files) {
            line.files().iter().for_each(|file| put(&directory.path().join(file)));
        }
        let file = write_to(directory.path(), answers.clone()).unwrap();
        let (config, _) = configuration::examine(&file, Hardware::Real).unwrap();
        prop_assert_eq!(&config.gateway.id, &answers.name);
        prop_assert_eq!(config.web.unwrap().address.port(), answers.port);
        prop_assert_eq!(config.devices.len(), answers.devices.len());
        let is_dialled = answers.line.as_ref().is_some_and(|line| has_files || line.files().is_empty());
        prop_assert_eq!(config.cloud.is_some(), is_dialled);
        if let (Some(cloud), Some(line)) = (config.cloud, &answers.line) {
            prop_assert_eq!(cloud.username, (line.login == Login::Password).then(|| line.username.clone()));
            prop_assert_eq!(cloud.key_file.is_some(), line.login == Login::Certificate);
            prop_assert_eq!(cloud.token_file.is_some(), line.login == Login::Token);
        }
        prop_assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        let left: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        prop_assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(".new")), "{:?}", left);
    }
}

#[test]
fn every_example_in_the_comments_is_good_once_it_is_taken_out_of_them() {
    let directory = tempfile::tempdir().unwrap();
    let name = GatewayId::parse("home").unwrap();
    let url = "wss://broker.example.org".to_owned();
    let line = Line { url, login: Login::Certificate, username: String::new(), stem: "home".to_owned() };
    let answers = Answers { name, line: Some(line.clone()), devices: Vec::new(), port: 8080 };
    let file = write_to(directory.path(), answers).unwrap();
    let text = fs::read_to_string(&file).unwrap();
    // What stands for one of a kind, where the machine has two that cannot both be had.
    let devices = text.matches("# - id: ").count();
    assert_eq!(devices, offers::offers(&full(), true).len(), "{text}");
    for file in line.files().iter().map(String::as_str).chain(["bind-key"]) {
        put(&directory.path().join(file));
    }
    fs::write(directory.path().join("bind-key"), "231d39c1d7cc1ab1aee224cd096db932\n").unwrap();
    let uncommented = text.replace("devices: []", "devices:").replace("  # - id: ", "  - id: ");
    let uncommented =
        uncommented.replace("  #   kind: ", "    kind: ").replace("  #   options: ", "    options: ");
    let mut cloud = false;
    let lines = uncommented.lines().map(|line| {
        cloud = line == "# cloud:" || (cloud && !line.is_empty());
        if cloud { line.strip_prefix("# ").unwrap_or(line) } else { line }
    });
    let lines: Vec<&str> = lines.collect();
    fs::write(&file, lines.join("\n")).unwrap();
    let (config, _) = configuration::examine(&file, Hardware::Real)
        .unwrap_or_else(|error| panic!("{}", error.render(false)));
    assert_eq!(config.devices.len(), devices);
    assert_eq!(config.cloud.unwrap().certificate_file.unwrap(), directory.path().join("home.pem"));
}

#[test]
fn what_would_not_be_good_is_not_written_and_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    // Its own broker would be its cloud.
    let url = format!("wss://localhost:{BROKER_PORT}");
    let line = Line { url, login: Login::None, username: String::new(), stem: "home".to_owned() };
    let name = GatewayId::parse("home").unwrap();
    let answers = Answers { name, line: Some(line), devices: Vec::new(), port: 8080 };
    let error = write_to(directory.path(), answers).unwrap_err();
    assert!(error.to_string().contains("is not written"), "{error}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

fn no_flags() -> Arguments {
    Arguments {
        config: None,
        name: None,
        cloud: None,
        login: None,
        username: None,
        devices: None,
        port: None,
        yes: false,
        force: false,
        no_scan: true,
    }
}

#[test]
fn five_answers_of_a_person_are_understood_and_enter_takes_what_is_in_brackets() {
    let defaults = Defaults { name: "attic".to_owned(), port: 8081 };
    let offers = |wants| offers::offers(&Survey::default(), wants);
    let mut shown = Vec::new();
    let answered = |text: &'static str, shown: &mut Vec<u8>, arguments: &Arguments| {
        answers::by_questions(arguments, &defaults, &offers, &mut Dialogue::new(text.as_bytes(), shown))
    };
    let all = answered("\n\n\n\n", &mut shown, &no_flags()).unwrap();
    assert_eq!((all.name.as_str(), &all.line, all.port), ("attic", &None, 8081));
    assert_eq!(all.devices, [0, 1], "without a cloud there is something to look at");
    let some = "kitchen\nhttp://a\nwss://a\npassword\nme\n9\nsensor\n80800\n9090\n";
    let some = answered(some, &mut shown, &no_flags()).unwrap();
    let line = some.line.unwrap();
    assert_eq!((line.url.as_str(), line.login, line.username.as_str()), ("wss://a", Login::Password, "me"));
    assert_eq!((some.devices, some.port), (vec![0], 9090));
    let shown = String::from_utf8(shown).unwrap();
    for number in 1..=5 {
        assert!(shown.contains(&format!("{number}. ")), "{shown}");
    }
    for complaint in ["`http://a` does not begin", "`9` is none of them", "`80800` is no port"] {
        assert!(shown.contains(complaint), "{shown}");
    }
    // What a flag says is not asked.
    let flags =
        Arguments { name: GatewayId::parse("a").ok(), cloud: Some(None), port: Some(1), ..no_flags() };
    let answers = answered("none\n", &mut Vec::new(), &flags).unwrap();
    assert_eq!((answers.name.as_str(), answers.devices.len(), answers.port), ("a", 0, 1));
    assert_eq!(answers::open_questions(&no_flags()), ["--name", "--cloud", "--login", "--devices", "--port"]);
    assert_eq!(answers::open_questions(&flags), ["--devices"]);
}
