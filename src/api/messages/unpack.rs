//! Decompresses messages.

use std::io::Read as _;

use bytes::Bytes;
use flate2::bufread::GzDecoder;

use super::segments::{PREFIX, Segments};
use crate::api::failure::Failure;

/// The maximum ratio of a message's size to its compressed size.
const RATIO: usize = 100;

/// The ratio does not apply to messages up to this size, in bytes.
const SMALL: usize = 16 * 1024;

/// The smallest gzip member: header and trailer (RFC 1952, section 2.3).
const SMALLEST: usize = 18;

/// The maximum size of a message whose compressed size is `packed`, if `limit` is the maximum for any message.
pub(super) fn most(packed: usize, limit: usize) -> usize {
    packed.saturating_mul(RATIO).max(SMALL).min(limit)
}

/// The size of the decompressed message, by the last four bytes of the gzip member (RFC 1952, section 2.3.1). Fails if
/// it is more than `limit`, or more than a message with this compressed size may have.
pub(super) fn unpacked_len(packed: &Segments, limit: usize, is_tenants: bool) -> Result<usize, Failure> {
    if packed.len() < SMALLEST {
        return Err(Failure::Malformed("it is not valid gzip data".into()));
    }
    let mut trailer = [0; 4];
    let skipped = packed.len() - trailer.len();
    packed.copy_from(skipped, &mut trailer);
    let len = usize::try_from(u32::from_le_bytes(trailer)).unwrap_or(usize::MAX);
    if len > limit {
        return Err(Failure::MessageTooLarge { limit, is_tenants });
    }
    let most = most(packed.len(), limit);
    if len > most {
        let told = format!(
            "its {} compressed bytes expand to {len}, more than the {most} allowed: send it uncompressed",
            packed.len()
        );
        return Err(Failure::Malformed(told.into()));
    }
    Ok(len)
}

/// Decompresses the message to `len` bytes, with the prefix of an uncompressed message before it.
pub(super) fn unpack(packed: Segments, len: usize) -> Result<Bytes, Failure> {
    let broken = |error: &dyn std::fmt::Display| {
        Failure::Malformed(format!("it is not valid gzip data: {error}").into())
    };
    let packed = packed.join();
    let mut message = Vec::with_capacity(PREFIX + len);
    message.push(0);
    message.extend_from_slice(&u32::try_from(len).map_err(|error| broken(&error))?.to_be_bytes());
    // Read one byte more: the decoder verifies the trailer when it reaches the end.
    let mut decoder = GzDecoder::new(&packed[..]).take(len as u64 + 1);
    decoder.read_to_end(&mut message).map_err(|error| broken(&error))?;
    if message.len() != PREFIX + len {
        return Err(broken(&"its length differs from the length in the gzip trailer"));
    }
    Ok(message.into())
}

#[cfg(test)]
pub(super) mod testing {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};

    /// `bytes` compressed with gzip.
    pub(in super::super) fn pack(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::{testing::pack, *};

    fn segments(bytes: &[u8]) -> Segments {
        let mut segments = Segments::default();
        bytes.chunks(7).for_each(|piece| segments.push(Bytes::copy_from_slice(piece)));
        segments
    }

    fn unpacked(packed: &[u8], limit: usize) -> Result<Bytes, Failure> {
        let len = unpacked_len(&segments(packed), limit, true)?;
        unpack(segments(packed), len)
    }

    #[test]
    fn a_decompressed_message_has_a_prefix() {
        for message in [&b""[..], b"a", &[7; 300]] {
            let found = unpacked(&pack(message), 300).unwrap();
            assert_eq!(
                found[..PREFIX],
                [
                    0,
                    0,
                    0,
                    u8::try_from(message.len() >> 8).unwrap(),
                    u8::try_from(message.len() & 0xff).unwrap()
                ]
            );
            assert_eq!(found[PREFIX..], *message);
        }
    }

    #[test]
    fn messages_that_expand_too_much_are_rejected_before_decompression() {
        assert!(matches!(unpacked(&pack(&[0; 301]), 300), Err(Failure::MessageTooLarge { limit: 300, .. })));
        let bomb = pack(&vec![0; 100_000]);
        assert!(bomb.len() < 1_000);
        assert!(matches!(unpacked(&bomb, usize::MAX), Err(Failure::Malformed(_))));
        assert!(unpacked(&pack(&[0; SMALL]), usize::MAX).is_ok());
    }

    #[test]
    fn a_wrong_length_in_the_trailer_is_malformed() {
        let packed = pack(&[1; 1_000]);
        for claimed in [0_u32, 999, 1_001] {
            let mut lying = packed.clone();
            let at = lying.len() - 4;
            lying[at..].copy_from_slice(&claimed.to_le_bytes());
            assert!(matches!(unpacked(&lying, 2_000), Err(Failure::Malformed(_))), "{claimed}");
        }
        for broken in [&b"no gzip at all, but long enough"[..], b"short", &packed[..packed.len() - 1]] {
            assert!(unpacked(broken, usize::MAX).is_err());
        }
    }
}
