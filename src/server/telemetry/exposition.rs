//! Prometheus' text format 0.0.4: families with help and type, samples with labels. Knows the format
//! and nothing of what is counted.

use std::fmt::{Display, Write as _};

/// What the answer of a scrape says it is.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the samples of a family are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// They only grow; the name ends with `_total`.
    Counter,
    /// They go up and down.
    Gauge,
    /// Buckets, a sum and a count.
    Histogram,
}

/// A page being written. The samples of a family follow it at once.
#[derive(Clone, Debug, Default)]
pub struct Page(String);

impl Page {
    /// Begins a family.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.0.push_str("# HELP ");
        self.0.push_str(name);
        self.0.push(' ');
        escape(&mut self.0, help, false);
        self.line(format_args!("\n# TYPE {name} {kind}"));
    }

    /// Adds a sample, named as its family or that with `_bucket`, `_sum`, `_count`.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            self.0.push(if at == 0 { '{' } else { ',' });
            self.0.push_str(label);
            self.0.push_str("=\"");
            escape(&mut self.0, text, true);
            self.0.push('"');
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        self.line(format_args!(" {value}"));
    }

    /// A family of one sample without labels.
    pub fn single(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// The page as it is sent.
    #[must_use]
    pub fn into_text(self) -> String {
        self.0
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        // A string takes everything.
        let _written = self.0.write_fmt(text);
        self.0.push('\n');
    }
}

fn escape(to: &mut String, text: &str, is_label: bool) {
    for c in text.chars() {
        match c {
            '\\' => to.push_str("\\\\"),
            '\n' => to.push_str("\\n"),
            '"' if is_label => to.push_str("\\\""),
            c => to.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_as_prometheus_reads_it() {
        let mut page = Page::default();
        page.single("up", Kind::Gauge, "Whether\nit is.", 1);
        page.family("asked_total", Kind::Counter, "How \"often\".");
        page.sample("asked_total", &[("by", "a\"b\\c\nd"), ("of", "")], 2.5);
        let expected = "# HELP up Whether\\nit is.\n# TYPE up gauge\nup 1\n\
                        # HELP asked_total How \"often\".\n# TYPE asked_total counter\n\
                        asked_total{by=\"a\\\"b\\\\c\\nd\",of=\"\"} 2.5\n";
        assert_eq!(page.into_text(), expected);
    }
}
