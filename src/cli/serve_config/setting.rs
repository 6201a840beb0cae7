//! What a setting of the server is: its place in a file, the option that says the same, what may stand
//! there, and what it changes.

use traceql_blocks::write::block::BlockSettings;
use traceql_server::generator::{GeneratorOptions, TenantMetrics};
use traceql_server::{IngestLimits, Limits, TenantOverrides};

use super::value::{Form, Value};
use crate::role_args::Role;

/// A setting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    /// Sections and name, with dots between.
    pub(crate) path: &'static str,
    /// Other places for the same, of Tempo's.
    pub(crate) also: &'static [&'static str],
    pub(crate) form: Form,
    /// As options have it; empty if there is none, or it depends.
    pub(crate) default: &'static [&'static str],
    pub(crate) sets: Sets,
    /// Ids of arguments that say the same in other words, and take its place.
    pub(crate) said_by: &'static [&'static str],
    /// Which role it is for, if only for one.
    pub(crate) role: Option<Role>,
    /// Its place below `overrides.defaults` and below a tenant, if tenants may have their own.
    pub(crate) tenant: Option<(&'static str, OfTenant)>,
    /// What it means, if no option says so.
    pub(crate) meaning: &'static str,
}

/// What a setting changes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sets {
    /// The default of the option whose argument has this id.
    Argument(&'static str),
    /// The host of that.
    Host(&'static str),
    /// Its port.
    Port(&'static str),
    /// With others of its kind, where the data is.
    Source,
    /// Limits of queries.
    Limits(fn(&mut Limits, Value)),
    /// How blocks are written.
    Block(fn(&mut BlockSettings, Value)),
    /// What is made of spans.
    Metrics(fn(&mut TenantMetrics, Value)),
    /// How it is made, for all tenants.
    Generator(fn(&mut GeneratorOptions, Value)),
    /// Limits of what is taken in.
    Ingest(fn(&mut IngestLimits, Value)),
    /// Who receives what is made of spans.
    Receivers,
}

/// What a setting changes for one tenant.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OfTenant {
    Limit(fn(&mut TenantOverrides, Value)),
    Metrics(fn(&mut TenantMetrics, Value)),
}

/// Where settings of all tenants stand that single ones may have their own of.
pub(crate) const DEFAULTS: &str = "overrides.defaults.";

impl Setting {
    const fn new(
        path: &'static str,
        form: Form,
        default: &'static [&'static str],
        sets: Sets,
    ) -> Self {
        Self {
            path,
            also: &[],
            said_by: &[],
            form,
            default,
            sets,
            role: None,
            tenant: None,
            meaning: "",
        }
    }

    /// The default of an option.
    pub(super) const fn argument(
        path: &'static str,
        id: &'static str,
        form: Form,
        default: &'static [&'static str],
    ) -> Self {
        Self::new(path, form, default, Sets::Argument(id))
    }

    /// What no option says.
    pub(super) const fn alone(
        path: &'static str,
        form: Form,
        default: &'static [&'static str],
        sets: Sets,
        meaning: &'static str,
    ) -> Self {
        Self { meaning, ..Self::new(path, form, default, sets) }
    }

    pub(super) const fn also(self, also: &'static [&'static str]) -> Self {
        Self { also, ..self }
    }

    pub(super) const fn said_by(self, said_by: &'static [&'static str]) -> Self {
        Self { said_by, ..self }
    }

    pub(super) const fn role(self, role: Role) -> Self {
        Self { role: Some(role), ..self }
    }

    pub(super) const fn limit(
        self,
        path: &'static str,
        set: fn(&mut TenantOverrides, Value),
    ) -> Self {
        Self { tenant: Some((path, OfTenant::Limit(set))), ..self }
    }

    pub(super) const fn metrics(
        self,
        path: &'static str,
        set: fn(&mut TenantMetrics, Value),
    ) -> Self {
        Self { tenant: Some((path, OfTenant::Metrics(set))), ..self }
    }

    /// Whether it stands at this place of a file.
    pub(crate) fn is_at(&self, path: &str) -> bool {
        let of_tenants = |own: &str| path.strip_prefix(DEFAULTS) == Some(own);
        self.path == path
            || self.also.contains(&path)
            || self.tenant.is_some_and(|(own, _)| of_tenants(own))
    }

    /// All places of a file at which it may stand.
    pub(crate) fn places(&self) -> impl Iterator<Item = String> {
        let of_tenants = self.tenant.map(|(own, _)| format!("{DEFAULTS}{own}"));
        let own = self.path.to_owned();
        let of_tenants = of_tenants.filter(|place| *place != own);
        let also = self.also.iter().map(|&place| place.to_owned());
        std::iter::once(own).chain(also).chain(of_tenants)
    }

    /// The id of the argument whose value it is.
    pub(crate) fn argument_id(&self) -> Option<&'static str> {
        match self.sets {
            Sets::Argument(id) | Sets::Host(id) | Sets::Port(id) => Some(id),
            Sets::Receivers => Some("remote_write"),
            _ => None,
        }
    }

    /// Its default, if it has one.
    pub(crate) fn default_value(&self) -> Option<Value> {
        let of_none = matches!(
            self.form,
            Form::Texts | Form::Labels | Form::RemoteWrite | Form::Policies | Form::Mappings
        );
        (of_none || !self.default.is_empty()).then(|| self.form.parse(self.default).ok()).flatten()
    }
}
