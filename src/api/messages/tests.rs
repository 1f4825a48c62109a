//! Reads messages from bodies whose bytes arrive in different ways.

use std::{collections::BTreeMap, future::poll_fn, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::{FutureExt as _, StreamExt as _, channel::mpsc, stream};
use http::HeaderMap;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use proptest::prelude::*;
use prost::Message as _;
use tonic::{Code, Status, Streaming, codec::Codec as _};
use tonic_prost::ProstCodec;

use super::{body::MessagesBody, unpack::testing::pack, *};
use crate::{
    api::{CallContext, status::ErrorContext},
    auth::AuthMode,
    pb,
    store::{MemorySettings, Reservation},
    tenants::{Resources, Snapshot, TenantSettings},
};

const PUT: &str = "/longshore.v1.ObjectService/Put";
const DELETE_MANY: &str = "/longshore.v1.ObjectService/DeleteMany";

fn policy(path: &str, limit: usize) -> Policy {
    let mut headers = HeaderMap::new();
    headers.insert(ENCODING, "gzip".parse().unwrap());
    Policy::new(path, &headers, Limits { max_message_bytes: limit, message_timeout: Duration::from_mins(1) })
}

fn context() -> CallContext {
    CallContext { request_id: "r1".into(), ..CallContext::default() }
}

type Frames = stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Status>>>;

fn body(frames: Vec<Result<Bytes, Status>>) -> StreamBody<Frames> {
    let frames: Vec<_> = frames.into_iter().map(|data| data.map(Frame::data)).collect();
    StreamBody::new(stream::iter(frames))
}

async fn all<B>(mut messages: Messages<B>) -> Result<Vec<Bytes>, Failure>
where
    B: http_body::Body<Data = Bytes, Error = Status> + Unpin,
{
    let mut found = Vec::new();
    while let Some(message) = poll_fn(|cx| messages.poll_next(cx)).await {
        match message {
            Ok(message) => found.push(message.join()),
            Err(failure) => {
                assert!(poll_fn(|cx| messages.poll_next(cx)).await.is_none(), "no message follows a failure");
                return Err(failure);
            }
        }
    }
    Ok(found)
}

fn read(frames: Vec<Bytes>, policy: Policy) -> Result<Vec<Bytes>, Failure> {
    all(Messages::new(body(frames.into_iter().map(Ok).collect()), policy)).now_or_never().unwrap()
}

fn framed(flag: u8, message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::new();
    put_prefix(&mut bytes, message.len());
    bytes[0] = flag;
    bytes.extend_from_slice(message);
    bytes.freeze()
}

fn malformed(bytes: &[u8]) -> bool {
    matches!(read(vec![Bytes::copy_from_slice(bytes)], policy(DELETE_MANY, 8)), Err(Failure::Malformed(_)))
}

#[test]
fn malformed_messages_are_rejected() {
    assert!(malformed(&framed(2, b"7")), "an unknown flag");
    assert!(malformed(&framed(1, b"not gzip")));
    assert!(malformed(&[0, 0, 0]), "an incomplete prefix");
    assert!(malformed(&framed(0, b"cut")[..7]), "an incomplete message");
    let large = read(vec![framed(0, &[0; 9])], policy(DELETE_MANY, 8));
    assert!(matches!(large, Err(Failure::MessageTooLarge { limit: 8, .. })));
    assert_eq!(read(vec![framed(0, &[0; 8])], policy(DELETE_MANY, 8)).unwrap(), [vec![0; 8]]);
    let without = Policy { gzip: false, ..policy(DELETE_MANY, 8) };
    assert!(matches!(read(vec![framed(1, &pack(b"a"))], without), Err(Failure::Malformed(_))));
}

#[test]
fn a_unary_method_accepts_one_message() {
    let one = framed(0, b"\x12\x01k");
    assert_eq!(read(vec![one.clone()], policy(PUT, 8)).unwrap().len(), 1);
    assert!(matches!(read(vec![one.clone(), one.clone()], policy(PUT, 8)), Err(Failure::Malformed(_))));
    assert_eq!(read(vec![one.clone(), one], policy(DELETE_MANY, 8)).unwrap().len(), 2);
}

#[test]
fn compressed_and_uncompressed_messages_can_be_mixed() {
    let id = pb::DeleteManyRequest { store: "s".repeat(100), objects: Vec::new() }.encode_to_vec();
    let frames = vec![framed(0, &id), framed(1, &pack(&id)), framed(0, &id)];
    assert_eq!(read(frames, policy(DELETE_MANY, 200)).unwrap(), [&id[..], &id, &id]);
}

/// The invalid field; empty if the message is malformed.
fn field(message: &[u8], path: &str, packed: bool) -> String {
    let message = if packed { framed(1, &pack(message)) } else { framed(0, message) };
    match read(vec![message], policy(path, 4 << 20)).unwrap_err() {
        Failure::Field { field, .. } => field.into_owned(),
        Failure::Malformed(_) => String::new(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn entries_of_maps_and_lists_are_limited_before_decoding() {
    let entries = |key: &[u8]| key.repeat(100_000);
    assert_eq!(field(&entries(b"\x2a\x00"), PUT, false), "tags");
    let metadata = entries(b"\x3a\x00");
    let mut attributes = vec![0x22];
    prost::encoding::encode_varint(metadata.len() as u64, &mut attributes);
    attributes.extend(&metadata);
    assert_eq!(field(&attributes, PUT, false), "attributes.metadata");
    assert_eq!(field(&entries(b"\x22\x00"), "/longshore.v1.ObjectService/GetRanges", false), "ranges");
    assert_eq!(field(&entries(b"\x12\x00"), DELETE_MANY, false), "objects");
    assert_eq!(field(&entries(b"\x1a\x00"), "/longshore.v1.ObjectService/Sign", false), "keys");
    assert_eq!(field(&entries(b"\x22\x00"), "/longshore.v1.UploadService/StartUpload", false), "tags");
    assert_eq!(field(&entries(b"\x12\x00"), PUT, false), "key", "a field that occurs too often");
    assert_eq!(field(&entries(b"\xa0\x06\x01"), PUT, false), "", "unknown fields");
    assert_eq!(field(&entries(b"\xa3\x06\xa4\x06"), PUT, false), "", "unknown groups");
}

#[test]
fn the_size_of_user_metadata_is_limited() {
    let put = |value: usize| {
        let metadata = (0..10).map(|n| (n.to_string(), "v".repeat(value))).collect();
        let attributes = Some(pb::Attributes { metadata, ..Default::default() });
        pb::PutRequest { attributes, ..Default::default() }.encode_to_vec()
    };
    assert!(read(vec![framed(0, &put(1_000))], policy(PUT, 1 << 20)).is_ok(), "left to S3 to reject");
    assert_eq!(field(&put(10_000), PUT, false), "attributes.metadata");
}

#[test]
fn the_number_of_fields_of_a_compressed_message_is_limited_by_its_size() {
    let entries = b"\x12\x00".repeat(8_000);
    assert!(read(vec![framed(0, &entries)], policy(DELETE_MANY, 1 << 20)).is_ok());
    assert_eq!(field(&entries, DELETE_MANY, true), "");
    let keys = (0..1_000).map(|n| pb::ObjectId { key: format!("logs/2024/{n:06}"), ..Default::default() });
    let request = pb::DeleteManyRequest { objects: keys.collect(), ..Default::default() }.encode_to_vec();
    assert!(read(vec![framed(1, &pack(&request))], policy(DELETE_MANY, 1 << 20)).is_ok());
}

#[test]
fn object_bytes_are_not_scanned() {
    let put = pb::PutRequest { data: b"\x2a\x00".repeat(100_000).into(), ..Default::default() };
    assert!(read(vec![framed(0, &put.encode_to_vec())], policy(PUT, 1 << 20)).is_ok());
}

#[test]
fn messages_encoded_by_prost_are_accepted() {
    let texts = |count: usize| (0..count).map(|n| (format!("name-{n}"), "value".to_owned())).collect();
    let put = pb::PutRequest {
        store: "s".to_owned(),
        key: "k".repeat(1024),
        data: vec![7; 2_000].into(),
        attributes: Some(pb::Attributes { metadata: texts(100), ..Default::default() }),
        tags: texts(11),
        crc32c: Some(7),
        ..Default::default()
    };
    assert!(read(vec![framed(0, &put.encode_to_vec())], policy(PUT, 1 << 20)).is_ok());
    let bounded = pb::byte_range::Range::Bounded(pb::BoundedRange { start: 1 << 40, end: (1 << 40) + 9 });
    let ranges = vec![pb::ByteRange { range: Some(bounded) }; 1_001];
    let ranges = pb::GetRangesRequest { ranges, ..Default::default() };
    let path = "/longshore.v1.ObjectService/GetRanges";
    assert!(read(vec![framed(0, &ranges.encode_to_vec())], policy(path, 1 << 20)).is_ok());
}

#[test]
fn a_broken_stream_is_a_failure_and_not_the_end() {
    let broken = vec![Ok(framed(0, b"\x0a\x01s")), Err(Status::cancelled("reset by the caller"))];
    let failure =
        all(Messages::new(body(broken), policy(DELETE_MANY, 8))).now_or_never().unwrap().unwrap_err();
    assert!(matches!(failure, Failure::Stream(_)));
}

/// The failure that ends the messages of a generated service whose body ends with `status`.
async fn end(status: Status) -> Option<Failure> {
    let messages = Messages::new(body(vec![Err(status)]), policy(DELETE_MANY, 8));
    let decoder = ProstCodec::<pb::DeleteManyResponse, pb::DeleteManyRequest>::default().decoder();
    let body = MessagesBody::new(messages, context());
    Streaming::new_request(decoder, body, None, None).message().await.err().map(Failure::stream)
}

#[tokio::test]
async fn only_a_cancellation_is_reported_as_one_through_tonic() {
    let Some(Failure::Stream(cancelled)) = end(Status::cancelled("reset")).await else {
        panic!("the stream must not end without a failure")
    };
    assert_eq!(
        (cancelled.code(), cancelled.message()),
        (Code::Cancelled, "the caller's stream ended before the request was complete")
    );
    for other in [Status::unknown(cancelled.message()), Status::internal("reset")] {
        let (code, message) = (other.code(), other.message().to_owned());
        let Some(Failure::Stream(told)) = end(other).await else { panic!("{message}") };
        assert_eq!((told.code(), told.message()), (code, &*message));
    }
}

/// A body whose data the test sends.
fn fed() -> (mpsc::UnboundedSender<Bytes>, impl http_body::Body<Data = Bytes, Error = Status> + Unpin) {
    let (sender, receiver) = mpsc::unbounded();
    (sender, StreamBody::new(receiver.map(|data| Ok(Frame::data(data)))))
}

#[tokio::test(start_paused = true)]
async fn an_unfinished_message_times_out_but_waiting_for_the_next_one_does_not() {
    let (sender, body) = fed();
    let mut messages = Messages::new(body, policy(DELETE_MANY, 100));
    sender.unbounded_send(framed(0, b"\x0a\x01s")).unwrap();
    assert!(poll_fn(|cx| messages.poll_next(cx)).await.unwrap().is_ok());
    let next = tokio::time::timeout(Duration::from_hours(1), poll_fn(|cx| messages.poll_next(cx))).await;
    assert!(next.is_err(), "waiting for the next message has no time limit");
    sender.unbounded_send(framed(0, b"\x0a\x01s").slice(..3)).unwrap();
    let begun = tokio::time::Instant::now();
    let failure = poll_fn(|cx| messages.poll_next(cx)).await.unwrap().unwrap_err();
    assert!(matches!(failure, Failure::MessageTimeout { .. }));
    assert_eq!(begun.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_sends_nothing_times_out() {
    for path in [PUT, DELETE_MANY, "/grpc.health.v1.Health/Check"] {
        let (_sender, body) = fed();
        let mut messages = Messages::new(body, policy(path, 100));
        let failure = poll_fn(|cx| messages.poll_next(cx)).await.unwrap().unwrap_err();
        assert!(matches!(failure, Failure::MessageTimeout { .. }));
    }
}

fn find_chunk(head: &[u8], len: usize) -> Option<(usize, Option<u32>)> {
    (head.first() == Some(&b'c') && len > 1).then_some((1, Some(7)))
}

#[tokio::test(start_paused = true)]
async fn chunk_data_is_passed_on_as_it_arrives_and_may_be_slow() {
    let (sender, body) = fed();
    let mut messages =
        Messages::with_chunks(body, policy("/longshore.v1.ObjectService/Upload", 1_000), find_chunk);
    let message = framed(0, &[&b"c"[..], &[5; 100]].concat());
    let mut got = Vec::new();
    for piece in message.chunks(20) {
        sender.unbounded_send(Bytes::copy_from_slice(piece)).unwrap();
        let read = tokio::time::timeout(Duration::from_secs(59), poll_fn(|cx| messages.poll_read(cx))).await;
        // The first piece is too short to identify a chunk.
        let Ok(read) = read else { continue };
        let Read::Chunk { crc32c, data, last } = read.unwrap().unwrap() else { panic!() };
        assert_eq!(crc32c, Some(7));
        got.extend(data.join());
        assert_eq!(last, got.len() == 100);
        tokio::time::sleep(Duration::from_secs(50)).await;
    }
    assert_eq!(got, [5; 100]);
    sender.unbounded_send(message.slice(..50)).unwrap();
    assert!(poll_fn(|cx| messages.poll_read(cx)).await.unwrap().is_ok());
    let failure = poll_fn(|cx| messages.poll_read(cx)).await.unwrap().unwrap_err();
    assert!(matches!(failure, Failure::MessageTimeout { .. }));
}

fn tenant(budget: u64) -> Tenant {
    let memory = MemorySettings { budget, ..MemorySettings::default() };
    let tenants = vec![TenantSettings::new("acme", BTreeMap::default())];
    let snapshot = Snapshot::new(tenants, AuthMode::None, &Resources::new(memory));
    snapshot.tenant("acme").unwrap().clone()
}

/// Reservations that use up the memory.
fn exhausted(tenant: &Tenant) -> Vec<Reservation> {
    std::iter::from_fn(|| tenant.budget().reserve(u64::MAX).now_or_never()).map(Result::unwrap).collect()
}

#[tokio::test(start_paused = true)]
async fn messages_count_against_the_budget_until_they_are_handled() {
    let tenant = tenant(100 * 1024);
    let data = pb::PutRequest { data: vec![0; 60 * 1024].into(), ..Default::default() }.encode_to_vec();
    let message = framed(0, &data);
    let counted = || Policy { tenant: Some(tenant.clone()), ..policy(PUT, 1 << 20) };

    let mut others = exhausted(&tenant);
    // Leave memory for one message, which takes at most one of these reservations.
    others.pop();
    let first = counted();
    let handled = first.held.clone();
    let (sender, unfinished) = fed();
    let mut unfinished = Messages::new(unfinished, first);
    sender.unbounded_send(message.slice(..20_000)).unwrap();
    assert!(poll_fn(|cx| unfinished.poll_next(cx)).now_or_never().is_none());

    let mut second = Box::pin(all(Messages::new(body(vec![Ok(message.clone())]), counted())));
    assert!((&mut second).now_or_never().is_none(), "the first message uses the last memory");
    sender.unbounded_send(message.slice(20_000..)).unwrap();
    assert!(poll_fn(|cx| unfinished.poll_next(cx)).await.unwrap().is_ok());
    drop(unfinished);
    assert!((&mut second).now_or_never().is_none(), "the first message is still being handled");
    drop(handled);
    assert_eq!(second.await.unwrap().len(), 1);

    others.extend(exhausted(&tenant));
    let failure = all(Messages::new(body(vec![Ok(message)]), counted())).await.unwrap_err();
    assert!(
        matches!(failure, Failure::Store(error, _) if error.kind() == crate::store::ErrorKind::MemoryExhausted)
    );
    let small = framed(0, &[0x12, 1, b'k']);
    assert!(
        all(Messages::new(body(vec![Ok(small)]), counted())).await.is_ok(),
        "a small one needs no memory"
    );
}

/// A body that has arrived completely in one frame.
struct Arrived(Option<Bytes>);

impl http_body::Body for Arrived {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Status>>> {
        std::task::Poll::Ready(self.0.take().map(|data| Ok(Frame::data(data))))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.0.as_ref().map_or(0, Bytes::len) as u64)
    }
}

#[tokio::test(start_paused = true)]
async fn a_small_complete_request_does_not_wait_for_memory() {
    let tenant = tenant(100 * 1024);
    let _held = exhausted(&tenant);
    let read = |message: Bytes, gzip: bool| {
        let (tenant, unreserved) = (Some(tenant.clone()), Unreserved::full());
        let policy = Policy { gzip, tenant, unreserved, ..policy(PUT, 1 << 20) };
        all(Messages::new(Arrived(Some(message)), policy)).now_or_never()
    };
    let put =
        |data: usize| pb::PutRequest { data: vec![7; data].into(), ..Default::default() }.encode_to_vec();
    assert_eq!(read(framed(0, &put(1)), false).unwrap().unwrap().len(), 1);
    assert_eq!(read(framed(1, &pack(&put(1))), true).unwrap().unwrap().len(), 1);
    assert_eq!(read(framed(0, &put(16_000)), false).unwrap().unwrap().len(), 1);
    assert!(read(framed(0, &put(17_000)), false).is_none(), "it needs a reservation");
    assert!(read(framed(0, &put(2_000)), true).is_none(), "it may need a reservation for decompression");
}

/// Unfinished messages that are small individually can be large together.
#[tokio::test(start_paused = true)]
async fn memory_is_reserved_before_reading_if_there_are_many_unfinished_messages() {
    let tenant = tenant(100 * 1024);
    let crowded = || {
        let (tenant, unreserved) = (Some(tenant.clone()), Unreserved::full());
        Messages::new(
            body(vec![Ok(framed(0, b"\x12\x01k"))]),
            Policy { tenant, unreserved, ..policy(PUT, 1 << 20) },
        )
    };
    let held = exhausted(&tenant);
    let mut waiting = Box::pin(all(crowded()));
    assert!((&mut waiting).now_or_never().is_none());
    drop(held);
    assert_eq!(waiting.await.unwrap().len(), 1);
}

#[tokio::test]
async fn messages_without_a_tenant_are_limited_to_4_kib() {
    let (mut head, ()) = http::Request::post("/grpc.health.v1.Health/Check").body(()).unwrap().into_parts();
    let limits = Limits { max_message_bytes: 64 << 10, message_timeout: Duration::from_mins(1) };
    let read_as = |head: &http::request::Parts, len: usize| {
        // A field's key and length have four bytes.
        let request = pb::ListTenantsRequest { page_token: "t".repeat(len - 4), ..Default::default() };
        let message = request.encode_to_vec();
        read(vec![framed(0, &message)], Policy::of(head, limits, &Unreserved::default()))
    };
    let failure = read_as(&head, 5000).unwrap_err();
    assert!(matches!(failure, Failure::MessageTooLarge { limit: 4096, is_tenants: false }));
    let status = failure.into_status(&ErrorContext::default());
    assert!(status.message().starts_with("the message is larger than 4096 bytes, the most"), "{status:?}");
    head.extensions.insert(OperatorsCall);
    assert!(read_as(&head, 64 << 10).is_ok(), "operators' messages have the limit of their listener");
    let failure = read_as(&head, (64 << 10) + 1).unwrap_err();
    assert!(matches!(failure, Failure::MessageTooLarge { limit: 65_536, is_tenants: false }));
}

#[tokio::test]
async fn a_generated_service_receives_decompressed_messages() {
    let id = pb::DeleteManyRequest { store: "s".repeat(100), objects: Vec::new() };
    let packed = framed(1, &pack(&id.encode_to_vec()));
    let messages = Messages::new(body(vec![Ok(packed)]), policy(DELETE_MANY, 1_000));
    let found = MessagesBody::new(messages, context()).collect().await.unwrap().to_bytes();
    assert_eq!(found, framed(0, &id.encode_to_vec()));
}

proptest! {
    #[test]
    fn messages_are_read_from_frames_of_any_size(
        messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..6),
        size in 1_usize..30,
    ) {
        let stream: Vec<u8> = messages.iter().flat_map(|message| framed(0, message)).collect();
        let frames = stream.chunks(size).map(Bytes::copy_from_slice).collect();
        prop_assert_eq!(read(frames, policy(DELETE_MANY, 20)).unwrap(), messages);
    }

    #[test]
    fn chunks_are_read_from_frames_of_any_size(
        messages in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 1..90)), 0..6),
        size in 1_usize..60,
    ) {
        let message = |(chunk, data): &(bool, Vec<u8>)| [if *chunk { b"c" } else { b"m" }, &data[..]].concat();
        let stream: Vec<u8> = messages.iter().flat_map(|entry| framed(0, &message(entry))).collect();
        let frames = stream.chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let path = "/longshore.v1.ObjectService/Upload";
        let mut reader = Messages::with_chunks(body(frames), policy(path, 100), find_chunk);
        let (mut found, mut open) = (Vec::new(), false);
        while let Some(read) = poll_fn(|cx| reader.poll_read(cx)).now_or_never().unwrap() {
            match read.unwrap() {
                Read::Message(mut message) => {
                    message.skip(PREFIX + 1);
                    found.push((false, message.join().to_vec()));
                }
                Read::Chunk { data, last, .. } => {
                    if !open {
                        found.push((true, Vec::new()));
                    }
                    found.last_mut().unwrap().1.extend(data.join());
                    open = !last;
                }
            }
        }
        prop_assert!(!open);
        prop_assert_eq!(found, messages);
    }

    /// The scan and the decoder do not panic on arbitrary bytes.
    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 1_100..1_300)) {
        let _ = read(vec![framed(0, &bytes)], policy(PUT, 4_096));
    }
}
