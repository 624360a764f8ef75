//! How the demonstration writes times and counts.

use std::time::Duration;

/// `84 ms`, `2.3 s`.
pub(super) fn duration(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{} ms", duration.as_millis())
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}

/// `1 reading`, `2 readings`.
pub(super) fn count(number: usize, one: &str) -> String {
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_times_are_milliseconds_and_long_ones_seconds() {
        assert_eq!(duration(Duration::from_micros(84_900)), "84 ms");
        assert_eq!(duration(Duration::from_millis(2_345)), "2.3 s");
        assert_eq!(
            (count(1, "reading"), count(0, "reading")),
            ("1 reading".to_owned(), "0 readings".to_owned())
        );
    }
}
