//! What processes have taken of the machine, by proc(5).
//!
//! Never starts or ends one. Figures of several processes are sums: a relay and its broker count as one thing.

use std::fs;

use anyhow::{Context, Result};

/// Of all the processes that were asked for, together.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// Processor time so far, in milliseconds, 10 ms fine.
    pub cpu: f64,
    /// Bytes that were caused to go to the disk so far.
    pub written: f64,
    /// Voluntary context switches of all tasks so far.
    pub switches: f64,
    /// What is resident now, in KiB.
    pub resident: f64,
    /// What of that is no file's, in KiB.
    pub own: f64,
    /// The most that was resident, in KiB.
    pub peak: f64,
    pub threads: f64,
}

/// Asks for all of them; fails when one has ended.
pub fn usage(processes: &[u32]) -> Result<Usage> {
    let mut sum = Usage::default();
    for id in processes {
        add(*id, &mut sum).with_context(|| format!("process {id} cannot be asked"))?;
    }
    Ok(sum)
}

fn add(id: u32, sum: &mut Usage) -> Result<()> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    sum.resident += field(&status, "VmRSS:")?;
    sum.own += field(&status, "RssAnon:")?;
    sum.peak += field(&status, "VmHWM:")?;
    sum.threads += field(&status, "Threads:")?;
    sum.written += field(&fs::read_to_string(format!("/proc/{id}/io"))?, "write_bytes:")?;
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    for ticks in fields.get(11..13).context("no times")? {
        sum.cpu += ticks.parse::<f64>()? * 10.0;
    }
    for task in fs::read_dir(format!("/proc/{id}/task"))? {
        // A thread may end meanwhile.
        if let Ok(status) = fs::read_to_string(task?.path().join("status")) {
            sum.switches += field(&status, "voluntary_ctxt_switches:")?;
        }
    }
    Ok(())
}

fn field(text: &str, name: &str) -> Result<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let word = line.and_then(|rest| rest.split_whitespace().next());
    Ok(word.with_context(|| format!("no {name}"))?.parse()?)
}
