//! Scans the encoding of a message before it is decoded. The scan allocates no memory for the message's contents and
//! skips objects' bytes.

use std::collections::vec_deque;

use bytes::Bytes;

use super::{
    segments::{PREFIX, Segments},
    shape::{Field, Kind, Shape},
};
use crate::api::failure::Failure;

/// The maximum size of texts, keys and numbers in a message, in bytes, in addition to lists and objects' bytes.
const OTHER_BYTES: usize = 1024 * 1024;

/// The maximum number of fields that this release does not know.
const UNKNOWN: usize = 1_024;

/// A compressed message may have one field for each of its bytes, plus this number.
const PACKED_FIELDS: usize = 64;

/// The maximum nesting depth of groups, as in prost.
const DEEPEST_GROUP: usize = 100;

/// Checks a message, including its prefix, against the limits of its method. `packed` is its compressed length, if it
/// was compressed.
pub(super) fn check(message: &Segments, shape: Option<&Shape>, packed: Option<usize>) -> Result<(), Failure> {
    let (fields, ids) = shape.map_or((&[][..], 0), |shape| (&shape.fields[..], shape.ids));
    let mut scan = Scan {
        cursor: Cursor::new(message),
        counts: vec![(0, 0); ids],
        total: 0,
        most: packed.map_or(usize::MAX, |packed| packed + PACKED_FIELDS),
        unknown: 0,
        other_bytes: 0,
    };
    scan.cursor.skip(PREFIX)?;
    let end = scan.cursor.left;
    scan.message(fields, end)
}

struct Scan<'a> {
    cursor: Cursor<'a>,
    /// How often each field of the shape has occurred, and its bytes.
    counts: Vec<(u32, usize)>,
    /// The number of all fields.
    total: usize,
    most: usize,
    unknown: usize,
    other_bytes: usize,
}

impl Scan<'_> {
    /// Reads `len` bytes of fields.
    fn message(&mut self, fields: &[Field], len: usize) -> Result<(), Failure> {
        let end = self.cursor.left.checked_sub(len).ok_or_else(malformed)?;
        let mut groups = 0_usize;
        while self.cursor.left > end {
            let key = u32::try_from(self.cursor.varint()?).map_err(|_| malformed())?;
            let (number, wire_type) = (key >> 3, key & 7);
            self.count_all()?;
            match wire_type {
                3 if groups < DEEPEST_GROUP => groups += 1,
                4 if groups > 0 => groups -= 1,
                3 | 4 => return Err(malformed()),
                _ => {
                    let known = fields.iter().find(|field| field.number == number).filter(|_| groups == 0);
                    self.field(known, wire_type)?;
                    continue;
                }
            }
            self.count_unknown()?;
        }
        if self.cursor.left < end || groups > 0 { Err(malformed()) } else { Ok(()) }
    }

    fn field(&mut self, known: Option<&Field>, wire_type: u32) -> Result<(), Failure> {
        let len = match wire_type {
            0 => {
                self.cursor.varint()?;
                0
            }
            1 => 8,
            2 => usize::try_from(self.cursor.varint()?).map_err(|_| malformed())?,
            5 => 4,
            _ => return Err(malformed()),
        };
        match known {
            None => self.count_unknown()?,
            Some(field) => self.count(field, len)?,
        }
        match known {
            Some(Field { kind: Kind::Message(fields), .. }) if wire_type == 2 => self.message(fields, len),
            _ => self.cursor.skip(len),
        }
    }

    fn count_all(&mut self) -> Result<(), Failure> {
        self.total += 1;
        if self.total <= self.most {
            return Ok(());
        }
        let told = format!(
            "its {} compressed bytes contain more than {} fields",
            self.most - PACKED_FIELDS,
            self.most
        );
        Err(Failure::Malformed(told.into()))
    }

    fn count_unknown(&mut self) -> Result<(), Failure> {
        self.unknown += 1;
        if self.unknown <= UNKNOWN {
            return Ok(());
        }
        Err(Failure::Malformed(
            format!("it contains more than {UNKNOWN} fields that this release does not know").into(),
        ))
    }

    fn count(&mut self, field: &Field, len: usize) -> Result<(), Failure> {
        let Some((count, bytes)) = self.counts.get_mut(field.id) else { return Ok(()) };
        *count += 1;
        if *count > field.most {
            return Err(Failure::field(
                field.path.to_string(),
                format!("must not occur more than {} times", field.most),
            ));
        }
        let most = match (&field.kind, field.most_bytes) {
            // The fields of a message are counted one by one, and a payload has no limit of its own.
            (Kind::Payload, _) | (Kind::Message(_), None) => return Ok(()),
            (_, Some(most)) => {
                *bytes = bytes.saturating_add(len);
                (*bytes > most).then_some(most)
            }
            (_, None) => {
                self.other_bytes = self.other_bytes.saturating_add(len);
                (self.other_bytes > OTHER_BYTES).then_some(OTHER_BYTES)
            }
        };
        match most {
            Some(most) => {
                Err(Failure::field(field.path.to_string(), format!("must not exceed {most} bytes")))
            }
            None => Ok(()),
        }
    }
}

fn malformed() -> Failure {
    Failure::Malformed("it is not valid protobuf".into())
}

/// A position in bytes that are split into several pieces.
struct Cursor<'a> {
    piece: &'a [u8],
    rest: vec_deque::Iter<'a, Bytes>,
    /// The number of bytes left in all pieces.
    left: usize,
}

impl<'a> Cursor<'a> {
    fn new(segments: &'a Segments) -> Self {
        Self { piece: &[], rest: segments.pieces(), left: segments.len() }
    }

    fn byte(&mut self) -> Result<u8, Failure> {
        loop {
            if let Some((first, rest)) = self.piece.split_first() {
                (self.piece, self.left) = (rest, self.left - 1);
                return Ok(*first);
            }
            self.piece = self.rest.next().ok_or_else(malformed)?;
        }
    }

    fn skip(&mut self, len: usize) -> Result<(), Failure> {
        self.left = self.left.checked_sub(len).ok_or_else(malformed)?;
        let mut len = len;
        while len > self.piece.len() {
            len -= self.piece.len();
            self.piece = self.rest.next().ok_or_else(malformed)?;
        }
        self.piece = &self.piece[len..];
        Ok(())
    }

    fn varint(&mut self) -> Result<u64, Failure> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(malformed())
    }
}
