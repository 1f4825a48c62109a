//! Messages with a chunk, as the bytes before the chunk's data and the data itself.

use bytes::{Buf as _, BufMut, Bytes, BytesMut};
use prost::{
    Message,
    encoding::{WireType, decode_varint, encode_key, encode_varint, encoded_len_varint, key_len},
};

use super::frames::{self, Segments};
use crate::pb;

/// The fields of `Chunk`.
const CRC32C: u32 = 1;
const DATA: u32 = 2;
/// A `fixed32` with its key.
const CRC32C_LEN: usize = 5;

/// Data of up to so many bytes goes into one piece with what stands before it: copying it costs less than a frame.
const TOGETHER: usize = 8 * 1024;

/// The longest beginning of a message that is a chunk alone: keys and lengths of the chunk and its data, and a checksum.
const LONGEST_HEAD: usize = 1 + 10 + CRC32C_LEN + 1 + 10;

/// A message of an answer.
pub(super) trait Framed: Message {
    /// Takes out the chunk, where there is one, with the number of its field.
    fn take_chunk(&mut self) -> Option<(u32, pb::Chunk)> {
        None
    }
}

impl Framed for pb::GetResponse {
    fn take_chunk(&mut self) -> Option<(u32, pb::Chunk)> {
        self.chunk.take().map(|chunk| (2, chunk))
    }
}

impl Framed for pb::GetRangesResponse {
    fn take_chunk(&mut self) -> Option<(u32, pb::Chunk)> {
        self.chunk.take().map(|chunk| (4, chunk))
    }
}

impl Framed for pb::UploadResponse {}
impl Framed for pb::WriteUploadResponse {}

/// A message with its length before it, in two pieces: the second is the chunk's data as it was, or empty where
/// that is small. The chunk comes last,
/// and its checksum before its data; the order of fields has no meaning
/// (<https://protobuf.dev/programming-guides/encoding/#order>).
pub(super) fn framed(mut message: impl Framed) -> (BytesMut, Bytes) {
    let chunk = message.take_chunk();
    let rest_len = message.encoded_len();
    let Some((number, pb::Chunk { crc32c, data })) = chunk else {
        let mut head = BytesMut::with_capacity(frames::PREFIX + rest_len);
        frames::put_prefix(&mut head, rest_len);
        put_message(&mut head, &message);
        return (head, Bytes::new());
    };
    let crc32c_len = if crc32c.is_some() { CRC32C_LEN } else { 0 };
    let data_head = if data.is_empty() { 0 } else { key_len(DATA) + length_len(data.len()) };
    let chunk_len = crc32c_len + data_head + data.len();
    let len = rest_len + key_len(number) + length_len(chunk_len) + chunk_len;
    let apart = if data.len() <= TOGETHER { 0 } else { data.len() };
    let mut head = BytesMut::with_capacity(frames::PREFIX + len - apart);
    frames::put_prefix(&mut head, len);
    put_message(&mut head, &message);
    put_length(&mut head, number, chunk_len);
    if let Some(crc32c) = crc32c {
        encode_key(CRC32C, WireType::ThirtyTwoBit, &mut head);
        head.put_u32_le(crc32c);
    }
    if !data.is_empty() {
        put_length(&mut head, DATA, data.len());
    }
    if data.len() <= TOGETHER {
        head.extend_from_slice(&data);
        return (head, Bytes::new());
    }
    (head, data)
}

/// What stands before a chunk's data.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) crc32c: Option<u32>,
}

/// The beginning of a chunk, where the message is `field` alone and that is a chunk whose data ends it, as every generated
/// client writes it; what is left of `message` is then the data. `None` leaves the message as it was.
pub(super) fn take_head(message: &mut Segments, field: u32) -> Option<Head> {
    let mut buffer = [0; LONGEST_HEAD];
    let head = message.peek(&mut buffer);
    let mut rest = head;
    let in_message = |rest: &[u8]| message.len() - (head.len() - rest.len());
    if take_length(&mut rest, field)? != in_message(rest) {
        return None;
    }
    let crc32c = match rest.first() {
        Some(key) if *key == key_byte(CRC32C, WireType::ThirtyTwoBit) && rest.len() >= CRC32C_LEN => {
            rest.advance(1);
            Some(rest.get_u32_le())
        }
        _ => None,
    };
    if take_length(&mut rest, DATA)? != in_message(rest) {
        return None;
    }
    let taken = head.len() - rest.len();
    message.skip(taken);
    Some(Head { crc32c })
}

/// The length of the length-delimited field `number`, if that is what comes next.
fn take_length(rest: &mut &[u8], number: u32) -> Option<usize> {
    if rest.first() != Some(&key_byte(number, WireType::LengthDelimited)) {
        return None;
    }
    rest.advance(1);
    usize::try_from(decode_varint(rest).ok()?).ok()
}

/// The key of a field below 16, which is one byte
/// (<https://protobuf.dev/programming-guides/encoding/#structure>).
fn key_byte(number: u32, wire_type: WireType) -> u8 {
    u8::try_from(number << 3).unwrap_or(u8::MAX) | wire_type as u8
}

fn put_message(head: &mut BytesMut, message: &impl Message) {
    // It grows as it needs to.
    let _ = message.encode(head);
}

fn put_length(head: &mut BytesMut, number: u32, len: usize) {
    encode_key(number, WireType::LengthDelimited, head);
    encode_varint(len as u64, head);
}

fn length_len(len: usize) -> usize {
    encoded_len_varint(len as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every way that a message can lie in DATA frames: cut after each of `cuts`.
    fn segments(bytes: &[u8], cuts: &[usize]) -> Segments {
        let mut segments = Segments::default();
        let mut rest = Bytes::copy_from_slice(bytes);
        for cut in cuts {
            segments.push(rest.split_to(*cut % (rest.len() + 1)));
        }
        segments.push(rest);
        segments
    }

    fn upload(crc32c: Option<u32>, data: Vec<u8>) -> pb::UploadRequest {
        let chunk = pb::Chunk { crc32c, data: data.into() };
        pb::UploadRequest { message: Some(pb::upload_request::Message::Chunk(chunk)) }
    }

    #[test]
    fn a_message_that_is_more_or_other_than_a_chunk_is_left_alone() {
        let spec = pb::UploadRequest {
            message: Some(pb::upload_request::Message::Spec(pb::UploadSpec {
                key: "k".to_owned(),
                ..Default::default()
            })),
        };
        let chunk = upload(Some(1), vec![7; 300]).encode_to_vec();
        let mut data_first = vec![0x12, 8, 0x12, 1, 7, 0x0d, 1, 2, 3, 4];
        data_first[1] = 8;
        for bytes in [
            spec.encode_to_vec(),
            upload(Some(1), Vec::new()).encode_to_vec(),
            [&chunk[..], &spec.encode_to_vec()[..]].concat(),
            [&chunk[..], &[0x28, 1][..]].concat(),
            chunk[..chunk.len() - 1].to_vec(),
            data_first,
            vec![0x12],
            vec![0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            Vec::new(),
        ] {
            let mut message = segments(&bytes, &[]);
            assert_eq!(take_head(&mut message, 2), None, "{bytes:?}");
            assert_eq!(message.join(), bytes);
        }
    }

    proptest! {
        /// prost reads what we write.
        #[test]
        fn a_framed_message_is_what_prost_encodes(
            crc32c: Option<u32>,
            data in proptest::collection::vec(any::<u8>(), 0..400),
            range_index: i32,
            offset: i64,
            has_chunk: bool,
            has_info: bool,
        ) {
            let info = has_info.then(|| pb::GetInfo { range: Some(pb::ContentRange { start: 3, end: 9 }), ..Default::default() });
            let chunk = has_chunk.then(|| pb::Chunk { crc32c, data: data.into() });
            let message = pb::GetRangesResponse { info, range_index, offset, chunk };
            let (head, data) = framed(message.clone());
            let whole = [&head[..], &data[..]].concat();
            prop_assert_eq!(whole[0], 0);
            let len = u32::from_be_bytes(whole[1..5].try_into().unwrap()) as usize;
            prop_assert_eq!(len, whole.len() - frames::PREFIX);
            prop_assert_eq!(pb::GetRangesResponse::decode(&whole[frames::PREFIX..]).unwrap(), message);
        }

        /// We read what prost writes.
        #[test]
        fn an_encoded_chunk_is_taken_apart(
            crc32c: Option<u32>,
            data in proptest::collection::vec(any::<u8>(), 1..400),
            cuts in proptest::collection::vec(any::<usize>(), 0..5),
        ) {
            let encoded = upload(crc32c, data.clone()).encode_to_vec();
            let mut message = segments(&encoded, &cuts);
            prop_assert_eq!(take_head(&mut message, 2), Some(Head { crc32c }));
            prop_assert_eq!(message.join(), data);
        }
    }
}
