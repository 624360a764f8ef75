//! The program: the command line, and the demonstration where it is built in.

use std::process::ExitCode;

use hearthlink::cli::{self, Exit};

fn main() -> ExitCode {
    cli::main(demo)
}

#[cfg(feature = "demo")]
fn demo(once: bool) -> Exit {
    use hearthlink::demo::{self, DemoOptions, Verdict};

    // The narrator speaks; the log only when somebody asks for it.
    if let Ok(filter) = std::env::var("HEARTHLINK_LOG") {
        let filter = tracing_subscriber::EnvFilter::new(filter);
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("hearthlink: failed to start its threads: {error}");
            return Exit::Failure;
        }
    };
    let played = runtime.block_on(demo::run(DemoOptions { once }));
    // Nothing is left that would need longer; a stuck thread must not keep the terminal.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match played {
        Ok(Verdict::Passed) => Exit::Success,
        Ok(Verdict::Failed) => Exit::Failure,
        Err(error) => {
            eprintln!("hearthlink: {error}");
            Exit::Failure
        }
    }
}

#[cfg(not(feature = "demo"))]
fn demo(_once: bool) -> Exit {
    eprintln!("hearthlink: this build has no demonstration; build it with `--features demo`.");
    Exit::Failure
}
