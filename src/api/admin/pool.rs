//! `GetPool`.

use super::{Admin, MAX_ITEMS, tenants};
use crate::{
    api::{convert, failure::Failure, page_token::ListingDigest},
    pb,
    store::{LastError, StoreState},
    tenants::Tenant,
};

pub(super) fn get(admin: &Admin, request: &pb::GetPoolRequest) -> Result<pb::GetPoolResponse, Failure> {
    let listing = ListingDigest::new(&["admin", "pool", &request.tenant]);
    let after = listing.continuation(&request.page_token)?;
    let page_size = usize::from(convert::page_size(request.page_size)?);
    let snapshot = admin.pool.snapshot();
    if !request.tenant.is_empty() {
        let name = tenants::name(&request.tenant)?;
        let found = snapshot.tenant(name).ok_or_else(|| Failure::TenantNotFound(name.to_owned()))?;
        return Ok(pb::GetPoolResponse { tenants: vec![tenant(found)], next_page_token: String::new() });
    }
    let mut later =
        snapshot.tenants().filter(|tenant| after.as_deref().is_none_or(|after| tenant.name() > after));
    let page: Vec<_> = later.by_ref().take(page_size).collect();
    let last = page.last().map(|tenant| tenant.name()).filter(|_| later.next().is_some());
    Ok(pb::GetPoolResponse {
        tenants: page.iter().map(|found| tenant(found)).collect(),
        next_page_token: listing.token(last),
    })
}

fn tenant(tenant: &Tenant) -> pb::PoolTenant {
    let budget = tenant.budget();
    let (held, limit) = budget.held();
    let calls = tenant.usage().calls_in_flight();
    let stores = tenant.stores().take(MAX_ITEMS);
    pb::PoolTenant {
        tenant: tenant.name().to_owned(),
        calls_in_flight: convert::signed(calls),
        calls_permitted: tenant.max_in_flight().and_then(|limit| i64::try_from(limit).ok()),
        memory_held_bytes: convert::signed(held),
        memory_limit_bytes: convert::signed(limit),
        stores: stores.map(|(name, _)| store(name, tenant.store_state(name))).collect(),
    }
}

fn store(name: &str, state: Option<StoreState>) -> pb::PoolStore {
    let store = pb::PoolStore { store: name.to_owned(), ..pb::PoolStore::default() };
    let Some(StoreState { connections, last_error, credentials }) = state else { return store };
    pb::PoolStore {
        built: true,
        requests_in_flight: Some(signed(connections.in_use)),
        connections: Some(signed(connections.open)),
        last_error: last_error.as_deref().map(error),
        credentials_expire_time: credentials.expires_at.map(convert::timestamp),
        credential_provider: Some(credentials.provider.to_owned()),
        ..store
    }
}

fn error(error: &LastError) -> pb::PoolError {
    pb::PoolError { time: Some(convert::timestamp(error.at)), message: error.message.clone() }
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
