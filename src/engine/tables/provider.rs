//! The tables as DataFusion sees them: what a query asks of them becomes a scan of ours.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{MemTable, Session, TableProvider};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use parking_lot::Mutex;
use traceql_blocks::bucket::Block;
use traceql_blocks::bucket::source::Source;
use traceql_blocks::bucket::tenant::TenantId;
use traceql_blocks::model::TraceId;
use traceql_language::Dialect;

use super::columns::{AskedAttribute, TableColumn, TableKind, ZONE, schema_of, time_type};
use super::exec::TableScanExec;
use super::filter;
use crate::error::Error;
use crate::options::QueryOptions;
use crate::outcome::QueryStats;
use crate::query;
use crate::runtime::{QueryRun, Runtime};
use crate::scan::exec::external;
use crate::scan::spec::WorkUnit;
use crate::select::{Opens, Selected, Selecting, Selection, select};

/// Times of a block are kept in seconds, rounded down.
const SECOND: u64 = 1_000_000_000;

/// What the tables of one statement share.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) runtime: Arc<Runtime>,
    pub(super) run: Arc<QueryRun>,
    pub(super) source: Source,
    pub(super) tenants: Vec<TenantId>,
    pub(super) options: QueryOptions,
    /// What making scans has told.
    pub(super) told: Mutex<Told>,
}

/// What making scans has told.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) stats: QueryStats,
    pub(super) warnings: Vec<String>,
    pub(super) skipped: bool,
}

impl Asked {
    /// Notes what a selection told. A statement may select for several tables of the same blocks.
    pub(super) fn note(
        &self,
        stats: &QueryStats,
        warnings: Vec<String>,
        skipped: bool,
        n_units: usize,
    ) {
        let mut told = self.told.lock();
        let units_total = told.stats.units_total + n_units as u64;
        if stats.total_blocks >= told.stats.total_blocks {
            told.stats = stats.clone();
        }
        told.stats.units_total = units_total;
        for warning in warnings {
            if !told.warnings.contains(&warning) {
                told.warnings.push(warning);
            }
        }
        told.skipped |= skipped;
        self.run.plan_units(units_total);
    }
}

/// A table over the scan.
#[derive(Debug)]
pub(super) struct TraceTable {
    kind: TableKind,
    /// Those it always has, then the attributes the statement asks for.
    columns: Vec<TableColumn>,
    schema: SchemaRef,
    asked: Arc<Asked>,
}

impl TraceTable {
    pub(super) fn new(kind: TableKind, attributes: &[AskedAttribute], asked: Arc<Asked>) -> Self {
        let mut columns = kind.columns();
        columns.extend(attributes.iter().filter_map(|attribute| kind.attribute(attribute)));
        Self { kind, schema: schema_of(&columns), columns, asked }
    }

    async fn plan(
        &self,
        columns: Vec<TableColumn>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> crate::error::Result<TableScanExec> {
        let Asked { runtime, run, source, tenants, options, .. } = &*self.asked;
        let text = filter::query_of(self.kind, &self.columns, filters);
        let query = traceql_language::compile(&text, Dialect::Default)
            .map_err(|error| Error::Internal(format!("{text:?} does not compile: {error}")))?;
        let starts = filter::start_range(&self.columns, filters);
        let wide = starts.map(|(start, end)| (start.saturating_sub(SECOND), end));
        let options = QueryOptions {
            time_range: both(options.time_range, wide),
            limit: 0,
            ..options.clone()
        };
        let Selecting { selection, stats, warnings, skipped } =
            select(runtime, run, source, tenants, &options, Opens::All).await?;
        let mut spec = query::scan(&selection, &query, &options, limit.is_some());
        // What was asked for on the command line chooses traces, as it does for every query; a
        // condition on starts spares work and is tested again.
        let range = self.asked.options.time_range;
        spec.by_start = range.is_none();
        (spec.start_unix_nanos, spec.end_unix_nanos) = range.or(starts).unwrap_or((0, 0));
        if starts.is_some_and(|(start, end)| start > end) {
            spec.units.clear();
        }
        if let (Some(ids), Selection::Blocks(selected), true) =
            (filter::trace_ids(&self.columns, filters), &selection, options.pruning)
        {
            spec.units.retain(|unit| may_hold(selected, *unit, &ids));
        }
        self.asked.note(&stats, warnings, skipped, spec.units.len());
        TableScanExec::new(self.kind, columns, spec, limit)
    }
}

/// False if the row group of a unit, which is sorted by trace id, has none of some traces.
fn may_hold(selected: &[Selected], unit: WorkUnit, ids: &[TraceId]) -> bool {
    let open = selected.get(unit.block as usize).and_then(|selected| selected.open.as_ref());
    let bounds = open.and_then(|open| open.trace_id_bounds(unit.row_group as usize));
    bounds.is_none_or(|(min, max)| ids.iter().any(|id| (min..=max).contains(&id.0)))
}

/// What lies in both ranges.
fn both(a: Option<(u64, u64)>, b: Option<(u64, u64)>) -> Option<(u64, u64)> {
    match (a, b) {
        (Some(a), Some(b)) => Some((a.0.max(b.0), a.1.min(b.1))),
        (one, None) | (None, one) => one,
    }
}

#[async_trait]
impl TableProvider for TraceTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(filter::support(self.kind, &self.columns, filters))
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let columns = match projection {
            None => self.columns.clone(),
            Some(chosen) => chosen.iter().filter_map(|at| self.columns.get(*at).cloned()).collect(),
        };
        let exec = self.plan(columns, filters, limit).await.map_err(external)?;
        Ok(Arc::new(exec))
    }
}

/// The table `blocks`: what blocks say of themselves. Opens none.
#[derive(Debug)]
pub(super) struct BlocksTable {
    asked: Arc<Asked>,
    schema: SchemaRef,
}

impl BlocksTable {
    pub(super) fn new(asked: Arc<Asked>) -> Self {
        let text = |name| Field::new(name, DataType::Utf8, false);
        let int = |name| Field::new(name, DataType::Int64, false);
        let schema = Schema::new(vec![
            text("block_id"),
            text("tenant"),
            text("version"),
            Field::new("start_time", time_type(), false),
            Field::new("end_time", time_type(), false),
            int("trace_count"),
            int("size_bytes"),
            int("compaction_level"),
            int("row_group_count"),
            int("dedicated_column_count"),
            int("replication_factor"),
            text("url"),
        ]);
        Self { asked, schema: Arc::new(schema) }
    }

    async fn batch(&self) -> Result<RecordBatch> {
        let Asked { runtime, run, source, tenants, options, .. } = &*self.asked;
        let selecting =
            select(runtime, run, source, tenants, options, Opens::None).await.map_err(external)?;
        let Selecting { selection, stats, warnings, skipped } = selecting;
        self.asked.note(&stats, warnings, skipped, 0);
        let selected = match selection {
            Selection::Blocks(selected) => selected,
            Selection::Memory(..) => Vec::new(),
        };
        let blocks: Vec<&Block> = selected.iter().map(|selected| &selected.block).collect();
        let texts = |say: &dyn Fn(&Block) -> String| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(blocks.iter().map(|block| say(block))))
        };
        let ints = |count: &dyn Fn(&Block) -> u64| -> ArrayRef {
            let counts = blocks.iter().map(|block| i64::try_from(count(block)).unwrap_or(i64::MAX));
            Arc::new(Int64Array::from_iter_values(counts))
        };
        let times = |nanos: &dyn Fn(&Block) -> i64| -> ArrayRef {
            let nanos = blocks.iter().map(|block| nanos(block));
            Arc::new(TimestampNanosecondArray::from_iter_values(nanos).with_timezone(ZONE))
        };
        let columns = vec![
            texts(&|block| block.meta.block_id.to_string()),
            texts(&|block| block.meta.tenant.clone()),
            texts(&|block| block.meta.version.to_string()),
            times(&|block| block.meta.start_unix_nanos),
            times(&|block| block.meta.end_unix_nanos),
            ints(&|block| block.meta.total_objects),
            ints(&|block| block.meta.size_bytes),
            ints(&|block| u64::from(block.meta.compaction_level)),
            ints(&|block| u64::from(block.meta.total_records)),
            ints(&|block| block.meta.dedicated_columns.len() as u64),
            ints(&|block| u64::from(block.meta.replication_factor)),
            texts(&|block| block.object_url(&block.data)),
        ];
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

#[async_trait]
impl TableProvider for BlocksTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let batch = self.batch().await?;
        let held = MemTable::try_new(Arc::clone(&self.schema), vec![vec![batch]])?;
        held.scan(session, projection, filters, limit).await
    }
}
