//! The one integration binary of the workspace. Every file of this folder is a module named here;
//! `tidy` fails if one is forgotten.

mod capture;
mod checks;
mod cli;
mod convert;
mod crash;
mod evaluator;
mod export;
mod generator;
mod golden;
mod ingest;
mod lint;
mod memory;
mod metrics_evaluator;
mod metrics_examples;
mod metrics_oracle;
mod oracle;
mod readme;
mod remote;
#[cfg(unix)]
mod repl;
mod server;
mod server_metrics;
mod split;
mod sql;
mod sql_cli;
mod support;
mod tidy;
