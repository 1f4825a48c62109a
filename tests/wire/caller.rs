//! A complete Longshore on an embedded S3 server, and a caller that verifies every response, behind a proxy that
//! flips bits.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    ops::Range,
    slice,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, checksum};
use longshore::{
    auth::AuthMode,
    credentials::{Credentials, ProviderSettings},
    embedded::Embedded,
    pb::{self, object_service_client::ObjectServiceClient, upload_service_client::UploadServiceClient},
    s3::{BucketSettings, ChecksumAlgorithm},
    server::{Server, ServerSettings},
    store::StoreSettings,
    tenants::TenantSettings,
};
use prost::Message;
use tonic::{
    Code, Request, Status,
    transport::{Channel, Endpoint},
};

use crate::proxy::{Flips, NONE, Protocol, damaging};

pub(crate) struct Line {
    direct: SocketAddr,
    damaged: SocketAddr,
    flips: Arc<Flips>,
    _embedded: Embedded,
    _folder: tempfile::TempDir,
}

/// The direction in which a bit is flipped, and the bit's position in the contents of DATA frames.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Damage {
    Up(usize),
    Down(usize),
}

/// A response to `Get` for a whole object, verified against its own metadata and checksums (docs/SEMANTICS.md,
/// "Reading").
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) data: Vec<u8>,
    /// The number of bytes in DATA frames.
    pub(crate) framed: usize,
    /// Whether the response is for the requested object and contains all of it.
    pub(crate) complete: bool,
    /// Whether each chunk matches its CRC-32C.
    pub(crate) chunks: bool,
    /// Whether the whole object matches the checksum that S3 stores.
    pub(crate) whole: bool,
}

impl Read {
    pub(crate) fn is_believed(&self) -> bool {
        self.complete && self.chunks && self.whole
    }
}

impl Line {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let embedded = Embedded::start(folder.path(), any_port, &["damaged"]).await.unwrap();
        let stores = BTreeMap::from([("default".to_owned(), store(&embedded))]);
        let settings = ServerSettings {
            listen_addr: any_port,
            health_addr: any_port,
            auth: AuthMode::None,
            tenants: vec![TenantSettings::new("acme", stores).into()],
            ..ServerSettings::default()
        };
        let server = Server::bind(settings).await.unwrap();
        let (direct, flips) = (server.listen_addr(), Arc::<Flips>::default());
        tokio::spawn(server.run(std::future::pending()));
        let damaged = damaging(direct, Protocol::Http2, Arc::clone(&flips)).await;
        Self { direct, damaged, flips, _embedded: embedded, _folder: folder }
    }

    /// A caller with its own connection, on which this bit is flipped.
    pub(crate) async fn caller(&self, damage: Damage) -> Caller {
        let (up, down) = match damage {
            Damage::Up(bit) => (bit, NONE),
            Damage::Down(bit) => (NONE, bit),
        };
        self.flips.up.store(up, Ordering::SeqCst);
        self.flips.down.store(down, Ordering::SeqCst);
        Caller::connect(self.damaged).await
    }

    /// A caller with an undamaged connection.
    pub(crate) async fn witness(&self) -> Caller {
        Caller::connect(self.direct).await
    }
}

/// A store whose objects have a full-object checksum, including those from multipart uploads.
fn store(embedded: &Embedded) -> StoreSettings {
    let bucket = BucketSettings {
        endpoint: Some(format!("http://{}", embedded.address())),
        checksum_algorithm: Some(ChecksumAlgorithm::Crc64Nvme),
        ..BucketSettings::new("damaged")
    };
    let keys = Credentials::new(embedded.access_key_id(), embedded.secret_access_key(), None);
    let mut settings = StoreSettings::new(bucket, ProviderSettings::Static(keys));
    settings.client_options.allow_http = true;
    settings
}

pub(crate) struct Caller {
    objects: ObjectServiceClient<Channel>,
    uploads: UploadServiceClient<Channel>,
}

impl Caller {
    async fn connect(address: SocketAddr) -> Self {
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        Self {
            objects: ObjectServiceClient::new(channel.clone()),
            uploads: UploadServiceClient::new(channel),
        }
    }

    pub(crate) async fn get(&mut self, request: pb::GetRequest) -> Result<Read, Status> {
        let key = request.key.clone();
        let mut messages = self.objects.get(of_tenant(request)).await?.into_inner();
        let mut read = Read { data: Vec::new(), framed: 0, complete: true, chunks: true, whole: false };
        let mut info = None;
        while let Some(message) = messages.message().await? {
            // Only the first message has `info`.
            read.complete &= message.info.is_some() == (read.framed == 0);
            read.framed += framed(slice::from_ref(&message)).len();
            info = info.or(message.info);
            if let Some(chunk) = message.chunk {
                read.chunks &= chunk.crc32c == Some(crc32c(&chunk.data));
                read.data.extend_from_slice(&chunk.data);
            }
        }
        let size = i64::try_from(read.data.len()).unwrap();
        let range = info.as_ref().and_then(|info| info.range);
        let Some(meta) = info.and_then(|info| info.meta) else { return Ok(Read { complete: false, ..read }) };
        read.complete &= meta.key == key && meta.size == size;
        read.complete &= range == Some(pb::ContentRange { start: 0, end: size });
        read.whole = has_checksum(&meta, &read.data);
        Ok(read)
    }

    /// Returns the concatenated bytes of the ranges, and the contents of DATA frames. Returns `None` if verification
    /// fails: the ranges must be in order and complete, and each chunk must match its CRC-32C.
    pub(crate) async fn get_ranges(
        &mut self,
        key: &str,
        ranges: &[Range<i64>],
    ) -> Result<Option<(Vec<u8>, Vec<u8>)>, Status> {
        let bounded = |range: &Range<i64>| pb::BoundedRange { start: range.start, end: range.end };
        let bounded = |range| pb::ByteRange { range: Some(pb::byte_range::Range::Bounded(bounded(range))) };
        let ranges_asked = ranges.iter().map(bounded).collect();
        let request =
            pb::GetRangesRequest { key: key.to_owned(), ranges: ranges_asked, ..Default::default() };
        let mut messages = self.objects.get_ranges(of_tenant(request)).await?.into_inner();
        let mut missing =
            ranges.iter().zip(0..).flat_map(|(range, index)| range.clone().map(move |at| (index, at)));
        let (mut data, mut all, mut believed) = (Vec::new(), Vec::new(), true);
        while let Some(message) = messages.message().await? {
            all.extend(framed(slice::from_ref(&message)));
            let Some(chunk) = message.chunk else { continue };
            believed &= chunk.crc32c == Some(crc32c(&chunk.data));
            for (at, byte) in (message.offset..).zip(chunk.data) {
                believed &= missing.next() == Some((message.range_index, at));
                data.push(byte);
            }
        }
        Ok((believed && missing.next().is_none()).then_some((data, all)))
    }

    /// The bytes of the object at `key`. `None` if it does not exist.
    pub(crate) async fn found(&mut self, key: &str) -> Option<Vec<u8>> {
        match self.get(pb::GetRequest { key: key.to_owned(), ..Default::default() }).await {
            Ok(read) => {
                assert!(read.is_believed(), "{read:?}");
                Some(read.data)
            }
            Err(status) if status.code() == Code::NotFound => None,
            Err(status) => panic!("{status:?}"),
        }
    }

    pub(crate) async fn keys(&mut self) -> Vec<String> {
        let listed = self.objects.list(of_tenant(pb::ListRequest::default())).await.unwrap().into_inner();
        listed.objects.into_iter().map(|meta| meta.key).collect()
    }

    /// Returns the object's metadata from the response, or empty metadata if the response has lost it.
    pub(crate) async fn put(&mut self, request: pb::PutRequest) -> Result<pb::ObjectMeta, Status> {
        Ok(self.objects.put(of_tenant(request)).await?.into_inner().meta.unwrap_or_default())
    }

    pub(crate) async fn delete(&mut self, key: &str) {
        let request = pb::DeleteRequest { key: key.to_owned(), ..Default::default() };
        self.objects.delete(of_tenant(request)).await.unwrap();
    }

    /// Returns the same as [`Caller::put`].
    pub(crate) async fn upload(
        &mut self,
        messages: Vec<pb::UploadRequest>,
    ) -> Result<pb::ObjectMeta, Status> {
        let answer = self.objects.upload(of_tenant(tokio_stream::iter(messages))).await?;
        Ok(answer.into_inner().meta.unwrap_or_default())
    }

    /// Starts an upload that outlives its connection, and returns its id.
    pub(crate) async fn start_upload(&mut self, key: &str, size: usize) -> String {
        let size = i64::try_from(size).unwrap();
        let mut request =
            pb::StartUploadRequest { key: key.to_owned(), size: Some(size), ..Default::default() };
        request.set_checksum_algorithm(pb::ChecksumAlgorithm::Crc32c);
        self.uploads.start_upload(of_tenant(request)).await.unwrap().into_inner().upload_id
    }

    /// Returns the number of bytes that S3 has.
    pub(crate) async fn write_upload(
        &mut self,
        messages: Vec<pb::WriteUploadRequest>,
    ) -> Result<i64, Status> {
        let answer = self.uploads.write_upload(of_tenant(tokio_stream::iter(messages))).await?;
        Ok(answer.into_inner().persisted_size)
    }

    pub(crate) async fn finish_upload(&mut self, upload_id: &str, crc32c: u32) -> Result<(), Status> {
        let request = pb::FinishUploadRequest {
            upload_id: upload_id.to_owned(),
            crc32c: Some(crc32c),
            ..Default::default()
        };
        self.uploads.finish_upload(of_tenant(request)).await.map(drop)
    }
}

fn of_tenant<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-longshore-tenant", "acme".parse().unwrap());
    request
}

fn has_checksum(meta: &pb::ObjectMeta, data: &[u8]) -> bool {
    let sum = checksum(CrcAlgorithm::Crc64Nvme, data);
    let whole = |sum: &&pb::Checksum| {
        sum.algorithm() == pb::ChecksumAlgorithm::Crc64nvme && sum.r#type() == pb::ChecksumType::FullObject
    };
    meta.checksums.iter().find(whole).is_some_and(|kept| *kept.value == sum.to_be_bytes())
}

pub(crate) fn crc32c(data: &[u8]) -> u32 {
    u32::try_from(checksum(CrcAlgorithm::Crc32Iscsi, data)).unwrap()
}

/// The contents of DATA frames for these messages. A flag and a length precede each message (gRPC over HTTP/2,
/// "Requests").
pub(crate) fn framed(messages: &[impl Message]) -> Vec<u8> {
    let mut framed = Vec::new();
    for message in messages {
        framed.push(0);
        framed.extend_from_slice(&u32::try_from(message.encoded_len()).unwrap().to_be_bytes());
        message.encode(&mut framed).unwrap();
    }
    framed
}

/// The messages of an upload. `sums.0` adds the checksum of each chunk, `sums.1` that of the whole object.
pub(crate) fn upload(key: &str, chunks: &[Bytes], sums: (bool, bool)) -> Vec<pb::UploadRequest> {
    use pb::upload_request::Message;
    let whole = chunks.concat();
    let size = i64::try_from(whole.len()).unwrap();
    let spec = pb::UploadSpec { key: key.to_owned(), size: Some(size), ..Default::default() };
    let finish = pb::UploadFinish { size: Some(size), crc32c: sums.1.then(|| crc32c(&whole)) };
    let chunks = chunks
        .iter()
        .map(|data| pb::Chunk { crc32c: sums.0.then(|| crc32c(data)), data: data.clone() })
        .map(Message::Chunk);
    let messages = [Message::Spec(spec)].into_iter().chain(chunks).chain([Message::Finish(finish)]);
    messages.map(|message| pb::UploadRequest { message: Some(message) }).collect()
}
