//! Bad configurations: each is refused with its exact place and its remedy.

use std::{collections::HashMap, fs, os::unix::fs::PermissionsExt, path::Path};

use hearthlink::config::{Config, ConfigError, Loader};
use tempfile::TempDir;

/// A directory with everything that the files below name.
fn home() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, mode) in
        [("ca.pem", 0o644), ("cert.pem", 0o644), ("key.pem", 0o600), ("password", 0o600), ("open.pem", 0o644)]
    {
        let path = directory.path().join(name);
        fs::write(&path, "something").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    directory
}

fn load_in(directory: &Path, text: &str) -> Result<Config, ConfigError> {
    let path = directory.join("hearthlink.yaml");
    fs::write(&path, text).unwrap();
    Loader::new(&path).environment(HashMap::new()).load()
}

#[test]
fn scratch() {
    let home = home();
    let text = "gateway: { id: home }\nbroker:\n  listeners:\n    - { adress: 127.0.0.1:1883 }\n    - { address: localhost:1883, transport: websockets }\n    - address: 0.0.0.0:1883\n  users:\n   - { name: x, password: hunter2 }\n  limits: {inflight: 70000, max_packet: 4 MB, handshake_time: 10}\ncloud:\n  url: mqtt://foo\n  key_file: open.pem\ndevices:\n - {id: a, kind: toaster}\n - {id: a, kind: toaster}\n - {id: a b, kind: toaster}\ncommands: {allow: [{device: a, set: {state: ON}},{device: b, set: {state: [ON]}}]}\nroutes: [{local: '+/set'}]\n";
    let error = load_in(home.path(), text).unwrap_err();
    println!("{error}\n{}", error.render(false));
    for text in [
        "",
        "gateway: {id: home\n",
        "gateway: {id: home}\ngateway: {id: b}\n",
        "a\n",
        "gateway:\n  id: x\n id: y\n",
        "gateway:\n  id x\n",
        "gateway:\n  id: 'x\n",
        "broker: 5\n",
        "gateway: {id: x}\n---\ngateway: 5\n",
        "gateway: {id: *foo}\n",
    ] {
        let error = load_in(home.path(), text).unwrap_err();
        println!("------\n{text}\n{error}\n{}", error.render(false));
    }
}
