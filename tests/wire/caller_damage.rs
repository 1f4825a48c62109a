//! Bits that change on the way between a caller and Longshore. HTTP/2 has no checksum of its own, and TLS often ends at a
//! proxy. Covered are the bytes of objects, in both directions, and framing, gRPC's and protobuf's: whatever changes there, a
//! caller that checks sums, keys and sizes believes in no other bytes. Not covered are attributes, conditions and headers,
//! which have no checksum.

use std::ops::Range;

use bytes::Bytes;
use longshore::pb;
use prost::Message;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::caller::{Caller, Damage, Line, crc32c, framed, upload};

const MIB: usize = 1024 * 1024;

/// Any bytes, and always the same.
fn data(len: usize) -> Bytes {
    let mut data = vec![0; len];
    fastrand::Rng::with_seed(7).fill(&mut data);
    data.into()
}

/// Where each of `pieces` lies in `framed`.
fn places(framed: &[u8], pieces: &[Bytes]) -> Vec<Range<usize>> {
    let mut end = 0;
    let place = |piece: &Bytes| {
        let start = end + framed[end..].windows(piece.len()).position(|window| window == piece).unwrap();
        end = start + piece.len();
        start..end
    };
    pieces.iter().map(place).collect()
}

/// The bits of these bytes.
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

fn told<T>(outcome: Result<T, Status>) -> Option<(Code, String)> {
    let status = outcome.err()?;
    Some((status.code(), status.get_details_error_info()?.reason))
}

fn mismatch() -> Option<(Code, String)> {
    Some((Code::DataLoss, "CHECKSUM_MISMATCH".to_owned()))
}

/// A caller believes an answer to a write that names its key and its size. Then the object has to be there.
fn believed(outcome: &Result<pb::ObjectMeta, Status>, key: &str, data: &Bytes) -> bool {
    outcome.as_ref().is_ok_and(|meta| meta.key == key && meta.size == i64::try_from(data.len()).unwrap())
}

/// Whatever has been written, under whatever key, is `data`.
async fn nothing_else_was_written(witness: &mut Caller, data: &Bytes) {
    for key in witness.keys().await {
        assert_eq!(witness.found(&key).await.as_ref(), Some(&data.to_vec()), "{key}");
    }
}

#[tokio::test]
async fn no_bit_of_the_data_of_a_small_object_changes_unnoticed_on_its_way_to_a_caller() {
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
            assert!(read.complete && !read.chunks && !read.whole, "bit {bit}: either sum tells: {read:?}");
        } else {
            assert!(!read.is_ok_and(|read| read.is_believed() && read.data != data), "bit {bit}");
        }
    }
}

#[tokio::test]
async fn no_bit_of_a_request_makes_another_object_of_the_one_asked_for() {
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
async fn no_bit_of_the_data_of_a_put_changes_unnoticed() {
    let (line, data) = (Line::start().await, data(40));
    let mut witness = line.witness().await;
    let sent = framed(&[put("k", &data)]);
    let payload = bits(places(&sent, std::slice::from_ref(&data)).remove(0));
    for bit in payload.clone() {
        let answer = line.caller(Damage::Up(bit)).await.put(put("k", &data)).await;
        assert_eq!(told(answer), mismatch(), "bit {bit}");
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
async fn no_bit_of_the_data_of_a_small_upload_changes_unnoticed() {
    let line = Line::start().await;
    let mut witness = line.witness().await;
    let chunks = [data(12), data(24).slice(12..)];
    for sums in [(true, false), (false, true)] {
        let sent = framed(&upload("k", &chunks, sums));
        for bit in places(&sent, &chunks).into_iter().flat_map(bits) {
            let answer = line.caller(Damage::Up(bit)).await.upload(upload("k", &chunks, sums)).await;
            assert_eq!(told(answer), mismatch(), "bit {bit}, sums of chunks and whole: {sums:?}");
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

/// The bits of an answer to a write, and those of them that tell the key and the size of `data`, which is under `k`.
fn told_of_the_write(answer: &impl Message, data: &Bytes) -> (Range<usize>, Range<usize>) {
    let answer = framed(std::slice::from_ref(answer));
    let size = u8::try_from(data.len()).unwrap();
    // Fields 1 and 2 of `ObjectMeta`.
    let told = Bytes::from(vec![1 << 3 | 2, 1, b'k', 2 << 3, size]);
    (bits(0..answer.len()), bits(places(&answer, &[told]).remove(0)))
}

/// Whatever the caller of a write was told, the object is there. The next one finds nothing.
async fn is_there_until_now(witness: &mut Caller, data: &Bytes) {
    assert_eq!(witness.keys().await, ["k"]);
    assert_eq!(witness.found("k").await.as_ref(), Some(&data.to_vec()));
    witness.delete("k").await;
}

#[tokio::test]
async fn no_bit_of_the_answer_to_a_put_makes_a_caller_believe_in_another_key_or_size() {
    let (line, data) = (Line::start().await, data(40));
    let mut witness = line.witness().await;
    let answer = witness.put(put("k", &data)).await;
    assert!(believed(&answer, "k", &data), "{answer:?}");
    is_there_until_now(&mut witness, &data).await;
    let (all, told) = told_of_the_write(&pb::PutResponse { meta: answer.ok() }, &data);
    for bit in all {
        let answer = line.caller(Damage::Down(bit)).await.put(put("k", &data)).await;
        assert!(!(told.contains(&bit) && believed(&answer, "k", &data)), "bit {bit}: {answer:?}");
        is_there_until_now(&mut witness, &data).await;
    }
}

#[tokio::test]
async fn no_bit_of_the_answer_to_an_upload_makes_a_caller_believe_in_another_key_or_size() {
    let line = Line::start().await;
    let mut witness = line.witness().await;
    let chunks = [data(12), data(24).slice(12..)];
    let (whole, messages) = (Bytes::from(chunks.concat()), upload("k", &chunks, (true, true)));
    let answer = witness.upload(messages.clone()).await;
    assert!(believed(&answer, "k", &whole), "{answer:?}");
    is_there_until_now(&mut witness, &whole).await;
    let (all, told) = told_of_the_write(&pb::UploadResponse { meta: answer.ok(), parts: 0 }, &whole);
    for bit in all {
        let answer = line.caller(Damage::Down(bit)).await.upload(messages.clone()).await;
        assert!(!(told.contains(&bit) && believed(&answer, "k", &whole)), "bit {bit}: {answer:?}");
        is_there_until_now(&mut witness, &whole).await;
    }
}

/// In a read of many messages: the first chunk's, one on the border of a message, the last.
#[tokio::test]
async fn no_bit_of_the_data_of_a_large_object_changes_unnoticed_on_its_way_to_a_caller() {
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
async fn no_bit_of_the_data_of_a_large_upload_changes_unnoticed() {
    let line = Line::start().await;
    let chunks: Vec<_> = (0..9).map(|_| data(MIB)).collect();
    for sums in [(true, false), (false, true)] {
        let places = places(&framed(&upload("k", &chunks, sums)), &chunks);
        for byte in [places[0].start, places[4].start + 77_777, places[8].end - 1] {
            let bit = byte * 8 + byte % 8;
            let answer = line.caller(Damage::Up(bit)).await.upload(upload("k", &chunks, sums)).await;
            assert_eq!(told(answer), mismatch(), "bit {bit}, sums of chunks and whole: {sums:?}");
        }
    }
    assert_eq!(line.witness().await.keys().await, Vec::<String>::new(), "nothing was written");
}

#[tokio::test]
async fn no_bit_of_the_data_of_ranges_changes_unnoticed_on_its_way_to_a_caller() {
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
            assert!(matches!(read, Ok(None)), "bit {bit}: the sum of the chunk tells: {read:?}");
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
async fn no_bit_of_the_data_of_an_upload_that_outlives_its_connection_changes_unnoticed() {
    let (line, data) = (Line::start().await, data(12));
    let (mut witness, sum) = (line.witness().await, crc32c(&data));
    let id = witness.start_upload("k", data.len()).await;
    let place = |messages: &[_]| places(&framed(messages), std::slice::from_ref(&data)).remove(0);

    let checked = write(&id, &data, Some(sum));
    for bit in bits(place(&checked)) {
        let answer = line.caller(Damage::Up(bit)).await.write_upload(checked.clone()).await;
        assert_eq!(told(answer), mismatch(), "bit {bit}");
    }
    for bit in bits(0..data.len()) {
        let id = witness.start_upload("k", data.len()).await;
        let unchecked = write(&id, &data, None);
        let damage = Damage::Up(place(&unchecked).start * 8 + bit);
        line.caller(damage).await.write_upload(unchecked).await.unwrap();
        assert_eq!(told(witness.finish_upload(&id, sum).await), mismatch(), "bit {bit}");
    }
    assert_eq!(witness.found("k").await, None, "nothing was written");
    witness.write_upload(checked).await.unwrap();
    witness.finish_upload(&id, sum).await.unwrap();
    let read = witness.get(get("k")).await.unwrap();
    assert!(read.complete && read.chunks && read.data == data, "{read:?}");
}

/// A bit of a length can make fields of the data's end, and these can take in the sum that follows.
#[tokio::test]
async fn a_put_that_loses_its_sum_is_told_by_the_size_in_the_answer() {
    let line = Line::start().await;
    let mut data = data(40).to_vec();
    // Read as fields: number 15, of 11 bytes. 6 of them are the data's, and 5 the sum with its key.
    data[32..34].copy_from_slice(&[15 << 3 | 2, 11]);
    let data = Bytes::from(data);
    let sent = framed(&[put("k", &data)]);
    let length = places(&sent, std::slice::from_ref(&data))[0].start - 1;
    assert_eq!(sent[length], 40);
    let answer = line.caller(Damage::Up(length * 8 + 3)).await.put(put("k", &data)).await;
    assert_eq!(answer.as_ref().unwrap().size, 32);
    assert!(!believed(&answer, "k", &data));
}

/// As above, and the data's end has the sum of what is before it.
#[tokio::test]
async fn an_upload_whose_sum_fits_what_is_left_of_its_data_is_refused_by_its_size() {
    let line = Line::start().await;
    let mut data = data(40).to_vec();
    // The sum's field, and number 15, of 1 byte.
    let [a, b, c, d] = crc32c(&data[..32]).to_le_bytes();
    data[32..].copy_from_slice(&[1 << 3 | 5, a, b, c, d, 15 << 3 | 2, 1, 0]);
    let messages = upload("k", &[data.into()], (true, false));
    let sent = framed(&messages);
    let length = sent.len() - framed(&messages[2..]).len() - 40 - 1;
    assert_eq!(sent[length], 40);
    let answer = line.caller(Damage::Up(length * 8 + 3)).await.upload(messages).await;
    assert_eq!(told(answer), Some((Code::InvalidArgument, "SIZE_MISMATCH".to_owned())));
}
