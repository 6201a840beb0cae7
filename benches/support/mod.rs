//! What the search benches ask, and of which data. The questions are those of the comparison with a
//! running Tempo, one of a kind each, with the columns their answers rest on.

#![allow(dead_code, reason = "each bench uses a part")]

use traceql_blocks::bucket::source::Source;
use traceql_blocks::bucket::store::SourceOptions;
use traceql_blocks::bucket::tenant::TenantId;
use traceql_blocks::schema::{Column, Level};
use traceql_engine::{Engine, QueryOptions, QueryStats};
use traceql_language::{Dialect, compile};

/// A benchmark search.
#[derive(Debug)]
pub(crate) struct Question {
    /// For choosing it on the command line.
    pub(crate) name: &'static str,
    /// The query.
    pub(crate) text: &'static str,
    /// Columns looked at in every trace, to find those that match.
    pub(crate) scanned: fn() -> Vec<Column>,
    /// Columns that results list besides what every result has.
    pub(crate) listed: fn() -> Vec<Column>,
}

/// The searches, one for each kind of question.
pub(crate) const QUESTIONS: [Question; 12] = [
    Question {
        name: "status",
        text: "{ status = error }",
        scanned: || vec![Column::StatusCode],
        listed: Vec::new,
    },
    Question {
        name: "service-and-duration",
        text: "{ resource.service.name = \"payment\" && duration > 100ms }",
        scanned: || vec![resource("service.name"), Column::SpanDuration],
        listed: Vec::new,
    },
    Question {
        name: "dedicated-number",
        text: "{ span.http.response.status_code >= 500 }",
        scanned: || vec![span("http.response.status_code")],
        listed: Vec::new,
    },
    Question {
        name: "rare-text",
        text: "{ span.user.id = \"user-00777\" }",
        scanned: || vec![span("user.id")],
        listed: Vec::new,
    },
    Question {
        name: "nothing",
        text: "{ span.nosuch = \"x\" }",
        scanned: || vec![span("nosuch")],
        listed: Vec::new,
    },
    Question {
        name: "pattern-of-name",
        text: "{ name =~ \".*Charge\" && status = error }",
        scanned: || vec![Column::Name, Column::StatusCode],
        listed: Vec::new,
    },
    Question {
        name: "event",
        text: "{ event.exception.type = \"PaymentDeclined\" }",
        scanned: || vec![Column::Attribute(Level::Event, "exception.type".to_owned())],
        listed: Vec::new,
    },
    Question {
        name: "descendant",
        text: "{ resource.service.name = \"checkout\" } >> { status = error }",
        scanned: || {
            vec![
                resource("service.name"),
                Column::StatusCode,
                Column::NestedSetLeft,
                Column::NestedSetRight,
                Column::NestedSetParent,
            ]
        },
        listed: Vec::new,
    },
    Question {
        name: "average",
        text: "{ kind = server } | avg(duration) > 2s",
        scanned: || vec![Column::Kind, Column::SpanDuration],
        listed: Vec::new,
    },
    Question {
        name: "group",
        text: "{ } | by(resource.service.name) | count() > 40",
        scanned: || vec![resource("service.name")],
        listed: Vec::new,
    },
    Question {
        name: "numbers",
        text: "{ span.hits > 890 || span.fraud.score > 0.999 }",
        scanned: || vec![span("hits"), span("fraud.score")],
        listed: Vec::new,
    },
    Question {
        name: "pattern-of-text",
        text: "{ span.db.statement =~ \".*stock.*\" && duration > 300ms }",
        scanned: || vec![span("db.statement"), Column::SpanDuration],
        listed: Vec::new,
    },
];

fn span(key: &str) -> Column {
    Column::Attribute(Level::Span, key.to_owned())
}

fn resource(key: &str) -> Column {
    Column::Attribute(Level::Resource, key.to_owned())
}

impl Question {
    /// Columns read for the traces that matched.
    pub(crate) fn shown(&self) -> Vec<Column> {
        let mut columns = vec![
            Column::TraceId,
            Column::RootServiceName,
            Column::RootSpanName,
            Column::TraceStart,
            Column::TraceDuration,
            Column::SpanId,
            Column::SpanStart,
            Column::SpanDuration,
            Column::StatusCode,
            resource("service.name"),
        ];
        columns.extend((self.listed)());
        // Attributes that the query limits are listed too.
        columns.extend((self.scanned)());
        columns
    }
}

/// The data to ask: a folder, and whose.
#[derive(Debug)]
pub(crate) struct Data {
    /// Where it lies.
    pub(crate) source: Source,
    /// Whose data.
    pub(crate) tenants: Vec<TenantId>,
}

impl Data {
    /// The folder that `TRACEQL_BENCH` names, a tenant's as Tempo writes it; without it the block
    /// beside the repository on which Tempo's times were taken; without that the built-in sample,
    /// on which times say little.
    pub(crate) async fn open() -> Self {
        #[expect(clippy::disallowed_methods, reason = "a bench is told its data so")]
        let named = std::env::var("TRACEQL_BENCH").ok();
        let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/bench/bench5");
        let url = match named {
            Some(named) => named,
            None if std::path::Path::new(beside).exists() => beside.to_owned(),
            None => {
                println!("no {beside}, and TRACEQL_BENCH names no other data: asking the sample");
                "sample:".to_owned()
            }
        };
        let source = Source::open(&url, &SourceOptions::default()).await.expect("the source opens");
        let tenants = vec![source.tenant(None).await.expect("it has a tenant")];
        println!("{url}, tenant {}", tenants[0]);
        Self { source, tenants }
    }

    /// Asks a question; how many traces matched, and what it cost.
    pub(crate) async fn ask(
        &self,
        engine: &Engine,
        question: &Question,
        options: &QueryOptions,
    ) -> (traceql_engine::search::SearchAnswer, QueryStats) {
        let query = compile(question.text, Dialect::Default).expect("the question compiles");
        let outcome = engine
            .search(&self.source, &self.tenants, &query, options)
            .await
            .expect("the question has an answer");
        (outcome.answer, outcome.stats)
    }
}

/// The questions whose names the command line gives; all of them if it gives none.
pub(crate) fn chosen() -> Vec<&'static Question> {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    QUESTIONS
        .iter()
        .filter(|question| wanted.is_empty() || wanted.iter().any(|name| name == question.name))
        .collect()
}
