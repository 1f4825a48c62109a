//! `GetUsage`.

use tonic::Code;

use super::Admin;
use crate::{
    api::{convert, failure::Failure, page_token::ListingDigest},
    pb::{self, code_name},
    telemetry::{Totals, UsageRow},
};

/// Separates the tenant and the caller in a page token. Names of tenants do not contain it.
const SEPARATOR: char = '/';

pub(super) fn get(admin: &Admin, request: &pb::GetUsageRequest) -> Result<pb::GetUsageResponse, Failure> {
    let listing = ListingDigest::new(&["admin", "usage", &request.tenant]);
    let after = listing.continuation(&request.page_token)?;
    let after = after.as_deref().and_then(|after| after.split_once(SEPARATOR));
    let page_size = usize::from(convert::page_size(request.page_size)?);
    let tenant = Some(request.tenant.as_str()).filter(|tenant| !tenant.is_empty());
    // One more tells whether there is a next page.
    let mut rows = admin.usage.rows(tenant, after, page_size + 1);
    let has_more = rows.len() > page_size;
    rows.truncate(page_size);
    let last = rows.last().filter(|_| has_more);
    let last = last.map(|row| format!("{}{SEPARATOR}{}", row.tenant, row.caller));
    Ok(pb::GetUsageResponse {
        start_time: Some(convert::timestamp(admin.usage.started())),
        callers: rows.into_iter().map(caller).collect(),
        next_page_token: listing.token(last.as_deref()),
    })
}

fn caller(UsageRow { tenant, caller, is_served, totals }: UsageRow) -> pb::CallerUsage {
    let Totals { calls, bytes_in, bytes_out, s3_requests, s3_retries } = totals;
    let [put_copy_post_list, get_and_others, delete_and_cancel] = s3_requests.map(convert::signed);
    let calls = calls.into_iter().map(|(method, code, count)| pb::MethodUsage {
        method: method.to_string(),
        code: code_name(Code::from_i32(i32::try_from(code).unwrap_or(i32::MAX))).to_owned(),
        count: convert::signed(count),
    });
    pb::CallerUsage {
        tenant: tenant.to_string(),
        caller: caller.to_string(),
        removed: !is_served,
        calls: calls.collect(),
        received_bytes: convert::signed(bytes_in),
        sent_bytes: convert::signed(bytes_out),
        s3_requests: Some(pb::S3RequestUsage { put_copy_post_list, get_and_others, delete_and_cancel }),
        s3_retries: convert::signed(s3_retries),
    }
}
