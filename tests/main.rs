//! The one integration binary of the workspace. Every file of this folder is a module named here;
//! `tidy` fails if one is forgotten.

mod answers;
mod capture;
mod checks;
mod cli;
mod compact;
mod config;
mod convert;
mod crash;
mod diff;
mod evaluator;
mod explain;
mod export;
mod generator;
mod golden;
mod grafana;
mod hostile;
mod ingest;
mod lint;
mod memory;
mod metrics_evaluator;
mod metrics_examples;
mod metrics_oracle;
mod observed;
mod oracle;
mod pages;
mod readme;
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
mod streams;
mod support;
mod tempo;
mod tenancy;
mod tidy;
