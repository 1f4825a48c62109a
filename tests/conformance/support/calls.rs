//! Calls as a caller makes them, with defaults for the fields that most tests do not set.

use bytes::Bytes;
use longshore::pb::{
    BoundedRange, ByteRange, Chunk, CopyDestination, CopyRequest, CopySource, DeleteManyRequest,
    DeleteManyResponse, DeleteRequest, GetInfo, GetRequest, HeadRequest, HeadResponse, ListRequest,
    ListResponse, ObjectId, ObjectMeta, PutRequest, UploadFinish, UploadRequest, UploadResponse, UploadSpec,
    WalkRequest, WriteMode, byte_range::Range, upload_request::Message, write_mode,
};
use tonic::Status;

use super::harness::Harness;

/// The result of a read.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) info: GetInfo,
    pub(crate) data: Vec<u8>,
}

pub(crate) fn bounded(start: i64, end: i64) -> ByteRange {
    ByteRange { range: Some(Range::Bounded(BoundedRange { start, end })) }
}

pub(crate) fn offset(start: i64) -> ByteRange {
    ByteRange { range: Some(Range::Offset(start)) }
}

pub(crate) fn suffix(length: i64) -> ByteRange {
    ByteRange { range: Some(Range::Suffix(length)) }
}

pub(crate) fn create() -> WriteMode {
    WriteMode { mode: Some(write_mode::Mode::Create(write_mode::Create {})) }
}

pub(crate) fn update(etag: &str) -> WriteMode {
    let update = write_mode::Update { etag: etag.to_owned(), version: String::new() };
    WriteMode { mode: Some(write_mode::Mode::Update(update)) }
}

pub(crate) fn chunk(data: impl Into<Bytes>) -> UploadRequest {
    let chunk = Chunk { crc32c: None, data: data.into() };
    UploadRequest { message: Some(Message::Chunk(chunk)) }
}

pub(crate) fn finish(finish: UploadFinish) -> UploadRequest {
    UploadRequest { message: Some(Message::Finish(finish)) }
}

pub(crate) fn spec(spec: UploadSpec) -> UploadRequest {
    UploadRequest { message: Some(Message::Spec(spec)) }
}

/// Random bytes: they cannot be compressed, and any shift changes them.
pub(crate) fn noise(length: usize) -> Bytes {
    let mut random = fastrand::Rng::with_seed(length as u64);
    std::iter::repeat_with(|| random.u8(..)).take(length).collect()
}

impl Harness {
    pub(crate) async fn put(&self, key: &str, data: impl Into<Bytes>) -> ObjectMeta {
        let request = PutRequest { key: key.to_owned(), data: data.into(), ..PutRequest::default() };
        self.try_put(request).await.unwrap()
    }

    pub(crate) async fn try_put(&self, request: PutRequest) -> Result<ObjectMeta, Status> {
        Ok(self.objects.clone().put(request).await?.into_inner().meta.unwrap())
    }

    pub(crate) async fn head(&self, key: &str) -> Result<HeadResponse, Status> {
        self.head_of("", key).await
    }

    pub(crate) async fn head_of(&self, store: &str, key: &str) -> Result<HeadResponse, Status> {
        let request = HeadRequest { store: store.to_owned(), key: key.to_owned(), ..HeadRequest::default() };
        Ok(self.objects.clone().head(request).await?.into_inner())
    }

    pub(crate) async fn get(&self, key: &str) -> Result<Read, Status> {
        self.try_get(GetRequest { key: key.to_owned(), ..GetRequest::default() }).await
    }

    pub(crate) async fn get_range(&self, key: &str, range: ByteRange) -> Result<Read, Status> {
        self.try_get(GetRequest { key: key.to_owned(), range: Some(range), ..GetRequest::default() }).await
    }

    pub(crate) async fn try_get(&self, request: GetRequest) -> Result<Read, Status> {
        let mut stream = self.objects.clone().get(request).await?.into_inner();
        let first = stream.message().await?.expect("a first message");
        let mut read = Read { info: first.info.expect("info comes first"), data: Vec::new() };
        let mut chunk = first.chunk;
        loop {
            if let Some(chunk) = chunk {
                assert!(chunk.data.len() <= 1024 * 1024);
                let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &chunk.data);
                assert_eq!(chunk.crc32c.map(u64::from), Some(crc), "a chunk's checksum");
                read.data.extend_from_slice(&chunk.data);
            }
            match stream.message().await? {
                Some(message) => {
                    assert!(message.info.is_none(), "info comes once");
                    chunk = message.chunk;
                }
                None => return Ok(read),
            }
        }
    }

    pub(crate) async fn upload(&self, messages: Vec<UploadRequest>) -> Result<UploadResponse, Status> {
        Ok(self.objects.clone().upload(tokio_stream::iter(messages)).await?.into_inner())
    }

    pub(crate) async fn list(&self, request: ListRequest) -> Result<ListResponse, Status> {
        Ok(self.objects.clone().list(request).await?.into_inner())
    }

    pub(crate) async fn walk(&self, request: WalkRequest) -> Result<Vec<String>, Status> {
        let mut stream = self.objects.clone().walk(request).await?.into_inner();
        let mut keys = Vec::new();
        while let Some(page) = stream.message().await? {
            assert!(page.objects.len() <= 1000);
            keys.extend(page.objects.into_iter().map(|object| object.key));
        }
        Ok(keys)
    }

    pub(crate) async fn copy(&self, from: (&str, &str), to: (&str, &str)) -> Result<ObjectMeta, Status> {
        self.try_copy(copying(from, to)).await
    }

    pub(crate) async fn try_copy(&self, request: CopyRequest) -> Result<ObjectMeta, Status> {
        Ok(self.objects.clone().copy(request).await?.into_inner().meta.unwrap())
    }

    pub(crate) async fn delete(&self, key: &str) -> Result<(), Status> {
        let request = DeleteRequest { key: key.to_owned(), ..DeleteRequest::default() };
        self.objects.clone().delete(request).await.map(drop)
    }

    pub(crate) async fn delete_many(&self, keys: &[&str]) -> Result<Vec<DeleteManyResponse>, Status> {
        let objects =
            keys.iter().map(|key| ObjectId { key: (*key).to_owned(), version: String::new() }).collect();
        let request = DeleteManyRequest { store: String::new(), objects };
        let mut stream = self.objects.clone().delete_many(tokio_stream::iter([request])).await?.into_inner();
        let mut answers = Vec::new();
        while let Some(answer) = stream.message().await? {
            answers.push(answer);
        }
        Ok(answers)
    }
}

pub(crate) fn copying(from: (&str, &str), to: (&str, &str)) -> CopyRequest {
    let source = CopySource { store: from.0.to_owned(), key: from.1.to_owned(), version: String::new() };
    let destination = CopyDestination { store: to.0.to_owned(), key: to.1.to_owned() };
    CopyRequest { source: Some(source), destination: Some(destination), ..CopyRequest::default() }
}
