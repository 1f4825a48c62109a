//! Micro-benchmarks of the code that every call runs: framing, signing, XML parsing, checksums.
//!
//! Run them with `cargo bench --locked --features microbench --bench micro`. `docs/BENCHMARKS.md` describes the method.

#![allow(clippy::unwrap_used, reason = "a failed benchmark may panic")]

use std::{
    fmt::Write as _,
    hint::black_box,
    slice,
    time::{Duration, SystemTime},
};

use aws_sigv4::{
    http_request::{
        self, PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
        UriPathNormalizationMode,
    },
    sign::v4,
};
use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, Criterion, Throughput};
use http::Request;
use longshore::{
    api::microbench::{first_chunk, framed},
    credentials::Credentials,
    pb,
    s3::microbench::{Signer, listed, stream_sums, sum_of},
};
use prost::Message as _;

/// The allocator that Longshore uses.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KIB: usize = 1024;

const URL: &str = "https://bucket.s3.eu-west-1.amazonaws.com/a/key.bin";
const AKID: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const REGION: &str = "eu-west-1";
/// The SHA-256 of an empty payload.
const EMPTY_PAYLOAD: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn main() {
    let mut criterion = Criterion::default().without_plots().configure_from_args();
    framing(&mut criterion);
    taking_apart(&mut criterion);
    signing(&mut criterion);
    listing(&mut criterion);
    summing(&mut criterion);
    criterion.final_summary();
}

fn framing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frame a Get message");
    for size in [4 * KIB, 256 * KIB] {
        let messages = get_messages(size);
        let mut messages = messages.iter().cycle().cloned();
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(format!("{} KiB", size / KIB), |bench| {
            bench.iter(|| messages.next().map(framed));
        });
        // The best case for a generated service: it copies everything into one buffer, once.
        group.bench_function(format!("{} KiB, prost into one buffer", size / KIB), |bench| {
            bench.iter(|| {
                let mut buffer = BytesMut::with_capacity(size + 64);
                messages.next().map(|message| message.encode(&mut buffer)).transpose().unwrap();
                buffer.freeze()
            });
        });
    }
}

/// Messages whose data starts at various offsets within a memory page, as data read from S3 does. Some processors copy
/// many times more slowly if the destination's page offset is a few bytes above the source's. With a single source,
/// every copy could be such a case.
fn get_messages(size: usize) -> Vec<pb::GetResponse> {
    let all = bytes(size + 4 * KIB);
    let data = (0..4 * KIB).step_by(67).map(|at| all.slice(at..at + size));
    let message = |data| pb::GetResponse { info: None, chunk: Some(pb::Chunk { crc32c: Some(1), data }) };
    data.map(message).collect()
}

fn taking_apart(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse an upload message");
    for (size, segments) in [(16 * KIB, 1), (KIB * KIB, 4)] {
        let frames = upload_frames(size, segments);
        let chunk = first_chunk(frames.iter().cloned());
        assert_eq!((chunk.len(), chunk.concat().len()), (segments, size));
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(format!("{} KiB in {segments}", size / KIB), |bench| {
            bench.iter(|| first_chunk(black_box(&frames).iter().cloned()));
        });
    }
}

/// One length-prefixed chunk of an upload as a caller sends it, split into `segments` DATA frames.
fn upload_frames(size: usize, segments: usize) -> Vec<Bytes> {
    let chunk = pb::Chunk { crc32c: Some(1), data: bytes(size) };
    let message = pb::UploadRequest { message: Some(pb::upload_request::Message::Chunk(chunk)) };
    let message = message.encode_to_vec();
    let prefix = [&[0], &u32::try_from(message.len()).unwrap().to_be_bytes()[..]].concat();
    let all = Bytes::from([prefix, message].concat());
    let len = all.len().div_ceil(segments);
    (0..segments).map(|at| all.slice(at * len..all.len().min((at + 1) * len))).collect()
}

/// Both implementations sign the same headers of the same request and add their own headers to it.
fn signing(criterion: &mut Criterion) {
    let mut request = Request::get(URL).body(()).unwrap();
    request.headers_mut().insert("host", "bucket.s3.eu-west-1.amazonaws.com".parse().unwrap());
    request.headers_mut().insert("x-amz-checksum-mode", "ENABLED".parse().unwrap());
    let now = SystemTime::UNIX_EPOCH + Duration::from_hours(500_000);

    let (signer, credentials) = (Signer::default(), Credentials::new(AKID, SECRET, None));
    let ours = |request: &mut Request<()>| {
        signer.sign(request, EMPTY_PAYLOAD, &credentials, REGION, now).unwrap();
    };
    let identity = aws_credential_types::Credentials::new(AKID, SECRET, None, None, "bench").into();
    let parameters = v4::SigningParams::builder().identity(&identity).region(REGION).name("s3").time(now);
    let parameters = parameters.settings(aws_settings()).build().unwrap().into();
    let theirs = |request: &mut Request<()>| {
        let headers = request.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
        let payload = SignableBody::Precomputed(EMPTY_PAYLOAD.to_owned());
        let signable = SignableRequest::new("GET", URL, headers, payload).unwrap();
        let (instructions, _) = http_request::sign(signable, &parameters).unwrap().into_parts();
        instructions.apply_to_request_http1x(request);
    };
    assert_eq!(signature(request.clone(), ours), signature(request.clone(), theirs));

    let mut group = criterion.benchmark_group("sign a GetObject");
    group.bench_function("with a cached signing key", |bench| {
        bench.iter_batched_ref(|| request.clone(), ours, BatchSize::SmallInput);
    });
    group.bench_function("aws-sigv4's sign()", |bench| {
        bench.iter_batched_ref(|| request.clone(), theirs, BatchSize::SmallInput);
    });
}

/// The settings that S3 requires: paths are encoded once and not normalised, and a header carries the payload hash.
fn aws_settings() -> SigningSettings {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    settings
}

/// Returns the signature that `sign` adds to the request.
fn signature(mut request: Request<()>, sign: impl Fn(&mut Request<()>)) -> String {
    sign(&mut request);
    let header = request.headers()["authorization"].to_str().unwrap();
    header.rsplit_once("Signature=").unwrap().1.to_owned()
}

fn listing(criterion: &mut Criterion) {
    const KEYS: usize = 1_000;
    let page = page(KEYS);
    assert_eq!(listed(&page).unwrap(), KEYS);
    let mut group = criterion.benchmark_group("read a page of ListObjectsV2");
    group.throughput(Throughput::Elements(KEYS as u64));
    group.bench_function("1,000 keys", |bench| bench.iter(|| listed(black_box(&page))));
}

/// Returns a page in the form that Amazon S3 sends.
fn page(keys: usize) -> String {
    let mut page = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>bucket</Name><Prefix>logs%2F</Prefix>\
         <EncodingType>url</EncodingType><KeyCount>{keys}</KeyCount><MaxKeys>{keys}</MaxKeys><IsTruncated>true</IsTruncated>\
         <NextContinuationToken>1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM=</NextContinuationToken>"
    );
    for number in 0..keys {
        write!(
            page,
            "<Contents><Key>logs%2F2026%2F01%2F02%2Fpart-{number:06}.parquet</Key>\
             <LastModified>2026-01-02T03:04:05.000Z</LastModified><ETag>&quot;{number:032x}&quot;</ETag>\
             <ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType>\
             <Size>{number}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        )
        .unwrap();
    }
    page + "</ListBucketResult>"
}

fn summing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("CRC-32C");
    let chunk = bytes(256 * KIB);
    group.throughput(Throughput::Bytes(chunk.len() as u64));
    group.bench_function("256 KiB", |bench| bench.iter(|| sum_of(black_box(slice::from_ref(&chunk)))));

    let chunks: Vec<_> = (0..64).map(|_| bytes(16 * KIB)).collect();
    let apart = |chunks: &[Bytes]| -> Vec<_> { chunks.chunks(1).chain([chunks]).map(sum_of).collect() };
    assert_eq!(stream_sums(&chunks), apart(&chunks));
    group.throughput(Throughput::Bytes(KIB.pow(2) as u64));
    group.bench_function("64 chunks of 16 KiB and the whole", |bench| {
        bench.iter(|| stream_sums(black_box(&chunks)));
    });
    group.bench_function("64 chunks of 16 KiB and the whole, each byte hashed twice", |bench| {
        bench.iter(|| apart(black_box(&chunks)));
    });
}

fn bytes(len: usize) -> Bytes {
    (0..=u8::MAX).cycle().take(len).collect()
}
