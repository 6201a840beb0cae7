//! Names and values of attributes, in both versions. `maxStaleValues` is taken and ignored: it asks
//! to stop early where little new is found, and the whole answer is never wrong (`api.md` 2.4).

use std::collections::BTreeSet;

use traceql_engine::tags::{TagNames, TagNamesRequest, TagValuesRequest, TypedTagValue};
use traceql_engine::{Outcome, QueryStats};
use traceql_language::ir::{
    AttributeScope, Field, FieldExpr, FieldName, Intrinsic, Kind, Stage, Status,
};
use traceql_language::lenient_filter;

use super::{Asked, Context, explained};
use crate::api::{json, llm, protobuf};
use crate::reply::{Form, Reply, Result};
use crate::request::{BadRequest, Parameters, time};

/// The names a request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WantedScope {
    All,
    One(AttributeScope),
    Intrinsics,
}

impl Context {
    pub(super) async fn tag_names_v1(&self, asked: &Asked) -> Result<Reply> {
        let scope = WantedScope::of(&asked.parameters)?;
        let filter = asked.parameters.get("q").and_then(lenient_filter);
        let outcome = self.find_names(asked, scope, filter).await?;
        let stats = &outcome.stats;
        let limit = most(&asked.parameters)?;
        let intrinsics =
            if scope == WantedScope::Intrinsics { &json::LISTED_INTRINSICS[..] } else { &[] };
        let found = outcome.answer.values().flatten().map(String::as_str);
        let names: BTreeSet<&str> = found.chain(intrinsics.iter().copied()).collect();
        let names = names.into_iter().take(limit.unwrap_or(usize::MAX));
        Ok(match asked.form {
            Form::Protobuf => Reply::protobuf(&protobuf::SearchTagsResponse {
                tag_names: names.map(str::to_owned).collect(),
                metrics: Some(stats.into()),
            }),
            Form::Json | Form::Llm => Reply::json(json::tag_names_v1_response(names, Some(stats))),
        })
    }

    pub(super) async fn tag_names_v2(&self, asked: &Asked) -> Result<Reply> {
        let scope = WantedScope::of(&asked.parameters)?;
        let filter = asked.parameters.get("q").and_then(lenient_filter);
        let Outcome { answer, stats, .. } = self.find_names(asked, scope, filter).await?;
        let with_intrinsics = !matches!(scope, WantedScope::One(_));
        Ok(match asked.form {
            Form::Protobuf => {
                Reply::protobuf(&protobuf::tags_v2_response(&answer, with_intrinsics, &stats))
            }
            Form::Json | Form::Llm => {
                Reply::json(json::tag_names_v2_response(&answer, with_intrinsics, Some(&stats)))
            }
        })
    }

    pub(super) async fn tag_values_v1(&self, asked: &Asked) -> Result<Reply> {
        let fields = match asked.argument.as_str() {
            "error" => return self.values_v1_reply(asked, &Outcome::just(&["true"])),
            "status.code" => vec![Field::intrinsic(Intrinsic::Status)],
            "root.name" => vec![Field::intrinsic(Intrinsic::RootName)],
            "root.service.name" => vec![Field::intrinsic(Intrinsic::RootServiceName)],
            name => match self.field(name) {
                Ok(field) if matches!(field.name, FieldName::Intrinsic(_)) => vec![field],
                _ => [
                    AttributeScope::Unscoped,
                    AttributeScope::Event,
                    AttributeScope::Link,
                    AttributeScope::Instrumentation,
                ]
                .map(|scope| Field::attribute(scope, name))
                .into(),
            },
        };
        let mut all = Outcome::<Vec<TypedTagValue>>::default();
        for field in fields {
            let found = self.find_values(asked, field, None).await?;
            all.answer.extend(found.answer);
            add(&mut all.stats, &found.stats);
        }
        self.values_v1_reply(asked, &all)
    }

    fn values_v1_reply(
        &self,
        asked: &Asked,
        outcome: &Outcome<Vec<TypedTagValue>>,
    ) -> Result<Reply> {
        let limit = most(&asked.parameters)?.unwrap_or(usize::MAX);
        let texts: BTreeSet<&str> = outcome.answer.iter().map(|v| v.value.as_str()).collect();
        let texts = texts.into_iter().take(limit);
        let stats = &outcome.stats;
        Ok(match asked.form {
            Form::Protobuf => Reply::protobuf(&protobuf::SearchTagValuesResponse {
                tag_values: texts.map(str::to_owned).collect(),
                metrics: Some(stats.into()),
            }),
            Form::Json | Form::Llm => Reply::json(json::tag_values_v1_response(texts, Some(stats))),
        })
    }

    pub(super) async fn tag_values_v2(&self, asked: &Asked) -> Result<Reply> {
        let name = &asked.argument;
        let field = self.field(name).map_err(|reason| {
            let text = "please provide a valid tagName: failed to parse identifier";
            BadRequest::new(format!("{text} {name}: {reason}"))
        })?;
        let filter = asked.parameters.get("q").and_then(lenient_filter);
        let Outcome { answer, stats, .. } = self.find_values(asked, field, filter).await?;
        Ok(match asked.form {
            Form::Protobuf => Reply::protobuf(&protobuf::tag_values_v2_response(&answer, &stats)),
            Form::Json => Reply::json(json::tag_values_v2_response(&answer, Some(&stats))),
            Form::Llm => Reply::llm(llm::tag_values_response(&answer, &stats)),
        })
    }

    async fn find_names(
        &self,
        asked: &Asked,
        scope: WantedScope,
        filter: Option<FieldExpr>,
    ) -> Result<Outcome<TagNames>> {
        let range = time::of_tags(&asked.parameters, &self.range_rules(&asked.tenants))?;
        let limit = most(&asked.parameters)?.unwrap_or_default();
        let scope = match scope {
            WantedScope::All => None,
            WantedScope::One(scope) => Some(scope),
            WantedScope::Intrinsics => return Ok(Outcome::default()),
        };
        if asked.tenants.is_empty() {
            return Ok(Outcome::default());
        }
        let request = TagNamesRequest { scope, filter, limit };
        let options = self.query_options(asked, Some(range));
        let names = self.engine.tag_names(&self.source, &asked.tenants, &request, &options);
        self.whole(self.executed(asked, "find names", names).await?)
    }

    async fn find_values(
        &self,
        asked: &Asked,
        field: Field,
        filter: Option<FieldExpr>,
    ) -> Result<Outcome<Vec<TypedTagValue>>> {
        let range = time::of_tags(&asked.parameters, &self.range_rules(&asked.tenants))?;
        let limit = most(&asked.parameters)?.unwrap_or_default();
        if let Some(values) = known_values(&field) {
            return Ok(values);
        }
        if asked.tenants.is_empty() {
            return Ok(Outcome::default());
        }
        let request = TagValuesRequest { field, filter, limit };
        let options = self.query_options(asked, Some(range));
        let values = self.engine.tag_values(&self.source, &asked.tenants, &request, &options);
        self.whole(self.executed(asked, "find values", values).await?)
    }

    /// Reads the name of a field, by the language's own rules: a `select` of it alone.
    fn field(&self, name: &str) -> std::result::Result<Field, String> {
        const BEFORE: &str = "{ } | select(";
        let text = format!("{BEFORE}{name})");
        let query =
            traceql_language::compile(&text, self.options.dialect).map_err(|mut error| {
                let shift = u32::try_from(BEFORE.len()).unwrap_or_default();
                error.range.start = error.range.start.saturating_sub(shift);
                explained(&error, name)
            })?;
        match query.pipeline.stages.as_slice() {
            [_, Stage::Select(fields)] => match fields.as_slice() {
                [field] => Ok(field.clone()),
                _ => Err("one attribute is expected".to_owned()),
            },
            _ => Err("an attribute is expected".to_owned()),
        }
    }
}

impl WantedScope {
    fn of(parameters: &Parameters) -> Result<Self, BadRequest> {
        Ok(match parameters.get("scope") {
            None | Some("none") => Self::All,
            Some("resource") => Self::One(AttributeScope::Resource),
            Some("span") => Self::One(AttributeScope::Span),
            Some("event") => Self::One(AttributeScope::Event),
            Some("link") => Self::One(AttributeScope::Link),
            Some("instrumentation") => Self::One(AttributeScope::Instrumentation),
            Some("intrinsic") => Self::Intrinsics,
            Some(other) => return Err(BadRequest::new(format!("invalid scope: {other}"))),
        })
    }
}

/// Most names or values wanted; none and 0 mean all of them.
fn most(parameters: &Parameters) -> Result<Option<usize>, BadRequest> {
    Ok(parameters.number::<usize>("limit")?.filter(|limit| *limit > 0))
}

/// Values that are the same whatever the data: all words of a closed set, and none for what has as
/// many values as there are spans.
fn known_values(field: &Field) -> Option<Outcome<Vec<TypedTagValue>>> {
    let FieldName::Intrinsic(intrinsic) = field.name else { return None };
    match intrinsic {
        Intrinsic::Status => {
            let words = [Status::Error, Status::Unset, Status::Ok].map(|word| word.to_string());
            Some(Outcome::just(&words))
        }
        Intrinsic::Kind => {
            let words = [
                Kind::Unspecified,
                Kind::Client,
                Kind::Server,
                Kind::Producer,
                Kind::Consumer,
                Kind::Internal,
            ];
            Some(Outcome::just(&words.map(|word| word.to_string())))
        }
        Intrinsic::Duration
        | Intrinsic::Gap
        | Intrinsic::TraceDuration
        | Intrinsic::EventTimeSinceStart
        | Intrinsic::SpanId
        | Intrinsic::SpanParentId
        | Intrinsic::SpanChildCount
        | Intrinsic::TraceId
        | Intrinsic::LinkSpanId
        | Intrinsic::LinkTraceId
        | Intrinsic::NestedSetLeft
        | Intrinsic::NestedSetRight
        | Intrinsic::NestedSetParent => Some(Outcome::default()),
        Intrinsic::Name
        | Intrinsic::StatusMessage
        | Intrinsic::RootName
        | Intrinsic::RootServiceName
        | Intrinsic::EventName
        | Intrinsic::InstrumentationName
        | Intrinsic::InstrumentationVersion => None,
    }
}

/// An answer that cost nothing.
trait Just {
    fn just<T: AsRef<str>>(words: &[T]) -> Self;
}

impl Just for Outcome<Vec<TypedTagValue>> {
    fn just<T: AsRef<str>>(words: &[T]) -> Self {
        let value =
            |word: &T| TypedTagValue { value_type: "keyword", value: word.as_ref().to_owned() };
        Self { answer: words.iter().map(value).collect(), ..Self::default() }
    }
}

/// Adds what another question of the same request cost; blocks are the same ones.
fn add(total: &mut QueryStats, more: &QueryStats) {
    total.total_blocks = total.total_blocks.max(more.total_blocks);
    total.selected_blocks = total.selected_blocks.max(more.selected_blocks);
    total.selected_block_bytes = total.selected_block_bytes.max(more.selected_block_bytes);
    total.units_total += more.units_total;
    total.units_done += more.units_done;
    total.bytes_read += more.bytes_read;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_sets_are_complete_and_open_ones_empty() {
        let values = |intrinsic| {
            known_values(&Field::intrinsic(intrinsic)).map(|outcome| {
                outcome.answer.into_iter().map(|v| v.value).collect::<Vec<_>>().join(" ")
            })
        };
        assert_eq!(values(Intrinsic::Status).as_deref(), Some("error unset ok"));
        assert_eq!(
            values(Intrinsic::Kind).as_deref(),
            Some("unspecified client server producer consumer internal")
        );
        assert_eq!(values(Intrinsic::Duration).as_deref(), Some(""));
        assert_eq!(values(Intrinsic::Name), None);
    }

    #[test]
    fn scopes_are_known_or_named() {
        let scope = |query: &str| WantedScope::of(&Parameters::parse(query));
        assert_eq!(scope(""), Ok(WantedScope::All));
        assert_eq!(scope("scope=none"), Ok(WantedScope::All));
        assert_eq!(scope("scope=event"), Ok(WantedScope::One(AttributeScope::Event)));
        assert_eq!(scope("scope=bogus").unwrap_err().0, "invalid scope: bogus");
    }
}
