//! Durations counted in buckets.

use std::time::Duration;

use super::exposition::Page;

/// Upper bounds in seconds: from what a cache answers to what nobody waits for.
const BOUNDS: [f64; 14] =
    [0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 100.0];

/// How long things took.
#[derive(Clone, Debug, Default)]
pub(super) struct Histogram {
    /// By bucket; what is longer than all bounds is in `count` alone.
    buckets: [u64; BOUNDS.len()],
    count: u64,
    sum: Duration,
}

impl Histogram {
    pub(super) fn observe(&mut self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound);
        if let Some(count) = bucket.and_then(|bucket| self.buckets.get_mut(bucket)) {
            *count += 1;
        }
        self.count += 1;
        self.sum = self.sum.saturating_add(duration);
    }

    /// Adds the samples to the family of that name.
    pub(super) fn write(&self, page: &mut Page, name: &str, labels: &[(&str, &str)]) {
        let with = |bound: &str, page: &mut Page, count: u64| {
            let labels = [labels, &[("le", bound)]].concat();
            page.sample(&format!("{name}_bucket"), &labels, count);
        };
        let mut below = 0;
        for (bound, count) in BOUNDS.iter().zip(self.buckets) {
            below += count;
            with(&bound.to_string(), page, below);
        }
        with("+Inf", page, self.count);
        page.sample(&format!("{name}_sum"), labels, self.sum.as_secs_f64());
        page.sample(&format!("{name}_count"), labels, self.count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_add_up() {
        let mut histogram = Histogram::default();
        for millis in [1, 5, 6, 2_000, 200_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let mut page = Page::default();
        histogram.write(&mut page, "x_seconds", &[("a", "b")]);
        let text = page.into_text();
        let value = |line: &str| {
            let found = text.lines().find_map(|l| l.strip_prefix(line));
            found.map(|rest| rest.trim().to_owned())
        };
        let bucket = |le: &str| value(&format!("x_seconds_bucket{{a=\"b\",le=\"{le}\"}}"));
        assert_eq!(bucket("0.0025").as_deref(), Some("1"));
        assert_eq!(bucket("0.005").as_deref(), Some("2"), "a bound belongs to its bucket");
        assert_eq!(bucket("1").as_deref(), Some("3"));
        assert_eq!(bucket("100").as_deref(), Some("4"));
        assert_eq!(bucket("+Inf").as_deref(), Some("5"));
        assert_eq!(value("x_seconds_count{a=\"b\"}").as_deref(), Some("5"));
        assert_eq!(value("x_seconds_sum{a=\"b\"}").as_deref(), Some("202.012"));
    }
}
