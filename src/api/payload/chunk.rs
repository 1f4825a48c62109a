//! Encodes messages with a chunk as a head and the chunk's data, and finds the data in received messages.

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

/// The field numbers of `Chunk`.
const CRC32C: u32 = 1;
const DATA: u32 = 2;
/// The length of a `fixed32` with its key.
const CRC32C_LEN: usize = 5;

/// Data up to this size, in bytes, is copied into the same piece as the head: copying costs less than a separate frame.
const TOGETHER: usize = 8 * 1024;

/// The maximum length of the head of a message that contains only a chunk: the keys and lengths of the chunk and its
/// data, and a checksum.
const LONGEST_HEAD: usize = 1 + 10 + CRC32C_LEN + 1 + 10;

const _: () = assert!(LONGEST_HEAD <= CHUNK_HEAD);

/// A message of a response.
pub(super) trait Framed {
    /// The protobuf message.
    type Message: Message;

    /// Separates the message from its chunk, if it has one. Returns the chunk with its field number, and the data that
    /// follows the chunk's own.
    fn split_chunk(self) -> (Self::Message, Option<(u32, pb::Chunk)>, Vec<Bytes>);
}

impl Framed for GetMessage {
    type Message = pb::GetResponse;

    fn split_chunk(mut self) -> (pb::GetResponse, Option<(u32, pb::Chunk)>, Vec<Bytes>) {
        let chunk = self.response.chunk.take().map(|chunk| (2, chunk));
        (self.response, chunk, self.more)
    }
}

impl Framed for pb::GetRangesResponse {
    type Message = Self;

    fn split_chunk(mut self) -> (Self, Option<(u32, pb::Chunk)>, Vec<Bytes>) {
        let chunk = self.chunk.take().map(|chunk| (4, chunk));
        (self, chunk, Vec::new())
    }
}

impl Framed for pb::UploadResponse {
    type Message = Self;

    fn split_chunk(self) -> (Self, Option<(u32, pb::Chunk)>, Vec<Bytes>) {
        (self, None, Vec::new())
    }
}

impl Framed for pb::WriteUploadWithProgressResponse {
    type Message = Self;

    fn split_chunk(self) -> (Self, Option<(u32, pb::Chunk)>, Vec<Bytes>) {
        (self, None, Vec::new())
    }
}

impl Framed for pb::WriteUploadResponse {
    type Message = Self;

    fn split_chunk(self) -> (Self, Option<(u32, pb::Chunk)>, Vec<Bytes>) {
        (self, None, Vec::new())
    }
}

/// A chunk's data in the pieces in which it arrived.
pub(super) type Data = std::iter::Chain<std::option::IntoIter<Bytes>, std::vec::IntoIter<Bytes>>;

/// Encodes a message with its length prefix. Returns the encoded head and the chunk's data; the data is part of the
/// head if it is small. The chunk comes last, and its checksum before its data. The order of fields has no meaning in
/// protobuf (<https://protobuf.dev/programming-guides/encoding/#order>).
pub(super) fn framed(message: impl Framed) -> (BytesMut, Data) {
    let (message, chunk, more) = message.split_chunk();
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

/// Finds the data of a chunk in a message of `len` bytes. `head` is the beginning of the message. Returns the offset of
/// the data and the checksum if the message contains only `field`, and `field` is a chunk that ends with its data, as
/// every generated client encodes it.
pub(super) fn find_chunk_data(head: &[u8], len: usize, field: u32) -> Option<(usize, Option<u32>)> {
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

/// The length of the length-delimited field `number`, if that field comes next.
fn take_length(rest: &mut &[u8], number: u32) -> Option<usize> {
    if rest.first() != Some(&key_byte(number, WireType::LengthDelimited)) {
        return None;
    }
    rest.advance(1);
    usize::try_from(decode_varint(rest).ok()?).ok()
}

/// The key of a field with a number below 16, which takes one byte
/// (<https://protobuf.dev/programming-guides/encoding/#structure>).
fn key_byte(number: u32, wire_type: WireType) -> u8 {
    u8::try_from(number << 3).unwrap_or(u8::MAX) | wire_type as u8
}

fn put_message(head: &mut BytesMut, message: &impl Message) {
    // The buffer grows, so this cannot fail.
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

    /// The encoded message without its length prefix, which is verified.
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
    fn a_message_that_is_not_only_a_chunk_is_not_split() {
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
            assert_eq!(
                find_chunk_data(&bytes[..bytes.len().min(CHUNK_HEAD)], bytes.len(), 2),
                None,
                "{bytes:?}"
            );
        }
    }

    proptest! {
        /// prost decodes what we encode.
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

        /// The same for data in several pieces, large or small.
        #[test]
        fn several_pieces_are_encoded_as_one_chunk(
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

        /// We split what prost encodes.
        #[test]
        fn an_encoded_chunk_is_split(
            crc32c: Option<u32>,
            data in proptest::collection::vec(any::<u8>(), 1..400),
        ) {
            let encoded = upload(crc32c, data.clone()).encode_to_vec();
            let head = &encoded[..encoded.len().min(CHUNK_HEAD)];
            let (before, found) = find_chunk_data(head, encoded.len(), 2).unwrap();
            prop_assert_eq!(found, crc32c);
            prop_assert_eq!(&encoded[before..], &data);
        }
    }
}
