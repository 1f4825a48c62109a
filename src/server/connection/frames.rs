//! Finds the frame headers in a caller's bytes, to count frames without decoding them.
//! <https://www.rfc-editor.org/rfc/rfc9113#section-4.1>

/// The length of the connection preface, `PRI * HTTP/2.0…`, which precedes the first frame.
const PREFACE: usize = 24;

/// The length of a frame header.
const HEADER: usize = 9;

/// Frame types.
pub(super) mod kind {
    pub(in crate::server::connection) const DATA: u8 = 0x0;
    pub(in crate::server::connection) const HEADERS: u8 = 0x1;
    pub(in crate::server::connection) const RST_STREAM: u8 = 0x3;
    pub(in crate::server::connection) const SETTINGS: u8 = 0x4;
    pub(in crate::server::connection) const CONTINUATION: u8 = 0x9;
}

/// The flag of padded DATA: its first byte is the length of the padding at its end.
const PADDED: u8 = 0x8;

/// The flag of the last HEADERS or CONTINUATION frame of a header block.
const END_HEADERS: u8 = 0x4;

/// The flag of the last DATA or HEADERS frame of a stream.
const END_STREAM: u8 = 0x1;

/// The flag of SETTINGS that acknowledge the server's.
const ACK: u8 = 0x1;

/// A frame whose header has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: u8,
    flags: u8,
    pub(super) stream: u32,
    /// The length of its payload in bytes; for DATA, without padding.
    pub(super) len: usize,
}

impl Frame {
    fn new(header: &[u8; HEADER]) -> Self {
        let [a, b, c, kind, flags, stream @ ..] = *header;
        Self {
            kind,
            flags,
            stream: u32::from_be_bytes(stream) & (u32::MAX >> 1),
            len: u32::from_be_bytes([0, a, b, c]) as usize,
        }
    }

    /// Whether it acknowledges SETTINGS.
    pub(super) fn is_ack(self) -> bool {
        self.kind == kind::SETTINGS && self.flags & ACK != 0
    }

    /// Whether it is the last DATA frame of its stream.
    pub(super) fn ends_data(self) -> bool {
        self.kind == kind::DATA && self.flags & END_STREAM != 0
    }

    /// Whether CONTINUATION frames must follow it; `None` if the frame is not part of a header block.
    pub(super) fn leaves_block_open(self) -> Option<bool> {
        matches!(self.kind, kind::HEADERS | kind::CONTINUATION).then_some(self.flags & END_HEADERS == 0)
    }
}

/// Finds frame headers in the bytes of a connection, however the bytes are split.
#[derive(Debug)]
pub(super) struct FrameHeaders {
    /// How many bytes to skip before the next header.
    skip: usize,
    header: [u8; HEADER],
    filled: usize,
    /// A DATA frame whose padding length is the next byte.
    padded: Option<Frame>,
}

impl Default for FrameHeaders {
    fn default() -> Self {
        Self { skip: PREFACE, header: [0; HEADER], filled: 0, padded: None }
    }
}

impl FrameHeaders {
    /// Reads the next bytes, and passes each frame whose header they complete to `found`.
    pub(super) fn read(&mut self, mut bytes: &[u8], mut found: impl FnMut(Frame)) {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            if let Some(frame) = self.padded.take_if(|_| !bytes.is_empty()) {
                let padding = usize::from(bytes[0]);
                (self.skip, bytes) = (frame.len - 1, &bytes[1..]);
                found(Frame { len: (frame.len - 1).saturating_sub(padding), ..frame });
                continue;
            }
            let taken = (HEADER - self.filled).min(bytes.len());
            self.header[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            bytes = &bytes[taken..];
            if self.filled == HEADER {
                let frame = Frame::new(&self.header);
                self.filled = 0;
                if frame.kind == kind::DATA && frame.flags & PADDED != 0 && frame.len > 0 {
                    self.padded = Some(frame);
                } else {
                    self.skip = frame.len;
                    found(frame);
                }
            }
        }
    }

    /// How many bytes of the frame that has begun are still missing, without those of an incomplete header.
    pub(super) fn rest_of_frame(&self) -> usize {
        self.skip
    }

    /// Whether the last byte read lies within a frame or the preface.
    pub(super) fn is_within_frame(&self) -> bool {
        self.skip > 0 || self.filled > 0 || self.padded.is_some()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(frames: &[(u8, u8, u32, usize)]) -> Vec<u8> {
        let mut bytes = vec![b'P'; PREFACE];
        for (kind, flags, stream, len) in frames {
            bytes.extend_from_slice(&u32::try_from(*len).unwrap().to_be_bytes()[1..]);
            bytes.extend([*kind, *flags]);
            bytes.extend(stream.to_be_bytes());
            bytes.extend(vec![0xff; *len]);
        }
        bytes
    }

    proptest! {
        #[test]
        fn frames_are_found_however_the_bytes_are_split(
            frames in proptest::collection::vec((any::<u8>(), any::<u8>(), 0..=u32::MAX >> 1, 0_usize..300), 0..8),
            size in 1_usize..40,
        ) {
            let (mut headers, mut found) = (FrameHeaders::default(), Vec::new());
            prop_assert!(headers.is_within_frame());
            for piece in encoded(&frames).chunks(size) {
                headers.read(piece, |frame| found.push((frame.kind, frame.flags, frame.stream, frame.len)));
            }
            let without_padding = |(kind, flags, stream, len): (u8, u8, u32, usize)| {
                let padded = kind == kind::DATA && flags & PADDED != 0 && len > 0;
                (kind, flags, stream, if padded { (len - 1).saturating_sub(0xff) } else { len })
            };
            let expected: Vec<_> = frames.into_iter().map(without_padding).collect();
            prop_assert_eq!(found, expected);
            prop_assert!(!headers.is_within_frame());
        }
    }

    #[test]
    fn a_header_block_is_open_until_its_last_frame() {
        let open = |kind, flags| Frame { kind, flags, stream: 1, len: 0 }.leaves_block_open();
        assert_eq!(open(kind::HEADERS, 0), Some(true));
        assert_eq!(open(kind::HEADERS, END_HEADERS), Some(false));
        assert_eq!(open(kind::CONTINUATION, 0), Some(true));
        assert_eq!(open(kind::DATA, END_HEADERS), None);
    }

    #[test]
    fn the_last_data_frame_of_a_stream_is_recognized() {
        let ends = |kind, flags| Frame { kind, flags, stream: 1, len: 0 }.ends_data();
        assert!(ends(kind::DATA, END_STREAM | PADDED));
        assert!(!ends(kind::DATA, PADDED));
        // Trailers that have begun to arrive end the stream only once they are complete.
        assert!(!ends(kind::HEADERS, END_STREAM));
    }
}
