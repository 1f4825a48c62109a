//! `ObjectService`: one file per kind of call, and the thin service that calls them in this file.

mod batching;
mod copy;
mod copy_prefix;
mod delete;
mod delete_many;
mod delete_prefix;
mod failures;
mod list;
mod prefix_progress;
mod read;
mod restore;
pub(crate) mod sign;
mod sign_post;
mod tags;
mod upload;
mod versions;
mod write;

use futures::stream::{BoxStream, Stream, StreamExt as _, TryStreamExt as _};
use tonic::{Request, Response, Status, Streaming};

pub(crate) use read::GetMessage;
pub(crate) use upload::{Pieces, UploadMessage};

use super::{
    failure::Failure,
    gate::Gate,
    with_progress::{self, Progress},
};
use crate::{
    api::ResponseMemory,
    pb::{
        self, copy_with_progress_response::Message as CopyMessage, object_service_server::ObjectService,
        rename_with_progress_response::Message as RenameMessage,
    },
    store::TransferProgress,
};

/// The service.
#[derive(Debug)]
pub(crate) struct Objects {
    gate: Gate,
}

impl Objects {
    pub(crate) fn new(gate: Gate) -> Self {
        Self { gate }
    }

    /// `Get`, independent of how its messages are encoded.
    pub(crate) async fn get_messages(
        &self,
        request: Request<pb::GetRequest>,
    ) -> Answer<Messages<GetMessage>> {
        let (call, message) = self.gate.admit(request)?;
        let opened = read::get(&call, message).await;
        let opened = opened.map_err(|failure| call.fail(failure))?;
        Ok(Response::new(opened.into_messages(call)))
    }

    /// `Upload`, independent of how its messages are decoded.
    pub(crate) async fn upload_messages(
        &self,
        request: Request<impl Stream<Item = Result<UploadMessage, Failure>> + Unpin>,
    ) -> Answer<pb::UploadResponse> {
        let (call, messages) = self.gate.admit(request)?;
        call.answer(upload::upload(&call, messages).await.map_err(Failure::in_spec))
    }
}

type Answer<T> = Result<Response<T>, Status>;
type Messages<T> = BoxStream<'static, Result<T, Status>>;

#[tonic::async_trait]
impl ObjectService for Objects {
    type GetStream = Messages<pb::GetResponse>;
    type GetRangesStream = Messages<pb::GetRangesResponse>;
    type WalkStream = Messages<pb::WalkResponse>;
    type WalkVersionsStream = Messages<pb::WalkVersionsResponse>;
    type DeleteManyStream = Messages<pb::DeleteManyResponse>;
    type CopyWithProgressStream = Messages<pb::CopyWithProgressResponse>;
    type RenameWithProgressStream = Messages<pb::RenameWithProgressResponse>;
    type CopyPrefixStream = Messages<pb::CopyPrefixResponse>;
    type DeletePrefixStream = Messages<pb::DeletePrefixResponse>;

    async fn head(&self, request: Request<pb::HeadRequest>) -> Answer<pb::HeadResponse> {
        let (call, message) = self.gate.admit(request)?;
        call.answer(read::head(&call, message).await)
    }

    async fn get(&self, request: Request<pb::GetRequest>) -> Answer<Self::GetStream> {
        let messages = self.get_messages(request).await?;
        Ok(messages.map(|messages| messages.map_ok(GetMessage::into_one).boxed()))
    }

    async fn get_ranges(&self, request: Request<pb::GetRangesRequest>) -> Answer<Self::GetRangesStream> {
        let (call, message) = self.gate.admit(request)?;
        let opened = read::get_ranges(&call, message).await;
        let opened = opened.map_err(|failure| call.fail(failure))?;
        Ok(Response::new(opened.into_messages(call)))
    }

    async fn put(&self, request: Request<pb::PutRequest>) -> Answer<pb::PutResponse> {
        let (call, message) = self.gate.admit(request)?;
        call.answer(write::put(&call, message).await)
    }

    async fn upload(&self, request: Request<Streaming<pb::UploadRequest>>) -> Answer<pb::UploadResponse> {
        self.upload_messages(request.map(|messages| {
            messages.map(|message| message.map_err(Failure::stream).and_then(UploadMessage::try_from))
        }))
        .await
    }

    async fn list(&self, request: Request<pb::ListRequest>) -> Answer<pb::ListResponse> {
        let (call, message) = self.gate.admit(request)?;
        let (page, memory) = list::list(&call, message).await.map_err(|failure| call.fail(failure))?;
        let mut answer = call.answer(Ok(page))?;
        answer.extensions_mut().insert(ResponseMemory::new(memory));
        Ok(answer)
    }

    async fn walk(&self, request: Request<pb::WalkRequest>) -> Answer<Self::WalkStream> {
        let (call, message) = self.gate.admit(request)?;
        let pages = list::walk(&call, message).map_err(|failure| call.fail(failure))?;
        Ok(Response::new(list::messages(call, pages)))
    }

    async fn list_versions(
        &self,
        request: Request<pb::ListVersionsRequest>,
    ) -> Answer<pb::ListVersionsResponse> {
        let (call, message) = self.gate.admit(request)?;
        let (page, memory) = versions::list(&call, message).await.map_err(|failure| call.fail(failure))?;
        let mut answer = call.answer(Ok(page))?;
        answer.extensions_mut().insert(ResponseMemory::new(memory));
        Ok(answer)
    }

    async fn walk_versions(
        &self,
        request: Request<pb::WalkVersionsRequest>,
    ) -> Answer<Self::WalkVersionsStream> {
        let (call, message) = self.gate.admit(request)?;
        let pages = versions::walk(&call, message).map_err(|failure| call.fail(failure))?;
        Ok(Response::new(versions::messages(call, pages)))
    }

    async fn restore(&self, request: Request<pb::RestoreRequest>) -> Answer<pb::RestoreResponse> {
        let (call, message) = self.gate.admit(request)?;
        call.answer(restore::restore(&call, message).await)
    }

    async fn copy(&self, request: Request<pb::CopyRequest>) -> Answer<pb::CopyResponse> {
        let (call, message) = self.gate.admit(request)?;
        call.answer(copy::copy(&call, message, TransferProgress::default()).await)
    }

    async fn rename(&self, request: Request<pb::RenameRequest>) -> Answer<pb::RenameResponse> {
        let (call, message) = self.gate.admit(request)?;
        call.answer(copy::rename(&call, message, TransferProgress::default()).await)
    }

    async fn copy_with_progress(
        &self,
        request: Request<pb::CopyWithProgressRequest>,
    ) -> Answer<Self::CopyWithProgressStream> {
        let (call, message) = self.gate.admit(request)?;
        let (tasks, progress) = (call.tenant().tasks().clone(), TransferProgress::default());
        let reported = progress.clone();
        let copying = async move {
            copy::copy(&call, message.into(), reported).await.map_err(|failure| call.fail(failure))
        };
        let message = |message| pb::CopyWithProgressResponse {
            message: Some(match message {
                Progress::Progress(progress) => CopyMessage::Progress(progress),
                Progress::Result(result) => CopyMessage::Result(result),
            }),
        };
        Ok(Response::new(with_progress::messages(&tasks, progress, copying, message)))
    }

    async fn rename_with_progress(
        &self,
        request: Request<pb::RenameWithProgressRequest>,
    ) -> Answer<Self::RenameWithProgressStream> {
        let (call, message) = self.gate.admit(request)?;
        let (tasks, progress) = (call.tenant().tasks().clone(), TransferProgress::default());
        let reported = progress.clone();
        let renaming = async move {
            copy::rename(&call, message.into(), reported).await.map_err(|failure| call.fail(failure))
        };
        let message = |message| pb::RenameWithProgressResponse {
            message: Some(match message {
                Progress::Progress(progress) => RenameMessage::Progress(progress),
                Progress::Result(result) => RenameMessage::Result(result),
            }),
        };
        Ok(Response::new(with_progress::messages(&tasks, progress, renaming, message)))
    }

    async fn copy_prefix(&self, request: Request<pb::CopyPrefixRequest>) -> Answer<Self::CopyPrefixStream> {
        let (call, message) = self.gate.admit(request)?;
        copy_prefix::results(call, message).map(Response::new)
    }

    async fn delete_prefix(
        &self,
        request: Request<pb::DeletePrefixRequest>,
    ) -> Answer<Self::DeletePrefixStream> {
        let (call, message) = self.gate.admit(request)?;
        delete_prefix::results(call, &message).map(Response::new)
    }

    async fn delete(&self, request: Request<pb::DeleteRequest>) -> Answer<pb::DeleteResponse> {
        let (call, message) = self.gate.admit(request)?;
        call.answer(delete::delete(&call, message).await)
    }

    async fn delete_many(
        &self,
        request: Request<Streaming<pb::DeleteManyRequest>>,
    ) -> Answer<Self::DeleteManyStream> {
        let (call, messages) = self.gate.admit(request)?;
        Ok(Response::new(delete_many::results(call, messages)))
    }

    async fn sign(&self, request: Request<pb::SignRequest>) -> Answer<pb::SignResponse> {
        let (call, message) = self.gate.admit(request)?;
        let (urls, memory) = sign::urls(&call, message).await.map_err(|failure| call.fail(failure))?;
        let mut answer = call.answer(Ok(urls))?;
        answer.extensions_mut().insert(ResponseMemory::new(memory));
        Ok(answer)
    }

    async fn sign_post(&self, request: Request<pb::SignPostRequest>) -> Answer<pb::SignPostResponse> {
        let (call, message) = self.gate.admit(request)?;
        call.answer(sign_post::form(&call, message).await)
    }

    async fn get_tags(&self, request: Request<pb::GetTagsRequest>) -> Answer<pb::GetTagsResponse> {
        let (call, message) = self.gate.admit(request)?;
        call.answer(tags::get(&call, message).await)
    }

    async fn put_tags(&self, request: Request<pb::PutTagsRequest>) -> Answer<pb::PutTagsResponse> {
        let (call, message) = self.gate.admit(request)?;
        call.answer(tags::put(&call, message).await)
    }

    async fn delete_tags(&self, request: Request<pb::DeleteTagsRequest>) -> Answer<pb::DeleteTagsResponse> {
        let (call, message) = self.gate.admit(request)?;
        call.answer(tags::delete(&call, message).await)
    }
}
