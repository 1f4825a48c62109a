//! Which bytes of an object a requested range selects, and whether a response has them.

use std::{fmt::Display, ops::Range};

use crate::store::{ByteRange, Error, ErrorKind};

/// Returns the bytes that `range` selects in an object of `size` bytes. Fails if the range starts after the end of the
/// object. A range that starts at the end is valid only if it is a bounded range without bytes (`start == end`), or a
/// suffix of at least one byte of an empty object. `name` names the range in the error.
pub(in crate::store) fn resolve(
    range: ByteRange,
    size: u64,
    name: impl Display,
) -> Result<Range<u64>, Error> {
    let (start, end) = match range {
        ByteRange::Bounded { start, end } => (start, end.min(size)),
        ByteRange::Offset(start) => (start, size),
        ByteRange::Suffix(length) => (size.saturating_sub(length), size),
    };
    let empty = matches!(range, ByteRange::Bounded { start, end } if start == end);
    // By RFC 9110, section 14.1.2, such a suffix is the whole object.
    let suffix_of_empty = matches!(range, ByteRange::Suffix(1..)) && size == 0;
    if start > size || (start == size && !empty && !suffix_of_empty) {
        let message = format!("{name} starts at byte {start}, but the object has {size} bytes");
        return Err(Error::new(ErrorKind::RangeNotSatisfiable, message));
    }
    Ok(start..end.max(start))
}

/// Fails if a response with the bytes `received` lacks any of the requested ones. A server that does not support ranges
/// sends the whole object.
pub(in crate::store) fn check_covers(received: Range<u64>, requested: &Range<u64>) -> Result<(), Error> {
    if received.start <= requested.start && requested.end <= received.end {
        return Ok(());
    }
    Err(Error::new(ErrorKind::BackendProtocol, "S3 returned a different range from the one requested"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_clamped_to_the_object_or_rejected() {
        let bounded = |start, end| ByteRange::Bounded { start, end };
        let of = |range, size| resolve(range, size, "it").map_err(|error| error.kind());
        let rejected = Err(ErrorKind::RangeNotSatisfiable);
        assert_eq!(of(bounded(2, 5), 10), Ok(2..5));
        assert_eq!(of(bounded(2, 50), 10), Ok(2..10));
        assert_eq!(of(bounded(10, 10), 10), Ok(10..10), "an empty range at the end");
        assert_eq!(of(bounded(10, 12), 10), rejected);
        assert_eq!(of(bounded(11, 11), 10), rejected);
        assert_eq!(of(bounded(0, 0), 0), Ok(0..0));
        assert_eq!(of(ByteRange::Offset(4), 10), Ok(4..10));
        assert_eq!(of(ByteRange::Offset(10), 10), rejected);
        assert_eq!(of(ByteRange::Offset(0), 0), rejected);
        assert_eq!(of(ByteRange::Suffix(3), 10), Ok(7..10));
        assert_eq!(of(ByteRange::Suffix(50), 10), Ok(0..10));
        assert_eq!(of(ByteRange::Suffix(3), 0), Ok(0..0), "an empty object");
        assert_eq!(of(ByteRange::Suffix(0), 10), rejected);
        let error = resolve(bounded(10, 12), 10, format_args!("range {}", 3)).unwrap_err();
        assert!(
            error.to_string().contains("range 3 starts at byte 10, but the object has 10 bytes"),
            "{error}"
        );
    }

    #[test]
    fn a_response_has_the_requested_bytes_or_is_rejected() {
        assert!(check_covers(2..5, &(2..5)).is_ok());
        assert!(check_covers(0..10, &(2..5)).is_ok(), "a server without ranges");
        for received in [3..5, 2..4, 5..9] {
            assert!(check_covers(received, &(2..5)).is_err());
        }
    }
}
