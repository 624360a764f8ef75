//! What was measured, and whether it is what the issue asks for.
//!
//! Owns the figures of all rounds and the one table at the end. A ratio is ours by the peer's of the same round; the
//! best peer is the one with the better median.

use crate::{
    figures::{Rounds, Table, verdict},
    programs::{CONTENDERS, Contender},
};

/// What ours has to reach.
#[derive(Debug, Clone, Copy)]
pub enum Goal {
    /// Nothing; only shown, less being better.
    Shown,
    /// So many times the best peer's, more being better.
    AtLeastBest(f64),
    /// So many times the best peer's, less being better.
    AtMostBest(f64),
    /// So many times Mosquitto's with its bridge.
    AtMostBridge(f64),
    /// By itself.
    AtMost(f64),
}

/// A figure's name, how many digits it is shown with, and its goal.
pub type Metric = (&'static str, usize, Goal);

struct Line {
    workload: &'static str,
    metric: Metric,
    figures: [Rounds; 3],
}

/// All figures of a run.
#[derive(Default)]
pub struct Report {
    lines: Vec<Line>,
    floors: Vec<(&'static str, Rounds)>,
}

impl Report {
    /// One figure of one round.
    pub fn add(&mut self, workload: &'static str, metric: Metric, contender: Contender, figure: f64) {
        let known = self.lines.iter().position(|line| line.workload == workload && line.metric.0 == metric.0);
        let index = known.unwrap_or_else(|| {
            self.lines.push(Line { workload, metric, figures: Default::default() });
            self.lines.len() - 1
        });
        let place = CONTENDERS.iter().position(|other| *other == contender).unwrap_or_default();
        self.lines[index].figures[place].0.push(figure);
    }

    /// What nobody can be better than, on this machine in this run.
    pub fn add_floor(&mut self, what: &'static str, figure: f64) {
        match self.floors.iter_mut().find(|(name, _)| *name == what) {
            Some((_, rounds)) => rounds.0.push(figure),
            None => self.floors.push((what, Rounds(vec![figure]))),
        }
    }

    /// Prints the table; how many goals are missed.
    pub fn print(&self) -> usize {
        let mut table = Table::new(&[
            "what",
            "Hearthlink",
            "Mosquitto's bridge",
            "relay",
            "ours / best peer",
            "ours / bridge",
            "goal",
            "",
        ]);
        let mut missed = 0;
        for line in &self.lines {
            let (cells, is_met) = line.cells();
            missed += usize::from(is_met == Some(false));
            table.row(cells);
        }
        println!("{table}");
        for (what, rounds) in &self.floors {
            println!("Floor: {what}: {}.", rounds.show(3));
        }
        missed
    }
}

impl Line {
    fn cells(&self) -> (Vec<String>, Option<bool>) {
        let (name, digits, goal) = self.metric;
        let [ours, bridge, relay] = &self.figures;
        let is_more_better = matches!(goal, Goal::AtLeastBest(_));
        let is_relay_best = (relay.median() > bridge.median()) == is_more_better;
        let best = if bridge.0.is_empty() || is_relay_best { relay } else { bridge };
        let (to_best, to_bridge) = (ours.ratio(best), ours.ratio(bridge));
        let (goal, is_met) = match goal {
            Goal::Shown => (String::new(), None),
            Goal::AtLeastBest(ratio) => (format!("≥ {ratio} × best"), Some(to_best.median() >= ratio)),
            // Nothing of what is bad needs no comparison.
            Goal::AtMostBest(ratio) => {
                (format!("≤ {ratio} × best"), Some(ours.median() == 0.0 || to_best.median() <= ratio))
            }
            Goal::AtMostBridge(ratio) => (format!("≤ {ratio} × bridge"), Some(to_bridge.median() <= ratio)),
            Goal::AtMost(most) => (format!("≤ {most}"), Some(ours.median() <= most)),
        };
        let show = |rounds: &Rounds, digits| match rounds.0.is_empty() || rounds.median().is_nan() {
            true => "–".to_owned(),
            false => rounds.show(digits),
        };
        let mut cells = vec![format!("{}: {name}", self.workload)];
        cells.extend([ours, bridge, relay].map(|rounds| show(rounds, digits)));
        cells.extend([&to_best, &to_bridge].map(|rounds| show(rounds, 2)));
        cells.extend([goal, is_met.map(verdict).unwrap_or_default()]);
        (cells, is_met)
    }
}
