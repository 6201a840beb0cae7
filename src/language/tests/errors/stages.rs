//! Mistakes in stages, types and metrics.

use super::check;

#[test]
fn types_and_rules_are_explained() {
    check(
        r#"{ duration > "100ms" }"#,
        r#"duration > "100ms""#,
        "a duration cannot be compared with a string",
        &["a duration has no quotes: write `100ms`"],
    );
    check(
        r#"{ status = "error" }"#,
        r#"status = "error""#,
        "a status cannot be compared with a string",
        &["a status is a word without quotes: `status = error`"],
    );
    check(
        "{ status > ok }",
        "status",
        "`>` works on numbers or strings, and this is a status",
        &["a status and a kind know `=` and `!=` only"],
    );
    check(
        "{ kind = 2 }",
        "kind = 2",
        "a span kind cannot be compared with an integer",
        &["a kind is `unspecified`, `internal`, `server`, `client`, `producer` or `consumer`"],
    );
    check(
        "{ name = 5 }",
        "name = 5",
        "a string cannot be compared with an integer",
        &[r#"for the text write `"5"`"#],
    );
    check(
        "{ name }",
        "name",
        "a filter needs a condition, and this is a string",
        &[r#"compare it with something: `… = "value"`"#],
    );
    check(
        "{ duration }",
        "duration",
        "a filter needs a condition, and this is a duration",
        &["compare it with something: `… > 100ms`"],
    );
    check(
        "{ 1 < .a < 3 }",
        "1 < .a < 3",
        "a condition cannot be compared with an integer",
        &["comparisons do not chain: write `a < b && b < c`"],
    );
    check(
        r#"{ .a =~ "[" }"#,
        "[",
        "these brackets are never closed",
        &["regular expressions are RE2's and match the whole value"],
    );
    check(
        r#"{ .a =~ "(?=x)" }"#,
        "(",
        "there is no looking ahead in RE2",
        &["regular expressions are RE2's and match the whole value"],
    );
    check(
        "{ .a =~ .b }",
        ".b",
        "the right side of a match must be a string literal",
        &[r#"write the pattern in quotes: `=~ "a.*"`"#],
    );
    check(
        "{ !.a = 1 && !name }",
        "!name",
        "`!` needs a condition, and this is a string",
        &["`!` binds tighter than a comparison: write `!(a = b)`, or `a != b`"],
    );
    check(
        "{ name = nil }",
        "name",
        "`name` is never missing",
        &[r#"for an empty value write `name = ""`"#],
    );
    check(
        "{ resource.service.name = nil }",
        "resource.service.name",
        "`resource.service.name` is never missing",
        &[r#"for services without a name write `resource.service.name = ""`"#],
    );
    check(
        "{ parent }",
        "parent",
        "a filter needs a condition, and this is a span",
        &["write `parent != nil` for spans with a parent"],
    );
    check(
        "{ parent = 1 }",
        "parent",
        "`parent` is a span, which can only be compared with nil",
        &["write `parent = nil` for root spans, or read a field of the parent: `parent.name`"],
    );
    check(
        "{ nil }",
        "nil",
        "nil is no value: it can only be compared with `=` or `!=`",
        &["write `.a = nil` for a missing and `.a != nil` for a present attribute"],
    );
    check(
        "{ .a > nil }",
        "nil",
        "nil is no value: it can only be compared with `=` or `!=`",
        &["write `.a = nil` for a missing and `.a != nil` for a present attribute"],
    );
    check(r#"{ .a + "x" = 1 }"#, r#""x""#, "`+` works on numbers, and this is a string", &[]);
    check(
        "{ .a && 1 }",
        "1",
        "`&&` works on conditions, and this is an integer",
        &["compare it with something"],
    );
    check(
        "{ .a =~ 5 }",
        "5",
        "`=~` works on strings, and this is an integer",
        &["write the pattern in quotes; only strings are ever matched"],
    );
    check(
        r#"{ status =~ "err.*" }"#,
        r#"status =~ "err.*""#,
        "a status cannot be compared with a string",
        &["a status is no string: write `status = ok || status = error`"],
    );
}

#[test]
fn stages_say_what_they_take() {
    check(
        "{ .a } | count()",
        "count()",
        "an aggregate must be compared with something",
        &[
            "write a comparison after it, for example `> 1`; to get a number over time use a metrics function: `| rate()`, `| count_over_time()`",
        ],
    );
    check(
        "{ .a } | count(.b) > 1",
        ".b",
        "expected `)`: `count` takes no argument, found `.b`",
        &[
            "to count spans that have an attribute filter first: `{ .a != nil } | count() > 1`",
            "to count its different values write `count_distinct(…)`",
        ],
    );
    check("{ .a } | coun() > 1", "coun", "unknown stage `coun`", &["did you mean `count`?"]);
    check(
        "{ .a } | avg() > 1",
        ")",
        "expected an expression for `avg`, found `)`",
        &["write `avg(duration)` or another field"],
    );
    check(
        "{ .a } | avg(name) > 1",
        "name",
        "`avg` needs a number, and this is a string",
        &["to count spans use `count()`"],
    );
    check(
        "{ .a } | avg(1) > 1",
        "1",
        "`avg` needs a field of the span, and this is a constant",
        &["write `avg(duration)` or another field"],
    );
    check(
        "{ .a } | by(.a, .b)",
        ",",
        "`by` takes exactly one expression",
        &["group by several keys in several stages: `by(.a) | by(.b)`"],
    );
    check(
        "{ .a } | group by (.b)",
        "group",
        "unknown stage `group`",
        &[
            "stages are filters, `by(…)`, `coalesce()`, `select(…)`, aggregates such as `count() > 1`, and metrics functions such as `rate()`",
        ],
    );
    check(
        "{ .a } | count() > 1 && { .b }",
        "&&",
        "`&&` cannot follow a comparison of aggregates",
        &[
            "to go on with the spans that are left, pipe on: `| { … }`",
            "to combine two results, put each pipeline in parentheses: `({ … } | count() > 1) && ({ … })`",
        ],
    );
    check(
        "{ .a } | 5 > 3",
        "5 > 3",
        "a scalar filter needs an aggregate on one side",
        &["to compare constants or fields of a span write them in braces: `{ duration > 1s }`"],
    );
    check(
        "coalesce()",
        "coalesce()",
        "`coalesce()` merges spansets, so it cannot come first",
        &["put a filter before it: `{ } | by(name) | coalesce()`"],
    );
    check(
        "{ } with (foo=bar)",
        "bar",
        "expected a literal, found `bar`",
        &[r#"for a string write `"bar"`"#],
    );
    check(
        "with (a=1) { }",
        "with",
        "hints stand at the end of the query",
        &["write `{ … } with (most_recent=true)`"],
    );
    check(
        "{ } wiht (a=1)",
        "wiht",
        "expected an operator, `|` or the end of the query, found `wiht`",
        &["did you mean `with`?"],
    );
    check(
        "{ } | count() > 1s + 1s",
        "1s + 1s",
        "durations cannot take part in arithmetic between constants",
        &["write the result as one duration: `1m30s`"],
    );
    check(
        "-count() > 1",
        "count",
        "expected a number after the minus sign, found `count`",
        &["write `0 - count(…)`"],
    );
    check("{ span.a = 1 } |", "", "expected a filter or a stage, found the end of the query", &[]);
    check(
        "{ span.a = 1 } | | count() > 1",
        "|",
        "expected a stage, found `|`",
        &[r#"for "or" write `||`"#],
    );
    check(
        "{ .a = 1 | count() > 1",
        "|",
        "expected an operator or `}`, found `|`",
        &["close the filter with `}` before the next stage"],
    );
}

#[test]
fn metrics_say_what_they_take() {
    check(
        "rate()",
        "rate",
        "`rate` needs a pipeline before it",
        &["select the spans first: `{ } | rate(…)`"],
    );
    check(
        "{ } | rate(5m)",
        "5m",
        "expected `)`: `rate` takes no argument, found `5m`",
        &["there is no interval argument: the step of the request is the interval"],
    );
    check(
        "{ } | rate() by (.a + 1)",
        "+",
        "expected `)` to close the grouping, found `+`",
        &["series are grouped by attributes and intrinsics, not by expressions"],
    );
    check(
        "{ } | rate() | { .a }",
        "{",
        "only `topk` and `bottomk` follow a metrics function, found `{`",
        &["filter spans before the metrics function"],
    );
    check(
        "{ } | rate() * 2",
        "*",
        "`*` needs a metrics query in parentheses before it",
        &["write `({ … } | rate(…)) * …`"],
    );
    check(
        "({ } | rate()) % 2",
        "%",
        "`%` cannot follow a metrics query",
        &[
            "math over metrics knows `+ - * /`, and comparisons at the end, as in `({ } | rate()) > 5`",
        ],
    );
    check(
        "({ } | rate()) * 1s",
        "1s",
        "a duration cannot take part in math over metrics",
        &["series of durations are in seconds: write `0.5` for `500ms`"],
    );
    check(
        "{ } | topk(5)",
        "topk",
        "`topk` needs a metrics function before it",
        &["choose among series: `{ } | rate() by (name) | topk(5)`"],
    );
    check("{ } | rate() | topk(0)", "| topk(0)", "at least one series must be kept", &[]);
    check(
        "{ } | rate() | top(5)",
        "top",
        "only `topk` and `bottomk` follow a metrics function, found `top`",
        &["did you mean `topk`?"],
    );
    check(
        "{ } | quantile_over_time(duration, 99)",
        "99",
        "a quantile lies between 0 and 1",
        &["for the 99th percentile write `0.99`"],
    );
    check(
        "{ } | quantile_over_time(duration)",
        ")",
        "expected `,` and a quantile, found `)`",
        &["name the quantiles: `quantile_over_time(duration, 0.5, 0.99)`"],
    );
    check(
        "{ } | histogram_over_time()",
        ")",
        "expected an attribute or an intrinsic for `histogram_over_time`, found `)`",
        &[],
    );
    check(
        "{ } | rate() by (.a, .b, .c, .d, .e, .f)",
        ".f",
        "this function can be grouped by 5 fields at most, not 6",
        &[],
    );
    check(
        "{ } | compare({ status = error }) | topk(5)",
        "| topk(5)",
        "nothing can follow `compare()`",
        &["its second argument says how many values of each attribute to keep"],
    );
    check(
        "{ } with (rate=1)",
        "rate",
        "expected the name of a hint, found `rate`",
        &["`rate` is a reserved word and cannot name a hint"],
    );
    check(
        "(({} | rate()) / ({} | rate()) > 0.5) * 2",
        "> 0.5",
        "this can be applied to math only at the end of the whole query",
        &["apply it to one of the queries, `({ … } | rate() > 2) * 3`, or at the very end"],
    );
    check("{ } | rate() > 1/0", "1/0", "this divides by zero", &[]);
    check(
        "{ } | sum_over_time(duration",
        "",
        "expected `)` to close `sum_over_time`, found the end of the query",
        &[],
    );
}

#[test]
fn what_arranges_an_answer_says_where_it_stands() {
    check(
        "{ } | order_by()",
        ")",
        "expected a field or an aggregate for `order_by`, found `)`",
        &["write `order_by(duration desc)`, `order_by(count() desc)`"],
    );
    check(
        "{ } | order_by(duration DESC)",
        "DESC",
        "expected `asc`, `desc`, `,` or `)`, found `DESC`",
        &["did you mean `desc`?"],
    );
    check(
        "{ } | order_by(max(duration) - min(duration))",
        "-",
        "expected `asc`, `desc`, `,` or `)`, found `-`",
        &["an aggregate stands alone here: `order_by(max(duration) desc)`"],
    );
    check(
        "{ } | order_by(1)",
        "1",
        "`order_by` needs a field of the span, and this is a constant",
        &["write `order_by(duration)` or another field"],
    );
    check(
        "order_by(duration)",
        "order_by",
        "`order_by` needs a pipeline before it",
        &["select the spans first: `{ } | order_by(…)`"],
    );
    check(
        "({ } | order_by(duration)) && { }",
        "order_by",
        "`order_by` arranges the whole answer, so it cannot stand in parentheses",
        &["put it at the end of the query"],
    );
    check(
        "{ } | limit(3) | { .a }",
        "{",
        "no stage can follow `limit`, which arranges the whole answer",
        &["put the stage before it"],
    );
    check(
        "{ } | limit(3) | order_by(name)",
        "order_by",
        "`order_by` comes before `limit`",
        &["name all keys in one: `order_by(.a desc, .b) | limit(10)`"],
    );
    check(
        "{ } | order_by(name) | order_by(kind)",
        "order_by",
        "there is a second `order_by`",
        &["name all keys in one: `order_by(.a desc, .b) | limit(10)`"],
    );
    check(
        "{ } | limit(0)",
        "0",
        "`limit` keeps at least one trace",
        &["leave it out to have all that are asked for"],
    );
    check(
        "{ } | limit(-1)",
        "-",
        "expected how many traces to keep, found `-`",
        &["it must be positive"],
    );
    check(
        "{ } | rate() | limit(3)",
        "limit",
        "only `topk` and `bottomk` follow a metrics function, found `limit`",
        &["series are chosen by `topk(…)` and `bottomk(…)`; `order_by` and `limit` arrange traces"],
    );
    check(
        "{ } | order_by(duration desc) with (most_recent=true)",
        "duration desc",
        "`order_by` and `with (most_recent=true)` both say which traces come first",
        &["leave one of them out"],
    );
}

#[test]
fn not_says_what_it_judges() {
    check(
        "{ .a } > not { .b }",
        "not { .b }",
        "`>` relates spans, and `not` judges whole traces",
        &[
            "for spans that lack a related one use a negated operator: `{ … } !>> { … }`",
            "for traces that lack something write `{ … } && not { … }`",
        ],
    );
    check(
        "{ } | not count() > 1",
        "count() > 1",
        "`not` needs a spanset after it, and this is a comparison of aggregates",
        &[
            "put a pipeline in parentheses: `not ({ … } | count() > 1)`; turn a comparison round: `<=` for `>`",
        ],
    );
    check(
        "{ not .a }",
        "not",
        "`not` judges whole traces, so it stands outside braces",
        &["for \"not\" of a condition write `!`, or `!=` and `!~`"],
    );
    check(
        "{ } | count_distinct(1) > 1",
        "1",
        "`count_distinct` needs a field of the span, and this is a constant",
        &["write `count_distinct(duration)` or another field"],
    );
    check(
        "{ gap > 1s }",
        "gap",
        "`gap` needs a scope",
        &["write `span:gap`", "for an attribute of that name write `.gap` or `span.gap`"],
    );
}
