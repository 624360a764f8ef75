//! One bad file, to see that the real binary refuses it before anything starts. The table of bad files is
//! in the tests of the configuration.

use std::fs;

use super::gateway::hearthlink;

#[test]
fn switch_that_would_turn_verification_off_is_an_unknown_key_for_check_and_run() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let file = folder.path().join("hearthlink.yaml");
    let data = folder.path().join("data");
    let text = format!(
        "gateway: {{id: home, data_dir: {}}}\ncloud:\n  url: wss://localhost/mqtt\n  insecure: true\n",
        data.display()
    );
    fs::write(&file, text).expect("written");
    for verb in ["check", "run"] {
        let output = hearthlink().arg(verb).arg("--config").arg(&file).output().expect("it starts");
        let said =
            String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(78), "{verb}: {said}");
        assert!(
            said.contains("insecure") && said.contains("hearthlink.yaml:4:3"),
            "{verb} names the place: {said}"
        );
        assert!(!data.exists(), "{verb} started something");
    }
}
