//! The text format of Prometheus, version 0.0.4.

use std::fmt::{Display, Write as _};

use crate::measure::{BOUNDS, Histogram};

#[derive(Debug, Default)]
pub(super) struct Text {
    out: String,
    name: &'static str,
}

impl Text {
    /// Begins a family; its samples follow. `help` is one line without backslashes.
    pub(super) fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        let _ = write!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        self.name = name;
    }

    /// A sample of the family.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.line("", labels, value);
    }

    /// A family of one sample without labels.
    pub(super) fn single(&mut self, name: &'static str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(&[], value);
    }

    /// A histogram as a family.
    pub(super) fn histogram(&mut self, name: &'static str, help: &str, histogram: &Histogram) {
        self.family(name, "histogram", help);
        let mut total = 0;
        let bounds = BOUNDS.iter().map(|(_, text)| *text).chain(["+Inf"]);
        for (bound, count) in bounds.zip(histogram.counts()) {
            total += count;
            self.line("_bucket", &[("le", bound)], total);
        }
        self.line("_sum", &[], histogram.seconds());
        // What came meanwhile is left to the next scrape: the count is that of the buckets shown.
        self.line("_count", &[], total);
    }

    pub(super) fn finish(self) -> String {
        self.out
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        let _ = write!(self.out, "{}{suffix}", self.name);
        for (i, (name, value)) in labels.iter().enumerate() {
            let _ = write!(self.out, "{}{name}=\"", if i == 0 { '{' } else { ',' });
            for c in value.chars() {
                match c {
                    '\\' => self.out.push_str("\\\\"),
                    '"' => self.out.push_str("\\\""),
                    '\n' => self.out.push_str("\\n"),
                    c => self.out.push(c),
                }
            }
            self.out.push('"');
        }
        let _ = writeln!(self.out, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn labels_are_escaped_and_histograms_are_cumulative() {
        let mut text = Text::default();
        text.family("a_total", "counter", "Help.");
        text.sample(&[("x", "\\ \" \n"), ("y", "z")], 3);
        let histogram = Histogram::default();
        histogram.observe(Duration::from_millis(7));
        histogram.observe(Duration::from_secs(700));
        text.histogram("h_seconds", "Help.", &histogram);
        let out = text.finish();
        let start = "# HELP a_total Help.\n# TYPE a_total counter\na_total{x=\"\\\\ \\\" \\n\",y=\"z\"} 3\n";
        assert!(out.starts_with(start), "{out}");
        for line in [
            "h_seconds_bucket{le=\"0.005\"} 0\n",
            "h_seconds_bucket{le=\"0.01\"} 1\n",
            "h_seconds_bucket{le=\"600\"} 1\n",
            "h_seconds_bucket{le=\"+Inf\"} 2\n",
            "h_seconds_sum 700.007\n",
            "h_seconds_count 2\n",
        ] {
            assert!(out.contains(line), "{line}{out}");
        }
    }
}
