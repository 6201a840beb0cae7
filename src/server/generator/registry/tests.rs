//! Limits, overflow, staleness: nothing is lost but the labels of what is beyond a limit.

use super::*;

const CALLS: usize = 0;
const LATENCY: usize = 1;

fn registry(limits: SeriesLimits) -> (Registry, GroupId) {
    let mut registry = Registry::new(limits, Histograms::Classic);
    let bounds = Kind::Histogram([0.1, 1.0].into());
    let group = registry.add_group(vec![
        Metric { name: "calls_total", help: "", kind: Kind::Counter },
        Metric { name: "latency", help: "", kind: bounds },
    ]);
    (registry, group)
}

fn count(registry: &mut Registry, group: GroupId, labels: &[(&str, &str)], now: u64) {
    let mut buffer = LabelBuffer::default();
    labels.iter().for_each(|(name, value)| buffer.push(name, value));
    let mut update = registry.update(group, &buffer, now);
    update.add(CALLS, 1.0);
    update.observe(LATENCY, 0.1, 1.0, TraceId([1; 16]));
}

/// Labels and calls of every entry.
fn calls(registry: &Registry) -> Vec<(String, f64)> {
    let entries = registry.groups().iter().flat_map(Group::entries);
    entries
        .map(|entry| {
            let labels: Vec<_> = entry.labels.iter().map(|(n, v)| format!("{n}={v}")).collect();
            let Some(Value::Counter(counter)) = entry.value(CALLS) else { panic!("no counter") };
            (labels.join(","), counter.sum)
        })
        .collect()
}

#[test]
fn what_is_beyond_the_limit_of_series_overflows_and_is_not_lost() {
    // An entry is 1 counter, 3 buckets, a sum and a count.
    let limits = SeriesLimits { max_active_series: 12, ..SeriesLimits::default() };
    let (mut registry, group) = registry(limits);
    for n in 0..10 {
        count(&mut registry, group, &[("n", &n.to_string())], 1);
        count(&mut registry, group, &[("n", "0")], 1);
    }
    assert_eq!(
        calls(&registry),
        [("n=0".into(), 11.0), ("n=1".into(), 1.0), ("metric_overflow=true".into(), 8.0)]
    );
    let stats = registry.stats();
    assert_eq!((stats.active_series, stats.added, stats.limited), (12, 12, 8));
}

#[test]
fn entities_are_limited_apart_from_series() {
    let limits = SeriesLimits { max_active_entities: 1, ..SeriesLimits::default() };
    let (mut registry, group) = registry(limits);
    for n in ["a", "b", "a"] {
        count(&mut registry, group, &[("n", n)], 1);
    }
    assert_eq!(calls(&registry), [("n=a".into(), 2.0), ("metric_overflow=true".into(), 1.0)]);
}

#[test]
fn a_label_with_too_many_values_keeps_its_other_labels() {
    let limits = SeriesLimits { max_cardinality_per_label: 2, ..SeriesLimits::default() };
    let (mut registry, group) = registry(limits);
    for (n, service) in [("1", "a"), ("2", "a"), ("3", "a"), ("4", "b"), ("1", "b")] {
        count(&mut registry, group, &[("n", n), ("service", service)], 1);
    }
    let overflow = "n=__cardinality_overflow__,service=";
    assert_eq!(
        calls(&registry),
        [
            ("n=1,service=a".into(), 1.0),
            ("n=2,service=a".into(), 1.0),
            (format!("{overflow}a"), 1.0),
            (format!("{overflow}b"), 1.0),
            ("n=1,service=b".into(), 1.0),
        ]
    );
    // When values go there is room for others.
    count(&mut registry, group, &[("n", "1"), ("service", "b")], 9);
    drop(registry.remove_stale(5));
    count(&mut registry, group, &[("n", "5"), ("service", "b")], 9);
    assert_eq!(calls(&registry), [("n=1,service=b".into(), 2.0), ("n=5,service=b".into(), 1.0)]);
}

#[test]
fn stale_series_make_room_and_begin_anew() {
    let limits = SeriesLimits { max_active_series: 12, ..SeriesLimits::default() };
    let (mut registry, group) = registry(limits);
    for (n, now) in [("a", 10), ("b", 20), ("c", 15)] {
        count(&mut registry, group, &[("n", n)], now);
    }
    let removed: Vec<_> = registry.remove_stale(16).into_iter().flat_map(|(_, e)| e).collect();
    assert_eq!(removed.len(), 2, "`a` and the overflow");
    assert_eq!(calls(&registry), [("n=b".into(), 1.0)]);
    assert_eq!((registry.stats().active_series, registry.stats().removed), (6, 6));
    count(&mut registry, group, &[("n", "c")], 30);
    count(&mut registry, group, &[("n", "b")], 30);
    assert_eq!(calls(&registry), [("n=b".into(), 2.0), ("n=c".into(), 1.0)]);
    drop(registry.remove_stale(31));
    assert!(registry.is_empty());
}

#[test]
fn an_entry_moved_by_a_removal_is_still_found() {
    let (mut registry, group) = registry(SeriesLimits::default());
    for (n, now) in [("a", 1), ("b", 2), ("c", 3), ("d", 1)] {
        count(&mut registry, group, &[("n", n)], now);
    }
    drop(registry.remove_stale(2));
    count(&mut registry, group, &[("n", "b")], 4);
    count(&mut registry, group, &[("n", "c")], 4);
    let mut calls = calls(&registry);
    calls.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(calls, [("n=b".into(), 2.0), ("n=c".into(), 2.0)]);
}

#[test]
fn bounds_of_buckets_are_inclusive() {
    let (mut registry, group) = registry(SeriesLimits::default());
    let mut update = registry.update(group, &LabelBuffer::default(), 7_000_000);
    for value in [0.0, 0.1, 0.2, 1.0, 1.5] {
        update.observe(LATENCY, value, 2.0, TraceId([2; 16]));
    }
    let Some(Value::Histogram(histogram)) = registry.groups()[0].entries[0].value(LATENCY) else {
        panic!("no histogram")
    };
    let buckets: Vec<_> = histogram.buckets().map(|b| (b.bound, b.cumulative)).collect();
    assert_eq!(buckets, [(0.1, 4.0), (1.0, 8.0), (f64::INFINITY, 10.0)]);
    assert_eq!((histogram.count, histogram.sum), (10.0, 5.6));
    let exemplars: Vec<_> =
        histogram.buckets().filter_map(|b| b.exemplar).map(|e| (e.value, e.unix_millis)).collect();
    assert_eq!(exemplars, [(0.1, 7), (1.0, 7), (1.5, 7)]);
}
