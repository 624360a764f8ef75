//! The status board: facts that the parts report and that people and programs look at.
//!
//! Owns the latest report of every part and the sentence that says what is wrong. Never blocks the
//! one who reports (a short lock, no I/O under it). Its histories (commands, receipts, the line, devices' numbers, the
//! queue's size) are bounded, each where it is kept.

mod board;
mod certificate;
mod filling;
mod host;
mod line_history;
mod moment;
mod outages;
mod refusals;
mod report;
mod round_trips;
mod traffic;
mod trend;
mod verdict;

pub use board::{Board, Snapshot};
pub use certificate::{CertificateReport, CertificateStatus, Expiry};
pub use host::{DiskReport, HostReport, MemoryReport, UnderVoltage};
pub use line_history::{
    LineHistoryReport, OutageReport, RoundTripPoint, RoundTripReport, TrafficDay, TrafficReport,
};
pub use refusals::{Refusal, RefusalReport, RefusalsReport, Refused};
pub use report::{
    BrokerReport, BusReport, ButtonReport, CommandCount, CommandReport, DeviceReport, LaneReport, LastFault,
    LinkCounters, LinkReport, NumberReport, OutlookReport, ReceiptReport, ReceiptsReport, StoreReport,
    WrittenReport,
};
pub use traffic::Traffic;
pub(crate) use verdict::unanswering_remedy;
pub use verdict::{Level, Verdict};
