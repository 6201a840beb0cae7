//! Random searches as text in the default dialect, well typed for the most part, every operand in
//! parentheses so that precedence plays no role.

use super::vocabulary::Vocabulary;
use super::{Dice, NANOS};

/// Scopes in which custom attributes are looked for, the common ones more often.
const SCOPES: &[&str] = &[
    ".",
    ".",
    "span.",
    "span.",
    "span.",
    "resource.",
    "resource.",
    "event.",
    "event.",
    "link.",
    "instrumentation.",
    "parent.",
    "parent.span.",
    "parent.resource.",
    "root.",
    "root.span.",
    "root.resource.",
];

/// Intrinsics by type.
const DURATIONS: &[&str] = &[
    "duration",
    "span:duration",
    "traceDuration",
    "trace:duration",
    "event:timeSinceStart",
    "span:gap",
];
const TEXTS: &[&str] = &[
    "name",
    "span:name",
    "statusMessage",
    "rootName",
    "rootServiceName",
    "trace:rootService",
    "event:name",
    "instrumentation:name",
    "instrumentation:version",
];
const COUNTS: &[&str] = &["span:childCount", "nestedSetLeft", "nestedSetRight", "nestedSetParent"];
const IDS: &[&str] = &["span:id", "span:parentID", "link:spanID", "trace:id", "link:traceID"];

const COMPARISONS: &[&str] = &["=", "!=", "<", "<=", ">", ">="];
const EQUALITIES: &[&str] = &["=", "!="];
const ARITHMETIC: &[&str] = &["+", "-", "*", "/", "%", "^"];
const STRUCTURAL: &[&str] =
    &[">", ">>", "<", "<<", "~", "!>", "!>>", "!<", "!<<", "!~", "&>", "&>>", "&<", "&<<", "&~"];
const PATTERNS: &[&str] = &["x.*", ".", ".*", "GET|POST", "", "[0-9]+", "(?i)get", ".*break"];

/// A search over traces with the given vocabulary, sometimes in an order of its own. A limit stands only
/// where the order is the query's: else it is that of blocks.
pub(crate) fn query(dice: &mut Dice, words: &Vocabulary) -> String {
    let pipeline = pipeline(dice, words);
    if !dice.once_in(4) {
        return pipeline;
    }
    let keys: Vec<String> = (0..=dice.below(2)).map(|_| order_key(dice, words)).collect();
    let ordered = format!("{pipeline} | order_by({})", keys.join(", "));
    if dice.once_in(3) { format!("{ordered} | limit({})", 1 + dice.below(6)) } else { ordered }
}

/// A key of `order_by`.
fn order_key(dice: &mut Dice, words: &Vocabulary) -> String {
    let key = match dice.below(7) {
        0 => aggregate(dice, words),
        1 => numeric(dice, words),
        2 => condition(dice, words, 1),
        3 => intrinsic(dice),
        4 => dice.word(DURATIONS).to_owned(),
        _ => attribute(dice, words),
    };
    format!("{key}{}", dice.word(&["", " asc", " desc", " desc"]))
}

/// Stages that select spans.
pub(super) fn pipeline(dice: &mut Dice, words: &Vocabulary) -> String {
    let mut stages = vec![match dice.below(8) {
        0 => by(dice, words),
        1 => select(dice, words),
        2 => scalar_filter(dice, words),
        3 => verdict(dice, words, 2),
        _ => spanset(dice, words, 2),
    }];
    let mut grouped = stages[0].starts_with("by");
    for _ in 0..dice.below(3) {
        stages.push(match dice.below(7) {
            0 => by(dice, words),
            1 => select(dice, words),
            2 | 3 => scalar_filter(dice, words),
            4 if grouped => "coalesce()".to_owned(),
            5 if dice.once_in(2) => verdict(dice, words, 1),
            _ => spanset(dice, words, 1),
        });
        grouped |= stages.last().is_some_and(|stage| stage.starts_with("by"));
    }
    stages.join(" | ")
}

/// A spanset expression with `not` in it, which structural operators do not take.
fn verdict(dice: &mut Dice, words: &Vocabulary, depth: usize) -> String {
    let below = depth.saturating_sub(1);
    let not = format!("not ({})", operand(dice, words, below));
    if depth == 0 || dice.once_in(4) {
        return not;
    }
    let other = match dice.below(3) {
        0 => verdict(dice, words, below),
        _ => format!("({})", operand(dice, words, below)),
    };
    match dice.below(5) {
        0 => format!("{other} || {not}"),
        1 => format!("{not} && {other}"),
        2 => format!("not ({other} && {not})"),
        _ => format!("{other} && {not}"),
    }
}

/// A filter, or operands in parentheses around an operator.
fn spanset(dice: &mut Dice, words: &Vocabulary, depth: usize) -> String {
    if depth == 0 || dice.once_in(2) {
        return filter(dice, words);
    }
    let op = match dice.below(4) {
        0 => "&&",
        1 => "||",
        _ => dice.word(STRUCTURAL),
    };
    format!("({}) {op} ({})", operand(dice, words, depth - 1), operand(dice, words, depth - 1))
}

/// An operand: a spanset expression, or a pipeline that yields one spanset at most.
fn operand(dice: &mut Dice, words: &Vocabulary, depth: usize) -> String {
    let first = spanset(dice, words, depth);
    match dice.below(6) {
        0 => format!("{first} | {}", scalar_filter(dice, words)),
        1 => format!("{first} | {} | {} | coalesce()", by(dice, words), scalar_filter(dice, words)),
        _ => first,
    }
}

/// `{ … }`.
pub(super) fn filter(dice: &mut Dice, words: &Vocabulary) -> String {
    if dice.once_in(10) {
        return "{ }".to_owned();
    }
    format!("{{ {} }}", condition(dice, words, 2))
}

/// `by(…)`.
fn by(dice: &mut Dice, words: &Vocabulary) -> String {
    let key = match dice.below(6) {
        0 => condition(dice, words, 1),
        1 => numeric(dice, words),
        2 => intrinsic(dice),
        _ => attribute(dice, words),
    };
    // A literal alone names no span data and is refused.
    format!("by({key})")
}

/// `select(…)`.
fn select(dice: &mut Dice, words: &Vocabulary) -> String {
    let fields: Vec<String> = (0..=dice.below(3))
        .map(|_| if dice.once_in(3) { intrinsic(dice) } else { attribute(dice, words) })
        .collect();
    format!("select({})", fields.join(", "))
}

/// A comparison of aggregates and constants.
fn scalar_filter(dice: &mut Dice, words: &Vocabulary) -> String {
    let op = dice.word(COMPARISONS);
    match dice.below(10) {
        0 => format!("{} {op} {}", aggregate(dice, words), aggregate(dice, words)),
        1 => format!(
            "{} + {} {op} {}",
            aggregate(dice, words),
            aggregate(dice, words),
            number(dice, words)
        ),
        2 => {
            format!("({} | count()) {op} ({} | count())", filter(dice, words), filter(dice, words))
        }
        3 => format!("{} {op} {}", number(dice, words), aggregate(dice, words)),
        4 => format!("{} {op} {}", duration_aggregate(dice), duration(dice)),
        5 | 6 => format!("count() {op} {}", dice.below(5)),
        _ => format!("{} {op} {}", aggregate(dice, words), number(dice, words)),
    }
}

/// An aggregate of anything numeric.
fn aggregate(dice: &mut Dice, words: &Vocabulary) -> String {
    let function = dice.word(&["avg", "max", "min", "sum"]);
    match dice.below(9) {
        0 => "count()".to_owned(),
        8 => format!("count_distinct({})", distinct_of(dice, words)),
        1 => duration_aggregate(dice),
        2 => format!("{function}({})", numeric(dice, words)),
        3 => format!("{function}({})", dice.word(COUNTS)),
        _ => format!("{function}({})", attribute(dice, words)),
    }
}

/// What is told apart and counted.
fn distinct_of(dice: &mut Dice, words: &Vocabulary) -> String {
    match dice.below(4) {
        0 => intrinsic(dice),
        1 => condition(dice, words, 1),
        _ => attribute(dice, words),
    }
}

/// An aggregate of a duration.
fn duration_aggregate(dice: &mut Dice) -> String {
    format!("{}({})", dice.word(&["avg", "max", "min", "sum"]), dice.word(DURATIONS))
}

/// Something true or false of a span.
fn condition(dice: &mut Dice, words: &Vocabulary, depth: usize) -> String {
    if depth == 0 || dice.once_in(3) {
        return comparison(dice, words);
    }
    let (left, right) = (condition(dice, words, depth - 1), condition(dice, words, depth - 1));
    match dice.below(6) {
        0 => format!("!({left})"),
        1 | 2 => format!("({left}) || ({right})"),
        _ => format!("({left}) && ({right})"),
    }
}

/// One comparison, or a bare bool.
fn comparison(dice: &mut Dice, words: &Vocabulary) -> String {
    let op = dice.word(COMPARISONS);
    match dice.below(20) {
        0 => format!("{} {} {}", dice.word(TEXTS), dice.word(EQUALITIES), string(dice, words)),
        1 => format!("{} {op} {}", dice.word(DURATIONS), duration(dice)),
        2 => format!("status {} {}", dice.word(EQUALITIES), status(dice)),
        3 => format!("kind {} {}", dice.word(EQUALITIES), kind(dice)),
        4 => format!("{} {op} {}", dice.word(COUNTS), dice.below(5)),
        5 => {
            format!("{} {} \"{}\"", dice.word(IDS), dice.word(EQUALITIES), dice.one_of(&words.ids))
        }
        6 => format!("{} {} nil", attribute(dice, words), dice.word(EQUALITIES)),
        7 => format!("{} {} {}", attribute(dice, words), dice.word(EQUALITIES), boolean(dice)),
        8 => format!("{} {op} {}", attribute(dice, words), attribute(dice, words)),
        9 => format!("({}) {op} {}", numeric(dice, words), number(dice, words)),
        10 => {
            format!(
                "{} {} \"{}\"",
                attribute(dice, words),
                dice.word(&["=~", "!~"]),
                dice.word(PATTERNS)
            )
        }
        11 => {
            format!("{} {} \"{}\"", dice.word(TEXTS), dice.word(&["=~", "!~"]), dice.word(PATTERNS))
        }
        12 => format!("{} {op} {}", literal(dice, words), attribute(dice, words)),
        13 => match dice.below(5) {
            0 => format!("!{}", attribute(dice, words)),
            1 => format!("parent {} nil", dice.word(EQUALITIES)),
            2 => format!("{} {op} {}", attribute(dice, words), duration(dice)),
            3 => format!("{} != nil", intrinsic(dice)),
            _ => attribute(dice, words),
        },
        14 => format!("({}) {op} {}", numeric(dice, words), duration(dice)),
        15 | 16 => {
            format!("{} {} {}", attribute(dice, words), dice.word(EQUALITIES), string(dice, words))
        }
        17 => format!("{} {op} {}", attribute(dice, words), string(dice, words)),
        _ => format!("{} {op} {}", attribute(dice, words), number(dice, words)),
    }
}

/// Arithmetic.
fn numeric(dice: &mut Dice, words: &Vocabulary) -> String {
    let left = match dice.below(5) {
        0 => dice.word(DURATIONS).to_owned(),
        1 => dice.word(COUNTS).to_owned(),
        2 => format!("(-{})", attribute(dice, words)),
        _ => attribute(dice, words),
    };
    let right = if dice.once_in(4) { attribute(dice, words) } else { number(dice, words) };
    format!("{left} {} {right}", dice.word(ARITHMETIC))
}

/// A custom attribute.
pub(super) fn attribute(dice: &mut Dice, words: &Vocabulary) -> String {
    let (scope, key) = (dice.word(SCOPES), dice.one_of(&words.keys));
    attribute_text(scope, key)
}

/// Scope and key as text. Keys are quoted unless they are plain: most runes belong to a name (1.3).
pub(super) fn attribute_text(scope: &str, key: &str) -> String {
    let is_plain = |rune: char| rune.is_ascii_alphanumeric() || "._-".contains(rune);
    if !key.is_empty()
        && key.starts_with(|first: char| first.is_ascii_alphabetic())
        && key.chars().all(is_plain)
    {
        format!("{scope}{key}")
    } else {
        format!("{scope}\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""))
    }
}

/// A built-in field.
pub(super) fn intrinsic(dice: &mut Dice) -> String {
    match dice.below(6) {
        0 => dice.word(DURATIONS),
        1 => dice.word(COUNTS),
        2 => dice.word(IDS),
        3 => dice.word(&["status", "kind"]),
        _ => dice.word(TEXTS),
    }
    .to_owned()
}

/// A literal of any type that orders.
fn literal(dice: &mut Dice, words: &Vocabulary) -> String {
    match dice.below(3) {
        0 => string(dice, words),
        _ => number(dice, words),
    }
}

/// A string literal, escaped as 1.4 says.
fn string(dice: &mut Dice, words: &Vocabulary) -> String {
    let mut literal = String::from("\"");
    for rune in dice.one_of(&words.strings).chars() {
        match rune {
            '"' => literal.push_str("\\\""),
            '\\' => literal.push_str("\\\\"),
            rune if rune.is_control() => literal.push_str(&format!("\\u{:04x}", u32::from(rune))),
            rune => literal.push(rune),
        }
    }
    literal.push('"');
    literal
}

/// An int or a float.
fn number(dice: &mut Dice, words: &Vocabulary) -> String {
    if dice.once_in(3) {
        format!("{:?}", dice.one_of(&words.doubles))
    } else {
        dice.one_of(&words.ints).to_string()
    }
}

/// A duration.
fn duration(dice: &mut Dice) -> String {
    format!("{}ns", dice.one_of(NANOS))
}

/// A bool.
fn boolean(dice: &mut Dice) -> String {
    dice.once_in(2).to_string()
}

/// A status.
fn status(dice: &mut Dice) -> &'static str {
    dice.word(&["ok", "error", "unset"])
}

/// A kind.
fn kind(dice: &mut Dice) -> &'static str {
    dice.word(&["unspecified", "internal", "server", "client", "producer", "consumer"])
}
