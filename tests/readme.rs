//! The README's snippets are parsed and run, so that nobody types something that does not work.
#![cfg(feature = "demo")]
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::{path::Path, process::Command};

use hearthlink::demo::certificates::{Authority, Wish};

const README: &str = include_str!("../README.md");

/// The code blocks of one language, in order.
fn snippets(language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    README.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

fn hearthlink(directory: &Path, arguments: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_hearthlink")).args(arguments).current_dir(directory).output().unwrap()
}

/// The files that the README's configuration names.
fn write_papers(directory: &Path) {
    let authority = Authority::new("README").unwrap();
    authority.write(&directory.join("ca.pem")).unwrap();
    authority.issue(&Wish::client("home")).unwrap().write(directory, "home").unwrap();
}

#[test]
fn the_configuration_in_the_readme_is_good() {
    let directory = tempfile::tempdir().unwrap();
    write_papers(directory.path());
    let yaml = snippets("yaml");
    assert_eq!(yaml.len(), 1);
    std::fs::write(directory.path().join("home.yaml"), &yaml[0]).unwrap();
    let output = hearthlink(directory.path(), &["check", "--config", "home.yaml"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    // And it is this configuration that was checked: without its key it is bad.
    std::fs::remove_file(directory.path().join("home.key")).unwrap();
    let output = hearthlink(directory.path(), &["check", "--config", "home.yaml"]);
    assert_eq!(output.status.code(), Some(78));
}

#[test]
fn the_configurations_for_the_clouds_are_good() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new("clouds").unwrap();
    authority.write(&directory.path().join("cloud-ca.pem")).unwrap();
    authority.issue(&Wish::client("home")).unwrap().write(directory.path(), "home").unwrap();
    let password = directory.path().join("cloud-password");
    std::fs::write(&password, "secret").unwrap();
    std::fs::set_permissions(&password, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let check = |number: usize, yaml: &str| {
        std::fs::write(directory.path().join("home.yaml"), yaml).unwrap();
        let output = hearthlink(directory.path(), &["check", "--config", "home.yaml"]);
        (output.status.code(), format!("{number}: {}", String::from_utf8_lossy(&output.stderr)))
    };
    let pages = [
        include_str!("../docs/clouds/mosquitto.md"),
        include_str!("../docs/clouds/rabbitmq.md"),
        include_str!("../docs/clouds/nats.md"),
    ]
    .concat();
    let yaml: Vec<&str> =
        pages.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(yaml.len(), 4);
    for (number, yaml) in yaml.into_iter().enumerate() {
        let (code, said) = check(number, yaml);
        assert_eq!(code, Some(0), "{said}");
        // And it is this configuration that was checked: with a CA that is not there it is bad.
        assert_eq!(check(number, &yaml.replace("cloud-ca.pem", "no-ca.pem")).0, Some(78));
    }
}

#[test]
fn every_command_in_the_readme_exists_with_its_options() {
    let directory = tempfile::tempdir().unwrap();
    let lines: Vec<String> = snippets("sh")
        .iter()
        .flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert!(lines.len() >= 5, "{lines:?}");
    for line in lines {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        if words[0] == "cargo" {
            // `.ci/run` runs both of them.
            assert!(["cargo run --release -- demo", "cargo test"].contains(&line.as_str()), "{line}");
            continue;
        }
        if words[0] == "sudo" {
            words.remove(0);
        }
        if words[..2] == ["apt", "install"] {
            let package = format!("./hearthlink_{}-1_arm64.deb", env!("CARGO_PKG_VERSION"));
            assert_eq!(words[2..], [package.as_str()], "`deploy/build.sh` makes it");
            continue;
        }
        assert_eq!(words.remove(0), "hearthlink", "{line}");
        // `--help` is answered only after the words before it were understood.
        words.push("--help");
        let output = hearthlink(directory.path(), &words);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn the_command_in_the_readme_is_an_object_with_an_id_and_a_time() {
    let json = snippets("json");
    assert_eq!(json.len(), 1);
    let command: serde_json::Value = serde_json::from_str(&json[0]).unwrap();
    assert_eq!(command["state"], "ON");
    assert!(command["id"].is_string() && command["ttl"].is_number());
    assert!(hearthlink::model::Timestamp::parse_rfc3339(command["at"].as_str().unwrap()).is_some());
}
