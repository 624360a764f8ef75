//! The storm after a cloud's restart: 100,000 gateways, with the waiting of the product and without it.
//!
//! `cargo run --release --example storm -- docs` prints the table of docs/storm.md and draws docs/storm.svg.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    clippy::cast_possible_wrap,
    reason = "counts and times of a simulation, far below every limit"
)]

mod plot;
mod simulation;

use std::{env, fs, path::Path, process::ExitCode, time::Duration};

use hearthlink::retry::Policy;
use plot::Line;
use simulation::{Course, PATIENCE, Storm, Waits, run};

const GATEWAYS: u32 = 100_000;
/// TLS handshakes that a cloud of a few machines does.
const DOOR: u32 = 2_000;
const SEED: u64 = 2026;
/// What the picture shows.
const SHOWN: Duration = Duration::from_secs(60);

fn seconds(time: Option<Duration>) -> String {
    match time {
        Some(time) => format!("{:.0} s", time.as_secs_f64()),
        None => format!("more than {} min", PATIENCE.as_secs() / 60),
    }
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn row(down: Duration, name: &str, course: &Course) {
    println!(
        "| {} s | {name} | {} | {} | {} | {} | {} |",
        down.as_secs(),
        thousands(course.peak().into()),
        thousands(course.connects_in_all()),
        seconds(course.half),
        seconds(course.all),
        thousands(course.missing.into()),
    );
}

fn main() -> ExitCode {
    let patient = Policy { first: Duration::from_secs(10), ..Policy::default() };
    let ways = [
        ("Hearthlink", "#0a7d33", Waits::Ours(Policy::default())),
        ("with `first: 10s`", "#1c71d8", Waits::Ours(patient)),
        ("doubling, no jitter", "#b36b00", Waits::Doubling(Duration::from_secs(1), Duration::from_secs(300))),
        ("every 5 s", "#c01c28", Waits::Fixed(Duration::from_secs(5))),
    ];
    println!(
        "| cloud gone for | waiting | peak, connects/s | connects in all | half are back | all are back | missing after 1 h |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for down in [2, 60, 600].map(Duration::from_secs) {
        let storm = Storm { gateways: GATEWAYS, down, door: DOOR, seed: SEED };
        let courses = ways.map(|(name, _, waits)| {
            let course = run(storm, waits);
            row(down, name, &course);
            course
        });
        let Some(directory) = env::args().nth(1).filter(|_| down == SHOWN) else { continue };
        let lines: Vec<Line<'_>> = ways
            .iter()
            .zip(&courses)
            .map(|((name, colour, _), course)| Line { name, colour, course })
            .collect();
        let title =
            format!("{} gateways after {} s without the cloud", thousands(GATEWAYS.into()), down.as_secs());
        let path = Path::new(&directory).join("storm.svg");
        if let Err(error) = fs::write(&path, plot::svg(&title, &lines, DOOR, 300)) {
            eprintln!("failed to write {}: {error}", path.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
