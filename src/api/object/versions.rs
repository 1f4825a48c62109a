//! `ListVersions` and `WalkVersions`.

use std::pin::{Pin, pin};

use futures::stream::{self, Stream, StreamExt};

use super::Messages;
use crate::{
    api::{
        convert,
        failure::Failure,
        gate::{Call, store_name},
        page_token::ListingDigest,
    },
    auth::{Access, Scope},
    pb,
    store::{Error, PageMemory, VersionsPage},
};

/// Returns a page, and the memory that it uses until the caller has received it.
pub(super) async fn list(
    call: &Call,
    mut request: pb::ListVersionsRequest,
) -> Result<(pb::ListVersionsResponse, PageMemory), Failure> {
    let name = std::mem::take(&mut request.store);
    let listing = ListingDigest::new(&[
        "versions",
        call.tenant().name(),
        store_name(&name),
        &request.prefix,
        &request.delimiter,
        &request.start_after,
    ])
    .hiding(call.tenant().store_settings(store_name(&name)));
    let continuation = listing.continuation(&request.page_token)?;
    let options = convert::versions_options(request, continuation)?;
    let store = call.open(Access::List, &name, Scope::Prefix(&options.prefix))?;
    let page = store.versions(&options).await?;
    let response = pb::ListVersionsResponse {
        versions: convert::object_versions(page.versions),
        common_prefixes: page.common_prefixes,
        next_page_token: listing.token(page.continuation.as_deref()),
        skipped: convert::count(page.skipped),
    };
    Ok((response, page.memory))
}

/// The pages of a walk. No request is sent to S3 before the first page is polled.
pub(super) fn walk(
    call: &Call,
    mut request: pb::WalkVersionsRequest,
) -> Result<impl Stream<Item = Result<VersionsPage, Error>> + Send + use<>, Failure> {
    let name = std::mem::take(&mut request.store);
    let options = convert::walk_versions_options(request)?;
    let store = call.open(Access::List, &name, Scope::Prefix(&options.prefix))?;
    // The stream owns the store, because the walk borrows it.
    Ok(async_stream::stream! {
        let mut pages = pin!(store.walk_versions(options));
        while let Some(page) = pages.next().await {
            yield page;
        }
    })
}

/// The messages of a walk, one per page. Each page's memory counts until its message has been taken.
pub(super) fn messages(
    call: Call,
    pages: impl Stream<Item = Result<VersionsPage, Error>> + Send + 'static,
) -> Messages<pb::WalkVersionsResponse> {
    let next = |(call, mut pages, taken): (Call, Pin<Box<_>>, Option<PageMemory>)| async move {
        drop(taken);
        let (message, memory) = match StreamExt::next(&mut pages).await? {
            Ok(VersionsPage { versions, skipped, memory, .. }) => {
                let (versions, skipped) = (convert::object_versions(versions), convert::count(skipped));
                (Ok(pb::WalkVersionsResponse { versions, skipped }), Some(memory))
            }
            Err(error) => (Err(call.fail(error)), None),
        };
        Some((message, (call, pages, memory)))
    };
    stream::unfold((call, Box::pin(pages), None), next).boxed()
}
