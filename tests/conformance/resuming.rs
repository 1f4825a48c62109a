use bytes::Bytes;
use longshore::pb::{
    Attributes, CancelUploadRequest, ChecksumAlgorithm, Chunk, ContentRange, FinishUploadRequest,
    ListUploadsRequest, ObjectMeta, PartRun, QueryUploadRequest, StartUploadRequest, UnfinishedUpload,
    WriteUploadEnd, WriteUploadRequest, WriteUploadResponse, WriteUploadSpec, WriteUploadWithProgressRequest,
    query_upload_response::Progress, write_upload_request::Message,
    write_upload_with_progress_request as with_progress,
    write_upload_with_progress_response::Message as Told,
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::limits::Ability;
use crate::support::{
    calls::{create, noise},
    failure::{code_and_reason, field},
    harness::Harness,
};

const MIB: usize = 1024 * 1024;
const PART: usize = 5 * MIB;

fn chunks(data: &Bytes) -> impl Iterator<Item = Message> {
    (0..data.len()).step_by(MIB).map(|at| {
        let data = data.slice(at..data.len().min(at + MIB));
        Message::Chunk(Chunk { crc32c: Some(crc32c(&data)), data })
    })
}

fn crc32c(data: &[u8]) -> u32 {
    u32::try_from(crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, data)).unwrap()
}

fn size(length: usize) -> i64 {
    i64::try_from(length).unwrap()
}

/// A request to start an upload to `k` in parts of 5 MiB.
fn start() -> StartUploadRequest {
    StartUploadRequest { key: "k".to_owned(), part_size: Some(size(PART)), ..Default::default() }
}

impl Harness {
    async fn start(&self, request: StartUploadRequest) -> String {
        self.uploads.clone().start_upload(request).await.unwrap().into_inner().upload_id
    }

    async fn write(
        &self,
        upload_id: &str,
        offset: usize,
        messages: impl IntoIterator<Item = Message>,
    ) -> Result<i64, Status> {
        Ok(self.write_part_of(upload_id, offset, messages).await?.persisted_size)
    }

    async fn write_part_of(
        &self,
        upload_id: &str,
        offset: usize,
        messages: impl IntoIterator<Item = Message>,
    ) -> Result<WriteUploadResponse, Status> {
        let spec = WriteUploadSpec { upload_id: upload_id.to_owned(), offset: size(offset) };
        let messages: Vec<_> = std::iter::once(Message::Spec(spec)).chain(messages).collect();
        let messages = messages.into_iter().map(|message| WriteUploadRequest { message: Some(message) });
        let stream = futures::stream::iter(messages.collect::<Vec<_>>());
        Ok(self.uploads.clone().write_upload(stream).await?.into_inner())
    }

    async fn query(&self, upload_id: &str) -> Result<Progress, Status> {
        let request = QueryUploadRequest { upload_id: upload_id.to_owned() };
        Ok(self.uploads.clone().query_upload(request).await?.into_inner().progress.unwrap())
    }

    async fn finish(&self, request: FinishUploadRequest) -> Result<ObjectMeta, Status> {
        Ok(self.uploads.clone().finish_upload(request).await?.into_inner().meta.unwrap())
    }

    async fn cancel(&self, upload_id: &str) -> Result<(), Status> {
        let request = CancelUploadRequest { upload_id: upload_id.to_owned() };
        self.uploads.clone().cancel_upload(request).await.map(drop)
    }

    async fn unfinished(&self, prefix: &str) -> Vec<UnfinishedUpload> {
        let (mut found, mut page_token) = (Vec::new(), String::new());
        let page_size = if self.judges(Ability::PagesOfUploads) { 2 } else { 0 };
        loop {
            let prefix = prefix.to_owned();
            let request = ListUploadsRequest { prefix, page_token, page_size, ..Default::default() };
            let page = self.uploads.clone().list_uploads(request).await.unwrap().into_inner();
            found.extend(page.uploads);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return found;
            }
        }
    }
}

fn of(upload_id: &str, length: usize) -> FinishUploadRequest {
    FinishUploadRequest { upload_id: upload_id.to_owned(), size: Some(size(length)), ..Default::default() }
}

#[tokio::test]
async fn an_upload_resumes_after_its_whole_parts() {
    let harness = Harness::open().await;
    let data = noise(13 * MIB);
    let attributes = Attributes { content_type: "text/plain".to_owned(), ..Attributes::default() };
    let id = harness.start(StartUploadRequest { attributes: Some(attributes), ..start() }).await;
    assert_eq!(harness.query(&id).await.unwrap(), Progress::PersistedSize(0));
    // 7 MiB contain one whole part of 5 MiB.
    assert_eq!(harness.write(&id, 0, chunks(&data.slice(..7 * MIB))).await.unwrap(), size(PART));
    assert_eq!(harness.query(&id).await.unwrap(), Progress::PersistedSize(size(PART)));
    let wrong = harness.write(&id, 7 * MIB, chunks(&data.slice(7 * MIB..))).await.unwrap_err();
    let metadata = wrong.get_details_error_info().unwrap().metadata;
    for (label, offset) in [("persisted_size", PART), ("boundary_before", PART), ("boundary_after", 2 * PART)]
    {
        assert_eq!(metadata[label], offset.to_string());
    }
    assert_eq!(code_and_reason(Err::<(), _>(wrong)), (Code::OutOfRange, "UPLOAD_OFFSET_MISMATCH".to_owned()));
    let tail = data.slice(PART..);
    let rest = chunks(&tail).chain([Message::End(WriteUploadEnd {})]);
    assert_eq!(harness.write(&id, PART, rest).await.unwrap(), size(data.len()));
    let meta = harness.finish(of(&id, data.len())).await.unwrap();
    assert_eq!((meta.key.as_str(), meta.size), ("k", size(data.len())));
    let read = harness.get("k").await.unwrap();
    assert!(read.data == data);
    assert_eq!(read.info.attributes.unwrap().content_type, "text/plain");
    assert!(harness.unfinished("").await.is_empty());
    harness.close().await;
}

fn range(start: usize, end: usize) -> ContentRange {
    ContentRange { start: size(start), end: size(end) }
}

#[tokio::test]
async fn several_writers_can_write_different_parts_of_an_upload() {
    let harness = Harness::open().await;
    let data = noise(4 * PART + 7);
    let request = StartUploadRequest { size: Some(size(data.len())), ..start() };
    let started = harness.uploads.clone().start_upload(request).await.unwrap().into_inner();
    let id = started.upload_id;
    assert_eq!(started.schedule, [PartRun { parts: 5, part_size: size(PART) }]);
    let write = |from: usize, to: usize| {
        harness.write_part_of(&id, from, chunks(&data.slice(from..to)).collect::<Vec<_>>())
    };
    // The 3 MiB after the second part do not fill a part.
    let (middle, tail) = tokio::join!(write(PART, 2 * PART + 3 * MIB), write(3 * PART, data.len()));
    assert_eq!((middle.unwrap().persisted_size, tail.unwrap().persisted_size), (0, 0));
    let request = QueryUploadRequest { upload_id: id.clone() };
    let query = harness.uploads.clone().query_upload(request).await.unwrap().into_inner();
    assert_eq!(query.progress, Some(Progress::PersistedSize(0)));
    assert_eq!(query.persisted_ranges, [range(PART, 2 * PART), range(3 * PART, data.len())]);
    let gaps = harness.finish(of(&id, data.len())).await.unwrap_err();
    assert!(gaps.message().contains("bytes 0 to 5242880"), "{}", gaps.message());
    assert_eq!(code_and_reason(Err::<(), _>(gaps)), (Code::InvalidArgument, "SIZE_MISMATCH".to_owned()));
    let head = write(0, PART).await.unwrap();
    assert_eq!(head.persisted_size, size(2 * PART));
    assert_eq!(head.persisted_ranges, [range(3 * PART, data.len())]);
    // A gap does not count as the object's end.
    assert_eq!(
        code_and_reason(harness.finish(of(&id, 2 * PART)).await),
        (Code::InvalidArgument, "SIZE_MISMATCH".to_owned())
    );
    let last = write(2 * PART, 3 * PART).await.unwrap();
    assert_eq!((last.persisted_size, last.persisted_ranges), (size(data.len()), Vec::new()));
    harness.finish(of(&id, data.len())).await.unwrap();
    assert!(harness.get("k").await.unwrap().data == data);
    harness.close().await;
}

#[tokio::test]
async fn a_caller_that_waits_for_progress_receives_it() {
    let harness = Harness::open().await;
    let data = noise(2 * PART + 7);
    let id = harness.start(StartUploadRequest { size: Some(size(data.len())), ..start() }).await;
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    let send = |message| sender.send(WriteUploadWithProgressRequest { message: Some(message) }).unwrap();
    let send_bytes = |from: usize, to: usize| {
        for chunk in chunks(&data.slice(from..to)) {
            let Message::Chunk(chunk) = chunk else { continue };
            send(with_progress::Message::Chunk(chunk));
        }
    };
    send(with_progress::Message::Spec(WriteUploadSpec { upload_id: id.clone(), offset: 0 }));
    let stream = tokio_stream::wrappers::UnboundedReceiverStream::new(receiver);
    let mut code_and_reason =
        harness.uploads.clone().write_upload_with_progress(stream).await.unwrap().into_inner();
    for part in 0..2 {
        send_bytes(part * PART, (part + 1) * PART);
        let Some(Told::Progress(progress)) = code_and_reason.message().await.unwrap().unwrap().message else {
            panic!("no progress")
        };
        assert_eq!(progress.persisted_end, size((part + 1) * PART));
    }
    send_bytes(2 * PART, data.len());
    drop(sender);
    let mut last = None;
    while let Some(message) = code_and_reason.message().await.unwrap() {
        last = message.message;
    }
    let whole = WriteUploadResponse { persisted_size: size(data.len()), persisted_ranges: Vec::new() };
    assert_eq!(last, Some(Told::Result(whole)));
    harness.finish(of(&id, data.len())).await.unwrap();
    assert!(harness.get("k").await.unwrap().data == data);
    harness.close().await;
}

#[tokio::test]
async fn finishing_again_and_querying_return_the_same_object() {
    let harness = Harness::open().await;
    let data = noise(MIB);
    let id = harness.start(StartUploadRequest { size: Some(size(data.len())), ..start() }).await;
    assert_eq!(harness.write(&id, 0, chunks(&data)).await.unwrap(), size(data.len()), "its end is known");
    let meta = harness.finish(FinishUploadRequest { size: None, ..of(&id, 0) }).await.unwrap();
    let again = harness.finish(of(&id, data.len())).await.unwrap();
    assert_eq!((again.key.as_str(), again.size, again.etag.as_str()), ("k", meta.size, meta.etag.as_str()));
    let Progress::Meta(found) = harness.query(&id).await.unwrap() else { panic!("it is finished") };
    assert_eq!(found.etag, meta.etag);
    let over = harness.write(&id, data.len(), []).await;
    assert_eq!(code_and_reason(over), (Code::NotFound, "UPLOAD_NOT_FOUND".to_owned()));
    // The object that replaced it does not have the upload's write id.
    harness.put("k", b"other".as_slice()).await;
    if harness.judges(Ability::FreshMetadata) {
        assert_eq!(
            code_and_reason(harness.query(&id).await),
            (Code::NotFound, "UPLOAD_NOT_FOUND".to_owned())
        );
    }
    harness.close().await;
}

#[tokio::test]
async fn finishing_verifies_size_and_checksum() {
    let harness = Harness::open().await;
    let data = noise(6 * MIB);
    let lists_checksums = harness.judges(Ability::PartChecksums);
    let algorithm = if lists_checksums { ChecksumAlgorithm::Crc32c } else { ChecksumAlgorithm::Unspecified };
    let crc = StartUploadRequest { checksum_algorithm: algorithm.into(), ..start() };
    let id = harness.start(crc).await;
    harness.write(&id, 0, chunks(&data).chain([Message::End(WriteUploadEnd {})])).await.unwrap();
    assert_eq!(field(harness.finish(FinishUploadRequest { size: None, ..of(&id, 0) }).await), "size");
    let short = harness.finish(of(&id, data.len() + 1)).await;
    assert_eq!(code_and_reason(short), (Code::InvalidArgument, "SIZE_MISMATCH".to_owned()));
    let claim = |crc32c| FinishUploadRequest { crc32c: Some(crc32c), ..of(&id, data.len()) };
    if lists_checksums {
        let wrong = harness.finish(claim(crc32c(&data) ^ 1)).await;
        assert_eq!(code_and_reason(wrong), (Code::DataLoss, "CHECKSUM_MISMATCH".to_owned()));
        harness.finish(claim(crc32c(&data))).await.unwrap();
    } else {
        // A checksum that cannot be verified is rejected, not ignored.
        assert_eq!(field(harness.finish(claim(crc32c(&data))).await), "crc32c");
        harness.finish(of(&id, data.len())).await.unwrap();
    }
    assert!(harness.get("k").await.unwrap().data == data);
    harness.close().await;
}

#[tokio::test]
async fn an_empty_object_can_be_uploaded() {
    let harness = Harness::open().await;
    if !harness.judges(Ability::EmptyPart) {
        return harness.close().await;
    }
    let id = harness.start(start()).await;
    assert_eq!(harness.write(&id, 0, [Message::End(WriteUploadEnd {})]).await.unwrap(), 0);
    assert_eq!(harness.finish(of(&id, 0)).await.unwrap().size, 0);
    assert!(harness.get("k").await.unwrap().data.is_empty());
    harness.close().await;
}

#[tokio::test]
async fn an_upload_may_replace_only_what_the_mode_in_finish_allows() {
    let harness = Harness::open().await;
    if !harness.judges(Ability::CreateByMultipart) {
        return harness.close().await;
    }
    harness.put("k", b"there".as_slice()).await;
    let id = harness.start(start()).await;
    harness.write(&id, 0, chunks(&noise(PART))).await.unwrap();
    let created = harness.finish(FinishUploadRequest { mode: Some(create()), ..of(&id, PART) }).await;
    assert_eq!(code_and_reason(created), (Code::AlreadyExists, "ALREADY_EXISTS".to_owned()));
    assert_eq!(harness.get("k").await.unwrap().data, b"there");
    harness.cancel(&id).await.unwrap();
    harness.close().await;
}

#[tokio::test]
async fn unfinished_uploads_are_listed_until_they_are_cancelled() {
    let harness = Harness::open().await;
    let mut ids = Vec::new();
    for key in ["a/1", "a/2", "a/3", "b"] {
        ids.push(harness.start(StartUploadRequest { key: key.to_owned(), ..start() }).await);
    }
    harness.write(&ids[0], 0, chunks(&noise(PART))).await.unwrap();
    let mut found = harness.unfinished("a/").await;
    if !harness.judges(Ability::OrderedUploads) {
        found.sort_by(|a, b| a.key.cmp(&b.key));
    }
    let keys: Vec<_> = found.iter().map(|upload| upload.key.as_str()).collect();
    assert_eq!(keys, ["a/1", "a/2", "a/3"]);
    assert!(found.iter().all(|upload| upload.started.is_some()));
    assert_eq!(field(harness.query(&found[0].upload_id).await), "upload_id", "it can only be cancelled");
    for id in [&found[0].upload_id, &ids[0], &ids[1]] {
        harness.cancel(id).await.unwrap();
    }
    // Less than a part, because moto answers UploadPart with 500 if the upload does not exist.
    let gone = harness.write(&ids[0], 0, chunks(&noise(10))).await;
    assert_eq!(code_and_reason(gone), (Code::NotFound, "UPLOAD_NOT_FOUND".to_owned()));
    let left: Vec<_> = harness.unfinished("").await.into_iter().map(|upload| upload.key).collect();
    assert_eq!(left, ["a/3", "b"]);
    for id in &ids[2..] {
        harness.cancel(id).await.unwrap();
    }
    harness.close().await;
}

#[tokio::test]
async fn messages_out_of_order_and_invalid_ids_are_rejected() {
    let harness = Harness::open().await;
    let id = harness.start(StartUploadRequest { size: Some(3), ..start() }).await;
    let chunk = |data: &'static [u8]| Message::Chunk(Chunk { crc32c: None, data: data.into() });
    let end = || Message::End(WriteUploadEnd {});
    assert_eq!(field(harness.write(&id, 0, [end(), chunk(b"abc")]).await), "end");
    let spec = Message::Spec(WriteUploadSpec::default());
    assert_eq!(field(harness.write(&id, 0, [spec]).await), "spec");
    assert_eq!(field(harness.write("", 0, []).await), "spec.upload_id");
    assert_eq!(field(harness.write(&id[1..], 0, []).await), "spec.upload_id");
    assert_eq!(field(harness.query("x").await), "upload_id");
    let long = harness.write(&id, 0, [chunk(b"abcd")]).await;
    assert_eq!(code_and_reason(long), (Code::InvalidArgument, "SIZE_MISMATCH".to_owned()));
    let damaged = Message::Chunk(Chunk { crc32c: Some(1), data: b"abc".as_slice().into() });
    assert_eq!(
        code_and_reason(harness.write(&id, 0, [damaged]).await),
        (Code::DataLoss, "CHECKSUM_MISMATCH".to_owned())
    );
    assert_eq!(harness.query(&id).await.unwrap(), Progress::PersistedSize(0), "S3 has none of the bytes");
    harness.cancel(&id).await.unwrap();
    let token = ListUploadsRequest { page_token: "x".to_owned(), ..Default::default() };
    assert_eq!(field(harness.uploads.clone().list_uploads(token).await), "page_token");
    harness.close().await;
}
