//! `/api/metrics/query_range` and `/api/metrics/query`: series over time, or one value each. As
//! protobuf they are asked for by streams alone.

use std::sync::Arc;

use traceql_blocks::bucket::tenant::TenantId;
use traceql_engine::metrics::{MetricsAnswer, MetricsRequest};
use traceql_engine::{Outcome, QueryOptions};

use super::answers::Question;
use super::{Asked, Context};
use crate::api::{json, protobuf};
use crate::reply::{Form, Reply, Result};
use crate::request::{BadRequest, metrics};

impl Context {
    pub(super) async fn metrics_range(&self, asked: &Asked) -> Result<Reply> {
        let limits = self.metrics_limits(&asked.tenants);
        let request = metrics::of_range(&asked.parameters, &limits, self.now_unix_nanos())?;
        let found = self.find_series(asked, &request).await?;
        let Outcome { answer, stats, partial, .. } = &*found;
        let partial = partial.as_deref();
        Ok(match asked.form {
            Form::Protobuf => {
                Reply::protobuf(&protobuf::query_range_response(answer, stats, partial))
            }
            _ => Reply::json(json::metrics_range_response(answer, stats, partial)),
        })
    }

    pub(super) async fn metrics_instant(&self, asked: &Asked) -> Result<Reply> {
        let limits = self.metrics_limits(&asked.tenants);
        let request = metrics::of_instant(&asked.parameters, &limits, self.now_unix_nanos())?;
        let found = self.find_series(asked, &request).await?;
        let Outcome { answer, stats, partial, .. } = &*found;
        let partial = partial.as_deref();
        Ok(match asked.form {
            Form::Protobuf => {
                Reply::protobuf(&protobuf::query_instant_response(answer, stats, partial))
            }
            _ => Reply::json(json::metrics_instant_response(answer, stats, partial)),
        })
    }

    /// Tenants without data are asked like others: what counts spans counts none.
    async fn find_series(
        &self,
        asked: &Asked,
        request: &MetricsRequest,
    ) -> Result<Arc<Outcome<MetricsAnswer>>> {
        let parameters = &asked.parameters;
        let text = parameters.get("q").or_else(|| parameters.get("query")).unwrap_or_default();
        let query = self.compile(asked, text)?;
        if query.metrics.is_none() {
            return Err(BadRequest::new("not a metrics query").into());
        }
        let versions = self.versions(&asked.tenants).await;
        let question = versions.and_then(|versions| {
            Question::new(&asked.tenants, versions, &query.canonical, request)
        });
        if let Some(found) = question.as_ref().and_then(|question| self.answers.get(question)) {
            return Ok(found);
        }
        let partials = asked.watch.as_ref().map(|watch| Arc::clone(&watch.partials));
        let options = QueryOptions { partials, ..self.query_options(asked, None) };
        let work = self.engine.metrics(&self.source, &asked.tenants, &query, request, &options);
        let outcome = self.executed(asked, "metrics", work).await?;
        self.log_warnings(&outcome.warnings);
        let outcome = Arc::new(outcome);
        // Of lists that changed meanwhile nobody knows which of them was answered from.
        if let Some(question) = question
            && self.versions(&asked.tenants).await.as_ref() == Some(question.versions())
        {
            self.answers.keep(question, &outcome);
        }
        Ok(outcome)
    }

    /// What tells whether the tenants' data is what it was; `None` if nothing does. Blocks do not
    /// change, so their lists do. Data that is in no block yet would have to be told of here.
    async fn versions(&self, tenants: &[TenantId]) -> Option<Vec<u64>> {
        let unreadable = self.unreadable();
        let mut versions = Vec::with_capacity(tenants.len());
        for tenant in tenants {
            versions.push(self.source.kept_version(tenant, unreadable).await?);
        }
        Some(versions)
    }
}
