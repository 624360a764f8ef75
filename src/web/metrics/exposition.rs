//! The text format of Prometheus (0.0.4): families, samples, labels.
//!
//! Owns prefix and escaping. A family without a sample is left out: what a machine does not have is not there.

use std::fmt::Write;

/// How a family's values go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Up and down.
    Gauge,
    /// Only up, from the start of the program. Its name ends with `_total`.
    Counter,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
        }
    }
}

/// Labels of a sample, each with its value.
pub(super) type Labels<'a> = Vec<(&'static str, &'a str)>;

/// The text, as far as it has come.
#[derive(Debug, Default)]
pub(super) struct Exposition(String);

impl Exposition {
    /// One value, if there is one.
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: impl Into<Option<f64>>) {
        self.family(Kind::Gauge, name, help, value.into().map(|value| (Vec::new(), value)));
    }

    /// One value that only grows.
    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family(Kind::Counter, name, help, [(Vec::new(), value as f64)]);
    }

    /// A value for each set of labels.
    pub(super) fn family<'a>(
        &mut self,
        kind: Kind,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'a>, f64)>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        // Writing to a string cannot fail.
        let word = kind.word();
        let _ = write!(self.0, "# HELP hearthlink_{name} {help}\n# TYPE hearthlink_{name} {word}\n");
        for (labels, value) in samples {
            let _ = write!(self.0, "hearthlink_{name}");
            for (index, (label, value)) in labels.iter().enumerate() {
                let opening = if index == 0 { '{' } else { ',' };
                let _ = write!(self.0, "{opening}{label}=\"{}\"", escaped(value));
            }
            let closing = if labels.is_empty() { "" } else { "}" };
            let _ = writeln!(self.0, "{closing} {value}");
        }
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_has_its_head_once_its_labels_escaped_and_nothing_is_written_of_nothing() {
        let mut text = Exposition::default();
        text.gauge("absent", "Not there.", None);
        text.gauge("load", "A load.", 0.25);
        text.counter("things_total", "Things.", 3);
        let samples = [(vec![("bus", "a \"b\"\\\n"), ("event", "x")], 1.0), (vec![("bus", "c")], 2.0)];
        text.family(Kind::Counter, "events_total", "Events.", samples);
        let expected = "# HELP hearthlink_load A load.\n# TYPE hearthlink_load gauge\nhearthlink_load 0.25\n\
            # HELP hearthlink_things_total Things.\n# TYPE hearthlink_things_total counter\nhearthlink_things_total 3\n\
            # HELP hearthlink_events_total Events.\n# TYPE hearthlink_events_total counter\n\
            hearthlink_events_total{bus=\"a \\\"b\\\"\\\\\\n\",event=\"x\"} 1\nhearthlink_events_total{bus=\"c\"} 2\n";
        assert_eq!(text.into_text(), expected);
    }
}
