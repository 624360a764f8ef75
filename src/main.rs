use std::process::ExitCode;

fn main() -> ExitCode {
    hearthlink::cli::main()
}
