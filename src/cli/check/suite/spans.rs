//! Traces in a few lines, for suites whose data is part of the point: a line a span, indentation for
//! nesting. `README.md` of the checks describes the notation.

use traceql_blocks::model::trace::SERVICE_NAME;
use traceql_blocks::model::{
    AttributeValue, Event, KeyValue, Resource, ResourceSpans, ScopeSpans, Span, Trace, TraceId,
};

use crate::units;

/// Most spans, repeats included: who needs more has a file of them.
const MAX_SPANS: usize = 100_000;
/// Deepest nesting.
const MAX_DEPTH: usize = 200;
/// How long before the suite's clock the traces begin, unless a line says otherwise.
const BEFORE_NOW_NANOS: u64 = 60_000_000_000;

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WrongLine {
    /// Bytes of the notation.
    pub(super) range: std::ops::Range<usize>,
    /// One clause.
    pub(super) message: String,
}

/// A span as a line tells of it.
#[derive(Clone, Debug, Default)]
struct Line {
    children: Vec<usize>,
    service: Option<String>,
    resource: Vec<KeyValue>,
    name: String,
    /// From the beginning of the parent; of a root, from the beginning of all traces.
    offset_nanos: i64,
    duration_nanos: u64,
    kind: i32,
    status_code: i32,
    status_message: String,
    attributes: Vec<KeyValue>,
    events: Vec<String>,
    repeat: usize,
}

/// Reads the notation. The traces have the ids 1, 2, … in the order of the lines.
pub(super) fn parse(text: &str, now_unix_nanos: u64) -> Result<Vec<Trace>, WrongLine> {
    let mut lines: Vec<Line> = Vec::new();
    let mut roots = Vec::new();
    // Indentation and line of each span that the next one may lie below.
    let mut open: Vec<(usize, usize)> = Vec::new();
    let mut start = 0;
    for whole in text.split_inclusive('\n') {
        let line = whole.trim_end();
        let content = line.trim_start();
        let at = start + line.len() - content.len();
        let wrong = |message: String| WrongLine { range: at..at + content.len(), message };
        let indent = line.len() - content.len();
        start += whole.len();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        if line[..indent].contains('\t') {
            return Err(wrong("indentation is made of blanks, not of tabs".to_owned()));
        }
        // Who is less indented than the span before lines up with one further up.
        let was_deeper = open.last().is_some_and(|(above, _)| *above > indent);
        let lines_up = open.iter().any(|(above, _)| *above == indent);
        if was_deeper && !lines_up {
            return Err(wrong("the indentation is that of no line above".to_owned()));
        }
        open.retain(|(above, _)| *above < indent);
        let parsed = parse_line(content).map_err(wrong)?;
        if open.len() >= MAX_DEPTH {
            return Err(wrong(format!("nested deeper than {MAX_DEPTH} levels")));
        }
        let number = lines.len();
        match open.last() {
            Some((_, parent)) => lines[*parent].children.push(number),
            None => roots.push(number),
        }
        open.push((indent, number));
        lines.push(parsed);
    }
    let mut building = Building {
        lines: &lines,
        start_unix_nanos: now_unix_nanos.saturating_sub(BEFORE_NOW_NANOS),
        n_spans: 0,
    };
    let mut traces = Vec::new();
    for root in roots {
        for copy in 0..lines[root].repeat {
            let trace = building.trace(root, copy, traces.len() + 1);
            traces.push(trace.ok_or_else(|| WrongLine {
                range: 0..text.len(),
                message: format!("more than {MAX_SPANS} spans"),
            })?);
        }
    }
    Ok(traces)
}

struct Building<'a> {
    lines: &'a [Line],
    start_unix_nanos: u64,
    n_spans: usize,
}

/// What spans below a span take over from it.
#[derive(Clone, Copy)]
struct Above<'a> {
    span_id: &'a [u8],
    start_unix_nanos: u64,
    service: &'a str,
    resource: &'a [KeyValue],
}

impl<'a> Building<'a> {
    /// `None` if there are too many spans.
    fn trace(&mut self, root: usize, copy: usize, number: usize) -> Option<Trace> {
        let mut trace =
            Trace { id: TraceId((number as u128).to_be_bytes()), resource_spans: Vec::new() };
        let above = Above {
            span_id: &[],
            start_unix_nanos: self.start_unix_nanos,
            service: "",
            resource: &[],
        };
        self.add(&mut trace, root, copy, above)?;
        Some(trace)
    }

    fn add(
        &mut self,
        trace: &mut Trace,
        number: usize,
        copy: usize,
        above: Above<'_>,
    ) -> Option<()> {
        self.n_spans += 1;
        if self.n_spans > MAX_SPANS {
            return None;
        }
        let line: &'a Line = &self.lines[number];
        // Copies follow each other.
        let later = line.duration_nanos.saturating_mul(copy as u64);
        let start_unix_nanos =
            above.start_unix_nanos.saturating_add_signed(line.offset_nanos).saturating_add(later);
        let (service, inherited) = match &line.service {
            Some(service) => (service.as_str(), &[][..]),
            None => (above.service, above.resource),
        };
        let mut resource = inherited.to_vec();
        for added in &line.resource {
            resource.retain(|kv| kv.key != added.key);
            resource.push(added.clone());
        }
        let span_id = (self.n_spans as u64).to_be_bytes().to_vec();
        let span = Span {
            span_id: span_id.clone(),
            parent_span_id: above.span_id.to_vec(),
            name: line.name.clone(),
            kind: line.kind,
            start_unix_nanos,
            end_unix_nanos: start_unix_nanos.saturating_add(line.duration_nanos),
            status_code: line.status_code,
            status_message: line.status_message.clone(),
            attributes: line.attributes.clone(),
            events: line
                .events
                .iter()
                .map(|name| Event {
                    time_unix_nanos: start_unix_nanos,
                    name: name.clone(),
                    ..Event::default()
                })
                .collect(),
            ..Span::default()
        };
        push(trace, service, &resource, span);
        let below = Above { span_id: &span_id, start_unix_nanos, service, resource: &resource };
        for child in &line.children {
            for copy in 0..self.lines[*child].repeat {
                self.add(trace, *child, copy, below)?;
            }
        }
        Some(())
    }
}

/// Adds a span to the spans of its resource.
fn push(trace: &mut Trace, service: &str, resource: &[KeyValue], span: Span) {
    let mut attributes = Vec::with_capacity(resource.len() + 1);
    if !service.is_empty() {
        attributes.push(string(SERVICE_NAME, service));
    }
    attributes.extend_from_slice(resource);
    let known = trace.resource_spans.iter_mut().find(|rs| rs.resource.attributes == attributes);
    if let Some(scope) = known.and_then(|rs| rs.scope_spans.first_mut()) {
        scope.spans.push(span);
        return;
    }
    trace.resource_spans.push(ResourceSpans {
        resource: Resource { attributes, dropped_attributes_count: 0 },
        scope_spans: vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }],
    });
}

fn string(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.to_owned(), value: AttributeValue::String(value.to_owned()) }
}

const FORM: &str = "a line is `service: NAME DURATION`, then kind, status and attributes";

/// Reads `[service:] NAME [@OFFSET] DURATION [word]…`.
fn parse_line(text: &str) -> Result<Line, String> {
    let (service, rest) = match text.split_once(": ") {
        Some((service, rest)) if !service.contains(['"', ' ', '=']) => (Some(service), rest),
        _ => (None, text),
    };
    let words = words(rest)?;
    let duration_at = words
        .iter()
        .position(|word| !word.is_quoted && units::parse_duration(&word.text).is_ok())
        .ok_or_else(|| format!("no word is a duration, such as 120ms; {FORM}"))?;
    let (before, after) = words.split_at(duration_at);
    let (offset, name) = match before.split_last() {
        Some((last, name)) if !last.is_quoted && last.text.starts_with('@') => {
            (Some(&last.text[1..]), name)
        }
        _ => (None, before),
    };
    if name.is_empty() {
        return Err(format!("the span has no name before its duration; {FORM}"));
    }
    let name: Vec<&str> = name.iter().map(|word| word.text.as_str()).collect();
    let mut line = Line {
        service: service.map(str::to_owned),
        name: name.join(" "),
        offset_nanos: offset.map(parse_offset).transpose()?.unwrap_or(0),
        duration_nanos: units::parse_duration(&after[0].text)?,
        repeat: 1,
        ..Line::default()
    };
    for word in &after[1..] {
        read_word(&mut line, word)?;
    }
    Ok(line)
}

fn parse_offset(text: &str) -> Result<i64, String> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let nanos = i64::try_from(units::parse_duration(digits)?).map_err(|error| error.to_string())?;
    Ok(sign * nanos)
}

fn read_word(line: &mut Line, word: &Word) -> Result<(), String> {
    const KINDS: [(&str, i32); 5] =
        [("internal", 1), ("server", 2), ("client", 3), ("producer", 4), ("consumer", 5)];
    let text = word.text.as_str();
    if let Some((_, kind)) = KINDS.iter().find(|(name, _)| *name == text) {
        line.kind = *kind;
    } else if text == "ok" {
        line.status_code = 1;
    } else if text == "error" {
        line.status_code = 2;
    } else if let Some(count) = text.strip_prefix('x').and_then(|count| count.parse().ok()) {
        match count {
            1..=MAX_SPANS => line.repeat = count,
            _ => return Err(format!("{text} repeats the span not at all, or too often")),
        }
    } else if let Some((key, value)) = text.split_once('=').filter(|(key, _)| !key.is_empty()) {
        match key {
            "error" => {
                line.status_code = 2;
                value.clone_into(&mut line.status_message);
            }
            "event" => line.events.push(value.to_owned()),
            key => {
                let value = typed(value, word.is_quoted);
                match key.strip_prefix("resource.") {
                    Some(key) => line.resource.push(KeyValue { key: key.to_owned(), value }),
                    None => {
                        let key = key.strip_prefix("span.").unwrap_or(key).to_owned();
                        line.attributes.push(KeyValue { key, value });
                    }
                }
            }
        }
    } else {
        return Err(format!(
            "{text:?} is no kind (server, client, …), no status (ok, error), no key=value and no x3"
        ));
    }
    Ok(())
}

/// A value by its form; in quotes it is text.
fn typed(text: &str, is_quoted: bool) -> AttributeValue {
    if is_quoted {
        return AttributeValue::String(text.to_owned());
    }
    match (text, text.parse::<i64>(), text.parse::<f64>()) {
        ("true", _, _) => AttributeValue::Bool(true),
        ("false", _, _) => AttributeValue::Bool(false),
        (_, Ok(number), _) => AttributeValue::Int(number),
        (_, _, Ok(number)) if number.is_finite() => AttributeValue::Double(number),
        _ => AttributeValue::String(text.to_owned()),
    }
}

/// A word, its quotes taken off.
struct Word {
    text: String,
    /// Some of it stood in quotes.
    is_quoted: bool,
}

/// Splits at blanks outside of double quotes; a backslash inside them takes the next letter as it is.
fn words(text: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut word: Option<Word> = None;
    let mut in_quotes = false;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c.is_whitespace() && !in_quotes {
            words.extend(word.take());
            continue;
        }
        let word = word.get_or_insert_with(|| Word { text: String::new(), is_quoted: false });
        match c {
            '"' => {
                in_quotes = !in_quotes;
                word.is_quoted = true;
            }
            '\\' if in_quotes => word.text.extend(chars.next()),
            c => word.text.push(c),
        }
    }
    words.extend(word);
    match in_quotes {
        true => Err("a quote is not closed".to_owned()),
        false => Ok(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000_000_000;

    /// Spans as `trace/id<parent service:name start+duration`.
    fn shape(text: &str) -> Vec<String> {
        let traces = parse(text, NOW).unwrap();
        let id = |id: &[u8]| id.last().copied().unwrap_or(0);
        traces
            .iter()
            .flat_map(|trace| trace.spans().map(move |at| (trace.id.0[15], at)))
            .map(|(trace, at)| {
                let span = at.span;
                format!(
                    "{trace}/{}<{} {}:{} {}+{}",
                    id(&span.span_id),
                    id(&span.parent_span_id),
                    at.resource_spans.resource.service_name(),
                    span.name,
                    (span.start_unix_nanos - (NOW - 60_000_000_000)) / 1_000_000,
                    span.duration_nanos() / 1_000_000,
                )
            })
            .collect()
    }

    #[test]
    fn indentation_nests() {
        let text = "
frontend: GET /cart 120ms server
  cart.Get @5ms 80ms client
    cart: cart.Get @1ms 60ms server
  log 1ms
# another
batch: run 1s
";
        assert_eq!(
            shape(text),
            [
                "1/1<0 frontend:GET /cart 0+120",
                "1/2<1 frontend:cart.Get 5+80",
                "1/4<1 frontend:log 0+1",
                "1/3<2 cart:cart.Get 6+60",
                "2/5<0 batch:run 0+1000",
            ]
        );
    }

    #[test]
    fn repeats_repeat_what_is_below() {
        assert_eq!(
            shape("a: one 10ms x2\n  two 2ms x2\n"),
            [
                "1/1<0 a:one 0+10",
                "1/2<1 a:two 0+2",
                "1/3<1 a:two 2+2",
                "2/4<0 a:one 10+10",
                "2/5<4 a:two 10+2",
                "2/6<4 a:two 12+2",
            ]
        );
        assert!(parse("a: one 1ms x1000\n  b 1ms x1000\n", NOW).is_err());
    }

    #[test]
    fn words_after_the_duration_describe_the_span() {
        let text = r#"a: "wait 5s" 1ms client error="out of \"cash\"" n=5 r=0.5 b=true s=x t="5" resource.region=eu event=retry"#;
        let traces = parse(text, NOW).unwrap();
        let at = traces[0].spans().next().unwrap();
        let span = at.span;
        assert_eq!((span.name.as_str(), span.kind, span.status_code), ("wait 5s", 3, 2));
        assert_eq!(span.status_message, "out of \"cash\"");
        let values: Vec<_> =
            span.attributes.iter().map(|kv| (kv.key.as_str(), &kv.value)).collect();
        let text = |text: &str| AttributeValue::String(text.to_owned());
        assert_eq!(
            values,
            [
                ("n", &AttributeValue::Int(5)),
                ("r", &AttributeValue::Double(0.5)),
                ("b", &AttributeValue::Bool(true)),
                ("s", &text("x")),
                ("t", &text("5")),
            ]
        );
        assert_eq!(at.resource_spans.resource.attributes[1], string("region", "eu"));
        assert_eq!(span.events[0].name, "retry");
    }

    #[test]
    fn what_is_no_span_is_refused_where_it_is() {
        let check = |text: &str, message: &str, range: std::ops::Range<usize>| {
            let wrong = parse(text, NOW).unwrap_err();
            assert!(wrong.message.contains(message), "{text:?}: {}", wrong.message);
            assert_eq!(wrong.range, range, "{text:?}");
        };
        check("a: b 1ms\n  c\n", "no word is a duration", 11..12);
        check("a: 1ms\n", "has no name", 0..6);
        check("a: b 1ms fast\n", "\"fast\" is no kind", 0..13);
        check("a: b 1ms x0\n", "repeats", 0..11);
        check("a: b 1ms\n    c 1ms\n  d 1ms\n", "no line above", 21..26);
        check("a: b 1ms\n\tc 1ms\n", "not of tabs", 10..15);
        check("a: \"b 1ms\n", "not closed", 0..9);
    }
}
