//! Trace by id, in both versions.

use axum::http::StatusCode;
use traceql_blocks::model::{Trace, TraceId};
use traceql_engine::{Outcome, QueryOptions};

use super::filter::SpanFilter;
use super::{Asked, Context};
use crate::api::{json, llm, protobuf};
use crate::reply::{Failure, Form, Reply, Result};
use crate::request::{BadRequest, Parameters, time, trace_id};

impl Context {
    pub(super) async fn trace_v1(&self, asked: &Asked) -> Result<Reply> {
        let (_, outcome) = self.find_trace(asked).await?;
        let mut outcome = self.whole(outcome)?;
        let Some(trace) = &mut outcome.answer else {
            return Ok(Reply::text(StatusCode::NOT_FOUND, ""));
        };
        trace.separate_shared_ids();
        Ok(match asked.form {
            Form::Protobuf => Reply::protobuf(&protobuf::trace(Some(trace))),
            Form::Json | Form::Llm => Reply::json(json::trace_v1_response(trace)),
        })
    }

    /// `span_pruning` and its parameters are taken and ignored, as by a Tempo that does not enable
    /// it, which is the default.
    pub(super) async fn trace_v2(&self, asked: &Asked) -> Result<Reply> {
        let filter = match asked.parameters.get("q") {
            Some(text) => Some(SpanFilter::new(self.compile(asked, text)?, &asked.parameters)?),
            None => None,
        };
        let (options, mut outcome) = self.find_trace(asked).await?;
        self.log_warnings(&outcome.warnings);
        let mut reasons: Vec<String> = outcome.partial.take().into_iter().collect();
        match (filter, &mut outcome.answer) {
            (Some(filter), Some(trace)) => {
                let matched = filter.matches(self, asked, trace.id, &options).await?;
                if filter.keep(trace, &matched) {
                    let reason =
                        "Trace filtered, only a subset of spans matching the filter is returned";
                    reasons.push(reason.to_owned());
                }
            }
            (None, Some(trace)) => trace.separate_shared_ids(),
            (_, None) => {}
        }
        let reason = (!reasons.is_empty()).then(|| reasons.join("; "));
        let (trace, stats) = (outcome.answer.as_ref(), &outcome.stats);
        Ok(match asked.form {
            Form::Protobuf => {
                let response = protobuf::trace_by_id_response(trace, stats, reason.as_deref());
                Reply::protobuf(&response)
            }
            Form::Json => Reply::json(json::trace_v2_response(trace, stats, reason.as_deref())),
            Form::Llm => Reply::llm(llm::trace_response(trace, stats, reason.as_deref())),
        })
    }

    async fn find_trace(&self, asked: &Asked) -> Result<(QueryOptions, Outcome<Option<Trace>>)> {
        let id = trace_id::parse(&asked.argument)?;
        let options = self.query_options(asked, time::of_trace(&asked.parameters)?);
        let stores = Stores::wanted(&asked.parameters)?;
        // What is live comes first: it moves into the bucket and not back.
        let mut parts = Vec::new();
        if let (Some(live), true) = (&self.live, stores.live) {
            for tenant in &asked.tenants {
                parts.extend(live.trace(tenant, id)?);
            }
        }
        let mut outcome = match stores.blocks {
            true => match self.stored_trace(asked, id, &options).await {
                // What is live is shown, and that the rest is missing is said.
                Err(failure) if !parts.is_empty() && failure.status.is_server_error() => {
                    self.log_failure(&failure);
                    let partial = Some(failure.text);
                    Outcome { partial, ..Outcome::default() }
                }
                outcome => outcome?,
            },
            false => Outcome::default(),
        };
        if !parts.is_empty() {
            outcome.answer = Trace::combine(outcome.answer.take().into_iter().chain(parts));
        }
        Ok((options, outcome))
    }

    /// What of a trace lies in the bucket.
    async fn stored_trace(
        &self,
        asked: &Asked,
        id: TraceId,
        options: &QueryOptions,
    ) -> Result<Outcome<Option<Trace>>> {
        // A tenant of whom nothing has been flushed yet is known, though not to the bucket.
        let stored = self.source.stored();
        let mut tenants = asked.tenants.clone();
        self.leave_out_unknown(&stored, &mut tenants).await?;
        if tenants.is_empty() {
            return Ok(Outcome::default());
        }
        let work = self.engine.trace(&stored, &tenants, id, options);
        Ok(self.executed(asked, "find trace", work).await?)
    }
}

/// Where a trace is looked for.
struct Stores {
    live: bool,
    blocks: bool,
}

impl Stores {
    /// Which stores a request names.
    fn wanted(parameters: &Parameters) -> Result<Self> {
        const FIRST_BLOCK: &str = "00000000-0000-0000-0000-000000000000";
        const LAST_BLOCK: &str = "ffffffff-ffff-ffff-ffff-ffffffffffff";
        for (name, default) in [("blockStart", FIRST_BLOCK), ("blockEnd", LAST_BLOCK)] {
            if parameters.get(name).is_some_and(|id| !id.eq_ignore_ascii_case(default)) {
                let text = format!("{name} is not implemented by this server");
                return Err(Failure::new(StatusCode::NOT_IMPLEMENTED, text));
            }
        }
        match parameters.get("mode") {
            None | Some("all") => Ok(Self { live: true, blocks: true }),
            Some("blocks") => Ok(Self { live: false, blocks: true }),
            Some("ingesters") => Ok(Self { live: true, blocks: false }),
            Some("external") => Ok(Self { live: false, blocks: false }),
            Some(other) => Err(BadRequest::new(format!("invalid value for mode: {other}")).into()),
        }
    }
}

/// Ids of traces are the same in all parts of the API.
pub(super) fn id_text(id: TraceId) -> String {
    json::ShortTraceId(id).to_string()
}
