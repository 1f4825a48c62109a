//! `ListTenants`, `GetTenant` and `ReloadTenants`.

use std::collections::BTreeSet;

use super::{Admin, MAX_ITEMS, MAX_NAME, count, position::Position};
use crate::{
    api::{convert, failure::Failure, page_token::ListingDigest},
    auth::CallerSettings,
    pb::{self, TenantState},
    settings::Section as _,
    telemetry::cut,
    tenants::{Invalid, ReloadReport, Snapshot, Tenant},
};

pub(super) fn list(
    admin: &Admin,
    request: &pb::ListTenantsRequest,
) -> Result<pb::ListTenantsResponse, Failure> {
    let listing = ListingDigest::new(&["admin", "tenants"]);
    let after = listing.continuation(&request.page_token)?;
    let page_size = usize::from(convert::page_size(request.page_size)?);
    let (snapshot, invalid) = (admin.pool.snapshot(), admin.invalid.current().clone());
    let served = snapshot.tenants().map(Tenant::name);
    let all: BTreeSet<&str> = served.chain(invalid.rejected.iter().map(String::as_str)).collect();
    let after = after.as_deref().map(Position::parse);
    let mut names = Position::names_after(after.as_ref(), &all).into_iter();
    let page: Vec<_> = names.by_ref().take(page_size).collect();
    let last = page.last().filter(|_| names.next().is_some()).map(|name| Position::of(name).to_string());
    Ok(pb::ListTenantsResponse {
        tenants: page.iter().map(|name| status(name, &snapshot, &invalid)).collect(),
        next_page_token: listing.token(last.as_deref()),
    })
}

pub(super) fn get(admin: &Admin, request: &pb::GetTenantRequest) -> Result<pb::GetTenantResponse, Failure> {
    let name = name(&request.tenant)?;
    let (snapshot, invalid) = (admin.pool.snapshot(), admin.invalid.current().clone());
    let tenant = if let Some(tenant) = snapshot.tenant(name) {
        settings(tenant, status(name, &snapshot, &invalid))
    } else {
        let is_it = |rejected: &&String| cut(rejected, MAX_NAME) == name;
        let rejected = invalid.rejected.iter().find(is_it);
        let rejected = rejected.ok_or_else(|| Failure::TenantNotFound(name.to_owned()))?;
        let status = Some(status(rejected, &snapshot, &invalid));
        pb::Tenant { status, ..pb::Tenant::default() }
    };
    Ok(pb::GetTenantResponse { tenant: Some(tenant) })
}

/// The tenant's name in a request.
pub(super) fn name(name: &str) -> Result<&str, Failure> {
    match name.len() {
        0 => Err(Failure::field("tenant", "must not be empty")),
        1..=MAX_NAME => Ok(name),
        _ => Err(Failure::field("tenant", format!("must have at most {MAX_NAME} bytes"))),
    }
}

fn status(name: &str, snapshot: &Snapshot, invalid: &Invalid) -> pb::TenantStatus {
    let is_stale = || invalid.reload_failed || invalid.stale.iter().any(|stale| stale == name);
    let state = match snapshot.tenant(name) {
        None => TenantState::Rejected,
        Some(_) if is_stale() => TenantState::Stale,
        Some(_) => TenantState::Served,
    };
    let mut problems = invalid.reasons.get(name).cloned().unwrap_or_default();
    if state == TenantState::Stale && problems.is_empty() {
        problems.push("the tenants could not be reloaded: see the log".to_owned());
    }
    pb::TenantStatus { name: cut(name, MAX_NAME).into_owned(), state: state.into(), problems }
}

fn settings(tenant: &Tenant, status: pb::TenantStatus) -> pb::Tenant {
    let settings = tenant.settings();
    let stores = settings.stores.iter().take(MAX_ITEMS);
    pb::Tenant {
        status: Some(status),
        callers: settings.callers.iter().take(MAX_ITEMS).map(caller).collect(),
        caller_count: count(settings.callers.len()),
        stores: stores
            .map(|(name, store)| convert::store_message(tenant.name(), name, store, true))
            .collect(),
        store_count: count(settings.stores.len()),
        limits: settings.limits.shown().into_iter().map(|(key, text)| (key.to_owned(), text)).collect(),
    }
}

/// A caller without its token.
pub(super) fn caller(caller: &CallerSettings) -> pb::TenantCaller {
    let list = |items: &Option<Vec<String>>| items.clone().map(|items| pb::TextList { items });
    pb::TenantCaller {
        name: caller.name.clone(),
        access: caller.access.iter().map(|access| access.as_str().to_owned()).collect(),
        stores: list(&caller.stores),
        prefixes: list(&caller.prefixes),
    }
}

pub(super) fn reloaded(report: ReloadReport) -> pb::ReloadTenantsResponse {
    let ReloadReport { changes, invalid, changing, problems } = report;
    let is_whole = invalid.is_empty() && changing == 0;
    let outcome = match &changes {
        None => pb::ReloadOutcome::Failed,
        Some(_) if is_whole => pb::ReloadOutcome::Ok,
        Some(_) => pb::ReloadOutcome::Partial,
    };
    let changes = changes.unwrap_or_default();
    let few = |names: Vec<String>| names.into_iter().take(MAX_ITEMS).collect();
    let broken = |names: &[String], state: TenantState| {
        let status = |name: &String| pb::TenantStatus {
            name: cut(name, MAX_NAME).into_owned(),
            state: state.into(),
            problems: invalid.reasons.get(name).cloned().unwrap_or_default(),
        };
        names.iter().map(status).collect::<Vec<_>>()
    };
    let stale = broken(&invalid.stale, TenantState::Stale);
    let rejected = broken(&invalid.rejected, TenantState::Rejected);
    pb::ReloadTenantsResponse {
        outcome: outcome.into(),
        added: few(changes.added),
        changed: few(changes.changed),
        removed: few(changes.removed),
        served_count: count(invalid.served),
        broken: stale.into_iter().chain(rejected).take(MAX_ITEMS).collect(),
        unusable_files: invalid.unusable.iter().take(MAX_ITEMS).cloned().collect(),
        changing_file_count: count(changing),
        problems,
    }
}
