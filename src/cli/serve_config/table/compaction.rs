//! Settings of compaction and retention.

use super::super::setting::Setting;
use super::super::value::Form;
use crate::role_args::Role;

const fn compact(
    path: &'static str,
    id: &'static str,
    form: Form,
    default: &'static [&'static str],
) -> Setting {
    Setting::argument(path, id, form, default).role(Role::Compact)
}

pub(super) const SETTINGS: &[Setting] = &[
    compact("backend_scheduler.provider.compaction.alone", "compact_alone", Form::Flag, &["false"]),
    compact(
        "backend_scheduler.provider.compaction.tenant_index",
        "tenant_index",
        Form::Flag,
        &["false"],
    ),
    compact(
        "backend_scheduler.provider.compaction.min_input_blocks",
        "min_blocks",
        Form::Count,
        &["2"],
    ),
    compact(
        "backend_scheduler.provider.compaction.max_input_blocks",
        "max_blocks",
        Form::Count,
        &["4"],
    ),
    compact(
        "backend_scheduler.provider.compaction.max_compaction_level",
        "max_level",
        Form::Count,
        &["0"],
    ),
    compact(
        "backend_scheduler.provider.compaction.compaction.compaction_cycle",
        "compact_interval",
        Form::Duration,
        &["30s"],
    ),
    compact(
        "backend_scheduler.provider.compaction.compaction.compaction_window",
        "window",
        Form::Duration,
        &["1h"],
    )
    .limit("compaction.compaction_window", |tenant, value| {
        tenant.compaction_window = Some(value.duration());
    }),
    compact(
        "backend_scheduler.provider.compaction.compaction.max_compaction_objects",
        "max_block_traces",
        Form::Count,
        &["6000000"],
    ),
    compact(
        "backend_scheduler.provider.compaction.compaction.max_block_bytes",
        "max_block_size",
        Form::Size,
        &["100GiB"],
    ),
    compact(
        "backend_scheduler.provider.compaction.compaction.block_retention",
        "retention",
        Form::DurationOrNone,
        &["0"],
    )
    .limit("compaction.block_retention", |tenant, value| {
        tenant.retention = Some(value.duration());
    }),
    compact(
        "backend_scheduler.provider.compaction.compaction.compacted_block_retention",
        "grace",
        Form::DurationOrNone,
        &["1h"],
    ),
];

pub(super) const OVERRIDES: &[Setting] = &[compact(
    "overrides.defaults.compaction.compaction_disabled",
    "no_compaction",
    Form::Flag,
    &["false"],
)
.limit("compaction.compaction_disabled", |tenant, value| {
    tenant.compaction_disabled = Some(value.flag());
})];
