//! Bits that flip in transit between a caller and Longshore. HTTP/2 has no checksum of its own, and TLS often ends at
//! a proxy. These tests cover the bytes of objects in both directions, and the framing of gRPC and protobuf. Whatever
//! flips there, a caller that verifies checksums, keys and sizes accepts no wrong bytes. The tests do not cover
//! attributes, conditions and headers, which have no checksum.

use std::ops::Range;

use bytes::Bytes;
use longshore::pb;
use prost::Message;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::caller::{Caller, Damage, Line, crc32c, framed, upload};

const MIB: usize = 1024 * 1024;

/// Pseudo-random bytes, the same on every call.
fn data(len: usize) -> Bytes {
    let mut data = vec![0; len];
    fastrand::Rng::with_seed(7).fill(&mut data);
    data.into()
}

/// The position of each of `pieces` in `framed`.
fn places(framed: &[u8], pieces: &[Bytes]) -> Vec<Range<usize>> {
    let mut end = 0;
    let place = |piece: &Bytes| {
        let start = end + framed[end..].windows(piece.len()).position(|window| window == piece).unwrap();
        end = start + piece.len();
        start..end
    };
    pieces.iter().map(place).collect()
}

/// The positions of the bits in these bytes.
fn bits(bytes: Range<usize>) -> Range<usize> {
    bytes.start * 8..bytes.end * 8
}

fn get(key: &str) -> pb::GetRequest {
    pb::GetRequest { key: key.to_owned(), ..Default::default() }
}

fn put(key: &str, data: &Bytes) -> pb::PutRequest {
    pb::PutRequest {
        key: key.to_owned(),
        data: data.clone(),
        crc32c: Some(crc32c(data)),
        ..Default::default()
    }
}

fn code_and_reason<T>(outcome: Result<T, Status>) -> Option<(Code, String)> {
    let status = outcome.err()?;
    Some((status.code(), status.get_details_error_info()?.reason))
}

fn mismatch() -> Option<(Code, String)> {
    Some((Code::DataLoss, "CHECKSUM_MISMATCH".to_owned()))
}

/// Whether the caller accepts the response to a write: it has the right key and size. The object must then exist.
fn believed(outcome: &Result<pb::ObjectMeta, Status>, key: &str, data: &Bytes) -> bool {
    outcome.as_ref().is_ok_and(|meta| meta.key == key && meta.size == i64::try_from(data.len()).unwrap())
}

/// Asserts that every object, under any key, contains `data`.
async fn nothing_else_was_written(witness: &mut Caller, data: &Bytes) {
    for key in witness.keys().await {
        assert_eq!(witness.found(&key).await.as_ref(), Some(&data.to_vec()), "{key}");
    }
}

#[tokio::test]
async fn a_bit_flip_in_the_response_to_a_get_is_detected() {
    let (line, data) = (Line::start().await, data(40));
    let mut witness = line.witness().await;
    witness.put(put("k", &data)).await.unwrap();
    let read = witness.get(get("k")).await.unwrap();
    assert!(read.is_believed() && read.data == data, "{read:?}");
    let (all, payload) = (read.framed, read.framed - data.len()..read.framed);
    for bit in bits(0..all) {
        let read = line.caller(Damage::Down(bit)).await.get(get("k")).await;
        if bits(payload.clone()).contains(&bit) {
            let read = read.unwrap();
            assert!(
                read.complete && !read.chunks && !read.whole,
                "bit {bit}: both checksums must fail: {read:?}"
            );
        } else {
            assert!(!read.is_ok_and(|read| read.is_believed() && read.data != data), "bit {bit}");
        }
    }
}

#[tokio::test]
async fn a_bit_flip_in_a_get_request_returns_no_other_object() {
    let (line, data) = (Line::start().await, data(40));
    let mut witness = line.witness().await;
    witness.put(put("k", &data)).await.unwrap();
    for other in ["c", "i", "j", "o", "{", "K", "+"] {
        witness.put(put(other, &data.slice(1..))).await.unwrap();
    }
    let sent = framed(&[get("k")]);
    let key = bits(places(&sent, &[Bytes::from_static(b"k")]).remove(0));
    for bit in bits(0..sent.len()) {
        let read = line.caller(Damage::Up(bit)).await.get(get("k")).await;
        assert!(
            !read.is_ok_and(|read| read.is_believed() && (read.data != data || key.contains(&bit))),
            "bit {bit}"
        );
    }
}

#[tokio::test]
async fn a_bit_flip_in_a_put_is_detected() {
    let (line, data) = (Line::start().await, data(40));
    let mut witness = line.witness().await;
    let sent = framed(&[put("k", &data)]);
    let payload = bits(places(&sent, std::slice::from_ref(&data)).remove(0));
    for bit in payload.clone() {
        let answer = line.caller(Damage::Up(bit)).await.put(put("k", &data)).await;
        assert_eq!(code_and_reason(answer), mismatch(), "bit {bit}");
    }
    assert_eq!(witness.found("k").await, None, "nothing was written");
    for bit in bits(0..sent.len()).filter(|bit| !payload.contains(bit)) {
        let answer = line.caller(Damage::Up(bit)).await.put(put("k", &data)).await;
        let there = witness.found("k").await;
        assert!(there.is_some() || !believed(&answer, "k", &data), "bit {bit}");
        assert!(there.is_none_or(|there| there == data), "bit {bit}");
        witness.delete("k").await;
    }
    nothing_else_was_written(&mut witness, &data).await;
}

#[tokio::test]
async fn a_bit_flip_in_a_small_upload_is_detected() {
    let line = Line::start().await;
    let mut witness = line.witness().await;
    let chunks = [data(12), data(24).slice(12..)];
    for sums in [(true, false), (false, true)] {
        let sent = framed(&upload("k", &chunks, sums));
        for bit in places(&sent, &chunks).into_iter().flat_map(bits) {
            let answer = line.caller(Damage::Up(bit)).await.upload(upload("k", &chunks, sums)).await;
            assert_eq!(
                code_and_reason(answer),
                mismatch(),
                "bit {bit}, checksums of chunks and whole: {sums:?}"
            );
        }
    }
    assert_eq!(witness.found("k").await, None, "nothing was written");

    let whole = Bytes::from(chunks.concat());
    let sent = framed(&upload("k", &chunks, (true, true)));
    for bit in bits(0..sent.len()) {
        let answer = line.caller(Damage::Up(bit)).await.upload(upload("k", &chunks, (true, true))).await;
        let there = witness.found("k").await;
        assert!(there.is_some() || !believed(&answer, "k", &whole), "bit {bit}");
        assert!(there.is_none_or(|there| there == whole), "bit {bit}");
        witness.delete("k").await;
    }
    nothing_else_was_written(&mut witness, &whole).await;
}

/// The bits of the response to a write, and those of its bits that contain the key `k` and the size of `data`.
fn told_of_the_write(answer: &impl Message, data: &Bytes) -> (Range<usize>, Range<usize>) {
    let answer = framed(std::slice::from_ref(answer));
    let size = u8::try_from(data.len()).unwrap();
    // Fields 1 and 2 of `ObjectMeta`.
    let code_and_reason = Bytes::from(vec![1 << 3 | 2, 1, b'k', 2 << 3, size]);
    (bits(0..answer.len()), bits(places(&answer, &[code_and_reason]).remove(0)))
}

/// Asserts that the object exists, whatever the response to the write was. Deletes it before the next write.
async fn is_there_until_now(witness: &mut Caller, data: &Bytes) {
    assert_eq!(witness.keys().await, ["k"]);
    assert_eq!(witness.found("k").await.as_ref(), Some(&data.to_vec()));
    witness.delete("k").await;
}

#[tokio::test]
async fn a_bit_flip_in_the_key_or_size_of_a_put_response_is_detected() {
    let (line, data) = (Line::start().await, data(40));
    let mut witness = line.witness().await;
    let answer = witness.put(put("k", &data)).await;
    assert!(believed(&answer, "k", &data), "{answer:?}");
    is_there_until_now(&mut witness, &data).await;
    let (all, code_and_reason) = told_of_the_write(&pb::PutResponse { meta: answer.ok() }, &data);
    for bit in all {
        let answer = line.caller(Damage::Down(bit)).await.put(put("k", &data)).await;
        assert!(!(code_and_reason.contains(&bit) && believed(&answer, "k", &data)), "bit {bit}: {answer:?}");
        is_there_until_now(&mut witness, &data).await;
    }
}

#[tokio::test]
async fn a_bit_flip_in_the_key_or_size_of_an_upload_response_is_detected() {
    let line = Line::start().await;
    let mut witness = line.witness().await;
    let chunks = [data(12), data(24).slice(12..)];
    let (whole, messages) = (Bytes::from(chunks.concat()), upload("k", &chunks, (true, true)));
    let answer = witness.upload(messages.clone()).await;
    assert!(believed(&answer, "k", &whole), "{answer:?}");
    is_there_until_now(&mut witness, &whole).await;
    let (all, code_and_reason) =
        told_of_the_write(&pb::UploadResponse { meta: answer.ok(), parts: 0 }, &whole);
    for bit in all {
        let answer = line.caller(Damage::Down(bit)).await.upload(messages.clone()).await;
        assert!(!(code_and_reason.contains(&bit) && believed(&answer, "k", &whole)), "bit {bit}: {answer:?}");
        is_there_until_now(&mut witness, &whole).await;
    }
}

/// Flips bits of a read with many messages: in the first chunk, at the boundary of a message, and in the last chunk.
#[tokio::test]
async fn a_bit_flip_in_a_large_object_is_detected() {
    let line = Line::start().await;
    let chunks: Vec<_> = (0..9).map(|_| data(MIB)).collect();
    let mut witness = line.witness().await;
    witness.upload(upload("k", &chunks, (true, true))).await.unwrap();
    let read = witness.get(get("k")).await.unwrap();
    assert!(read.is_believed() && read.data == chunks.concat());
    for byte in [1024, 64 * 1024, 3 * MIB + 5, 8 * MIB, 9 * MIB] {
        let bit = byte * 8 + byte % 7;
        let read = line.caller(Damage::Down(bit)).await.get(get("k")).await;
        assert!(!read.is_ok_and(|read| read.is_believed()), "bit {bit}");
    }
}

#[tokio::test]
async fn a_bit_flip_in_a_large_upload_is_detected() {
    let line = Line::start().await;
    let chunks: Vec<_> = (0..9).map(|_| data(MIB)).collect();
    for sums in [(true, false), (false, true)] {
        let places = places(&framed(&upload("k", &chunks, sums)), &chunks);
        for byte in [places[0].start, places[4].start + 77_777, places[8].end - 1] {
            let bit = byte * 8 + byte % 8;
            let answer = line.caller(Damage::Up(bit)).await.upload(upload("k", &chunks, sums)).await;
            assert_eq!(
                code_and_reason(answer),
                mismatch(),
                "bit {bit}, checksums of chunks and whole: {sums:?}"
            );
        }
    }
    assert_eq!(line.witness().await.keys().await, Vec::<String>::new(), "nothing was written");
}

#[tokio::test]
async fn a_bit_flip_in_the_response_to_get_ranges_is_detected() {
    let (line, data, ranges) = (Line::start().await, data(40), [30..40, 0..8]);
    let mut witness = line.witness().await;
    witness.put(put("k", &data)).await.unwrap();
    let wanted = [&data[30..40], &data[..8]].concat();
    let (read, all) = witness.get_ranges("k", &ranges).await.unwrap().unwrap();
    assert_eq!(read, wanted);
    let payload: Vec<_> =
        places(&all, &[data.slice(30..40), data.slice(..8)]).into_iter().flat_map(bits).collect();
    for bit in bits(0..all.len()) {
        let read = line.caller(Damage::Down(bit)).await.get_ranges("k", &ranges).await;
        if payload.contains(&bit) {
            assert!(matches!(read, Ok(None)), "bit {bit}: the chunk's checksum must fail: {read:?}");
        } else {
            assert!(read.ok().flatten().is_none_or(|(read, _)| read == wanted), "bit {bit}");
        }
    }
}

/// The messages of a `WriteUpload`.
fn write(upload_id: &str, data: &Bytes, crc32c: Option<u32>) -> Vec<pb::WriteUploadRequest> {
    use pb::write_upload_request::Message;
    let spec = pb::WriteUploadSpec { upload_id: upload_id.to_owned(), offset: 0 };
    let messages = [Message::Spec(spec), Message::Chunk(pb::Chunk { crc32c, data: data.clone() })];
    messages.map(|message| pb::WriteUploadRequest { message: Some(message) }).to_vec()
}

#[tokio::test]
async fn a_bit_flip_in_an_upload_that_outlives_its_connection_is_detected() {
    let (line, data) = (Line::start().await, data(12));
    let (mut witness, sum) = (line.witness().await, crc32c(&data));
    let id = witness.start_upload("k", data.len()).await;
    let place = |messages: &[_]| places(&framed(messages), std::slice::from_ref(&data)).remove(0);

    let checked = write(&id, &data, Some(sum));
    for bit in bits(place(&checked)) {
        let answer = line.caller(Damage::Up(bit)).await.write_upload(checked.clone()).await;
        assert_eq!(code_and_reason(answer), mismatch(), "bit {bit}");
    }
    for bit in bits(0..data.len()) {
        let id = witness.start_upload("k", data.len()).await;
        let unchecked = write(&id, &data, None);
        let damage = Damage::Up(place(&unchecked).start * 8 + bit);
        line.caller(damage).await.write_upload(unchecked).await.unwrap();
        assert_eq!(code_and_reason(witness.finish_upload(&id, sum).await), mismatch(), "bit {bit}");
    }
    assert_eq!(witness.found("k").await, None, "nothing was written");
    witness.write_upload(checked).await.unwrap();
    witness.finish_upload(&id, sum).await.unwrap();
    let read = witness.get(get("k")).await.unwrap();
    assert!(read.complete && read.chunks && read.data == data, "{read:?}");
}

/// A bit flip in a length can turn the end of the data into fields, and these can swallow the checksum that follows.
#[tokio::test]
async fn a_put_that_loses_its_checksum_is_detected_by_the_size_in_the_response() {
    let line = Line::start().await;
    let mut data = data(40).to_vec();
    // Parsed as a field: number 15, with 11 bytes. 6 of them come from the data, and 5 are the checksum and its tag.
    data[32..34].copy_from_slice(&[15 << 3 | 2, 11]);
    let data = Bytes::from(data);
    let sent = framed(&[put("k", &data)]);
    let length = places(&sent, std::slice::from_ref(&data))[0].start - 1;
    assert_eq!(sent[length], 40);
    let answer = line.caller(Damage::Up(length * 8 + 3)).await.put(put("k", &data)).await;
    assert_eq!(answer.as_ref().unwrap().size, 32);
    assert!(!believed(&answer, "k", &data));
}

/// As above, but the end of the data contains the checksum of the data before it.
#[tokio::test]
async fn an_upload_whose_checksum_matches_its_truncated_data_is_rejected_by_its_size() {
    let line = Line::start().await;
    let mut data = data(40).to_vec();
    // The checksum's field, then field number 15 with 1 byte.
    let [a, b, c, d] = crc32c(&data[..32]).to_le_bytes();
    data[32..].copy_from_slice(&[1 << 3 | 5, a, b, c, d, 15 << 3 | 2, 1, 0]);
    let messages = upload("k", &[data.into()], (true, false));
    let sent = framed(&messages);
    let length = sent.len() - framed(&messages[2..]).len() - 40 - 1;
    assert_eq!(sent[length], 40);
    let answer = line.caller(Damage::Up(length * 8 + 3)).await.upload(messages).await;
    assert_eq!(code_and_reason(answer), Some((Code::InvalidArgument, "SIZE_MISMATCH".to_owned())));
}
