//! The service. It implements only the methods that rows use.

use futures::{Stream, StreamExt as _};
use object_store::{ObjectStoreExt, aws::AmazonS3, path::Path};
use tonic::{Request, Response, Status, Streaming};

use super::{convert, read, upload};
use longshore::pb::{self, object_service_server::ObjectService};

type Answer<T> = Result<Response<T>, Status>;
type Messages<T> = std::pin::Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The naive gateway.
#[derive(Debug)]
pub(super) struct Naive {
    store: AmazonS3,
}

impl Naive {
    pub(super) fn new(store: AmazonS3) -> Self {
        Self { store }
    }
}

#[tonic::async_trait]
impl ObjectService for Naive {
    type GetStream = Messages<pb::GetResponse>;
    type GetRangesStream = Messages<pb::GetRangesResponse>;
    type WalkStream = Messages<pb::WalkResponse>;
    type WalkVersionsStream = Messages<pb::WalkVersionsResponse>;
    type DeleteManyStream = Messages<pb::DeleteManyResponse>;
    type CopyWithProgressStream = Messages<pb::CopyWithProgressResponse>;
    type RenameWithProgressStream = Messages<pb::RenameWithProgressResponse>;
    type CopyPrefixStream = Messages<pb::CopyPrefixResponse>;
    type DeletePrefixStream = Messages<pb::DeletePrefixResponse>;

    async fn get(&self, request: Request<pb::GetRequest>) -> Answer<Self::GetStream> {
        let path = Path::from(request.into_inner().key);
        let result = self.store.get(&path).await.map_err(convert::status)?;
        Ok(Response::new(read::pieces(result).boxed()))
    }

    async fn put(&self, request: Request<pb::PutRequest>) -> Answer<pb::PutResponse> {
        let pb::PutRequest { key, data, .. } = request.into_inner();
        let size = convert::signed(data.len() as u64);
        let result = self.store.put(&Path::from(key.as_str()), data.into()).await.map_err(convert::status)?;
        let etag = result.e_tag.unwrap_or_default();
        let meta = pb::ObjectMeta { key, size, etag, ..pb::ObjectMeta::default() };
        Ok(Response::new(pb::PutResponse { meta: Some(meta) }))
    }

    async fn upload(&self, request: Request<Streaming<pb::UploadRequest>>) -> Answer<pb::UploadResponse> {
        upload::upload(&self.store, request.into_inner()).await.map(Response::new)
    }

    async fn walk(&self, _: Request<pb::WalkRequest>) -> Answer<Self::WalkStream> {
        Ok(Response::new(read::walk(&self.store).boxed()))
    }

    async fn get_ranges(&self, _: Request<pb::GetRangesRequest>) -> Answer<Self::GetRangesStream> {
        Err(absent())
    }

    async fn delete_many(
        &self,
        _: Request<Streaming<pb::DeleteManyRequest>>,
    ) -> Answer<Self::DeleteManyStream> {
        Err(absent())
    }

    async fn head(&self, _: Request<pb::HeadRequest>) -> Answer<pb::HeadResponse> {
        Err(absent())
    }

    async fn list(&self, _: Request<pb::ListRequest>) -> Answer<pb::ListResponse> {
        Err(absent())
    }

    async fn copy(&self, _: Request<pb::CopyRequest>) -> Answer<pb::CopyResponse> {
        Err(absent())
    }

    async fn rename(&self, _: Request<pb::RenameRequest>) -> Answer<pb::RenameResponse> {
        Err(absent())
    }

    async fn copy_with_progress(
        &self,
        _: Request<pb::CopyWithProgressRequest>,
    ) -> Answer<Self::CopyWithProgressStream> {
        Err(absent())
    }

    async fn rename_with_progress(
        &self,
        _: Request<pb::RenameWithProgressRequest>,
    ) -> Answer<Self::RenameWithProgressStream> {
        Err(absent())
    }

    async fn copy_prefix(&self, _: Request<pb::CopyPrefixRequest>) -> Answer<Self::CopyPrefixStream> {
        Err(absent())
    }

    async fn delete_prefix(&self, _: Request<pb::DeletePrefixRequest>) -> Answer<Self::DeletePrefixStream> {
        Err(absent())
    }

    async fn delete(&self, _: Request<pb::DeleteRequest>) -> Answer<pb::DeleteResponse> {
        Err(absent())
    }

    async fn list_versions(&self, _: Request<pb::ListVersionsRequest>) -> Answer<pb::ListVersionsResponse> {
        Err(absent())
    }

    async fn walk_versions(&self, _: Request<pb::WalkVersionsRequest>) -> Answer<Self::WalkVersionsStream> {
        Err(absent())
    }

    async fn restore(&self, _: Request<pb::RestoreRequest>) -> Answer<pb::RestoreResponse> {
        Err(absent())
    }

    async fn sign_post(&self, _: Request<pb::SignPostRequest>) -> Answer<pb::SignPostResponse> {
        Err(absent())
    }

    async fn sign(&self, _: Request<pb::SignRequest>) -> Answer<pb::SignResponse> {
        Err(absent())
    }

    async fn get_tags(&self, _: Request<pb::GetTagsRequest>) -> Answer<pb::GetTagsResponse> {
        Err(absent())
    }

    async fn put_tags(&self, _: Request<pb::PutTagsRequest>) -> Answer<pb::PutTagsResponse> {
        Err(absent())
    }

    async fn delete_tags(&self, _: Request<pb::DeleteTagsRequest>) -> Answer<pb::DeleteTagsResponse> {
        Err(absent())
    }
}

fn absent() -> Status {
    Status::unimplemented("no row uses this method")
}
