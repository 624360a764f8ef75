//! What each part of the gateway costs, alone: packets, sessions, the store, commands, topics, Bluetooth.
//!
//! ```text
//! cargo bench --bench parts                          # all: time, messages a second, allocations
//! cargo bench --bench parts -- packet                # some, by name
//! target/release/deps/parts-… --list-pure            # those that neither wait nor touch the disk
//! target/release/deps/parts-… --count NAME TIMES     # one of them, so many times: for callgrind
//! ```
//!
//! A run of a part handles one message, or a batch where the name ends with its size. The parts are in [`part::all`]; the
//! clock and `tests/instructions/run`, which counts instructions, measure the very same runs. The whole gateway
//! beside its peers is in `benches/broker` and `benches/e2e`, and how each part grows in `benches/growth`.

mod ble;
mod commands;
mod packet;
mod part;
mod sessions;
mod store;
mod topics;

use std::cell::RefCell;

use anyhow::{Context, Result, bail};
use divan::{AllocProfiler, Bencher, counter::ItemsCount};

use part::{Part, Work};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["--list-pure"] => {
            part::all().iter().filter(|part| part.is_pure).for_each(|part| println!("{part}"));
        }
        ["--count", name, times] => count(name, times.parse().context("how many times is a number")?)?,
        ["--count", ..] => bail!("--count wants a name and how many times"),
        _ => divan::main(),
    }
    Ok(())
}

#[divan::bench(args = part::all())]
fn part(bencher: Bencher<'_, '_>, part: &Part) {
    let work = RefCell::new((part.make)());
    bencher
        .counter(ItemsCount::new(part.messages))
        .with_inputs(|| work.borrow_mut().prepare())
        .bench_local_values(|()| work.borrow_mut().run());
}

/// Runs a part so many times in [`counted`], once before it: what a first time allocates is not what it costs.
fn count(name: &str, times: u32) -> Result<()> {
    let all = part::all();
    let part =
        all.iter().find(|part| part.name == name).with_context(|| format!("there is no part {name}"))?;
    let mut work = (part.make)();
    work.prepare();
    work.run();
    counted(&mut *work, times);
    Ok(())
}

/// The function whose inside callgrind counts, by its name.
#[inline(never)]
fn counted(work: &mut dyn Work, times: u32) {
    for _ in 0..times {
        work.prepare();
        work.run();
    }
}
