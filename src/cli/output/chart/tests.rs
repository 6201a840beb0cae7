//! Pictures of made-up series, looked at by eye and pinned; and what must hold of every picture.

use std::f64::consts::TAU;

use traceql_engine::metrics::{Label, Samples};
use unicode_width::UnicodeWidthStr as _;

use super::*;
use crate::output::metrics::unit::Unit;

/// 2026-11-27 10:00:00 UTC.
const START: u64 = 1_795_773_600_000_000_000;
const SECOND: u64 = 1_000_000_000;
const ABSENT: f64 = f64::NAN;

const NUMBERS: Units = Units { sample: Unit::Number, bucket: Unit::Number };
const DURATIONS: Units = Units { sample: Unit::Seconds, bucket: Unit::Number };
const RATES: Units = Units { sample: Unit::PerSecond, bucket: Unit::Number };
const BUCKETS: Units = Units { sample: Unit::Number, bucket: Unit::Seconds };

fn look(width: usize) -> Look {
    Look { width, height: 12, paint: Paint { on: false }, unicode: true }
}

fn axis(n_intervals: usize, step_seconds: u64) -> TimeAxis {
    let step_nanos = step_seconds * SECOND;
    TimeAxis { start_unix_nanos: START - step_nanos, step_nanos, n_intervals }
}

fn series(name: &str, values: impl IntoIterator<Item = f64>) -> Series {
    let samples = Samples::dense(values.into_iter().collect());
    Series {
        labels: vec![Label::text("resource.service.name", name)],
        samples,
        exemplars: Vec::new(),
    }
}

fn wave(n: u32, low: f64, high: f64, turns: f64) -> impl Iterator<Item = f64> {
    (0..n).map(move |i| {
        let turn = f64::from(i) / f64::from(n) * turns * TAU;
        low + (high - low) * (1.0 - turn.cos()) / 2.0
    })
}

fn draw(series: &[Series], axis: TimeAxis, units: Units, look: &Look) -> String {
    Chart { axis: &axis, series, is_instant: false, units }.draw(look)
}

fn bars(series: &[Series], units: Units, look: &Look) -> String {
    Chart { axis: &axis(1, 3600), series, is_instant: true, units }.draw(look)
}

fn buckets(service: Option<&str>, first: i32, counts: &[&[f64]]) -> Vec<Series> {
    counts
        .iter()
        .zip(first..)
        .map(|(counts, power)| {
            let bound = LabelValue::Float(2f64.powi(power) / 1e9);
            let service = service.map(|name| Label::text("resource.service.name", name));
            let labels = service.into_iter().chain([Label::new(BUCKET, bound)]).collect();
            Series { labels, samples: Samples::dense(counts.to_vec()), exemplars: Vec::new() }
        })
        .collect()
}

#[track_caller]
fn check(picture: &str, expect: &str) {
    assert_eq!(picture, expect.trim_start_matches('\n'), "\n{picture}");
}

#[test]
fn lines_have_letters_at_their_ends_and_on_their_way() {
    let series = [
        series("checkout", wave(60, 0.02, 0.4, 1.0)),
        series("frontend", wave(60, 0.1, 0.2, 3.0)),
        series("cart", (0..60).map(|i| if i % 20 < 8 { ABSENT } else { 0.05 })),
    ];
    check(
        &draw(&series, axis(60, 60), DURATIONS, &look(60)),
        r"
400ms ┤                     ⣀⠤⠊⠉⠉⠉⠉A⢄⡀
      │                   ⡠⠊         ⠈⠱⣀
      │                 ⡠⠊              ⠑⡄
300ms ┤               ⢀⠔⠁                ⠈⠢⡀
      │              ⡠⠃                    ⠘⢄
200ms ┤        ⣀   ⢀⠜           ⢀           ⠈⠢⡀  ⢀⡀
      │     ⢀⠔⠊ ⠉⠒⣤⠊          ⡔⠊⠁⠉⠒⢄          ⠑⡔⠊⠁⠈⠒⠤⡀
      │   ⢀⠔⠁   ⢀⠔⠁B⢢      ⢀⠔⠉      ⠑⠢⡀     ⢀⠔⠉⠈⠢⡀   ⠑⠢⡀
100ms ┤⣀⡠⠒⠁   ⢀⠔⠁    ⠑⠤⣀⣀⡠⠔⠁          ⠘⠤⣀⣀⡠B⠊    ⠈⢢    ⠈⠢⣀B
      │     ⢀⡠⠊                                    ⠑⢄
      │   ⣀A⠃ ⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒       C⠒⠒⠒⠒⠒⠒⠒⠒⠒       ⠒⠒⠒⠒⠒⠓⢖⡒⠒⠒C
   0s ┤⠒⠊⠉                                             ⠈⠉⠒A
      └┬───────┬────────┬───────┬────────┬───────┬────────
     10:00   10:10    10:20   10:30    10:40   10:50
       2026-11-27 UTC, step 1m

  RESOURCE.SERVICE.NAME    MIN   MEAN    MAX   LAST
A checkout                21ms  213ms  400ms   21ms
B frontend               100ms  150ms  200ms  102ms
C cart                    50ms   50ms   50ms   50ms
",
    );
    check(
        &draw(&series, axis(60, 60), DURATIONS, &Look { unicode: false, ..look(60) }),
        r"
400ms +                      aaaaaaAa
      |                   aaa        aa
      |                  aa            aa
300ms +                aa                aa
      |              aa                    a
200ms +        b    aa          b           aa   b
      |     bbbbbbaB         bbbbbbbb         aabbbbbb
      |   bb    aa  bb     bb        bb     bb  aa    b
100ms +bbbb    a     bbbbbb           bbbbbB     aa    bbbB
      |     aaa                                    aaa    C
      |aaaaA  cccccccccc       Cccccccccc       ccccccaaaaA
   0s +
      ++-------+--------+-------+--------+-------+--------
     10:00   10:10    10:20   10:30    10:40   10:50
       2026-11-27 UTC, step 1m

  RESOURCE.SERVICE.NAME    MIN   MEAN    MAX   LAST
A checkout                21ms  213ms  400ms   21ms
B frontend               100ms  150ms  200ms  102ms
C cart                    50ms   50ms   50ms   50ms
",
    );
}

#[test]
fn a_narrow_terminal_gets_the_same_with_less_beside_it() {
    let series = [
        series("a service with a long name", wave(240, 0.0, 90.0, 2.0)),
        series("b", wave(240, 10.0, 20.0, 1.0)),
    ];
    check(
        &draw(&series, axis(240, 600), RATES, &Look { height: 6, ..look(40) }),
        r"
100/s ┤      ⢀⡠⣄⡀            ⣠⢤⡀
      │     ⣰A  ⠱⡄         ⢀⠞  ⠙⢆
 50/s ┤    ⡰⠁    ⠘⡄       ⢠⠏    ⠈⢧
      │   ⣰⠃      ⠹⡄     ⢀⠎      ⠈⢆
      │  ⣰⠃    ⣀⣀⣀⣀⣘⡤⠤⠤⠤⢤B⣀⣀⣀⣀    ⠈⢆  B
  0/s ┤⣒⠶⠓⠋⠉⠉⠉⠉⠁    ⠘⢦⣀⡴⠋     ⠉⠉⠉⠉⠉⠚⠳⣖A
      └──┬────────┬────────┬────────┬─
       12:00    00:00    12:00   00:00
       2026-11-27 11-28 UTC, step 10m

  RESOURCE.SERVICE.NAME        MIN   MAX
A a service with a long name   0/s  90/s
B b                           10/s  20/s
",
    );
}

#[test]
fn one_line_needs_no_letter_and_one_sample_is_seen() {
    let look = Look { height: 5, ..look(50) };
    let lone = series("lone", (0..31).map(|i| if i == 7 { 3.0 } else { ABSENT }));
    check(
        &draw(&[lone], axis(31, 60), NUMBERS, &look),
        r"
4 ┤
  │           ⠶
2 ┤
  │
0 ┤
  └┬──────────────┬───────────────┬──────────────┬
 10:00          10:10           10:20        10:30
   2026-11-27 UTC, step 1m

RESOURCE.SERVICE.NAME  MIN  MEAN  MAX  LAST
lone                     3     3    3     3
",
    );
    check(
        &draw(&[series("only", [5.0])], axis(1, 60), NUMBERS, &look),
        r"
5 ┤                       ⠛
  │
  │
  │
0 ┤
  └───────────────────────┬───────────────────────
                      10:00:00
   2026-11-27 UTC, step 1m

RESOURCE.SERVICE.NAME  MIN  MEAN  MAX  LAST
only                     5     5    5     5
",
    );
    check(
        &draw(&[series("zero", [0.0; 30])], axis(30, 1), NUMBERS, &look),
        r"
1.0 ┤
    │
0.5 ┤
    │
  0 ┤⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀
    └┬──────────────┬──────────────┬──────────────
 10:00:00       10:00:10       10:00:20
     2026-11-27 UTC, step 1s

RESOURCE.SERVICE.NAME  MIN  MEAN  MAX  LAST
zero                     0     0    0     0
",
    );
}

#[test]
fn of_many_series_the_highest_are_drawn() {
    let series: Vec<Series> =
        (0..13_u32).map(|n| series(&format!("s{n}"), [0.0, f64::from(n), ABSENT])).collect();
    let picture = draw(&series, axis(3, 60), NUMBERS, &look(60));
    let legend: Vec<&str> = picture
        .lines()
        .filter(|line| line.get(1..3) == Some(" s"))
        .map(|line| &line[..5])
        .collect();
    assert_eq!(legend[..3], ["A s12", "B s11", "C s10"], "{picture}");
    assert_eq!(legend.len(), 10, "{picture}");
    assert!(picture.ends_with("and 3 more: these have the highest peaks\n"), "{picture}");
}

#[test]
fn instants_are_bars_from_the_largest_down() {
    let values: Vec<Series> =
        (0..6_u32).map(|n| series(&format!("service {n}"), [f64::from(n * n) / 25.0])).collect();
    check(
        &bars(&values, DURATIONS, &look(60)),
        r"
RESOURCE.SERVICE.NAME  VALUE
service 5                 1s  ██████████████████████████████
service 4              640ms  ███████████████████▎
service 3              360ms  ██████████▊
service 2              160ms  ████▊
service 1               40ms  █▎
service 0                 0s
2026-11-27 09:00:00 until 10:00:00 UTC
",
    );
    check(
        &bars(&values[..3], DURATIONS, &Look { unicode: false, ..look(40) }),
        r"
RESOURCE.SERVIC…  VALUE
service 2         160ms  ###############
service 1          40ms  ####
service 0            0s
2026-11-27 09:00:00 until 10:00:00 UTC
",
    );
    let signed = [
        series("a", [-5.0]),
        series("b", [3.0]),
        series("c", [0.0]),
        series("d", [f64::INFINITY]),
        series("e", [ABSENT]),
    ];
    check(
        &bars(&signed, NUMBERS, &look(60)),
        r"
RESOURCE.SERVICE.NAME  VALUE
d                        inf                     ███████████
b                          3                     ███████████
c                          0
a                         -5  ███████████████████
2026-11-27 09:00:00 until 10:00:00 UTC
",
    );
    let many: Vec<Series> = (0..40_u32).map(|n| series(&format!("s{n}"), [f64::from(n)])).collect();
    assert!(bars(&many, NUMBERS, &look(60)).contains("\nand 10 more\n"));
}

#[test]
fn buckets_of_an_instant_keep_their_order() {
    let one = buckets(None, 20, &[&[5.0], &[9.0], &[1.0]]);
    check(
        &bars(&one, BUCKETS, &look(40)),
        r"
BUCKET  VALUE
1.04ms      5  █████████████▉
2.09ms      9  █████████████████████████
4.19ms      1  ██▊
2026-11-27 09:00:00 until 10:00:00 UTC
",
    );
}

#[test]
fn buckets_over_time_are_a_heat_map() {
    let mut all =
        buckets(Some("cart"), 24, &[&[0.0, 1.0, 9.0, 20.0], &[3.0, 40.0, 80.0, 0.0], &[0.0; 4]]);
    all.extend(buckets(Some("shop"), 28, &[&[100.0, 1.0, 30.0, 60.0]]));
    check(
        &draw(&all, axis(4, 60), BUCKETS, &look(50)),
        r"
shop
 268ms ┤██████████░░░░░░░░░░▓▓▓▓▓▓▓▓▓▓██████████
 134ms ┤
67.1ms ┤
33.5ms ┤
16.7ms ┤
       └┬─────────┬─────────┬────────┬─────────┬
      09:59     10:00     10:01    10:02   10:03
        2026-11-27 UTC, step 1m

cart
 268ms ┤
 134ms ┤
67.1ms ┤
33.5ms ┤░░░░░░░░░░▓▓▓▓▓▓▓▓▓▓██████████
16.7ms ┤          ░░░░░░░░░░▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒
       └┬─────────┬─────────┬────────┬─────────┬
      09:59     10:00     10:01    10:02   10:03
        2026-11-27 UTC, step 1m

░░ ≤ 7  ▒▒ ≤ 25  ▓▓ ≤ 57  ██ ≤ 100  a step
",
    );
    check(
        &draw(&all[..2], axis(4, 60), BUCKETS, &Look { unicode: false, ..look(50) }),
        r"
cart
33.5ms |..........**********##########
16.7ms |          ..........::::::::::::::::::::
       ++---------+---------+--------+---------+
      09:59     10:00     10:01    10:02   10:03
        2026-11-27 UTC, step 1m

.. <= 5  :: <= 20  ** <= 45  ## <= 80  a step
",
    );
}

#[test]
fn long_heat_maps_put_steps_together_and_few_spans_use_few_shades() {
    let values: Vec<f64> = (0..200_u32).map(|i| f64::from(i % 100 / 34)).collect();
    let all = buckets(None, 30, &[&values]);
    check(
        &draw(&all, axis(200, 15), BUCKETS, &look(40)),
        r"
1.07s ┤    ░▓▓▓▓█████▒    ▓▓▓▓▓████▓
      └┬────────┬───────┬───────┬───
     10:00    10:15   10:30   10:45
       2026-11-27 UTC, step 15s

░░ ≤ 1  ▒▒ ≤ 4  ▓▓ ≤ 8  ██ ≤ 14
a column, which is 7 steps
",
    );
}

#[test]
fn dates_are_told_where_they_begin() {
    let one = [series("a", wave(100, 0.0, 1.0, 1.0))];
    let axis_of = |step_seconds: u64| {
        let picture = draw(&one, axis(100, step_seconds), NUMBERS, &look(60));
        let lines: Vec<&str> = picture.lines().skip(12).take(3).collect();
        format!("{}\n", lines.join("\n"))
    };
    check(
        &axis_of(1),
        r"
    └┬───────────────┬────────────────┬───────────────┬─────
 10:00:00        10:00:30         10:01:00        10:01:30
     2026-11-27 UTC, step 1s
",
    );
    check(
        &axis_of(1800),
        r"
    └──┬────────────┬────────────┬────────────┬─────────────
     12:00        00:00        12:00        00:00
     2026-11-27     11-28                     11-29 UTC
",
    );
    check(
        &axis_of(86_400),
        r"
    └───────────┬──────────────┬──────────────┬─────────────
           2026-12-17     2027-01-14     2027-02-11
     UTC, step 1d
",
    );
    check(
        &axis_of(86_400 * 400),
        r"
    └───┬───────────────┬───────────────┬───────────────┬───
   2033-10-13      2065-09-03      2097-07-25     2129-06-16
     UTC, step 400d
",
    );
}

/// A generator of numbers that are not random at all.
fn noise(seed: u64) -> impl Iterator<Item = u64> {
    std::iter::successors(Some(seed | 1), |n| {
        Some(n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
    })
    .skip(1)
    .map(|n| n >> 33)
}

const ODD: [f64; 12] = [
    0.0,
    -0.0,
    1.0,
    -3.5,
    1e-9,
    f64::MAX,
    f64::MIN,
    f64::MIN_POSITIVE,
    5e-324,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::NAN,
];

fn without_colour(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let first = parts.next().unwrap_or_default();
    let rest = parts.map(|part| part.split_once('m').expect("styles end with m").1);
    std::iter::once(first).chain(rest).collect()
}

/// Whatever the values: no panic, no line longer than the terminal.
#[test]
fn no_value_breaks_a_picture() {
    for seed in 0..400 {
        let mut noise = noise(seed);
        let mut next = |n: usize| usize::try_from(noise.next().unwrap()).unwrap() % n;
        let (n_series, n_intervals) = (1 + next(14), 1 + next(300));
        let width = [30, 40, 80, 120, 200][next(5)];
        let kinds = 1 + next(ODD.len());
        let is_buckets = next(3) == 0;
        let all: Vec<Series> = (0..n_series)
            .map(|n| {
                let values = (0..n_intervals).map(|_| ODD[next(kinds)]).collect();
                let bucket = Label::new(BUCKET, LabelValue::Float(ODD[next(11)]));
                let name = Label::text("name", "日本 ".repeat(n));
                let labels = if is_buckets { vec![name, bucket] } else { vec![name] };
                Series { labels, samples: Samples::dense(values), exemplars: Vec::new() }
            })
            .collect();
        let step = [1, 1_000_000, SECOND, 86_400 * SECOND, u64::MAX / 600][next(5)];
        let start_unix_nanos = [0, START][next(2)];
        let axis = TimeAxis { start_unix_nanos, step_nanos: step, n_intervals };
        let units = [NUMBERS, DURATIONS, BUCKETS, RATES][next(4)];
        let is_instant = next(3) == 0;
        let chart = Chart { axis: &axis, series: &all, is_instant, units };
        for unicode in [true, false] {
            let plain = Look { width, height: 1 + next(20), paint: Paint { on: false }, unicode };
            let picture = chart.draw(&plain);
            for line in picture.lines() {
                assert!(line.width() <= width, "{seed}: {line}\n{picture}");
            }
            assert!(unicode || is_instant || !picture.contains('│'), "{seed}: {picture}");
            let coloured = chart.draw(&Look { paint: Paint { on: true }, ..plain });
            for line in without_colour(&coloured).lines() {
                assert!(line.width() <= width, "{seed}: {line}\n{picture}");
            }
        }
    }
}

#[test]
fn nothing_is_no_picture() {
    assert_eq!(draw(&[], axis(5, 60), NUMBERS, &look(80)), "");
}

/// Light of a colour of the 6×6×6 cube as the web's rules for contrast have it.
fn luminance(number: u8) -> f64 {
    let levels = [0.0, 95.0, 135.0, 175.0, 215.0, 255.0];
    let n = usize::from(number - 16);
    let light = |level: f64| {
        let level: f64 = level / 255.0;
        if level <= 0.040_45 { level / 12.92 } else { ((level + 0.055) / 1.055).powf(2.4) }
    };
    let [red, green, blue] = [n / 36, n / 6 % 6, n % 6].map(|at| light(levels[at]));
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}

#[test]
fn colours_are_seen_on_black_and_on_white() {
    for number in PALETTE.iter().chain(&HEAT) {
        let light = luminance(*number);
        let (on_white, on_black) = (1.05 / (light + 0.05), (light + 0.05) / 0.05);
        assert!(on_white >= 3.0 && on_black >= 3.0, "{number}: {on_white}, {on_black}");
    }
}
