//! One test for each point where RE2 and the regex crate differ.

use super::*;

/// Whether a pattern, in RE2's syntax, matches a whole value.
fn matches(pattern: &str, value: &str) -> bool {
    let pattern = Pattern::translate(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
    pattern
        .compile()
        .unwrap_or_else(|error| panic!("{}: {error}", pattern.translated))
        .is_match(value)
}

/// Asserts which of the values a pattern matches.
fn check(pattern: &str, yes: &[&str], no: &[&str]) {
    for value in yes {
        assert!(matches(pattern, value), "{pattern:?} should match {value:?}");
    }
    for value in no {
        assert!(!matches(pattern, value), "{pattern:?} should not match {value:?}");
    }
}

/// Asserts that a pattern is refused.
fn refused(pattern: &str) -> String {
    let error = Pattern::translate(pattern).and_then(|pattern| pattern.compile().map(|_| pattern));
    error
        .map(|pattern| panic!("{pattern:?} should be refused"))
        .unwrap_or_else(|error: PatternError| error.message)
}

#[test]
fn patterns_match_whole_values() {
    check("ba", &["ba"], &["bar", "aba"]);
    check("a|b", &["a", "b"], &["ab", "ax", "xb"]);
    check("", &[""], &["x"]);
    check("a$", &["a"], &["a\n"]);
    check("(?m)a$\nb", &["a\nb"], &["a"]);
}

#[test]
fn the_dot_matches_a_line_break() {
    check("a.b", &["a\nb", "axb"], &["ab"]);
    check("(?-s)a.b", &["axb"], &["a\nb"]);
}

#[test]
fn digit_word_and_space_classes_know_ascii_only() {
    check(r"\d+", &["123"], &["٣", "१"]);
    check(r"\D", &["٣", "x"], &["1"]);
    check(r"\w+", &["az_09"], &["é", "ß"]);
    check(r"\W", &["é", "-"], &["a"]);
    check(r"\s", &[" ", "\t", "\n", "\r", "\u{c}"], &["\u{b}", "\u{a0}", "\u{2003}"]);
    check(r"\S", &["\u{b}", "x"], &[" "]);
    check(r"[\d\s]+", &["1 2"], &["٣"]);
    check(r"[^\W]", &["a"], &["é"]);
}

#[test]
fn word_boundaries_know_ascii_only() {
    check(r"a\b.*", &["aé", "a b", "a"], &["ab"]);
    check(r"a\B.*", &["ab"], &["a b", "a"]);
    check(r"\b{1}a", &["a"], &["ba"]);
}

#[test]
fn quoting_takes_everything_literally() {
    check(r"\Qa.b*\E+", &["a.b*", "a.b**"], &["axb"]);
    check(r"\Q[x", &["[x"], &["x"]);
    check(r"\Q\d\E\d", &[r"\d1"], &["11"]);
    check(r"a\Eb", &["ab"], &[]);
}

#[test]
fn a_repetition_counts_to_a_thousand() {
    check("a{1000}", &[&"a".repeat(1000)], &["a"]);
    assert_eq!(refused("a{1001}"), "a repetition may count to 1000 at most");
    assert_eq!(refused("a{2,1001}"), "a repetition may count to 1000 at most");
    assert_eq!(refused("(a{100}){11}"), "nested repetitions may count to 1000 at most");
    check("(a{10}){100}", &[&"a".repeat(1000)], &[]);
    assert_eq!(refused("a{3,2}"), "this repetition's most is less than its least");
    assert_eq!(refused("a{99999999999999999999}"), "a repetition may count to 1000 at most");
}

#[test]
fn braces_that_count_nothing_are_literals() {
    check("{a}", &["{a}"], &["a"]);
    check("a{,2}", &["a{,2}"], &["aa"]);
    check("a{2", &["a{2"], &["aa"]);
    check("a{x}", &["a{x}"], &[]);
    check("a{1,2,3}", &["a{1,2,3}"], &[]);
    check("a{}", &["a{}"], &[]);
}

#[test]
fn repetitions_do_not_stack() {
    for pattern in ["a**", "a+*", "a{2}{3}", "a??*", "a*+"] {
        assert!(refused(pattern).contains("cannot be repeated"), "{pattern}");
    }
    check("a*?", &["", "aa"], &["b"]);
    check("a{1,2}?", &["a", "aa"], &["aaa"]);
    check("(?:a*)*", &["aaa"], &["b"]);
    for pattern in ["*a", "|*", "(*)", "+", "a|?", "(?i)*"] {
        assert_eq!(refused(pattern), "there is nothing to repeat", "{pattern}");
    }
}

#[test]
fn flags_are_those_of_re2() {
    check("(?i)ab", &["AB", "aB"], &["ac"]);
    check("(?i:a)b", &["Ab"], &["AB"]);
    check("a(?i)b", &["aB"], &["AB"]);
    check("(?U)a+", &["aaa"], &[]);
    check("(?)a", &["a"], &[]);
    check("(?i-s).", &["x"], &["\n"]);
    for pattern in ["(?x) a", "(?u)a", "(?R)a", "(?i-)a", "(?z)", "(?", "(?i"] {
        assert!(refused(pattern).contains("flags"), "{pattern}");
    }
}

#[test]
fn groups_have_re2_names() {
    check("(?P<a>x)(?<b>y)", &["xy"], &[]);
    check("(?P<1>x)", &["x"], &[]);
    assert_eq!(refused("(?P<a>x)(?P<a>y)"), "two groups have the same name");
    assert_eq!(refused("(?P<a-b>x)"), "a group's name consists of letters, digits and `_`");
    assert_eq!(refused("(?P<>x)"), "a group's name consists of letters, digits and `_`");
    assert_eq!(refused("(?=x)"), "there is no looking ahead in RE2");
    assert_eq!(refused("(?<!x)"), "there is no looking behind in RE2");
    assert_eq!(refused(r"(a)\1"), "there are no references to groups in RE2");
}

#[test]
fn groups_must_balance_within_the_pattern() {
    assert_eq!(refused("a)(b"), "this closes no group");
    assert_eq!(refused("(a"), "this group is never closed");
    check(r"\(a\)", &["(a)"], &["a"]);
    check("(a(b|c))", &["ab", "ac"], &["a"]);
}

#[test]
fn brackets_do_not_nest_and_have_no_set_operators() {
    check("[a&&b]+", &["a&b"], &["c"]);
    check("[a-c--b]+", &["b", "-", ".", "A"], &["d"]);
    assert_eq!(refused("[a--b]"), "this range ends before it begins");
    check("[a~~b]+", &["a~b"], &["c"]);
    check("[[a]+", &["[a["], &["]"]);
    check("[a[b]]", &["a]", "[]"], &["a"]);
    check("[]a]+", &["]a"], &["b"]);
    check("[^]a]", &["b"], &["]", "a"]);
    check("[a-]+", &["a-"], &["b"]);
    check("[-a]+", &["a-"], &["b"]);
    check(r"[\]\-^]+", &["]-^"], &["a"]);
    check("[+--]+", &["+,-"], &["a"]);
    assert_eq!(refused("[z-a]"), "this range ends before it begins");
    assert_eq!(refused("[a"), "these brackets are never closed");
    assert_eq!(refused("[]"), "these brackets are never closed");
}

#[test]
fn classes_have_names() {
    check("[[:alpha:]_]+", &["aZ_"], &["1", "é"]);
    check("[[:^digit:]]", &["a"], &["1"]);
    check("[[:word:]]+", &["a_1"], &["-"]);
    assert_eq!(refused("[[:nope:]]"), "`[:nope:]` is not a class of characters");
    assert_eq!(refused("[[:^^digit:]]"), "`[:^^digit:]` is not a class of characters");
    check("[[:a]+", &["[:a"], &["b"]);
    check(r"\pN+", &["12½"], &["a"]);
    check(r"\p{Greek}+", &["αβ"], &["a"]);
    check(r"\p{^Greek}", &["a"], &["α"]);
    check(r"\P{^Greek}", &["α"], &["a"]);
    check(r"\PN", &["a"], &["1"]);
    check(r"[\p{Greek}x]+", &["αx"], &["y"]);
    assert_eq!(refused(r"\p{Nope}"), "`Nope` is not a class of characters");
    assert_eq!(refused(r"\p{Greek"), "this class's name is never closed");
}

#[test]
fn characters_have_codes() {
    check(r"\101\0\12", &["A\0\n"], &[]);
    check(r"\x41\x{1F600}", &["A😀"], &[]);
    check(r"[\x41-\x43]+", &["ABC"], &["D"]);
    check(r"[\101-\103]", &["B"], &["D"]);
    check(r"\a\f\t\n\r\v", &["\u{7}\u{c}\t\n\r\u{b}"], &[]);
    for pattern in [r"\x4", r"\x{110000}", r"\x{}", r"\xgg"] {
        refused(pattern);
    }
}

#[test]
fn escapes_are_those_of_re2() {
    check(r"\.\*\<\>\_\-\ \~\&\#\/", &[".*<>_- ~&#/"], &[]);
    check(r"\Aa\z", &["a"], &["ab"]);
    for pattern in [r"\y", r"\e", r"\h", r"\u0041", r"\Z", r"\G", r"[\b]", r"\é", r"[\Q]"] {
        assert!(refused(pattern).contains("is not an escape"), "{pattern}");
    }
    assert!(refused(r"\C").contains("not supported"));
    assert_eq!(refused("a\\"), "a backslash at the end escapes nothing");
}

#[test]
fn what_other_engines_take_for_comments_is_literal() {
    check("a b#c", &["a b#c"], &["ab"]);
}

#[test]
fn a_pattern_has_a_size_limit() {
    let error = Pattern::translate(r"(\pL{30}){33}|(\pL{31}){32}|(\pL{29}){34}")
        .unwrap()
        .compile()
        .map(|_| ())
        .unwrap_err();
    assert!(error.is_limit, "{error}");
    let deep = format!("{}a{}", "(".repeat(1001), ")".repeat(1001));
    assert!(Pattern::translate(&deep).unwrap_err().is_limit);
    // Just below the limit of depth the regex crate copes.
    let deep = format!("{}a{}", "(".repeat(900), ")".repeat(900));
    assert!(matches(&deep, "a"));
}

#[test]
fn errors_say_where() {
    let offset = |pattern: &str| Pattern::translate(pattern).unwrap_err().offset;
    assert_eq!(offset("ab[c"), 2);
    assert_eq!(offset("abc)"), 3);
    assert_eq!(offset(r"aé\y"), 3);
}
