//! Mistakes in words, signs and literals.

use super::check;
use crate::{Dialect, compile};

#[test]
fn habits_of_other_languages_are_recognised() {
    check(
        "{ status = 'error' }",
        "'error'",
        "single quotes do not make a string",
        &[r#"write `"error"`"#],
    );
    check("{ .a == 1 }", "==", "`==` is not an operator", &["write `=`"]);
    check(
        "{ .a = 1 and .b = 2 }",
        "and",
        "expected an operator or `}`, found `and`",
        &[r#"for "and" write `&&`"#],
    );
    // The word is one of ours, and stands elsewhere.
    let error = compile("{ not .a }", Dialect::Tempo).unwrap_err();
    assert_eq!(error.message, "unknown identifier `not`");
    assert_eq!(error.hints, [r#"for "not" write `!`, or `!=` and `!~`"#]);
    check(
        "{ .a in [1, 2] }",
        "in",
        "expected an operator or `}`, found `in`",
        &[r#"there is no `in`: write `.a = 1 || .a = 2`, or a regular expression, `.a =~ "x|y"`"#],
    );
    check(
        r#"{ .a like "x" }"#,
        "like",
        "expected an operator or `}`, found `like`",
        &[r#"match with a regular expression, which must fit the whole value: `=~ ".*part.*"`"#],
    );
    check(
        "{ .a = 1, .b = 2 }",
        ",",
        "expected an operator or `}`, found `,`",
        &["combine conditions with `&&` or `||`"],
    );
    check(
        "{ .a } and { .b }",
        "and",
        "expected an operator, `|` or the end of the query, found `and`",
        &[r#"for "and" write `&&`"#],
    );
    check("{ .a <> 1 }", "<>", "`<>` is not an operator", &["write `!=`"]);
    check("{ .a => 1 }", "=>", "`=>` is not an operator", &["write `>=`"]);
    check("{ .a & .b }", "&", "`&` is not an operator", &[r#"for "and" write `&&`"#]);
    check(
        "{ .a | .b }",
        "|",
        "expected an operator or `}`, found `|`",
        &[r#"for "or" write `||`"#],
    );
    check(
        "{ .a = 1 # comment }",
        "#",
        "`#` does not begin a comment",
        &["write `//` before a comment"],
    );
}

#[test]
fn unknown_words_come_with_what_was_meant() {
    check(
        "{ statuss = error }",
        "statuss",
        "unknown identifier `statuss`",
        &["did you mean `status`?"],
    );
    check("{ status = eror }", "eror", "unknown identifier `eror`", &["did you mean `error`?"]);
    check(
        "{ a = 1 }",
        "a",
        "unknown identifier `a`",
        &["an attribute needs a scope or a dot: write `.a`, `span.a` or `resource.a`"],
    );
    check(
        r#"{ service.name = "x" }"#,
        "service.name",
        "unknown identifier `service`",
        &["an attribute needs a scope or a dot: write `resource.service.name` or `.service.name`"],
    );
    check(
        "{ http.status_code >= 500 }",
        "http.status_code",
        "unknown identifier `http`",
        &[
            "an attribute needs a scope or a dot: write `span.http.status_code` or `.http.status_code`",
        ],
    );
    check(
        r#"{ resources.service.name = "x" }"#,
        "resources.service.name",
        "unknown identifier `resources`",
        &["did you mean `resource.service.name`?"],
    );
    check(
        "{ name = frontend }",
        "frontend",
        "unknown identifier `frontend`",
        &[
            r#"for a string write `"frontend"`"#,
            "for an attribute write `.frontend`, `span.frontend` or `resource.frontend`",
        ],
    );
    check(
        r#"{ span:traceID = "x" }"#,
        "traceID",
        "`span:` has no intrinsic `traceID`",
        &["did you mean `span:id`?"],
    );
    check(
        r#"{ trace:rootServiceName = "x" }"#,
        "rootServiceName",
        "`trace:` has no intrinsic `rootServiceName`",
        &["did you mean `trace:rootService`?"],
    );
    check(
        r#"{ trace:name = "x" }"#,
        "name",
        "`trace:` has no intrinsic `name`",
        &["`name` stands without a scope"],
    );
    check(
        r#"{ trace.id = "x" }"#,
        "trace.id",
        "unknown identifier `trace`",
        &[
            "a trace has no attributes of its own; its intrinsics are `trace:id`, `trace:duration`, `trace:rootName`, `trace:rootService`",
        ],
    );
    check(
        r#"{ id = "x" }"#,
        "id",
        "`id` needs a scope",
        &[
            "write `span:id` or `trace:id`",
            "for an attribute of that name write `.id` or `span.id`",
        ],
    );
    check(
        "{ childCount > 1 }",
        "childCount",
        "`childCount` needs a scope",
        &[
            "write `span:childCount`",
            "for an attribute of that name write `.childCount` or `span.childCount`",
        ],
    );
    check(
        r#"{ traceID = "abc" }"#,
        "traceID",
        "`traceID` needs a scope",
        &[
            "write `trace:id` or `link:traceID`",
            "for an attribute of that name write `.traceID` or `span.traceID`",
        ],
    );
    check(
        r#"{ rootService = "x" }"#,
        "rootService",
        "`rootService` needs a scope",
        &[
            "write `trace:rootService`",
            "for an attribute of that name write `.rootService` or `span.rootService`",
        ],
    );
    check(
        "{ startTime > 1 }",
        "startTime",
        "unknown identifier `startTime`",
        &[
            "an attribute needs a scope or a dot: write `.startTime`, `span.startTime` or `resource.startTime`",
        ],
    );
}

#[test]
fn what_is_missing_or_too_much_is_named() {
    check(
        "{ .a = 1",
        "",
        "expected an operator or `}`, found the end of the query",
        &["close the filter with `}`"],
    );
    check(
        ".a = 1 }",
        ".a",
        "expected a filter, found `.a`",
        &["conditions stand in braces: `{ .a = 1 }`"],
    );
    check(
        "status = error",
        "status",
        "expected a filter, found `status`",
        &["conditions stand in braces: `{ status = error }`"],
    );
    check(
        "{ .a = 1 }}",
        "}",
        "expected an operator, `|` or the end of the query, found `}`",
        &["there is a `}` too many, or a `{` too few"],
    );
    check(
        "{ .a = 1 } { .b = 2 }",
        "{",
        "expected an operator, `|` or the end of the query, found `{`",
        &[
            "combine filters with an operator: `{ … } && { … }`, or pipe one into the next: `{ … } | { … }`",
        ],
    );
    check(
        "{ { .a } }",
        "{",
        "a filter cannot stand inside a filter",
        &["write each filter in braces of its own and combine them outside: `{ … } && { … }`"],
    );
    check(
        "{ span.http status = 1 }",
        "status",
        "expected an operator or `}`, found `status`",
        &[r#"a name with white space needs quotes: `span."a name"`"#],
    );
    check(
        "{ .a } > 5",
        "{ .a } > 5",
        "`>` cannot combine a spanset with a constant",
        &["to compare how many spans match, count them: `| count() > …`"],
    );
    check(
        "{ .a } = { .b }",
        "=",
        "`=` cannot follow a spanset",
        &[
            "spansets are combined by `&&`, `||` and the structural operators `>`, `>>`, `<`, `<<`, `~`",
        ],
    );
    check(
        "!{ .a }",
        "!",
        "a spanset cannot be negated",
        &[
            "negate inside the braces, `{ !(…) }`, or use a negated structural operator, `!>>`",
            "for traces that lack such spans write `not { … }`",
        ],
    );
    check(
        "{ count() > 1 }",
        "count",
        "`count` looks at many spans, so it cannot stand inside a filter",
        &[
            "pipe the filter into it: `{ … } | count() > 1`",
            "for an attribute of that name write `.count` or `span.count`",
        ],
    );
    check("", "", "the query is empty", &["`{ }` selects every span"]);
    check(
        "{ . = 1 }",
        ".",
        "this attribute has no name",
        &["the name follows its dot without white space, as in `.name`"],
    );
    check(
        "{ name.foo = 1 }",
        ".foo",
        "expected an operator or `}`, found `.foo`",
        &[
            "an intrinsic has no parts; for an attribute with dots in its name begin with a scope: `span.name.part`",
        ],
    );
    check(
        "({ .a }",
        "",
        "expected an operator, `|` or `)`, found the end of the query",
        &["close the parenthesis with `)`"],
    );
    check("{ (.a = 1 }", "}", "expected an operator or `)`, found `}`", &[]);
    check(
        r#"{ name = "x" name = "y" }"#,
        "name",
        "expected an operator or `}`, found `name`",
        &["an operator is missing between the two"],
    );
}

#[test]
fn literals_say_what_is_wrong_with_them() {
    check(
        "{ duration > 1 s }",
        "s",
        "expected an operator or `}`, found `s`",
        &["a duration has no white space: write `1s`"],
    );
    check(
        "{ duration > 1.5d }",
        "1.5d",
        "`1.5d` is not a duration",
        &["`d`, `w` and `y` go with whole numbers, each unit once, largest first: `1d12h`"],
    );
    check(
        "{ duration > 100msec }",
        "ec",
        "expected an operator or `}`, found `ec`",
        &["units are `ns`, `us`, `ms`, `s`, `m`, `h`, and for whole numbers `d`, `w`, `y`"],
    );
    check(
        r#"{ .a = "unterminated }"#,
        r#"""#,
        "this string never ends on its line",
        &[r#"close it with `"`, or write a string of several lines between backticks"#],
    );
    check("{ .a = `unterminated }", "`", "this string never ends", &["close it with a backtick"]);
    check(
        r#"{ .a = "\q" }"#,
        r#"\q"#,
        r#"`\q` is not an escape"#,
        &[
            r#"write `\\` for a backslash, or the string between backticks, where nothing is escaped"#,
        ],
    );
    check(
        "{ .a = 08 }",
        "08",
        "`08` is not an integer: a leading zero promises octal digits",
        &["write `8`"],
    );
    check(
        "{ .a = 1_000 }",
        "1_000",
        "`1_000` is not an integer",
        &["integers are plain decimal digits"],
    );
    check(
        "{ .a = 99999999999999999999 }",
        "99999999999999999999",
        "`99999999999999999999` does not fit in 64 bits",
        &["the largest integer is `maxInt`, the smallest `minInt`"],
    );
    check("{ /* x", "/*", "this comment never ends", &["close it with `*/`"]);
}
