//! A caller that uses tonic's client, with large frames and windows.

use std::{fs, ops::Range, time::Duration};

use bytes::Bytes;
use futures::{Stream, stream};
use longshore::pb::{self, object_service_client::ObjectServiceClient, upload_request::Message};
use tonic::{
    Request,
    metadata::{Ascii, MetadataValue},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use crate::{
    Outcome,
    content::{self, Content},
    job::{Job, Target, Trickle, Work},
    rate_limit::RateLimit,
};

const LARGEST_FRAME: u32 = 256 * 1024;
const LARGEST_MESSAGE: usize = 64 * 1024 * 1024;
const SECOND: Duration = Duration::from_secs(1);

/// Opens a new connection.
pub(crate) async fn connect(target: &Target, windows: (u32, u32)) -> Outcome<Channel> {
    let scheme = if target.authority.is_some() { "https" } else { "http" };
    let mut endpoint = Endpoint::from_shared(format!("{scheme}://{}", target.address))?
        .initial_stream_window_size(windows.0)
        .initial_connection_window_size(windows.1)
        .max_frame_size(LARGEST_FRAME);
    if let Some(authority) = &target.authority {
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(fs::read(authority)?));
        endpoint = endpoint.tls_config(tls.domain_name("localhost"))?;
    }
    Ok(endpoint.connect().await?)
}

/// A caller that reads responses and discards them.
pub(crate) struct Caller {
    client: ObjectServiceClient<Channel>,
    token: Option<MetadataValue<Ascii>>,
    /// The CRC-32C of the whole object, if the caller sends checksums.
    crc32c: Option<u32>,
}

impl Caller {
    pub(crate) fn new(channel: Channel, job: &Job) -> Self {
        let known = job.checksums && matches!(job.work, Work::Upload | Work::Put);
        Self {
            client: ObjectServiceClient::new(channel).max_decoding_message_size(LARGEST_MESSAGE),
            token: format!("Bearer {}", job.token).parse().ok(),
            crc32c: known.then(|| content::crc32c(job.size)),
        }
    }

    /// Sends one request and reads the whole response.
    pub(crate) async fn ask(&mut self, job: &Job) -> Outcome<()> {
        let seen = match job.work {
            Work::Get => self.get(job).await?,
            Work::Put => self.put(job).await?,
            Work::Upload => self.upload(job).await?,
            Work::Walk => self.walk(job).await?,
            Work::Head => self.head(job).await?,
            Work::GetRanges => self.get_ranges(job).await?,
            Work::DeleteMany => self.delete_many(job).await?,
        };
        if seen == job.amount() { Ok(()) } else { Err(format!("received {seen} of {}", job.amount()).into()) }
    }

    /// Starts a Get and reads its first bytes. Dropping the response cancels the call.
    pub(crate) async fn begin(&mut self, job: &Job) -> Outcome<tonic::Streaming<pb::GetResponse>> {
        let message = pb::GetRequest { store: job.store.clone(), key: job.key(), ..Default::default() };
        let request = self.request(message);
        let mut answer = self.client.get(request).await?.into_inner();
        while let Some(message) = answer.message().await? {
            if message.chunk.is_some() {
                return Ok(answer);
            }
        }
        Err("the response has no bytes".into())
    }

    /// Starts a Walk and reads its first page.
    pub(crate) async fn begin_walk(&mut self, job: &Job) -> Outcome<tonic::Streaming<pb::WalkResponse>> {
        let message = pb::WalkRequest { store: job.store.clone(), ..Default::default() };
        let request = self.request(message);
        let mut answer = self.client.walk(request).await?.into_inner();
        answer.message().await?.ok_or("the response has no pages")?;
        Ok(answer)
    }

    async fn head(&mut self, job: &Job) -> Outcome<u64> {
        let message = pb::HeadRequest { store: job.store.clone(), key: job.key(), ..Default::default() };
        let request = self.request(message);
        size(self.client.head(request).await?.into_inner().meta)
    }

    async fn get(&mut self, job: &Job) -> Outcome<u64> {
        let message = pb::GetRequest { store: job.store.clone(), key: job.key(), ..Default::default() };
        let request = self.request(message);
        let mut answer = self.client.get(request).await?.into_inner();
        let (mut seen, mut pace) = (0, RateLimit::new(job.pace));
        while let Some(message) = answer.message().await? {
            let length = message.chunk.map_or(0, |chunk| chunk.data.len());
            seen += length as u64;
            pace.took(length);
            pace.due().await;
        }
        Ok(seen)
    }

    async fn put(&mut self, job: &Job) -> Outcome<u64> {
        let message = pb::PutRequest {
            store: job.store.clone(),
            key: job.key(),
            data: piece(&mut Content::whole(job.size), job.size)?,
            crc32c: self.crc32c,
            ..Default::default()
        };
        let request = self.request(message);
        let answer = self.client.put(request).await?.into_inner();
        size(answer.meta)
    }

    async fn upload(&mut self, job: &Job) -> Outcome<u64> {
        let spec = pb::UploadSpec { store: job.store.clone(), key: job.key(), ..Default::default() };
        let finish = self
            .crc32c
            .map(|crc32c| pb::UploadFinish { size: i64::try_from(job.size).ok(), crc32c: Some(crc32c) });
        let (mut content, checksums) = (Content::whole(job.size), job.checksums);
        let (message, trickle) = (job.message, job.trickle);
        let whole = job.size;
        let chunks = std::iter::from_fn(move || {
            let slow = trickle.filter(|trickle| whole - content.left() >= trickle.first);
            let length = slow.map_or(message, |trickle| trickle.rate);
            let data = piece(&mut content, length).ok().filter(|data| !data.is_empty())?;
            let crc32c = checksums.then(|| content::crc32c_of(&data));
            Some(Message::Chunk(pb::Chunk { crc32c, data }))
        });
        let messages = std::iter::once(Message::Spec(spec)).chain(chunks).chain(finish.map(Message::Finish));
        let messages = messages.map(|message| pb::UploadRequest { message: Some(message) });
        let answer = match job.trickle {
            None => self.client.upload(self.request(stream::iter(messages))).await?,
            Some(trickle) => self.client.upload(self.request(paced(messages, trickle))).await?,
        };
        size(answer.into_inner().meta)
    }

    async fn walk(&mut self, job: &Job) -> Outcome<u64> {
        let message = pb::WalkRequest { store: job.store.clone(), ..Default::default() };
        let request = self.request(message);
        let mut answer = self.client.walk(request).await?.into_inner();
        let mut seen = 0;
        while let Some(message) = answer.message().await? {
            seen += message.objects.len() as u64;
        }
        Ok(seen)
    }

    async fn get_ranges(&mut self, job: &Job) -> Outcome<u64> {
        let ranges = job.ranges().map(|range| byte_range(&range)).collect::<Outcome<_>>()?;
        let (store, key) = (job.store.clone(), job.key());
        let message = pb::GetRangesRequest { store, key, ranges, ..Default::default() };
        let request = self.request(message);
        let mut answer = self.client.get_ranges(request).await?.into_inner();
        let mut seen = 0;
        while let Some(message) = answer.message().await? {
            seen += message.chunk.map_or(0, |chunk| chunk.data.len()) as u64;
        }
        Ok(seen)
    }

    /// Sends all keys as fast as the server takes them. Counts the results, which must be in order.
    async fn delete_many(&mut self, job: &Job) -> Outcome<u64> {
        let store = job.store.clone();
        let messages = job.batches().map(move |keys| {
            let objects = keys.into_iter().map(|key| pb::ObjectId { key, ..Default::default() });
            pb::DeleteManyRequest { store: store.clone(), objects: objects.collect() }
        });
        let request = self.request(stream::iter(messages));
        let mut answer = self.client.delete_many(request).await?.into_inner();
        let mut seen = 0;
        while let Some(message) = answer.message().await? {
            for result in message.results {
                if let Some(error) = result.error {
                    return Err(format!("{}: {}", result.key, error.message).into());
                }
                if u64::try_from(result.index)? != seen {
                    return Err(format!("result {} follows {seen} others", result.index).into());
                }
                seen += 1;
            }
        }
        Ok(seen)
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", token.clone());
        }
        request
    }
}

/// The messages of an upload that slows down: the first bytes at once, then one message per second.
fn paced(
    messages: impl Iterator<Item = pb::UploadRequest> + Send + 'static,
    trickle: Trickle,
) -> impl Stream<Item = pb::UploadRequest> + Send + 'static {
    stream::unfold((messages, 0), move |(mut messages, sent)| async move {
        let message = messages.next()?;
        if sent >= trickle.first {
            tokio::time::sleep(SECOND).await;
        }
        let length = match &message.message {
            Some(Message::Chunk(chunk)) => chunk.data.len() as u64,
            _ => 0,
        };
        Some((message, (messages, sent + length)))
    })
}

fn piece(content: &mut Content, most: u64) -> Outcome<Bytes> {
    Ok(content.piece(usize::try_from(most)?).unwrap_or_default())
}

fn byte_range(range: &Range<u64>) -> Outcome<pb::ByteRange> {
    let (start, end) = (i64::try_from(range.start)?, i64::try_from(range.end)?);
    Ok(pb::ByteRange { range: Some(pb::byte_range::Range::Bounded(pb::BoundedRange { start, end })) })
}

fn size(meta: Option<pb::ObjectMeta>) -> Outcome<u64> {
    Ok(u64::try_from(meta.ok_or("the response has no metadata")?.size)?)
}
