//! Messages with a chunk, as the bytes before the chunk's data and the data itself.

use bytes::{Buf as _, BufMut, Bytes, BytesMut};
use prost::{
    Message,
    encoding::{WireType, decode_varint, encode_key, encode_varint, encoded_len_varint, key_len},
};

use crate::{
    api::{
        messages::{CHUNK_HEAD, PREFIX, put_prefix},
        object::GetMessage,
    },
    pb,
};

/// The fields of `Chunk`.
const CRC32C: u32 = 1;
const DATA: u32 = 2;
/// A `fixed32` with its key.
const CRC32C_LEN: usize = 5;

/// Data of up to so many bytes goes into one piece with what stands before it: copying it costs less than a frame.
const TOGETHER: usize = 8 * 1024;

/// The longest beginning of a message that is a chunk alone: keys and lengths of the chunk and its data, and a checksum.
const LONGEST_HEAD: usize = 1 + 10 + CRC32C_LEN + 1 + 10;

const _: () = assert!(LONGEST_HEAD <= CHUNK_HEAD);

/// A message of an answer.
pub(super) trait Framed {
    /// What it is in protobuf.
    type Message: Message;

    /// Takes out the chunk, where there is one, with the number of its field, and the data that follows what is in it.
    fn take_apart(self) -> (Self::Message, Option<(u32, pb::Chunk)>, Vec<Bytes>);
}

impl Framed for GetMessage {
    type Message = pb::GetResponse;

    fn take_apart(mut self) -> (pb::GetResponse, Option<(u32, pb::Chunk)>, Vec<Bytes>) {
        let chunk = self.response.chunk.take().map(|chunk| (2, chunk));
        (self.response, chunk, self.more)
    }
}

impl Framed for pb::GetRangesResponse {
    type Message = Self;

    fn take_apart(mut self) -> (Self, Option<(u32, pb::Chunk)>, Vec<Bytes>) {
        let chunk = self.chunk.take().map(|chunk| (4, chunk));
        (self, chunk, Vec::new())
    }
}

impl Framed for pb::UploadResponse {
    type Message = Self;

    fn take_apart(self) -> (Self, Option<(u32, pb::Chunk)>, Vec<Bytes>) {
        (self, None, Vec::new())
    }
}

impl Framed for pb::WriteUploadWithProgressResponse {
    type Message = Self;

    fn take_apart(self) -> (Self, Option<(u32, pb::Chunk)>, Vec<Bytes>) {
        (self, None, Vec::new())
    }
}

impl Framed for pb::WriteUploadResponse {
    type Message = Self;

    fn take_apart(self) -> (Self, Option<(u32, pb::Chunk)>, Vec<Bytes>) {
        (self, None, Vec::new())
    }
}

/// A chunk's data in the pieces in which it came.
pub(super) type Data = std::iter::Chain<std::option::IntoIter<Bytes>, std::vec::IntoIter<Bytes>>;

/// A message with its length before it, and after that the chunk's data as it was, or nothing where that is small. The chunk
/// comes last, and its checksum before its data; the order of fields has no meaning
/// (<https://protobuf.dev/programming-guides/encoding/#order>).
pub(super) fn framed(message: impl Framed) -> (BytesMut, Data) {
    let (message, chunk, more) = message.take_apart();
    let rest_len = message.encoded_len();
    let Some((number, pb::Chunk { crc32c, data })) = chunk else {
        let mut head = BytesMut::with_capacity(PREFIX + rest_len);
        put_prefix(&mut head, rest_len);
        put_message(&mut head, &message);
        return (head, None.into_iter().chain(Vec::new()));
    };
    let data_len = data.len() + more.iter().map(Bytes::len).sum::<usize>();
    let crc32c_len = if crc32c.is_some() { CRC32C_LEN } else { 0 };
    let data_head = if data_len == 0 { 0 } else { key_len(DATA) + length_len(data_len) };
    let chunk_len = crc32c_len + data_head + data_len;
    let len = rest_len + key_len(number) + length_len(chunk_len) + chunk_len;
    let apart = if data_len <= TOGETHER { 0 } else { data_len };
    let mut head = BytesMut::with_capacity(PREFIX + len - apart);
    put_prefix(&mut head, len);
    put_message(&mut head, &message);
    put_length(&mut head, number, chunk_len);
    if let Some(crc32c) = crc32c {
        encode_key(CRC32C, WireType::ThirtyTwoBit, &mut head);
        head.put_u32_le(crc32c);
    }
    if data_len > 0 {
        put_length(&mut head, DATA, data_len);
    }
    let data = Some(data).into_iter().chain(more);
    if data_len <= TOGETHER {
        data.for_each(|piece| head.extend_from_slice(&piece));
        return (head, None.into_iter().chain(Vec::new()));
    }
    (head, data)
}

/// The beginning of a chunk, where the message of `len` bytes is `field` alone and that is a chunk whose data ends it, as every
/// generated client writes it: how many bytes stand before the data, and the checksum. `head` is the message's first bytes.
pub(super) fn find_head(head: &[u8], len: usize, field: u32) -> Option<(usize, Option<u32>)> {
    let mut rest = head;
    let in_message = |rest: &[u8]| len - (head.len() - rest.len());
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
    Some((head.len() - rest.len(), crc32c))
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

    /// What is sent, without its length, which is checked.
    fn sent(message: impl Framed) -> Vec<u8> {
        let (head, data) = framed(message);
        let whole = data.fold(head.to_vec(), |whole, piece| [&whole[..], &piece[..]].concat());
        assert_eq!(whole[0], 0);
        assert_eq!(u32::from_be_bytes(whole[1..5].try_into().unwrap()) as usize, whole.len() - PREFIX);
        whole[PREFIX..].to_vec()
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
            assert_eq!(find_head(&bytes[..bytes.len().min(CHUNK_HEAD)], bytes.len(), 2), None, "{bytes:?}");
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
            let whole = sent(message.clone());
            prop_assert_eq!(pb::GetRangesResponse::decode(&whole[..]).unwrap(), message);
        }

        /// Also where the data is in several pieces, large or small.
        #[test]
        fn pieces_are_one_chunk(
            lengths in proptest::collection::vec(prop_oneof![0_usize..300, TOGETHER - 2..TOGETHER + 3], 1..5),
            has_info: bool,
        ) {
            let pieces: Vec<_> = lengths.iter().zip(1..).map(|(len, byte)| Bytes::from(vec![byte; *len])).collect();
            let info = has_info.then(pb::GetInfo::default);
            let chunk = Some(pb::Chunk { crc32c: Some(7), data: pieces[0].clone() });
            let message = || GetMessage { response: pb::GetResponse { info: info.clone(), chunk: chunk.clone() }, more: pieces[1..].to_vec() };
            let read = pb::GetResponse::decode(&sent(message())[..]).unwrap();
            prop_assert_eq!(&read, &message().into_one());
            prop_assert_eq!(read.chunk.unwrap().data, pieces.concat());
        }

        /// We read what prost writes.
        #[test]
        fn an_encoded_chunk_is_taken_apart(
            crc32c: Option<u32>,
            data in proptest::collection::vec(any::<u8>(), 1..400),
        ) {
            let encoded = upload(crc32c, data.clone()).encode_to_vec();
            let head = &encoded[..encoded.len().min(CHUNK_HEAD)];
            let (before, found) = find_head(head, encoded.len(), 2).unwrap();
            prop_assert_eq!(found, crc32c);
            prop_assert_eq!(&encoded[before..], &data);
        }
    }
}
