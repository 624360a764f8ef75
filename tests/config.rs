//! Bad configurations: each is refused with its exact place and its remedy.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's panic is its verdict; clippy spares only `#[test]` functions"
)]

use std::{collections::HashMap, fs, os::unix::fs::PermissionsExt, path::Path};

use hearthlink::config::{Config, ConfigError, Finding, Loader, Transport, Values};
use tempfile::TempDir;

/// A directory with the files that the configurations below name.
fn home() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let files = [
        ("ca.pem", 0o644),
        ("cert.pem", 0o644),
        ("key.pem", 0o600),
        ("password", 0o600),
        ("open.pem", 0o644),
        ("group.pem", 0o640),
    ];
    for (name, mode) in files {
        let path = directory.path().join(name);
        fs::write(&path, "something").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::write(directory.path().join("empty"), "").unwrap();
    directory
}

fn load_with(directory: &Path, text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let path = directory.join("hearthlink.yaml");
    fs::write(&path, text).unwrap();
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Loader::new(&path).environment(variables).load()
}

fn load(directory: &Path, text: &str) -> Result<Config, ConfigError> {
    load_with(directory, text, &[])
}

/// Asserts that `text` has exactly these problems: line, column, a part of what is wrong, a part of the remedy.
#[track_caller]
fn refused(text: &str, expected: &[(u64, u64, &str, &str)]) {
    let home = home();
    let error = load(home.path(), text).expect_err(text);
    let found = error.problems();
    assert_eq!(found.len(), expected.len(), "{text}\n{error}");
    for (problem, (line, column, what, remedy)) in found.iter().zip(expected) {
        assert_eq!(problem.line_and_column(), Some((*line, *column)), "{text}\n{error}");
        assert!(problem.what().contains(what), "`{what}` is not in: {}", problem.what());
        let said = problem.remedy().unwrap_or_default();
        assert!(said.contains(remedy), "`{remedy}` is not in: {said} ({})", problem.what());
    }
}

#[test]
fn a_file_that_is_no_yaml_is_refused_where_it_goes_wrong() {
    refused("", &[(1, 1, "the file is empty", "gateway: { id: home }")]);
    refused("# nothing but this\n", &[(1, 1, "the file is empty", "config.example.yaml")]);
    refused("just a text\n", &[(1, 1, "a map of sections", "gateway: { id: home }")]);
    refused("gateway: {id: home\n", &[(1, 10, "unclosed bracket", "indentation")]);
    refused("gateway:\n  id: x\n id: y\n", &[(3, 2, "did not find expected key", "indentation")]);
    refused("gateway: {id: x}\ngateway: {id: y}\n", &[(2, 1, "`gateway` is there twice", "under one key")]);
    refused("gateway: {id: x}\n---\nweb: {}\n", &[(3, 1, "second document", "config.d")]);
}

#[test]
fn unknown_keys_and_words_are_refused_with_what_was_probably_meant() {
    refused("gateway: {id: x}\nbrokers: {}\n", &[(2, 1, "unknown key `brokers`", "did you mean `broker`?")]);
    refused("gateway:\n  id: x\n  datadir: /tmp\n", &[(3, 3, "unknown key `datadir`", "`data_dir`")]);
    refused(
        "gateway: {id: x}\nweb.address: 127.0.0.1:1\n",
        &[(2, 1, "unknown key `web.address`", "write `web:` and, below it")],
    );
    refused(
        "gateway: {id: x}\nstore: {colour: red}\n",
        &[(2, 9, "unknown key `colour`", "known here: max_size, max_age, when_full")],
    );
    refused(
        "gateway: {id: x}\nbroker:\n  listeners:\n    - adress: 127.0.0.1:1883\n      transport: websockets\n",
        &[(4, 7, "unknown key `adress`", "`address`"), (5, 18, "unknown word `websockets`", "`websocket`")],
    );
    refused(
        "gateway: {id: x}\nbroker: {users: [{name: a, password: secret, certificate_name: b}]}\n",
        &[(2, 28, "unknown key `password`", "`password_hash`")],
    );
}

#[test]
fn missing_keys_are_named_at_the_place_where_they_belong() {
    refused("web: {}\n", &[(1, 1, "`gateway` is missing", "add `gateway:`")]);
    refused("gateway: {}\n", &[(1, 10, "`id` is missing", "add `id:`")]);
    refused(
        "gateway:\ncloud: {prefix: a}\n",
        &[(1, 8, "`id` is missing", ""), (2, 8, "`url` is missing", "")],
    );
    refused("gateway: {id: x}\ndevices:\n  - id: a\n", &[(3, 5, "`kind` is missing", "add `kind:`")]);
}

#[test]
fn values_of_another_type_are_refused_with_the_type_that_is_wanted() {
    refused("gateway: {id: 7}\n", &[(1, 15, "expected a text, found a number", "quotes")]);
    refused("gateway:\n  id x\n", &[(2, 3, "a section with keys, found a text", "`key: value`")]);
    refused(
        "gateway: {id: x}\ndevices: {a: b}\n",
        &[(2, 10, "expected a list", "begin each entry with `- `")],
    );
    refused("gateway: {id: x}\nbroker: []\n", &[(2, 9, "a section with keys, found a list", "")]);
    refused(
        "gateway: {id: x}\nbroker: {limits: {inflight: many}}\n",
        &[(2, 29, "0 to 65535, found a text", "")],
    );
    refused("gateway: {id: x}\nbroker: {limits: {inflight: 70000}}\n", &[(2, 29, "0 to 65535", "")]);
    refused("gateway: {id: x}\nstore: {max_age: 10}\n", &[(2, 18, "`10` has no unit", "`30s`")]);
    refused("gateway: {id: x}\nstore: {max_age: 7 moons}\n", &[(2, 18, "not a duration", "`7d`")]);
    refused("gateway: {id: x}\nstore: {max_size: much}\n", &[(2, 19, "not a size", "`4 MiB`")]);
    refused(
        "gateway: {id: x}\nweb: {address: localhost:80}\n",
        &[(2, 16, "not an IP address", "127.0.0.1:80")],
    );
    refused("gateway: {id: x}\nweb: {address: 127.0.0.1}\n", &[(2, 16, "not an IP address", "add the port")]);
    refused("gateway: {id: a/b}\n", &[(1, 15, "`a/b` is not an id", "")]);
}

#[test]
fn the_address_of_the_cloud_is_checked_and_its_credentials_are_never_shown() {
    let with = |url: &str| format!("gateway: {{id: x}}\ncloud: {{url: \"{url}\"}}\n");
    for (url, what) in [
        ("mqtt://a", "wss://"),
        ("me:hunter2@a", "user name and password"),
        ("broker.example.org", "wss://"),
        ("wss://", "host"),
        ("wss://a:0", "port"),
        ("wss://a/b c", "path"),
        ("wss://me:hunter2@a", "cloud.password_file"),
        ("https://me:hunter2@a", "user name and password"),
    ] {
        let home = home();
        let error = load(home.path(), &with(url)).expect_err(url);
        assert_eq!(error.problems().len(), 1, "{error}");
        assert_eq!(error.problems()[0].line_and_column(), Some((2, 14)), "{error}");
        assert!(error.to_string().contains(what), "`{what}` is not in {error}");
        assert!(!format!("{error}{error:?}{}", error.render(true)).contains("hunter2"), "{error}");
    }
}

#[test]
fn files_are_there_and_secrets_are_their_owners_alone() {
    let with = |rest: &str| format!("gateway: {{id: x}}\ncloud:\n  url: wss://a\n{rest}");
    refused(&with("  ca_file: no.pem\n"), &[(4, 12, "there is no file", "check the path")]);
    refused(&with("  ca_file: empty\n"), &[(4, 12, "is empty", "")]);
    refused(&with("  ca_file: .\n"), &[(4, 12, "is a directory", "")]);
    for key in ["open.pem", "group.pem"] {
        let text = with(&format!("  certificate_file: cert.pem\n  key_file: {key}\n"));
        refused(&text, &[(5, 13, "others than its owner", "run `chmod 600 ")]);
    }
    refused(&with("  username: a\n  password_file: open.pem\n"), &[(5, 18, "(mode 0644)", "chmod 600")]);
    refused(&with("  certificate_file: cert.pem\n"), &[(4, 21, "without key_file", "add `key_file:`")]);
    refused(&with("  key_file: key.pem\n"), &[(4, 13, "without certificate_file", "`certificate_file:`")]);
    refused(&with("  password_file: password\n"), &[(4, 18, "without username", "add `username:`")]);
    refused(
        "gateway: {id: x}\nbroker: {listeners: [{address: 127.0.0.1:1, tls: {certificate_file: no, key_file: open.pem}}]}\n",
        &[(2, 69, "there is no file", ""), (2, 83, "others than its owner", "chmod 600")],
    );
}

#[test]
fn nobody_comes_in_from_the_house_without_a_password() {
    let with = |listener: &str| format!("gateway: {{id: x}}\nbroker:\n  listeners:\n    - {listener}\n");
    refused(
        &with("{address: 0.0.0.0:1883, anonymous: true}"),
        &[(4, 42, "without a password", "broker.users")],
    );
    refused(
        &with("{address: \"[::]:1883\"}"),
        &[(4, 17, "nobody could connect", "hearthlink user add NAME")],
    );
    refused(&with("{address: 127.0.0.1:1883, anonymous: false}"), &[(4, 17, "nobody could connect", "")]);
    let two = "{address: 127.0.0.1:1883}\n    - {address: 127.0.0.1:1883, transport: websocket}";
    refused(&with(two), &[(5, 17, "127.0.0.1:1883 already", "another port")]);
    let users = "  users:\n    - {name: a}\n    - {name: a, password_hash: \"hunter2\"}\n    - {name: \"\", certificate_name: b}\n";
    refused(
        &format!("gateway: {{id: x}}\nbroker:\n{users}"),
        &[
            (4, 7, "no way to prove", "hash-password"),
            (5, 14, "`a` is there twice", ""),
            (5, 32, "not an Argon2 hash", "hearthlink hash-password"),
            (6, 14, "at least one character", ""),
            (6, 36, "no listener asks", ""),
        ],
    );
    refused(
        "gateway: {id: x}\nweb: {address: 0.0.0.0:8080}\n",
        &[(2, 16, "could read the status page", "password_file")],
    );
    refused(
        "gateway: {id: x}\nweb: {hosts: [\"a:80\"]}\n",
        &[(2, 15, "`a:80` is no host name", "hearthlink.local")],
    );
    refused(
        "gateway: {id: x}\nweb: {password_file: none}\n",
        &[(2, 22, "there is no file", "check the path")],
    );
    refused("gateway: {id: x}\nweb: {address: 127.0.0.1:1883}\n", &[(2, 16, "a listener of the broker", "")]);
}

#[test]
fn users_of_the_users_file_stand_beside_the_others_and_keep_their_places() {
    let home = home();
    let file = home.path().join("users.yaml");
    let text = "gateway: {id: x}\nbroker: {users: [{name: a, certificate_name: a}]}\n";
    let entry = |name: &str| {
        format!(
            "users:\n  - name: {name}\n    password_hash: \"$argon2id$v=19$m=8,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$8iEyHQ5QZPhhGcTQpvqYvQ\"\n"
        )
    };
    fs::write(&file, entry("b")).unwrap();
    let only =
        load(home.path(), "gateway: {id: x}\nbroker: {listeners: [{address: \"0.0.0.0:1883\"}]}\n").unwrap();
    assert_eq!(only.broker.users[0].name, "b");
    assert_eq!(load(home.path(), "gateway: {id: x}\n").unwrap().broker.users.len(), 1);
    for (written, place, what) in [
        (entry("a"), "users.yaml:2:11", "`a` is there twice"),
        ("users:\n  - name: c\n".to_owned(), "users.yaml:2:5", "no way to prove"),
        ("users:\n  - nam: c\n".to_owned(), "users.yaml:2:5", "unknown key `nam`"),
        ("user: []\n".to_owned(), "users.yaml:1:1", "unknown key `user`"),
        ("users: {a: b}\n".to_owned(), "users.yaml:1:8", "expected a list"),
        ("users: [\n".to_owned(), "users.yaml:1:8", "unclosed"),
    ] {
        fs::write(&file, &written).unwrap();
        let error = load(home.path(), text).unwrap_err().to_string();
        let told = error.lines().find(|line| line.contains(place)).unwrap_or_default();
        assert!(told.contains(what), "{written}\n{error}");
    }
    // Nobody in it: only the certificate that no listener asks for is wrong.
    fs::write(&file, "# users:\n").unwrap();
    assert_eq!(load(home.path(), text).unwrap_err().problems().len(), 1);
}

#[test]
fn permissions_are_filters_that_somebody_can_have() {
    let hash = "$argon2id$v=19$m=8,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$8iEyHQ5QZPhhGcTQpvqYvQ";
    let with = |acl: &str| {
        format!(
            "gateway: {{id: x}}\nbroker:\n  users:\n    - {{name: a, password_hash: \"{hash}\", acl: {acl}}}\n"
        )
    };
    let at = with("").lines().last().unwrap().find("acl: ").unwrap() as u64 + 6;
    refused(&with("{read: [a/#/b]}"), &[(4, at + 8, "`#` must be the last", "")]);
    refused(&with("{read: [$share/g/a]}"), &[(4, at + 8, "no `$share/…`", "")]);
    refused(&with("{reed: [a]}"), &[(4, at + 1, "unknown key `reed`", "`read`")]);
    refused(&with("{write: [home/bridge/x]}"), &[(4, at + 9, "nobody but the gateway", "take it out")]);
    refused(&with("{write: [\"#\", $SYS/x]}"), &[(4, at + 14, "nobody but the gateway", "")]);
    refused(&with("{}"), &[(4, at, "neither read nor write", "without `acl`")]);
    let home = home();
    let config = load(home.path(), &with("{read: [\"users/%u/#\", $SYS/#], write: [dev-%c/+]}")).unwrap();
    let acl = config.broker.users[0].acl.as_ref().unwrap();
    assert_eq!((acl.read[0].as_str(), acl.write[0].as_str()), ("users/%u/#", "dev-%c/+"));
    let listener = |more: &str| {
        format!(
            "gateway: {{id: x}}\nbroker: {{listeners: [{{address: \"127.0.0.1:1\", {more}}}], users: [{{name: a, password_hash: \"{hash}\"}}]}}\n"
        )
    };
    let anonymous = listener("acl: {read: [home/#]}");
    assert_eq!(load(home.path(), &anonymous).unwrap().broker.listeners[0].acl.as_ref().unwrap().write, []);
    refused(&listener("acl: {read: [a], write: [a/%u]}"), &[(2, 72, "no `%u`", "`%c`")]);
    refused(&listener("anonymous: false, acl: {read: [a]}"), &[(2, 70, "takes none", "`broker.users`")]);
}

#[test]
fn origins_are_what_browsers_call_them() {
    let with = |rest: &str| {
        format!("gateway: {{id: x}}\nbroker:\n  listeners:\n    - {{address: \"127.0.0.1:1\", {rest}}}\n")
    };
    refused(&with("origins: [\"https://a\"]"), &[(4, 41, "only a WebSocket listener", "websocket")]);
    refused(
        &with("transport: websocket, origins: [\"https://a:1\", panel.home, \"https://a/\"]"),
        &[(4, 79, "`panel.home` is not", "without a path"), (4, 91, "`https://a/` is not", "")],
    );
}

#[test]
fn devices_are_unique_and_the_allow_list_knows_them() {
    let devices =
        "devices:\n  - {id: a, kind: toaster}\n  - {id: a, kind: lan}\n  - {id: bridge, kind: lan}\n";
    refused(
        &format!("gateway: {{id: x}}\n{devices}"),
        &[(4, 10, "`a` is used twice", "entry 1"), (5, 10, "`bridge`", "another id")],
    );
    let with = |allow: &str| {
        format!(
            "gateway: {{id: x}}\ndevices: [{{id: toaster, kind: toaster}}]\ncommands:\n  allow:\n    - {allow}\n"
        )
    };
    refused(&with("{device: toster, set: {state: any}}"), &[(5, 16, "no device `toster`", "`toaster`")]);
    refused(&with("{device: toaster, set: {}}"), &[(5, 30, "allows nothing", "")]);
    refused(&with("{device: toaster, set: {state: ON}}"), &[(5, 38, "`ON` is neither", "[\"ON\"]")]);
    refused(&with("{device: toaster, set: {state: []}}"), &[(5, 38, "allows nothing", "")]);
    refused(&with("{device: toaster, set: {b: {min: 3, max: 1}}}"), &[(5, 34, "no number lies", "swap")]);
    refused(&with("{device: toaster, set: {b: {min: 3}}}"), &[(5, 34, "`max` is missing", "add `max:`")]);
    refused("gateway: {id: x}\ncommands: {max_age: 0s}\n", &[(2, 21, "out of range", "1s")]);
}

#[test]
fn routes_that_would_loop_or_speak_for_the_gateway_are_refused() {
    let with = |routes: &str| {
        format!(
            "gateway: {{id: x}}\ndevices: [{{id: lamp, kind: lan}}]\ncloud: {{url: \"wss://a\"}}\nroutes:\n{routes}"
        )
    };
    let all = "  - local: \"#\"\n";
    refused(&with(all), &[(5, 5, "would loop: `hearthlink/x/#`", "{prefix}/{gateway}/local/{topic}")]);
    refused(&with("  - local: +/set\n"), &[(5, 5, "would loop", "")]);
    refused(&with("  - local: lamp/#\n"), &[(5, 5, "would loop", "")]);
    refused(&with("  - local: lamp/result\n"), &[(5, 5, "in the gateway's own name", "")]);
    refused(&with("  - local: a\n    cloud: hearthlink/x/bridge/fence\n"), &[(6, 12, "own name", "")]);
    refused(
        &with(
            "  - local: a/#\n    cloud: \"{prefix}/x/{topic}/set\"\n  - local: b\n    cloud: \"{prefix}/x/{topic}/set\"\n",
        ),
        &[(8, 12, "would loop", "")],
    );
    refused(&with("  - local: a/#\n  - local: a/b\n"), &[(6, 12, "never used", "put this route before")]);
    refused(&with("  - local: a/#b\n"), &[(5, 12, "`#` must be the last", "")]);
    refused(
        &with("  - local: a\n    cloud: \"{device}/a\"\n"),
        &[(6, 12, "`{device}` means nothing", "`{topic}`")],
    );
    refused(&with("  - local: a\n    cloud: \"x{topic}\"\n"), &[(6, 12, "between slashes", "")]);
    refused(&with("  - local: a\n    cloud: \"a/{topic\"\n"), &[(6, 12, "brace", "")]);
    let home = home();
    for good in [
        "  - local: sensors/#\n",
        "  - local: \"#\"\n    cloud: \"{prefix}/{gateway}/local/{topic}\"\n",
        "  - local: \"#\"\n    cloud: elsewhere/{topic}\n",
    ] {
        assert!(load(home.path(), &with(good)).is_ok(), "{good}");
    }
}

#[test]
fn a_prefix_of_home_assistant_that_is_not_its_own_is_refused() {
    let with = |prefix: &str| format!("gateway: {{id: x}}\nhome_assistant: {{prefix: {prefix}}}\n");
    refused(&with("home/x"), &[(2, 26, "below `home`", "`homeassistant`")]);
    refused(&with("$SYS"), &[(2, 26, "the broker's own", "")]);
    refused(&with("a/+"), &[(2, 26, "", "")]);
    refused("gateway: {id: x}\nhome_assistant: {enable: true}\n", &[(2, 18, "`enable`", "`enabled`")]);
}

#[test]
fn names_that_homie_cannot_tell_apart_are_refused_only_where_it_is_spoken() {
    let with = |homie: &str| {
        format!(
            "gateway: {{id: Home}}\nhomie: {homie}\ndevices:\n  - {{id: lamp_1, kind: thermometer}}\n  \
             - {{id: Lamp-1, kind: thermometer}}\n  - {{id: home, kind: thermometer}}\n  - {{id: _, kind: thermometer}}\n"
        )
    };
    refused(
        &with("{enabled: true}"),
        &[
            (5, 10, "the device `lamp_1` and the device `Lamp-1` would both be `lamp-1`", "another id"),
            (6, 10, "the gateway `Home` and the device `home` would both be `home`", ""),
            (7, 10, "`_` has neither a letter nor a digit", ""),
        ],
    );
    let home = tempfile::tempdir().unwrap();
    assert!(load(home.path(), &with("{enabled: false}")).is_ok());
    for domain in ["home", "a/b", "Homie", "$homie"] {
        let text = format!("gateway: {{id: x}}\nhomie: {{enabled: true, domain: {domain}}}\n");
        refused(&text, &[(2, 32, "", "write `homie`")]);
    }
    let route = "gateway: {id: x}\nhomie: {enabled: true}\ncloud: {url: \"wss://a\"}\nroutes_in:\n  \
                 - {cloud: \"news/#\", local: \"homie/5/{topic}\"}\n";
    refused(route, &[(5, 30, "`homie/5/#`", "")]);
}

#[test]
fn where_senders_are_asked_for_their_topics_are_commands_too() {
    let with = |allow: &str, route: &str| {
        format!(
            "gateway: {{id: x}}\ndevices: [{{id: lamp, kind: lan}}]\ncloud: {{url: \"wss://a\"}}\n\
             commands: {{allow: [{{device: lamp, set: {{state: any}}{allow}}}]}}\n{route}\n"
        )
    };
    let (out, inwards) = ("routes: [{local: +/set/now}]", "routes_in: [{cloud: \"{prefix}/x/+/set/+\"}]");
    refused(&with("", out), &[(5, 10, "own name", "")]);
    refused(&with(", senders: [anna]", out), &[(5, 10, "would loop", "")]);
    refused(&with(", senders: [anna]", inwards), &[(5, 21, "past the allow-list", "")]);
}

#[test]
fn routes_from_the_cloud_reach_nothing_that_is_the_gateways_or_a_commands() {
    let with = |route: &str| {
        format!(
            "gateway: {{id: x}}\ndevices: [{{id: lamp, kind: lan}}]\ncloud: {{url: \"wss://a\"}}\n\
             routes: [{{local: up/#}}]\nroutes_in:\n  - {route}\n"
        )
    };
    for (route, column, what, remedy) in [
        ("{cloud: \"{prefix}/{gateway}/#\"}", 13, "past the allow-list", "a tree of its own"),
        ("{cloud: \"{prefix}/+/lamp/set\"}", 13, "past the allow-list", ""),
        ("{cloud: \"{prefix}/{gateway}/lamp/x\"}", 13, "bring back", ""),
        ("{cloud: \"+/x/bridge/fence\"}", 13, "bring back", ""),
        ("{cloud: \"$share/g/news\"}", 13, "cannot share", ""),
        (
            "{cloud: \"{prefix}/{gateway}/up/+\"}",
            13,
            "would loop: `hearthlink/x/up/#`, where entry 1",
            "narrower",
        ),
        ("{cloud: news/#, local: \"home/{1}\"}", 28, "past the allow-list", "another tree"),
        ("{cloud: news/+, local: \"home/bridge/{1}/x\"}", 28, "own name", ""),
        ("{cloud: news/+, local: \"homeassistant/switch/{1}/config\"}", 28, "own name", "another tree"),
        ("{cloud: news/+, local: \"home/lamp/{1}/x\"}", 28, "own name", ""),
        ("{cloud: news/+, local: \"$SYS/{1}\"}", 28, "`$`", ""),
        ("{cloud: news/+, local: \"x/{2}\"}", 28, "`{2}` stands for nothing", "count"),
        ("{cloud: news/#, local: \"x/n{1}\"}", 28, "between slashes", ""),
        ("{cloud: \"{topic}/x\"}", 13, "`{topic}` means nothing", ""),
    ] {
        refused(&with(route), &[(6, column, what, remedy)]);
    }
    let twice = with("{cloud: news/+/a}\n  - {cloud: news/b/#}");
    refused(&twice, &[(7, 13, "(entry 1) share topics", "narrower")]);
    refused("gateway: {id: x}\nroutes_in: [{cloud: a}]\n", &[(2, 12, "no cloud", "")]);
    let home = home();
    for good in [
        "{cloud: \"{prefix}/{gateway}/news/#\"}",
        "{cloud: \"all/#\", local: \"cloud/{1}\", qos: 0, retain: false}",
    ] {
        assert!(load(home.path(), &with(good)).is_ok(), "{good}");
    }
}

#[test]
fn a_qos_that_the_line_does_not_know_is_refused() {
    let with = |qos: &str| format!("gateway: {{id: x}}\nroutes:\n  - local: a/#\n    qos: {qos}\n");
    for qos in ["0", "2"] {
        refused(&with(qos), &[(4, 10, "the line sends with QoS 1 only", "leave it out")]);
    }
    assert!(load(home().path(), &with("1")).is_ok());
}

#[test]
fn what_a_queue_cannot_keep_is_refused() {
    let with = |queue: &str| format!("gateway: {{id: x}}\nroutes:\n  - local: a/#\n    queue: {queue}\n");
    for (queue, column, what) in [
        ("{keep: last}", 19, "`last` is nothing that can be kept"),
        ("{keep: {every: 1ms}}", 19, "more often than once a second"),
        ("{keep: {evry: 60s}}", 20, "unknown key `evry`"),
        ("{max_age: 0s}", 22, "out of range"),
        ("{max_size: 1 KiB}", 23, "too small"),
        ("{live: true}", 13, "unknown key `live`"),
    ] {
        refused(&with(queue), &[(4, column, what, "")]);
    }
    refused("gateway: {id: x}\nstore: {states: {max_size: 1}}\n", &[(2, 28, "too small", "4 KiB")]);
    refused("gateway: {id: x}\nstore: {flash_budget: 500}\n", &[(2, 23, "no day's writing", "1 MiB")]);
    refused("gateway: {id: x}\nstore: {commit_floor: 4s}\n", &[(2, 23, "out of range", "3s")]);
    refused("gateway: {id: x}\ncloud: {url: \"wss://a\", backlog_rate: 0}\n", &[(2, 39, "out of range", "")]);
}

#[test]
fn every_problem_is_told_in_one_run_and_none_of_our_own_making() {
    let text = "gateway: {id: \"a b\"}\ncloud: {url: nowhere, ca_file: no.pem}\ndevices:\n  - {id: x y, kind: lan}\n\
                commands: {allow: [{device: lamp, set: {state: any}}]}\nweb: {adress: 1}\nlog: {level: loud}\n";
    refused(
        text,
        &[
            (1, 15, "`a b` is not an id", ""),
            (2, 14, "", "wss://"),
            (2, 32, "there is no file", ""),
            (4, 10, "`x y` is not an id", ""),
            (6, 7, "unknown key `adress`", "`address`"),
            (7, 14, "unknown word `loud`", "known here: error, warn"),
        ],
    );
}

#[test]
fn a_check_from_outside_is_shown_at_its_place() {
    let home = home();
    let path = home.path().join("hearthlink.yaml");
    fs::write(&path, "gateway: {id: x}\ndevices:\n  - {id: a, kind: toster}\n").unwrap();
    let check = |config: &Config| {
        vec![Finding::new("devices[0].kind", format!("no {}", config.devices[0].kind), "r")]
    };
    let error = Loader::new(&path).environment(HashMap::new()).check(&check).load().unwrap_err();
    assert_eq!(error.problems()[0].line_and_column(), Some((3, 19)));
    assert!(error.to_string().ends_with("hearthlink.yaml:3:19: no toster; r"), "{error}");
}

#[test]
fn later_layers_win_and_keep_their_places() {
    let home = home();
    fs::create_dir(home.path().join("config.d")).unwrap();
    fs::write(home.path().join("config.d/20.yaml"), "store: {max_age: 2d}\nweb: {}\n").unwrap();
    fs::write(home.path().join("config.d/10.yaml"), "store: {max_age: 1d, max_size: 1 GiB}\n").unwrap();
    fs::write(home.path().join("config.d/notes.txt"), "not: [yaml").unwrap();
    let text = "gateway: {id: x}\nstore: {when_full: refuse_new}\nbroker: {limits: {inflight: 1}}\n";
    let variables = [
        ("HEARTHLINK__GATEWAY__ID", "007"),
        ("HEARTHLINK__BROKER__LIMITS__INFLIGHT", "9"),
        ("HEARTHLINK_LOG", "debug"),
    ];
    let config = load_with(home.path(), text, &variables).unwrap();
    assert_eq!(config.gateway.id.as_str(), "007");
    assert_eq!(config.broker.limits.inflight, Some(9));
    assert_eq!((config.store.max_age.as_secs(), config.store.max_size), (2 * 86_400, 1 << 30));
    assert!(config.web.is_some());

    fs::write(home.path().join("config.d/30.yaml"), "store:\n  max_age: soon\n").unwrap();
    let variables = [("HEARTHLINK__CLOUD__URLL", "wss://a"), ("HEARTHLINK__DEVICES__0__ID", "a")];
    let error = load_with(home.path(), text, &variables).unwrap_err().to_string();
    for expected in [
        "config.d/30.yaml:2:12: `soon` is not a duration",
        "environment variable HEARTHLINK__CLOUD__URLL: unknown key `urll`; did you mean `url`?",
        "environment variable HEARTHLINK__DEVICES: expected a list",
    ] {
        assert!(error.contains(expected), "`{expected}` is not in {error}");
    }
}

#[test]
fn a_file_that_is_not_there_is_told_with_its_path() {
    let home = home();
    let error = hearthlink::config::load(&home.path().join("no.yaml")).unwrap_err();
    assert!(error.to_string().contains("no.yaml: cannot read the configuration"), "{error}");
}

#[test]
fn conditions_of_the_allow_list_are_checked_at_their_place() {
    let with = |rest: &str| {
        format!(
            "gateway: {{id: x}}\ndevices: [{{id: t, kind: toaster}}]\ncommands:\n  allow:\n    - device: t\n      set: {{state: any}}\n      {rest}\n"
        )
    };
    for (rest, column, what, remedy) in [
        ("senders: []", 16, "allows nobody", "leave `senders` out"),
        ("senders: [a/b]", 17, "`a/b` cannot be the sender", "one level of a topic"),
        ("senders: anna", 16, "expected a list", "begin each entry"),
        ("rate: {count: 0, per: 1min}", 21, "0 is out of range", "from 1 to 1000"),
        ("rate: {count: 5, per: 2d}", 29, "out of range", "from 1s to"),
        ("rate: {count: 5, per: 60}", 29, "no unit", "30s"),
        ("rate: {count: 5}", 13, "`per` is missing", "add `per:`"),
        ("rate: 5", 13, "a section with keys", ""),
        ("quiet: {from: \"22:00\"}", 14, "`to` is missing", ""),
        ("quiet: {from: \"22:00\", to: \"6\"}", 34, "not a time of day", "in quotes"),
        ("quiet: {from: \"22:00\", to: \"22:00\"}", 14, "nothing lies between", "from: \"00:00\""),
        ("quiet: {from: \"24:00\", to: \"06:00\"}", 14, "end of a day", "\"00:00\""),
        ("quiet: [{from: \"1:00\", to: \"2:00\"}, {from: \"3:00\", to: \"3:00\"}]", 43, "nothing lies", ""),
        ("quiet: {from: \"1:00\", to: \"2:00\", days: [mo]}", 48, "unknown word `mo`", "`mon`"),
        ("quiet: at night", 14, "{from: \"22:00\"", ""),
    ] {
        refused(&with(rest), &[(7, column, what, remedy)]);
    }
    let home = home();
    let allow = |rest: &str| load(home.path(), &with(rest)).unwrap().commands.allow[0].clone();
    let quiet = "quiet: {from: 22:00, to: 6:30, days: [fri, sat]}";
    assert_eq!(
        allow(quiet).quiet,
        allow("quiet: [{from: \"22:00\", to: \"06:30\", days: [fri, sat]}]").quiet
    );
    let plain = allow("");
    assert_eq!((plain.senders, plain.quiet.len(), plain.rate), (None, 0, None));
}

#[test]
fn a_safe_state_needs_a_line_that_can_be_lost_and_something_to_set() {
    let with = |cloud: &str, rest: &str| {
        format!(
            "gateway: {{id: x}}\n{cloud}devices:\n  - id: t\n    kind: toaster\n    on_line_lost: {rest}\n"
        )
    };
    let cloud = "cloud: {url: \"wss://a\"}\n";
    let off = "{after: 10min, set: {state: \"OFF\"}}";
    refused(&with("", off), &[(5, 19, "no line that could be lost", "section `cloud`")]);
    for (rest, column, what, remedy) in [
        ("{after: 10min, set: {}}", 39, "this sets nothing", "state: \"OFF\""),
        ("{after: 10min, set: {id: 1}}", 40, "`id` is about a command", "take it out"),
        ("{after: 0s, set: {state: \"OFF\"}}", 27, "out of range", "from 1s"),
        ("{set: {state: \"OFF\"}}", 19, "`after` is missing", "add `after:`"),
        ("{after: 10, set: {state: \"OFF\"}}", 27, "no unit", "30s"),
    ] {
        refused(&with(cloud, rest), &[(6, column, what, remedy)]);
    }
    let home = home();
    let config = load(home.path(), &with(cloud, off)).unwrap();
    let rule = config.devices[0].on_line_lost.as_ref().unwrap();
    assert_eq!((rule.after.as_secs(), &rule.set["state"]), (600, &"OFF".into()));
}

#[test]
fn the_example_is_complete_and_passes() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config.example.yaml")).unwrap();
    let home = home();
    for name in ["broker.pem", "devices-ca.pem", "cloud-ca.pem", "home.pem"] {
        fs::copy(home.path().join("cert.pem"), home.path().join(name)).unwrap();
    }
    for name in ["broker.key", "home.key", "cloud-password", "proxy-password"] {
        fs::copy(home.path().join("key.pem"), home.path().join(name)).unwrap();
    }
    let config = load(home.path(), &text).unwrap_or_else(|error| panic!("{}", error.render(false)));
    let cloud = config.cloud.unwrap();
    assert_eq!(cloud.url.to_string(), "wss://broker.example.org:443/mqtt");
    assert_eq!(cloud.ca_file.clone().unwrap(), home.path().join("cloud-ca.pem"));
    assert_eq!(config.broker.listeners[1].transport, Transport::Tcp);
    assert!(config.broker.listeners[0].allows_anonymous() && !config.broker.listeners[1].allows_anonymous());
    let words = Values::OneOf(vec!["ON".into(), "OFF".into()]);
    assert_eq!(config.commands.allow[0].set["state"], words);
    assert_eq!(config.commands.allow[0].set["browning"], Values::Range { min: 1.0, max: 4.0 });

    let allow = &config.commands.allow[0];
    assert_eq!(
        (allow.senders.as_ref().unwrap().len(), allow.rate.unwrap().count, allow.quiet.len()),
        (2, 5, 2)
    );
    assert_eq!(config.devices[0].on_line_lost.as_ref().unwrap().after.as_secs(), 600);

    // What the comments call a default is the default.
    let (limits, defaults) = (&config.broker.limits, hearthlink::broker::Limits::default());
    assert_eq!(limits.max_clients.unwrap() as usize, defaults.max_clients);
    assert_eq!(limits.max_clients_per_address.unwrap() as usize, defaults.max_clients_per_address);
    assert_eq!(limits.max_sessions.unwrap() as usize, defaults.max_sessions);
    assert_eq!(limits.longest_session.unwrap(), defaults.longest_session);
    assert_eq!(limits.handshake_time.unwrap(), defaults.handshake_time);
    assert_eq!(limits.max_packet.unwrap() as usize, defaults.max_packet);
    assert_eq!(limits.incoming_in_all.unwrap() as usize, defaults.incoming_bytes);
    assert_eq!(limits.queue_per_session.unwrap() as usize, defaults.queue_bytes_per_session);
    assert_eq!(limits.inflight.unwrap(), defaults.inflight);
    assert_eq!(limits.receive_maximum.unwrap(), defaults.receive_maximum);
    assert_eq!(limits.queue_in_all.unwrap() as usize, defaults.queue_bytes);
    assert_eq!(limits.max_handshakes.unwrap() as usize, defaults.max_handshakes);
    assert_eq!(limits.retained_size.unwrap() as usize, defaults.retained_bytes);
    assert_eq!(limits.retained_count.unwrap() as usize, defaults.retained_count);
    assert_eq!(limits.subscriptions_per_client.unwrap() as usize, defaults.subscriptions_per_client);
    assert_eq!(usize::from(limits.topic_depth.unwrap()), defaults.topic_depth);
    let plain = load(home.path(), "gateway: {id: home}\ncloud: {url: \"wss://a\"}\nweb:\n  {}\n").unwrap();
    assert_eq!(config.store.flash_budget, Some(1 << 30));
    assert_eq!(hearthlink::config::Store { flash_budget: None, ..config.store }, plain.store);
    assert_eq!(config.log, plain.log);
    assert_eq!(config.web, plain.web);
    assert_eq!(config.gateway, plain.gateway);
    let defaults = plain.cloud.unwrap();
    assert_eq!(cloud.terms(), defaults.terms());
    assert_eq!(
        (cloud.prefix, cloud.answer_limit, cloud.connect_limit),
        (defaults.prefix, defaults.answer_limit, defaults.connect_limit)
    );
    assert_eq!((cloud.backoff, config.commands.max_age), (defaults.backoff, plain.commands.max_age));
}

#[test]
fn every_section_in_the_brokers_page_is_good() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/broker.md")).unwrap();
    let home = home();
    for (name, like) in [("broker.pem", "cert.pem"), ("broker.key", "key.pem"), ("devices-ca.pem", "ca.pem")]
    {
        fs::copy(home.path().join(like), home.path().join(name)).unwrap();
    }
    let sections: Vec<&str> =
        text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let [listeners, users] = sections[..] else { panic!("two sections") };
    // Each alone is half of it.
    let both = format!("gateway: {{id: x}}\n{listeners}{}", users.strip_prefix("broker:\n").unwrap());
    let config = load(home.path(), &both).unwrap_or_else(|error| panic!("{}", error.render(false)));
    assert_eq!((config.broker.listeners.len(), config.broker.users.len()), (3, 1));
}

#[test]
fn every_section_in_the_page_on_ways_is_good() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/ways.md")).unwrap();
    let home = home();
    fs::copy(home.path().join("password"), home.path().join("proxy-password")).unwrap();
    let sections: Vec<&str> =
        text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    for section in &sections {
        load(home.path(), &format!("gateway: {{id: x}}\n{section}"))
            .unwrap_or_else(|error| panic!("{}", error.render(false)));
    }
    assert_eq!(sections.len(), 3);
}

#[test]
fn every_section_in_the_page_on_commands_is_good() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/commands.md")).unwrap();
    let sections: Vec<&str> =
        text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let home = home();
    let all = format!("gateway: {{id: x}}\ncloud: {{url: \"wss://a\"}}\n{}", sections.concat());
    let config = load(home.path(), &all).unwrap_or_else(|error| panic!("{}", error.render(false)));
    assert_eq!((sections.len(), config.commands.allow.len()), (2, 2));
    let allow = &config.commands.allow[0];
    assert!(allow.senders.is_some() && allow.rate.is_some() && allow.quiet.len() == 1);
    assert!(config.devices[0].on_line_lost.is_some());
}

#[test]
fn a_fresh_installation_has_no_credential_that_another_has() {
    let home = home();
    let plain = load(home.path(), "gateway: {id: home}\n").unwrap();
    assert!(plain.broker.users.is_empty());
    assert!(plain.broker.listeners.iter().all(|listener| listener.address.ip().is_loopback()));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for shipped in ["config.example.yaml", "systemd/hearthlink.service", "README.md", "deploy/README.md"] {
        let text = fs::read_to_string(root.join(shipped)).unwrap();
        let hashes = text.match_indices("$argon2").filter(|(at, _)| !text[*at..].starts_with("$argon2id$…"));
        assert_eq!(hashes.count(), 0, "{shipped} has a password in it that every installation would share");
        assert!(!text.contains("PRIVATE KEY"), "{shipped}");
    }
}

#[test]
fn secrets_do_not_show_in_debug() {
    let home = home();
    let hash =
        "$argon2id$v=19$m=19456,t=2,p=1$NBGKGsBrcuRBpO6gWOFC+Q$uOzKScaT/MP/lF5v4z0cpXLhX9oaOpDeUOScHRWrYZU";
    let text = format!("gateway: {{id: x}}\nbroker: {{users: [{{name: a, password_hash: \"{hash}\"}}]}}\n");
    let config = load(home.path(), &text).unwrap();
    assert_eq!(config.broker.users[0].password_hash.as_ref().unwrap().expose(), hash);
    assert!(!format!("{config:?}").contains("argon2"));
}

/// A directory with every file that the pages on access name.
fn home_with_secrets() -> TempDir {
    let home = home();
    let copies = [
        ("home.pem", "cert.pem"),
        ("home.key", "key.pem"),
        ("cloud-password", "password"),
        ("cloud-token", "password"),
        ("cloud-token-signature", "password"),
        ("cloud-api-key", "password"),
        ("aws-credentials", "password"),
        ("azure-key", "password"),
    ];
    for (name, like) in copies {
        fs::copy(home.path().join(like), home.path().join(name)).unwrap();
    }
    home
}

#[test]
fn every_section_in_the_pages_on_access_is_good_and_without_its_secret_it_is_not() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let pages = ["access.md", "clouds/aws-iot.md"];
    let text = pages.map(|page| fs::read_to_string(docs.join(page)).unwrap()).concat();
    let home = home_with_secrets();
    let sections: Vec<&str> =
        text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(sections.len(), 7);
    for section in sections {
        let all = format!("gateway: {{id: x}}\n{section}");
        let config = load(home.path(), &all).unwrap_or_else(|error| panic!("{}", error.render(false)));
        let cloud = config.cloud.unwrap();
        let is_one = [
            cloud.password_file.is_some() || cloud.token_file.is_some() || !cloud.headers.is_empty(),
            cloud.aws.is_some(),
            cloud.azure.is_some(),
        ];
        assert!(is_one.contains(&true), "{section}");
        // Each line that names a file of a secret is looked at.
        for line in section.lines().filter(|line| line.contains("_file: ")) {
            let name = line.rsplit("_file: ").next().unwrap().trim_end_matches(" }");
            let open = fs::Permissions::from_mode(0o644);
            if name != "home.pem" {
                fs::set_permissions(home.path().join(name), open).unwrap();
                let error = load(home.path(), &all).expect_err(line).to_string();
                assert!(error.contains("others than its owner"), "{error}");
                fs::set_permissions(home.path().join(name), fs::Permissions::from_mode(0o600)).unwrap();
            }
        }
    }
}

#[test]
fn there_is_one_way_to_log_in_at_the_cloud_and_it_is_whole() {
    let url = "wss://a1-ats.iot.eu-central-1.amazonaws.com";
    let with = |rest: &str| format!("gateway: {{id: x}}\ncloud:\n  url: {url}\n{rest}");
    let password = "  username: a\n  password_file: password\n";
    refused(
        &with(&format!("{password}  token_file: password\n")),
        &[(6, 15, "`password_file` and `token_file` are two ways", "keep the one")],
    );
    refused(
        &with(&format!("{password}  azure: {{key_file: password}}\n")),
        &[(6, 10, "`password_file` and `azure` are two ways", "keep the one")],
    );
    refused(
        &with("  token_file: password\n  aws: {keys_file: password}\n"),
        &[(5, 8, "`token_file` and `aws` are two ways", "keep the one")],
    );
    refused(
        &with("  username: a\n  aws: {keys_file: password}\n"),
        &[(4, 13, "nobody looks at a user name", "leave it out")],
    );
    refused(&with("  aws: {}\n"), &[(4, 8, "does not say how to log in", "add `keys_file:`")]);
    refused(
        &with(
            "  aws:\n    keys_file: password\n    authorizer: {name: a, token_key_name: b, token_file: password}\n",
        ),
        &[(6, 17, "`keys_file` and `authorizer` are two ways", "keep one")],
    );
    refused(
        &with("  aws: {profile: a, authorizer: {token_key_name: b, token_file: password}}\n"),
        &[(4, 18, "none is named", "add `keys_file:`")],
    );
    for (bad, column, what) in [
        ("{keys_file: password, region: EU Central}", 39, "`EU Central` is no region"),
        ("{role: {host: \"https://a\", alias: a}}", 23, "is no host name"),
        ("{role: {host: a, alias: a b}}", 34, "`a b` is no role alias"),
        ("{role: {host: a, alias: a, thing: a/b}}", 44, "`a/b` is no thing's name"),
        ("{role: {host: a, alias: a, port: 0}}", 43, "0 is out of range"),
        ("{authorizer: {token_key_name: a}}", 39, "without the token"),
        ("{authorizer: {token_file: password}}", 35, "without its name"),
        ("{authorizer: {signature_file: password}}", 39, "without its token"),
        ("{authorizer: {}}", 23, "there is neither"),
        ("{authorizer: {name: a b, token_key_name: a, token_file: password}}", 29, "no name of this kind"),
    ] {
        let papers = "  certificate_file: cert.pem\n  key_file: key.pem\n";
        let text = with(&format!("{papers}  aws: {bad}\n"));
        let home = home();
        let error = load(home.path(), &text).expect_err(&text);
        let found: Vec<_> =
            error.problems().iter().map(|problem| (problem.line_and_column(), problem.what())).collect();
        assert_eq!(found.len(), 1, "{bad}: {found:?}");
        assert!(found[0].1.contains(what), "{bad}: {found:?}");
        assert_eq!(found[0].0.unwrap().0, 6, "{bad} {column}: {found:?}");
    }
    refused(
        &with("  aws: {role: {host: a, alias: a}}\n"),
        &[(4, 15, "bought with the gateway's certificate", "`certificate_file:`")],
    );
    refused(
        "gateway: {id: x}\ncloud:\n  url: wss://broker.example.org\n  aws: {keys_file: password}\n",
        &[(4, 8, "does not tell the region", "`region: eu-central-1`")],
    );
    refused(
        "gateway: {id: x}\ncloud:\n  url: mqtts://a1-ats.iot.eu-central-1.amazonaws.com\n  aws: {keys_file: password}\n",
        &[(4, 8, "goes into the address of a WebSocket", "`url: wss://…`")],
    );
    refused(
        &with("  azure: {key_file: password, lifetime: 1min, policy: \"\"}\n"),
        &[(4, 41, "60s is out of range", "from 300s"), (4, 55, "this is empty", "leave it out")],
    );
}

#[test]
fn headers_of_the_upgrade_have_one_value_and_are_not_the_upgrades_own() {
    let with =
        |header: &str| format!("gateway: {{id: x}}\ncloud:\n  url: wss://a\n  headers: [{{{header}}}]\n");
    refused(&with("name: X-A"), &[(4, 13, "has no value", "add `value_file:` or `value:`")]);
    refused(&with("name: X-A, value: a, value_file: password"), &[(4, 13, "two values", "keep one")]);
    refused(&with("name: \"X A\", value: a"), &[(4, 20, "`X A` is no name of a header", "letters")]);
    for own in ["Host", "sec-websocket-protocol", "UPGRADE"] {
        refused(
            &with(&format!("name: {own}, value: a")),
            &[(4, 20, "the upgrade's own header", "leave it out")],
        );
    }
    refused(&with("name: X-A, value: ü"), &[(4, 32, "a character that no header's value has", "ASCII")]);
    let home = home();
    let path = home.path().join("hearthlink.yaml");
    fs::write(&path, with("name: Authorization, value: Basic aGVsbG8")).unwrap();
    let (_, warnings) = Loader::new(&path).environment(HashMap::new()).load_and_warn().unwrap();
    let warnings = warnings.expect("a warning");
    assert!(warnings.problems()[0].what().contains("looks like a secret"), "{warnings}");
    assert!(!warnings.render(false).contains("aGVsbG8"), "{}", warnings.render(false));
}

/// What `text` is told, as lines of `line level what`.
fn told(text: &str) -> Vec<String> {
    let home = home();
    let path = home.path().join("hearthlink.yaml");
    fs::write(&path, text).unwrap();
    let problems = match Loader::new(&path).environment(HashMap::new()).load_and_warn() {
        Ok((_, None)) => return Vec::new(),
        Ok((_, Some(warnings))) => warnings,
        Err(error) => error,
    };
    let line = |problem: &hearthlink::config::Problem| {
        let (line, _) = problem.line_and_column().unwrap_or_default();
        let level = if problem.is_warning() { "warning" } else { "error" };
        format!("{line} {level} {}", problem.what())
    };
    problems.problems().iter().map(line).collect()
}

/// Asserts that exactly these are told: each expected text is a part of its line.
#[track_caller]
fn tells(text: &str, expected: &[&str]) {
    let told = told(text);
    assert_eq!(told.len(), expected.len(), "{text}\n{told:#?}");
    for (told, expected) in told.iter().zip(expected) {
        let (place, what) = expected.split_once(" … ").unwrap();
        assert!(told.starts_with(place) && told.contains(what), "{text}\n{expected}\n{told}");
    }
}

#[test]
fn a_page_with_a_control_and_nothing_to_press_is_told_of() {
    let with = |allow: &str| {
        format!(
            "gateway: {id}\nweb: {{control: true}}\n\
             devices: [{{id: lamp, kind: lan, options: {{command_topic: lamp/set}}}}]\ncommands: {{allow: [{allow}]}}\n",
            id = "{id: x}"
        )
    };
    let nothing = ["2 warning … no button is on the page"];
    tells(&with(""), &nothing);
    tells(&with("{device: lamp, set: {state: any}, senders: [anna]}"), &nothing);
    tells(&with("{device: lamp, set: {state: any}}"), &[]);
}

#[test]
fn what_is_written_goes_before_the_profile_and_the_check_says_where_the_cloud_documents_less() {
    let with = |rest: &str| format!("gateway: {{id: x}}\ncloud:\n  url: wss://a\n  profile: aws-iot\n{rest}");
    tells(&with(""), &[]);
    for (rest, expected) in [
        ("keep_alive: 20s", "5 warning … `aws-iot` keeps to 30s up to 1200s, and this is 20s"),
        ("keep_alive: 30min", "5 warning … this is 1800s"),
        ("window: 101", "5 warning … documents 100 at most, and this is 101"),
        ("session_expiry: 2h", "5 warning … documents 3600s at most"),
        ("limits: {max_payload: 1 MiB}", "5 warning … documents 131072 at most"),
        ("limits: {topic_levels: 9}", "5 warning … documents 8 at most"),
        ("limits: {filters_per_subscribe: 9}", "5 warning … documents 8"),
        ("limits: {publish_rate: 200}", "5 warning … documents 100"),
        ("backlog_rate: 200", "5 warning … no faster than everything together, 100 a second"),
        ("limits: {max_payload: 100}", "5 error … makes no sense"),
        ("limits: {publish_rate: 0}", "5 error … out of range"),
        ("limits: {depth: 3}", "5 error … unknown key `depth`"),
        ("version: 4", "5 error … no version of MQTT"),
        ("limits: {subscriptions: 1}", "1 error … 2 subscriptions, and the cloud takes 1"),
    ] {
        tells(&with(&format!("  {rest}\n")), &[expected]);
    }
    tells(
        "gateway: {id: x}\ncloud: {url: \"wss://a\", profile: nats, version: 5}\n",
        &["2 warning … speaks MQTT 3.1.1 only, and this is `5`"],
    );
    tells("gateway: {id: x}\ncloud: {url: \"wss://a\", profile: asw-iot}\n", &["2 error … `asw-iot`"]);
    let load = |rest: &str| {
        let home = home();
        load(home.path(), &with(rest)).unwrap().cloud.unwrap().terms()
    };
    let plain = load("");
    assert_eq!(
        (plain.max_payload, plain.topic_levels, plain.publish_rate),
        (Some(131_072), Some(8), Some(100))
    );
    let written =
        load("  limits: {publish_rate: 50, max_payload: 64 KiB}\n  keep_alive: 60s\n  version: \"3.1.1\"\n");
    assert_eq!(
        (written.max_payload, written.topic_levels, written.publish_rate),
        (Some(65_536), Some(8), Some(50))
    );
    assert_eq!(written.keep_alive.as_secs(), 60);
    assert_eq!(written.version, hearthlink::config::MqttVersion::V311);
}

#[test]
fn the_url_leaves_port_and_path_to_the_profile() {
    for (rest, expected) in [
        ("", "wss://a:443/mqtt"),
        (", profile: rabbitmq", "wss://a:15676/ws"),
        (", profile: hivemq-cloud", "wss://a:8884/mqtt"),
        (", profile: emqx", "wss://a:8084/mqtt"),
    ] {
        let home = home();
        let text = format!("gateway: {{id: x}}\ncloud: {{url: \"wss://a\"{rest}}}\n");
        let url = load(home.path(), &text).unwrap().cloud.unwrap().url;
        assert_eq!(url.to_string(), expected, "{rest}");
    }
}

#[test]
fn the_limits_of_the_cloud_are_applied_to_the_whole_file() {
    let with = |profile: &str, rest: &str| {
        format!("gateway: {{id: x}}\ncloud: {{url: \"wss://a\", profile: {profile}, username: u}}\n{rest}")
    };
    let long = "p".repeat(250);
    let deep = "routes: [{local: a/b/c/d/e/f/g/h}]\n";
    let open = "routes: [{local: \"a/#\"}]\n";
    let into = "routes_in: [{cloud: a/b/c/d/e/f/g/h/i, local: n}]\n";
    for (profile, rest, expected) in [
        ("aws-iot", deep, &["3 error … has 10 levels, and the cloud takes 8"][..]),
        ("aws-iot", open, &["3 warning … counted as `beyond_limits`"]),
        ("aws-iot", into, &["3 error … has 9 levels, and the cloud takes 8"]),
        ("aws-iot", "routes: [{local: a/+/b}]\n", &[]),
        ("mosquitto", deep, &[]),
        (
            "nats",
            "routes: [{local: a, cloud: a lamp}]\n",
            &["3 error … ends the connection at a topic with white space"],
        ),
        ("nats", "routes: [{local: a, cloud: a.lamp}]\n", &["3 warning … before 2.10"]),
        ("rabbitmq", "routes: [{local: a, cloud: x.y}]\n", &["3 error … writes a `.`"]),
        ("mosquitto", "routes: [{local: a, cloud: a lamp.x}]\n", &[]),
        ("thingsboard", "routes: [{local: a}]\n", &["3 error … ThingsBoard has no topic"]),
        ("thingsboard", "routes: [{local: a, cloud: v1/devices/me/telemetry}]\n", &[]),
        (
            "thingsboard",
            "routes_in: [{cloud: n, local: n}]\n",
            &["3 error … nothing but attributes and remote"],
        ),
        (
            "thingsboard",
            "routes: [{local: a, cloud: v1/devices/me/telemetry, retain: true}]\n",
            &["3 warning … keeps no retained"],
        ),
    ] {
        tells(&with(profile, rest), expected);
    }
    let text = format!(
        "gateway: {{id: x}}\ncloud: {{url: \"wss://a\", profile: aws-iot, prefix: {long}}}\ndevices: [{{id: lamp, kind: toaster}}]\n"
    );
    tells(&text, &["3 error … bytes, and the cloud takes 256"]);
    let prefix = "gateway: {id: x}\ncloud: {url: \"wss://a\", profile: aws-iot, prefix: a/b/c/d/e/f}\n";
    tells(prefix, &["2 error … has 9 levels, and the cloud takes 8"]);
    let id = format!("gateway: {{id: {}}}\ncloud: {{url: \"wss://a\", profile: aws-iot}}\n", "g".repeat(60));
    tells(&id, &[]);
    let id = format!(
        "gateway: {{id: x}}\ncloud: {{url: \"wss://a\", profile: aws-iot, client_id: {}}}\n",
        "c".repeat(129)
    );
    tells(&id, &["2 error … a client id of 129 bytes"]);
    tells(
        "gateway: {id: x}\ncloud: {url: \"wss://a\", profile: azure-event-grid}\n",
        &["2 warning … authentication name as user name"],
    );
}

#[test]
fn a_loop_through_another_gateway_or_through_itself_is_found() {
    let with = |route: &str| format!("gateway: {{id: x}}\ncloud: {{url: \"wss://a\"}}\nroutes: [{route}]\n");
    for (route, expected) in [
        ("{local: a, cloud: \"{prefix}/y/lamp/set\"}", &["3 warning … commands another gateway"][..]),
        ("{local: a/+, cloud: \"{prefix}/y/{1}/set/anna\"}", &["3 warning … commands another gateway"]),
        ("{local: a, cloud: \"{prefix}/y/bridge/state\"}", &["3 error … in the name of another gateway"]),
        ("{local: a, cloud: \"{prefix}/y/news\"}", &[]),
        (
            "{local: a/+, cloud: \"{prefix}/y/{1}\"}",
            &["3 warning … can speak in the name of another gateway"],
        ),
        ("{local: a/+, cloud: \"{prefix}/y/news/{1}\"}", &[]),
        ("{local: a, cloud: \"$SYS/broker/x\"}", &["3 error … the broker's own"]),
        ("{local: a, cloud: \"$share/g/x\"}", &["3 error … the broker's own"]),
        ("{local: a, cloud: \"$aws/rules/r/x\"}", &[]),
    ] {
        tells(&with(route), expected);
    }
    let itself = |url: &str, address: &str| {
        format!(
            "gateway: {{id: x}}\nbroker: {{listeners: [{{address: \"{address}\", transport: websocket, anonymous: false, \
             tls: {{certificate_file: cert.pem, key_file: key.pem}}}}], users: [{{name: u, certificate_name: u}}]}}\n\
             cloud: {{url: \"{url}\"}}\n"
        )
    };
    for (url, address, is_itself) in [
        ("wss://localhost:9001", "0.0.0.0:9001", true),
        ("wss://127.0.0.1:9001/mqtt", "127.0.0.1:9001", true),
        ("wss://[::1]:9001", "[::]:9001", true),
        ("wss://192.0.2.7:9001", "192.0.2.7:9001", true),
        ("wss://localhost:9002", "0.0.0.0:9001", false),
        ("wss://192.0.2.8:9001", "0.0.0.0:9001", false),
    ] {
        let found = told(&itself(url, address));
        let is_found = found.iter().any(|line| line.contains("the cloud is this gateway's own broker"));
        assert_eq!(is_found, is_itself, "{url} {address}: {found:#?}");
    }
}

#[test]
fn the_page_of_profiles_shows_the_table_that_counts() {
    use hearthlink::config::ProfileName;

    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/profiles.md")).unwrap();
    for name in ProfileName::all() {
        let table = name.profile();
        let or_empty = |value: Option<String>| value.unwrap_or_default();
        let number = |value: Option<u16>, unit: &str| or_empty(value.map(|value| format!("{value}{unit}")));
        let span = |time: std::time::Duration| humantime::format_duration(time).to_string();
        let payload = or_empty(table.max_payload.map(|size| format!("{size} B")));
        let both = |first: String, second: String| {
            [first, second].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
        };
        let most = or_empty(table.most_in_flight.map(|most| format!(" ({most})")));
        let row = [
            format!("`{}`", name.as_str()),
            table.version.to_string(),
            format!("`:{}{}`", table.port, table.path),
            format!(
                "{} ({} to {})",
                span(table.keep_alive),
                span(*table.keep_alives.start()),
                span(*table.keep_alives.end())
            ),
            format!("{}{most}", table.window),
            payload,
            both(number(table.topic_levels, " levels"), number(table.topic_length, " B")),
            both(number(table.filters_per_subscribe, ""), number(table.subscriptions, "")),
            or_empty(table.publish_rate.map(|rate| rate.to_string())),
            number(table.client_id_length, " B"),
            format!(
                "{}{}",
                span(table.session_expiry),
                or_empty(table.longest_session.map(|most| format!(" ({})", span(most))))
            ),
            if table.retain { "yes" } else { "no" }.to_owned(),
        ];
        let row = format!("| {} |", row.join(" | "));
        assert!(text.contains(&row), "docs/profiles.md lacks this line:\n{row}");
        let sources = format!("| `{}` | ", name.as_str());
        assert_eq!(text.matches(&sources).count(), 2, "a line of the table and one of its sources");
    }
    let sections: Vec<&str> =
        text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    for section in &sections {
        let home = home();
        load(home.path(), &format!("gateway: {{id: x}}\n{section}"))
            .unwrap_or_else(|error| panic!("{}", error.render(false)));
    }
    assert_eq!(sections.len(), 2);
}
