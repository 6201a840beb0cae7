//! `/api/metrics/query_range` and `/api/metrics/query`: series over time, or one value each.

use traceql_engine::Outcome;
use traceql_engine::metrics::{MetricsAnswer, MetricsRequest};

use super::{Asked, Context};
use crate::api::json;
use crate::reply::{Reply, Result};
use crate::request::{BadRequest, metrics};

impl Context {
    pub(super) async fn metrics_range(&self, asked: &Asked) -> Result<Reply> {
        let limits = &self.options.limits.metrics;
        let request = metrics::of_range(&asked.parameters, limits, self.now_unix_nanos())?;
        let Outcome { answer, stats, partial, .. } = self.find_series(asked, &request).await?;
        Ok(Reply::json(json::metrics_range_response(&answer, &stats, partial.as_deref())))
    }

    pub(super) async fn metrics_instant(&self, asked: &Asked) -> Result<Reply> {
        let limits = &self.options.limits.metrics;
        let request = metrics::of_instant(&asked.parameters, limits, self.now_unix_nanos())?;
        let Outcome { answer, stats, partial, .. } = self.find_series(asked, &request).await?;
        Ok(Reply::json(json::metrics_instant_response(&answer, &stats, partial.as_deref())))
    }

    /// Tenants without data are asked like others: what counts spans counts none.
    async fn find_series(
        &self,
        asked: &Asked,
        request: &MetricsRequest,
    ) -> Result<Outcome<MetricsAnswer>> {
        let parameters = &asked.parameters;
        let text = parameters.get("q").or_else(|| parameters.get("query")).unwrap_or_default();
        let query = self.compile(text)?;
        if query.metrics.is_none() {
            return Err(BadRequest::new("not a metrics query").into());
        }
        let options = self.query_options(None);
        let outcome =
            self.engine.metrics(&self.source, &asked.tenants, &query, request, &options).await?;
        self.log_warnings(&outcome.warnings);
        Ok(outcome)
    }
}
