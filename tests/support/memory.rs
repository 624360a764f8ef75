//! What the process of a test has in memory. Another test in the same binary would be counted too, and its broker and
//! runtime take and give back tens of megabytes behind its end: such a test stands alone.

/// How much a process may have grown between the first hour without a line and the sixth, in bytes.
pub const GROWTH: usize = 3 << 20;

/// What this process has in memory, in bytes.
pub fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
