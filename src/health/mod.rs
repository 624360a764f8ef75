//! The status board: facts that the parts report and that people and programs look at.
//!
//! Owns the latest report of every part and the sentence that says what is wrong. Never blocks the
//! one who reports (a short lock, no I/O under it), holds no history but the last commands, bounded.

mod board;
mod certificate;
mod refusals;
mod report;
mod verdict;

pub use board::{Board, Snapshot};
pub use certificate::{CertificateReport, CertificateStatus, Expiry};
pub use refusals::{Refusal, RefusalReport, RefusalsReport, Refused};
pub use report::{
    BrokerReport, BusReport, CommandReport, DeviceReport, LaneReport, LastFault, LinkCounters, LinkReport,
    ReceiptReport, ReceiptsReport, StoreReport, WrittenReport,
};
pub use verdict::{Level, Verdict};
