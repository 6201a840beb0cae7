//! `/api/search`: by query, or the older way by tags.

use parking_lot::Mutex;
use traceql_engine::search::{Cursor, Gathered, SearchAnswer, TraceResult};
use traceql_engine::{Outcome, QueryOptions};

use super::{Asked, Context};
use crate::api::{json, protobuf};
use crate::reply::{Form, Reply, Result};
use crate::request::tags::{TagSearch, pairs};
use crate::request::{BadRequest, duration, time};

impl Context {
    pub(super) async fn search(&self, asked: &Asked) -> Result<Reply> {
        let parameters = &asked.parameters;
        let limits = &self.options.limits;
        let asked_limit = parameters.limit(limits.max_traces)?;
        let spans_per_spanset = parameters
            .spans_per_spanset(limits.max_spans_per_spanset)?
            .unwrap_or(limits.default_spans_per_spanset);
        let range = time::of_search(parameters, &self.range_rules(&asked.tenants))?;
        let trace_duration = |name: &str| match parameters.get(name) {
            Some(text) => duration::go(text)
                .map(Some)
                .map_err(|error| BadRequest::new(format!("invalid {name}: {error}"))),
            None => Ok(None),
        };
        let mut tags = TagSearch {
            pairs: Vec::new(),
            min_duration: trace_duration("minDuration")?,
            max_duration: trace_duration("maxDuration")?,
        };
        if let (Some(min), Some(max)) = (tags.min_duration, tags.max_duration)
            && max < min
        {
            let text = "invalid maxDuration: must be greater than minDuration";
            return Err(BadRequest::new(text).into());
        }
        let (query, is_by_tags) = match (parameters.get("q"), parameters.get("tags")) {
            (Some(_), Some(_)) => {
                let text = "invalid request: can't specify tags and q in the same query";
                return Err(BadRequest::new(text).into());
            }
            (Some(text), None) => (self.compile(asked, text)?, false),
            (None, text) => {
                tags.pairs = pairs(text.unwrap_or_default())?;
                (self.compile_own(&tags.query())?, true)
            }
        };
        // A limit that nobody asked for does not lower that of the query; the largest allowed does.
        let by_default = match query.limit {
            Some(_) => limits.max_traces.unwrap_or(0),
            None => limits.default_traces,
        };
        let limit = asked_limit.unwrap_or(by_default);
        let page = page(parameters.get("after"))?;
        let after = page.clone().flatten();
        let options = QueryOptions {
            limit,
            after,
            spans_per_spanset,
            ..self.query_options(asked, Some(range))
        };
        let gathered = Mutex::new(Gathered::of(&query, options.memory_bytes));
        let on_trace = |mut trace: TraceResult| {
            if is_by_tags {
                strip(&mut trace);
            }
            if let Some(watch) = &asked.watch {
                watch.found(&trace);
            }
            gathered.lock().push(trace)
        };
        let outcome = match asked.tenants.as_slice() {
            [] => Outcome::default(),
            tenants => {
                let source = &self.source;
                let work = self.engine.search_each(source, tenants, &query, &options, &on_trace);
                self.executed(asked, "search", work).await?
            }
        };
        let mut outcome = self.whole(
            outcome.map(|next| SearchAnswer { next, ..gathered.into_inner().into_answer() }),
        )?;
        if page.is_none() {
            outcome.answer.next = None;
        }
        let Outcome { answer, stats, .. } = &outcome;
        Ok(match asked.form {
            Form::Protobuf => Reply::protobuf(&protobuf::search_response(answer, stats)),
            Form::Json | Form::Llm => Reply::json(json::search_response(answer, stats)),
        })
    }
}

/// What `after` asks for, an extension: the page behind a cursor, or with `start` the first one. `None`
/// asks for no pages, and so for no cursor, which Tempo's clients do not know.
fn page(after: Option<&str>) -> Result<Option<Option<Cursor>>> {
    match after {
        None => Ok(None),
        Some("start") => Ok(Some(None)),
        Some(text) => match text.parse() {
            Ok(cursor) => Ok(Some(Some(cursor))),
            Err(error) => {
                let hint = "give the `cursor` of the page before, or `start`";
                Err(BadRequest::new(format!("invalid after: {error}: {hint}")).into())
            }
        },
    }
}

/// Answers of a search by tags are bare traces.
fn strip(trace: &mut TraceResult) {
    trace.spansets.clear();
    trace.service_stats.clear();
}
