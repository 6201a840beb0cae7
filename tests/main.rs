//! The one integration binary of the workspace. Every file of this folder is a module named here;
//! `tidy` fails if one is forgotten.

mod answers;
mod capture;
mod checks;
mod cli;
#[cfg(target_os = "linux")]
mod clocks;
mod compact;
mod compact_kills;
mod config;
mod convert;
mod crash;
mod damaged;
mod diff;
#[cfg(target_os = "linux")]
mod disk;
mod evaluator;
mod explain;
mod export;
mod generator;
mod golden;
mod grafana;
mod hostile;
mod ingest;
mod lint;
mod many_blocks;
mod memory;
mod metric_labels;
mod metrics_evaluator;
mod metrics_examples;
mod metrics_oracle;
mod observed;
mod oracle;
mod outage;
mod own_traces;
mod pages;
mod readme;
mod receivers;
mod remote;
#[cfg(unix)]
mod repl;
mod roles;
#[cfg(unix)]
mod screens;
mod serve_config;
mod server;
mod server_metrics;
mod split;
mod sql;
mod sql_cli;
mod storage;
mod streams;
mod support;
mod tempo;
mod tenancy;
mod tidy;
