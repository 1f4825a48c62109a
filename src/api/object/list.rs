//! `List` and `Walk`.

use std::pin::pin;

use futures::stream::{Stream, StreamExt as _};

use super::Messages;
use crate::{
    api::{
        convert,
        failure::Failure,
        gate::{Call, store_name},
        page_token::Listing,
    },
    auth::{Access, Scope},
    pb,
    store::{Error, WalkPage},
};

pub(super) async fn list(call: &Call, mut request: pb::ListRequest) -> Result<pb::ListResponse, Failure> {
    let name = std::mem::take(&mut request.store);
    let listing = Listing::new(&[
        call.tenant().name(),
        store_name(&name),
        &request.prefix,
        &request.delimiter,
        &request.start_after,
    ]);
    let continuation = listing.continuation(&request.page_token)?;
    let options = convert::list_options(request, continuation)?;
    let store = call.open(Access::List, &name, Scope::Prefix(&options.prefix))?;
    let page = store.list(&options).await?;
    Ok(pb::ListResponse {
        objects: convert::object_metas(page.objects),
        common_prefixes: page.common_prefixes,
        skipped: convert::count(page.skipped),
        next_page_token: listing.token(page.continuation.as_deref()),
    })
}

/// The pages of a walk; nothing is sent to S3 before the first is asked for.
pub(super) fn walk(
    call: &Call,
    mut request: pb::WalkRequest,
) -> Result<impl Stream<Item = Result<WalkPage, Error>> + Send + use<>, Failure> {
    let name = std::mem::take(&mut request.store);
    let options = convert::walk_options(request)?;
    let store = call.open(Access::List, &name, Scope::Prefix(&options.prefix))?;
    // The walk borrows from the store, so it is kept beside it.
    Ok(async_stream::stream! {
        let mut pages = pin!(store.walk(options));
        while let Some(page) = pages.next().await {
            yield page;
        }
    })
}

/// The messages of a walk, one a page.
pub(super) fn messages(
    call: Call,
    pages: impl Stream<Item = Result<WalkPage, Error>> + Send + 'static,
) -> Messages<pb::WalkResponse> {
    pages
        .map(move |page| match page {
            Ok(WalkPage { objects, skipped }) => Ok(pb::WalkResponse {
                objects: convert::object_metas(objects),
                skipped: convert::count(skipped),
            }),
            Err(error) => Err(call.fail(error)),
        })
        .boxed()
}
