//! The arguments by which a process of `serve` takes part of the work, and by which it compacts, as
//! clap sees them; and what they mean to the server.

use clap::{Args, ValueEnum};
use traceql_blocks::compact::Exclusion;
use traceql_server::{CompactOptions, Roles};
use uuid::Uuid;

use crate::commands::compact::INTERVAL;
use crate::compact_args::{COMPACTION, CompactionArgs, RetentionArgs, compact_settings};
use crate::error::{Error, Result};
use crate::settings;

/// What a process does.
#[derive(Args, Debug)]
pub(crate) struct RoleArgs {
    /// What this process does of ingest, query and compact [default: query, and what other options
    /// ask for]
    #[arg(long, value_delimiter = ',', value_enum, value_name = "ROLE,…")]
    pub(crate) roles: Vec<Role>,
    /// Compact the bucket, and give up blocks by their age, as `traceql compact` does
    #[arg(help_heading = COMPACTION, long)]
    pub(crate) compact: bool,
    /// Time between two rounds of compaction [default: 30s]
    #[arg(help_heading = COMPACTION, long, value_name = "DURATION", hide_short_help = true)]
    pub(crate) compact_interval: Option<String>,
    /// No other compactor works on the bucket: take no leases. For stores without conditional writes
    #[arg(help_heading = COMPACTION, long, hide_short_help = true)]
    pub(crate) compact_alone: bool,
    /// Write the indexes of tenants that have none; those that are there are always brought up to date
    #[arg(help_heading = COMPACTION, long, hide_short_help = true)]
    pub(crate) tenant_index: bool,
    #[command(flatten)]
    pub(crate) compaction: CompactionArgs,
    #[command(flatten)]
    pub(crate) retention: RetentionArgs,
}

/// A part of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Takes traces in
    Ingest,
    /// Answers queries
    Query,
    /// Compacts the bucket
    Compact,
}

impl RoleArgs {
    /// What the process is for. `takes_traces`: whether there is an address to take traces in.
    ///
    /// # Errors
    /// Roles that other arguments contradict.
    pub(crate) fn roles(&self, takes_traces: bool) -> Result<Roles> {
        if self.roles.is_empty() {
            return Ok(Roles { ingest: takes_traces, query: true, compact: self.compact });
        }
        let has = |role| self.roles.contains(&role);
        let roles = Roles {
            ingest: has(Role::Ingest),
            query: has(Role::Query),
            compact: has(Role::Compact),
        };
        if roles.ingest && !takes_traces {
            return Err(Error::usage(
                "the role ingest has no address to take traces in, but --roles names it",
            )
            .hint("with --otlp-grpc 127.0.0.1:4317 or --otlp-http 127.0.0.1:4318"));
        }
        if self.compact && !roles.compact {
            return Err(Error::usage(format!("--compact, but the roles are {roles}"))
                .hint("leave out --compact, or name the role compact as well"));
        }
        Ok(roles)
    }

    /// How the bucket is compacted.
    ///
    /// # Errors
    /// Arguments that say nothing.
    pub(crate) fn compact(&self) -> Result<CompactOptions> {
        let interval = settings::duration("compact-interval", self.compact_interval.as_deref())?;
        Ok(CompactOptions {
            settings: compact_settings(&self.compaction, &self.retention, self.tenant_index)?,
            interval: interval.unwrap_or(INTERVAL),
            exclusion: if self.compact_alone { Exclusion::Alone } else { Exclusion::Lease },
            new_id: Uuid::new_v4,
        })
    }
}
