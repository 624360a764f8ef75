//! `hearthlink demo`, as a person starts it: a process that is looked at from outside.
#![cfg(feature = "demo")]

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

struct Demo {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Demo {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_hearthlink"))
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, output }
    }

    /// The first line that has `part`.
    fn line_with(&mut self, part: &str) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.output.read_line(&mut line).expect("it is text"), 0, "no line with `{part}`");
            if line.contains(part) {
                return line;
            }
        }
    }

    fn interrupt(&self) {
        let status = Command::new("sh").args(["-c", &format!("kill -INT {}", self.child.id())]).status();
        assert!(status.expect("there is a shell").success());
    }

    fn end(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).expect("it is text");
        (self.child.wait().expect("it ends").code(), rest)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

fn directory(line: &str) -> std::path::PathBuf {
    let path = line.split(" in ").nth(1).expect("the line names it");
    path.split(':').next().expect("up to the colon").into()
}

#[test]
fn the_story_holds_in_every_step_and_ends_in_half_a_minute() {
    let began = Instant::now();
    let mut demo = Demo::start(&["demo", "--once"]);
    let directory = directory(&demo.line_with("Making certificates"));
    let (code, output) = demo.end();
    assert_eq!(code, Some(0), "{output}");
    let steps = output.lines().skip_while(|line| !line.starts_with("step ")).skip(2);
    let steps: Vec<&str> = steps.take_while(|line| !line.starts_with("All ")).collect();
    assert!(steps.len() >= 7 && steps.iter().all(|step| step.contains(" ok ")), "{output}");
    assert!(began.elapsed() < Duration::from_secs(30), "it took {:?}", began.elapsed());
    assert!(!directory.exists(), "{} stayed", directory.display());
}

#[test]
fn ctrl_c_ends_the_demonstration_cleanly_and_a_story_unproven() {
    for (arguments, code, sign) in
        [(&["demo"][..], 0, "Ctrl-C ends"), (&["demo", "--once"][..], 1, "presses toast")]
    {
        let mut demo = Demo::start(arguments);
        let directory = directory(&demo.line_with("Making certificates"));
        demo.line_with(sign);
        demo.interrupt();
        let (ended, output) = demo.end();
        assert_eq!(ended, Some(code), "{output}");
        assert!(output.contains("Everything is stopped"), "{output}");
        assert!(!directory.exists(), "{} stayed", directory.display());
    }
}
