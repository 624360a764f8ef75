//! What stands in for devices under `--simulate`: the frames of their buses, without the buses.
//!
//! A kind brings its own [`Appliance`](super::Appliance) by [`Device::simulation`](super::Device::simulation), and the
//! simulated bus drives it; so the kind's own `decode` and `encode` are what runs. Here are the parts that most of them
//! are made of. Rejected: a second implementation of each kind that makes readings up; it would prove nothing.

mod line;
mod stand_in;
mod waves;

pub(super) use line::SimulatedLine;
pub use stand_in::StandIn;
pub use waves::Waves;
