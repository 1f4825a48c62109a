//! `defaults` of a tenants file, and how limits are passed on from one level to the next.

use crate::{
    settings::{Field, Form, Notes, PlaceId, UNTRUSTED, settings},
    tenants::{CallLimits, CallLimitsLayer, LimitScope, Limits, LimitsLayer},
};

use super::{
    jwt::KeyFiles,
    overridable::{Overridable, OverridableLayer},
};

settings! {
    /// Settings that apply to every tenant of a file.
    pub(super) struct Defaults(DefaultsLayer) {
        /// Limits of every tenant of the file.
        limits: Limits as Limits = Limits::default() => "those of `LONGSHORE_TENANT_LIMITS`",
        /// Limits of every caller of these tenants.
        caller_limits: CallLimits as CallLimits = CallLimits::default() => "none",
    }
    include {
        /// Sections that stores and tenants may set too.
        options: Overridable,
    }
}

/// What applies to all tenants files.
#[derive(Clone, Default)]
pub(super) struct Terms {
    /// Whether the authors of the files may use what belongs to the server.
    pub(super) is_trusted: bool,
    /// Whether the number of replicas is set, so that limits can be divided between them.
    pub(super) has_replicas: bool,
    /// `LONGSHORE_TENANT_LIMITS`.
    pub(super) tenant_limits: LimitsLayer,
}

/// What the tenants of a file inherit.
#[derive(Clone, Default)]
pub(super) struct Inherited {
    pub(super) has_replicas: bool,
    pub(super) limits: LimitsLayer,
    pub(super) caller_limits: CallLimitsLayer,
    pub(super) options: OverridableLayer,
    pub(super) key_files: KeyFiles,
}

impl DefaultsLayer {
    /// What the tenants of the file inherit. Records the problems of the defaults themselves.
    pub(super) fn inherited(self, terms: &Terms, notes: &Notes) -> Inherited {
        let has_replicas = terms.has_replicas;
        refuse_limits(self.limits.place_id(), notes);
        let limits = level(self.limits.into_layer().unwrap_or_default(), has_replicas, notes);
        let callers = self.caller_limits.into_layer().unwrap_or_default();
        Inherited {
            has_replicas,
            limits: Limits::over(limits, &terms.tenant_limits),
            caller_limits: calls_level(callers, has_replicas, notes),
            options: self.options.level(notes),
            key_files: KeyFiles::default(),
        }
    }
}

/// Records a problem for `limits` of tenants, if the author of the file is not trusted.
pub(super) fn refuse_limits(place_id: Option<PlaceId>, notes: &Notes) {
    if let Some(place_id) = place_id.filter(|_| !notes.trusts_author()) {
        notes.problem(place_id, format!("raises the tenant's own limits, {UNTRUSTED}: remove it"));
    }
}

/// Limits as one level sets them, ready to be merged with another level.
pub(super) fn level(limits: LimitsLayer, has_replicas: bool, notes: &Notes) -> LimitsLayer {
    LimitsLayer { calls: calls_level(limits.calls, has_replicas, notes), ..limits }
}

/// Limits on calls as one level sets them, ready to be merged with another level: `bytes_per_second` becomes the rate of
/// each direction that the level does not set by itself, because it must override the rates of the levels below.
pub(super) fn calls_level(mut calls: CallLimitsLayer, has_replicas: bool, notes: &Notes) -> CallLimitsLayer {
    if let Some((rate, place_id)) = calls.bytes_per_second.placed() {
        for direction in [&mut calls.upload_bytes_per_second, &mut calls.download_bytes_per_second] {
            if !direction.is_given() {
                *direction = Field::derived(*rate, Some(place_id));
            }
        }
        calls.bytes_per_second = Field::default();
    }
    if let Some((LimitScope::Fleet, place_id)) = calls.scope.placed()
        && !has_replicas
    {
        notes.problem(
            place_id,
            "fleet divides the limits between the replicas, whose number is not known: set LONGSHORE_REPLICAS",
        );
    }
    calls
}
