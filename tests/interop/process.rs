//! One program that runs beside the test, and everything it says.
//!
//! A guard ends its program by its own handle when it is dropped, and shows what the program said when the
//! test is failing. A missing program is a failure with a sentence, never a skip.

use std::{
    cell::Cell,
    env,
    fs::File,
    io::{BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How long anything may take that usually takes a moment. Long, because CI has two cores.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Lines that come from somewhere else, for whoever waits for them.
#[derive(Default)]
pub struct Heard {
    lines: Mutex<Vec<String>>,
    news: Condvar,
}

impl Heard {
    pub fn push(&self, line: String) {
        self.lines.lock().expect("no listener panics").push(line);
        self.news.notify_all();
    }

    /// Waits until `wanted` finds what it looks for in all lines; `None`: not within `patience`.
    pub fn wait_for<T>(
        &self,
        patience: Duration,
        mut wanted: impl FnMut(&[String]) -> Option<T>,
    ) -> Option<T> {
        let deadline = Instant::now() + patience;
        let mut lines = self.lines.lock().expect("no listener panics");
        loop {
            if let Some(found) = wanted(&lines) {
                return Some(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            lines = self.news.wait_timeout(lines, left).expect("no listener panics").0;
        }
    }
}

/// A running program.
pub struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    heard: Arc<Heard>,
    listeners: Vec<thread::JoinHandle<()>>,
    /// Whether it has ended, and with it what it writes.
    has_ended: Arc<AtomicBool>,
}

impl Process {
    /// Starts `command`; both its outputs are heard line by line.
    #[track_caller]
    pub fn start(name: impl Into<String>, command: &mut Command) -> Self {
        let name = name.into();
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = started.unwrap_or_else(|error| panic!("failed to start {name}: {error}"));
        let heard = Arc::new(Heard::default());
        let mut listeners = Vec::new();
        for source in [
            child.stdout.take().map(|out| Box::new(out) as Box<dyn Read + Send>),
            child.stderr.take().map(|err| Box::new(err) as Box<dyn Read + Send>),
        ] {
            let (source, heard) = (source.expect("it was piped"), Arc::clone(&heard));
            listeners.push(thread::spawn(move || {
                for line in BufReader::new(source).split(b'\n').map_while(Result::ok) {
                    heard.push(String::from_utf8_lossy(&line).into_owned());
                }
            }));
        }
        let stdin = child.stdin.take();
        Self { name, child, stdin, heard, listeners, has_ended: Arc::default() }
    }

    /// The same for one that must never wait for whoever listens, as it would once a pipe is full: both outputs go
    /// to the end of `file`, and are read there.
    #[track_caller]
    pub fn start_into(name: impl Into<String>, command: &mut Command, file: &Path) -> Self {
        let name = name.into();
        let output = File::options().create(true).append(true).open(file).expect("the output can be written");
        let errors = output.try_clone().expect("a second handle");
        let mut source = File::open(file).expect("the output can be read");
        source.seek(SeekFrom::End(0)).expect("it is a file");
        let started = command.stdin(Stdio::piped()).stdout(output).stderr(errors).spawn();
        let mut child = started.unwrap_or_else(|error| panic!("failed to start {name}: {error}"));
        let (heard, has_ended) = (Arc::<Heard>::default(), Arc::<AtomicBool>::default());
        let listener = {
            let (heard, has_ended) = (Arc::clone(&heard), Arc::clone(&has_ended));
            thread::spawn(move || follow(source, &heard, &has_ended))
        };
        let stdin = child.stdin.take();
        Self { name, child, stdin, heard, listeners: vec![listener], has_ended }
    }

    /// What it said so far, both outputs as they came.
    pub fn lines(&self) -> Vec<String> {
        self.heard.lines.lock().expect("no listener panics").clone()
    }

    /// How many lines that are.
    pub fn line_count(&self) -> usize {
        self.heard.lines.lock().expect("no listener panics").len()
    }

    /// Waits until `wanted` finds what it looks for in everything that was said.
    #[track_caller]
    pub fn wait_for<T>(&self, what: &str, patience: Duration, wanted: impl Fn(&[String]) -> Option<T>) -> T {
        let found = self.heard.wait_for(patience, wanted);
        found.unwrap_or_else(|| panic!("{} did not say within {patience:?}: {what}", self.name))
    }

    /// Where its lines are.
    pub fn heard(&self) -> Arc<Heard> {
        Arc::clone(&self.heard)
    }

    /// Waits for a line with `part` in it.
    #[track_caller]
    pub fn wait_for_line(&self, part: &str) -> String {
        self.wait_for(part, PATIENCE, |lines| lines.iter().find(|line| line.contains(part)).cloned())
    }

    /// Waits for a line after the first `said` that ends so; looks at each once, for there may be many.
    #[track_caller]
    pub fn wait_for_new_line(&self, said: usize, end: &str) {
        let read = Cell::new(said);
        self.wait_for(end, PATIENCE, |lines| {
            let new = &lines[read.replace(lines.len())..];
            new.iter().any(|line| line.ends_with(end)).then_some(())
        });
    }

    /// Writes to its standard input.
    #[track_caller]
    pub fn say(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().expect("its input is still open");
        stdin
            .write_all(text.as_bytes())
            .unwrap_or_else(|error| panic!("{} hears no more: {error}", self.name));
    }

    /// Sends it a signal by its id: `TERM`, `KILL`, `USR1`.
    #[track_caller]
    pub fn signal(&self, signal: &str) {
        let kill = format!("kill -{signal} {}", self.child.id());
        let sent = Command::new("sh").args(["-c", &kill]).status().expect("there is a shell");
        assert!(sent.success(), "{} is gone already", self.name);
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Closes its standard input, waits until it ends by itself and returns how.
    #[track_caller]
    pub fn wait(&mut self, patience: Duration) -> ExitStatus {
        self.stdin = None;
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                self.has_ended.store(true, Ordering::Release);
                for listener in self.listeners.drain(..) {
                    listener.join().expect("no listener panics");
                }
                return status;
            }
            assert!(Instant::now() < deadline, "{} still runs after {patience:?}", self.name);
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Its process id.
    #[allow(dead_code, reason = "only the Bluetooth tests ask")]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it at once, as a power cut would, and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        self.has_ended.store(true, Ordering::Release);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            let lines = self.lines();
            // The end tells most; a cloud that logs 10,000 packets would hide it.
            let first = lines.len().saturating_sub(120);
            eprintln!("--- {} said ({} lines, the last {}):", self.name, lines.len(), lines.len() - first);
            for line in &lines[first..] {
                eprintln!("    {line}");
            }
        }
    }
}

/// Hears what is added to a file until its writer has ended.
fn follow(source: File, heard: &Heard, has_ended: &AtomicBool) {
    let (mut source, mut line) = (BufReader::new(source), Vec::new());
    loop {
        // Asked before reading: what is there then is the rest.
        let is_rest = has_ended.load(Ordering::Acquire);
        while source.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) && line.ends_with(b"\n") {
            line.pop();
            heard.push(String::from_utf8_lossy(&line).into_owned());
            line.clear();
        }
        if is_rest {
            return;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until `wanted` is there, asking every 20 ms.
#[track_caller]
pub fn eventually<T>(what: &str, patience: Duration, mut wanted: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = wanted() {
            return found;
        }
        assert!(Instant::now() < deadline, "did not happen within {patience:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Where an installed program is. `/usr/sbin` counts: Debian puts Mosquitto there, beside most people's PATH.
#[track_caller]
pub fn program(name: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain([Path::new("/usr/sbin").to_owned()]);
    folders.map(|folder| folder.join(name)).find(|program| program.is_file()).unwrap_or_else(|| {
        panic!(
            "the program `{name}` is missing: install Debian's `mosquitto`, `mosquitto-clients`, `nats-server`, \
             `rabbitmq-server`, `squid`, `python3-paho-mqtt`, `iproute2` and `nftables`, and Node.js (`.ci/run` \
             installs those of Debian); interop tests are never skipped"
        )
    })
}

/// A port of loopback that nobody had a moment ago.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has a port");
    listener.local_addr().expect("it is bound").port()
}
