//! `UploadService`: uploads whose state is kept by S3 and the caller, not by Longshore.

mod id;
mod progress;
mod seal;
mod sign_parts;
mod write;

use futures::{Stream, StreamExt as _, stream::BoxStream};
use tonic::{Request, Response, Status, Streaming};

pub use seal::UploadKeys;
pub(crate) use write::WriteMessage;

use self::id::{UploadIds, UploadOrigin};
use super::{
    convert,
    failure::Failure,
    gate::{Call, Gate, store_name},
    page_token::ListingDigest,
    with_progress::{self, Progress},
};
use crate::{
    api::ResponseMemory,
    auth::{Access, Scope},
    pb::{
        self, finish_upload_with_progress_response::Message as FinishMessage,
        query_upload_response::Progress as Query, upload_service_server::UploadService,
    },
    store::{
        FinishedUpload, PersistedBytes, ResumableUpload, S3Store, TransferProgress, UploadClaim,
        UploadProgress, UploadsPage,
    },
};

/// The service.
#[derive(Debug)]
pub(crate) struct Uploads {
    gate: Gate,
    ids: UploadIds,
}

type Answer<T> = Result<Response<T>, Status>;

/// The responses of a `WriteUploadWithProgress`.
pub(crate) type ProgressStream = BoxStream<'static, Result<pb::WriteUploadWithProgressResponse, Status>>;

/// The responses of a `FinishUploadWithProgress`.
type FinishingStream = BoxStream<'static, Result<pb::FinishUploadWithProgressResponse, Status>>;

impl Uploads {
    /// The service, with `keys` for upload ids, as one of `replicas` replicas.
    pub(crate) fn new(gate: Gate, keys: Option<UploadKeys>, replicas: u32) -> Self {
        Self { gate, ids: UploadIds::new(keys, replicas) }
    }

    /// `WriteUpload`, independent of how its messages are decoded.
    pub(crate) async fn write_messages(
        &self,
        request: Request<impl Stream<Item = Result<WriteMessage, Failure>> + Unpin>,
    ) -> Answer<pb::WriteUploadResponse> {
        let (call, messages) = self.gate.admit(request)?;
        call.answer(write::write(&call, &self.ids, messages, None).await.map_err(Failure::in_spec))
    }

    /// `WriteUploadWithProgress`, independent of how its messages are decoded.
    pub(crate) fn write_messages_with_progress(
        &self,
        request: Request<impl Stream<Item = Result<WriteMessage, Failure>> + Send + Unpin + 'static>,
    ) -> Answer<ProgressStream> {
        let (call, messages) = self.gate.admit(request)?;
        Ok(Response::new(progress::write_with_progress(call, self.ids.clone(), messages).boxed()))
    }
}

#[tonic::async_trait]
impl UploadService for Uploads {
    async fn start_upload(
        &self,
        request: Request<pb::StartUploadRequest>,
    ) -> Answer<pb::StartUploadResponse> {
        let (call, message) = self.gate.admit(request)?;
        call.answer(start(&call, &self.ids, message).await)
    }

    async fn write_upload(
        &self,
        request: Request<Streaming<pb::WriteUploadRequest>>,
    ) -> Answer<pb::WriteUploadResponse> {
        self.write_messages(request.map(|messages| {
            messages.map(|message| message.map_err(Failure::stream).and_then(WriteMessage::try_from))
        }))
        .await
    }

    type WriteUploadWithProgressStream = ProgressStream;

    async fn write_upload_with_progress(
        &self,
        request: Request<Streaming<pb::WriteUploadWithProgressRequest>>,
    ) -> Answer<ProgressStream> {
        self.write_messages_with_progress(request.map(|messages| {
            messages.map(|message| message.map_err(Failure::stream).and_then(WriteMessage::try_from))
        }))
    }

    async fn query_upload(
        &self,
        request: Request<pb::QueryUploadRequest>,
    ) -> Answer<pb::QueryUploadResponse> {
        let (call, message) = self.gate.admit(request)?;
        call.answer(query(&call, &self.ids, &message).await)
    }

    async fn sign_parts(&self, request: Request<pb::SignPartsRequest>) -> Answer<pb::SignPartsResponse> {
        let (call, message) = self.gate.admit(request)?;
        let urls = sign_parts::urls(&call, &self.ids, message).await;
        let (urls, memory) = urls.map_err(|failure| call.fail(failure))?;
        let mut answer = call.answer(Ok(urls))?;
        answer.extensions_mut().insert(ResponseMemory::new(memory));
        Ok(answer)
    }

    async fn finish_upload(
        &self,
        request: Request<pb::FinishUploadRequest>,
    ) -> Answer<pb::FinishUploadResponse> {
        let (call, message) = self.gate.admit(request)?;
        call.answer(finish(&call, &self.ids, message, TransferProgress::default()).await)
    }

    type FinishUploadWithProgressStream = FinishingStream;

    async fn finish_upload_with_progress(
        &self,
        request: Request<pb::FinishUploadWithProgressRequest>,
    ) -> Answer<FinishingStream> {
        let (call, message) = self.gate.admit(request)?;
        let (tasks, progress) = (call.tenant().tasks().clone(), TransferProgress::default());
        let (ids, reported) = (self.ids.clone(), progress.clone());
        let finishing = async move {
            finish(&call, &ids, message.into(), reported).await.map_err(|failure| call.fail(failure))
        };
        let message = |message| pb::FinishUploadWithProgressResponse {
            message: Some(match message {
                Progress::Progress(progress) => FinishMessage::Progress(progress),
                Progress::Result(result) => FinishMessage::Result(result),
            }),
        };
        Ok(Response::new(with_progress::messages(&tasks, progress, finishing, message)))
    }

    async fn cancel_upload(
        &self,
        request: Request<pb::CancelUploadRequest>,
    ) -> Answer<pb::CancelUploadResponse> {
        let (call, message) = self.gate.admit(request)?;
        call.answer(cancel(&call, &self.ids, &message).await)
    }

    async fn list_uploads(
        &self,
        request: Request<pb::ListUploadsRequest>,
    ) -> Answer<pb::ListUploadsResponse> {
        let (call, message) = self.gate.admit(request)?;
        call.answer(list(&call, &self.ids, &message).await)
    }
}

/// If this future is dropped, the upload that it may have started in S3 is aborted.
async fn start(
    call: &Call,
    ids: &UploadIds,
    message: pb::StartUploadRequest,
) -> Result<pb::StartUploadResponse, Failure> {
    ids.check()?;
    let key = convert::key(&message.key, "key")?.to_owned();
    let name = message.store.clone();
    let options = convert::start_options(message)?;
    let store = call.open(Access::Write, &name, Scope::Key(&key))?;
    call.check_object_size(options.size.unwrap_or_default())?;
    let upload = store.start_upload(&key, options).await?;
    let part_size = convert::signed(upload.part_size);
    let schedule = upload.schedule().into_iter().map(convert::part_run).collect();
    let checksum_algorithm = convert::algorithm_message(upload.checksum_algorithm).into();
    let upload_id = ids.started(call, &name, upload)?;
    Ok(pb::StartUploadResponse { upload_id, part_size, schedule, checksum_algorithm })
}

async fn query(
    call: &Call,
    ids: &UploadIds,
    message: &pb::QueryUploadRequest,
) -> Result<pb::QueryUploadResponse, Failure> {
    let (store, upload) = started(call, ids, &message.upload_id, "upload_id")?;
    let (progress, ranges) = match store.upload_progress(&upload).await? {
        UploadProgress::Persisted(PersistedBytes { size, ranges }) => {
            (Query::PersistedSize(convert::signed(size)), ranges)
        }
        UploadProgress::Finished(meta) => (Query::Meta(convert::object_meta(*meta)), Vec::new()),
    };
    let persisted_ranges = convert::content_ranges(ranges);
    Ok(pb::QueryUploadResponse { progress: Some(progress), persisted_ranges })
}

/// If this future is dropped, the object may or may not have been written.
async fn finish(
    call: &Call,
    ids: &UploadIds,
    message: pb::FinishUploadRequest,
    progress: TransferProgress,
) -> Result<pb::FinishUploadResponse, Failure> {
    let size = message.size.map(|size| convert::unsigned(size, "size")).transpose()?;
    let mode = convert::mode(message.mode)?;
    let etags = convert::part_etags(message.part_etags)?;
    call.record_conditions(convert::mode_name(&mode));
    let (store, upload) = started(call, ids, &message.upload_id, "upload_id")?;
    let claim = UploadClaim { size, crc32c: message.crc32c };
    let FinishedUpload { meta, verification } =
        store.reporting(progress).finish_upload(&upload, claim, &etags, &mode).await?;
    let verification = convert::verification(verification).into();
    Ok(pb::FinishUploadResponse { meta: Some(convert::object_meta(meta)), verification })
}

impl From<pb::FinishUploadWithProgressRequest> for pb::FinishUploadRequest {
    fn from(request: pb::FinishUploadWithProgressRequest) -> Self {
        let pb::FinishUploadWithProgressRequest { upload_id, size, crc32c, mode, part_etags } = request;
        Self { upload_id, size, crc32c, mode, part_etags }
    }
}

async fn cancel(
    call: &Call,
    ids: &UploadIds,
    message: &pb::CancelUploadRequest,
) -> Result<pb::CancelUploadResponse, Failure> {
    let named = ids.open(call, &message.upload_id, "upload_id")?;
    let (key, s3_upload_id) = match named.upload {
        UploadOrigin::Started(upload) => (upload.key, upload.s3_upload_id),
        UploadOrigin::Found(key, s3_upload_id) => (key, s3_upload_id),
    };
    let store = call.open(Access::Write, &named.store, Scope::Key(&key))?;
    store.cancel_upload(&key, &s3_upload_id).await?;
    Ok(pb::CancelUploadResponse {})
}

async fn list(
    call: &Call,
    ids: &UploadIds,
    message: &pb::ListUploadsRequest,
) -> Result<pb::ListUploadsResponse, Failure> {
    ids.check()?;
    let name = store_name(&message.store);
    let listing = ListingDigest::new(&[call.tenant().name(), "uploads", name, &message.prefix])
        .hiding(call.tenant().store_settings(name));
    let after = listing.continuation(&message.page_token)?;
    convert::within_a_key(&message.prefix, "prefix")?;
    let page_size = convert::page_size(message.page_size)?;
    let store = call.open(Access::List, name, Scope::Prefix(&message.prefix))?;
    let UploadsPage { uploads, skipped, next, .. } =
        store.list_uploads(&message.prefix, after.as_deref(), page_size).await?;
    let uploads = uploads.into_iter().map(|upload| {
        Ok(pb::UnfinishedUpload {
            upload_id: ids.found(call, name, upload.key.clone(), upload.s3_upload_id)?,
            key: upload.key,
            started: upload.started.map(convert::timestamp),
        })
    });
    Ok(pb::ListUploadsResponse {
        uploads: uploads.collect::<Result<_, Failure>>()?,
        next_page_token: listing.token(next.as_deref()),
        skipped: convert::count(skipped),
    })
}

/// Returns the upload that `id` identifies, and its store with write access.
fn started(
    call: &Call,
    ids: &UploadIds,
    id: &str,
    field: &'static str,
) -> Result<(S3Store, ResumableUpload), Failure> {
    let (name, upload) = named(call, ids, id, field)?;
    let store = call.open(Access::Write, &name, Scope::Key(&upload.key))?;
    Ok((store, upload))
}

/// Returns the upload that `id` identifies, and the name of its store.
fn named(
    call: &Call,
    ids: &UploadIds,
    id: &str,
    field: &'static str,
) -> Result<(String, ResumableUpload), Failure> {
    let named = ids.open(call, id, field)?;
    match named.upload {
        UploadOrigin::Started(upload) => Ok((named.store, upload)),
        UploadOrigin::Found(..) => {
            Err(Failure::field(field, "is an upload id from ListUploads, which only CancelUpload accepts"))
        }
    }
}
