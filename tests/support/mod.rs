//! What tests share: the naive evaluator, generators of traces and queries, recorded answers, traces
//! read back from blocks, servers and what stands before them. Nothing here knows the insides of the
//! engine.

pub(crate) mod asking;
pub(crate) mod binary;
pub(crate) mod data_set;
pub(crate) mod evaluate;
#[cfg(target_os = "linux")]
pub(crate) mod faketime;
pub(crate) mod files;
pub(crate) mod generate;
pub(crate) mod golden;
pub(crate) mod golden_metrics;
pub(crate) mod grpc;
pub(crate) mod http;
pub(crate) mod ingesting;
pub(crate) mod metrics_cases;
pub(crate) mod mutate;
#[expect(unreachable_pub, reason = "it is shared with the tests of src/blocks")]
pub(crate) mod proxy;
pub(crate) mod sending;
pub(crate) mod series;
#[expect(unreachable_pub, reason = "it is shared with the tests of src/blocks")]
pub(crate) mod servers;
pub(crate) mod stored;
#[cfg(unix)]
pub(crate) mod terminal;
pub(crate) mod waiting;
