//! `/api/search`: by query, or the older way by tags.

use parking_lot::Mutex;
use traceql_engine::search::{Gathered, TraceResult};
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
        let limit = parameters.limit(limits.max_traces)?.unwrap_or(limits.default_traces);
        let spans_per_spanset = parameters
            .spans_per_spanset(limits.max_spans_per_spanset)?
            .unwrap_or(limits.default_spans_per_spanset);
        let range = time::of_search(parameters, &self.range_rules())?;
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
        let (query, is_by_tags) = match (parameters.get("q"), parameters.get("tags")) {
            (Some(_), Some(_)) => {
                let text = "invalid request: can't specify tags and q in the same query";
                return Err(BadRequest::new(text).into());
            }
            (Some(text), None) => (self.compile(text)?, false),
            (None, text) => {
                tags.pairs = pairs(text.unwrap_or_default())?;
                (self.compile_own(&tags.query())?, true)
            }
        };
        let options =
            QueryOptions { limit, spans_per_spanset, ..self.query_options(asked, Some(range)) };
        let gathered = Mutex::new(Gathered::within(options.memory_bytes));
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
                self.engine.search_each(source, tenants, &query, &options, &on_trace).await?
            }
        };
        let outcome = self.whole(outcome.map(|()| gathered.into_inner().into_answer()))?;
        let Outcome { answer, stats, .. } = &outcome;
        Ok(match asked.form {
            Form::Protobuf => Reply::protobuf(&protobuf::search_response(answer, stats)),
            Form::Json | Form::Llm => Reply::json(json::search_response(answer, stats)),
        })
    }
}

/// Answers of a search by tags are bare traces.
fn strip(trace: &mut TraceResult) {
    trace.spansets.clear();
    trace.service_stats.clear();
}
