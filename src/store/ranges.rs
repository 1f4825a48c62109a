//! Reads several ranges of one object, one after another. Ranges that are close together share a request.

use std::{collections::VecDeque, ops::Range};

use bytes::Bytes;

use super::{
    ByteRange, Conditions, Error, ErrorKind, ObjectReader, RangesOptions, ReadInfo, ReadOptions, S3Store,
    resume::Pin,
};

/// A piece of one of the requested ranges.
#[derive(Debug)]
pub struct RangePiece {
    /// The index of the range in the request.
    pub index: usize,
    /// The offset of the data in the object.
    pub offset: u64,
    /// The data, 1 byte to 1 MiB. An empty range has no piece.
    pub data: Bytes,
}

/// Reads the ranges of an object in the requested order. Dropping it cancels the request.
#[derive(Debug)]
pub struct RangesReader {
    store: S3Store,
    key: String,
    /// Pinned to the object of the first response.
    read: ReadOptions,
    info: ReadInfo,
    fetches: VecDeque<Fetch>,
    current: Option<Current>,
}

/// One request and the ranges that it covers, which are in ascending order and do not overlap.
#[derive(Debug, PartialEq, Eq)]
struct Fetch {
    bytes: Range<u64>,
    ranges: Vec<(usize, Range<u64>)>,
}

#[derive(Debug)]
struct Current {
    reader: ObjectReader,
    position: u64,
    ranges: VecDeque<(usize, Range<u64>)>,
    rest: Bytes,
}

impl S3Store {
    /// Reads several ranges of one object, all of the same version. If a range starts beyond the object's end, the
    /// whole read fails before it returns any byte.
    pub async fn get_ranges(&self, key: &str, options: RangesOptions) -> Result<RangesReader, Error> {
        let RangesOptions { ranges, coalesce_bytes, read } = options;
        // Suffixes count from the object's end, and every range must lie within the object, so its size is needed
        // first.
        let head = self.head(key, &read).await?;
        let size = head.meta.size;
        let resolved = ranges.iter().enumerate().map(|(index, range)| resolve(*range, size, index));
        let resolved = resolved.collect::<Result<Vec<_>, _>>()?;
        let (start, end) = resolved.first().map_or((0, 0), |range| (range.start, range.end));
        let Pin { version, if_match } = Pin::of(&read, &head.meta.properties);
        Ok(RangesReader {
            store: self.clone(),
            key: key.to_owned(),
            read: ReadOptions { version, conditions: Conditions { if_match, ..Conditions::default() } },
            info: ReadInfo { meta: head.meta, attributes: head.attributes, start, end },
            fetches: plan(&resolved, coalesce_bytes),
            current: None,
        })
    }
}

impl RangesReader {
    /// The object that is read; `start..end` is the first range.
    pub fn info(&self) -> &ReadInfo {
        &self.info
    }

    /// Returns the next piece; `None` at the end.
    pub async fn next(&mut self) -> Option<Result<RangePiece, Error>> {
        loop {
            if let Some(current) = &mut self.current {
                match current.piece().await {
                    Some(piece) => return Some(piece),
                    None => self.current = None,
                }
            }
            let fetch = self.fetches.pop_front()?;
            match self.begin(fetch).await {
                Ok(current) => self.current = Some(current),
                Err(error) => {
                    self.fetches.clear();
                    return Some(Err(error));
                }
            }
        }
    }

    async fn begin(&self, fetch: Fetch) -> Result<Current, Error> {
        let range = ByteRange::Bounded { start: fetch.bytes.start, end: fetch.bytes.end };
        let reader =
            self.store.get(&self.key, Some(range), &self.read).await.map_err(|error| match error.kind() {
                ErrorKind::PreconditionFailed | ErrorKind::ObjectNotFound => error.recast(
                    ErrorKind::ObjectChanged,
                    "the object was replaced while its ranges were being read: read them again",
                ),
                _ => error,
            })?;
        let found = &reader.info().meta;
        if found.size != self.info.meta.size || found.properties.etag != self.info.meta.properties.etag {
            return Err(Error::new(
                ErrorKind::ObjectChanged,
                "the object was replaced while its ranges were being read: read them again",
            ));
        }
        if reader.info().end != fetch.bytes.end {
            return Err(Error::new(
                ErrorKind::ObjectChanged,
                "the object became shorter while its ranges were being read: read them again",
            ));
        }
        Ok(Current { reader, position: fetch.bytes.start, ranges: fetch.ranges.into(), rest: Bytes::new() })
    }
}

impl Current {
    /// Returns the next piece of the next range. Bytes between ranges are discarded.
    async fn piece(&mut self) -> Option<Result<RangePiece, Error>> {
        loop {
            let (index, range) = self.ranges.front().cloned()?;
            if self.position == range.end {
                self.ranges.pop_front();
                continue;
            }
            if self.rest.is_empty() {
                match self.reader.next().await? {
                    Ok(bytes) => self.rest = bytes,
                    Err(error) => {
                        self.ranges.clear();
                        return Some(Err(error));
                    }
                }
            }
            let offset = self.position;
            let until = if offset < range.start { range.start } else { range.end };
            let data = self.take(until - offset);
            if offset >= range.start {
                return Some(Ok(RangePiece { index, offset, data }));
            }
        }
    }

    fn take(&mut self, most: u64) -> Bytes {
        let data = self.rest.split_to(self.rest.len().min(usize::try_from(most).unwrap_or(usize::MAX)));
        self.position += data.len() as u64;
        data
    }
}

fn resolve(range: ByteRange, size: u64, index: usize) -> Result<Range<u64>, Error> {
    let (start, end) = match range {
        ByteRange::Bounded { start, end } => (start, end.min(size)),
        ByteRange::Offset(start) => (start, size),
        ByteRange::Suffix(length) => (size.saturating_sub(length), size),
    };
    let empty = matches!(range, ByteRange::Bounded { start, end } if start == end);
    let suffix_of_empty = matches!(range, ByteRange::Suffix(1..)) && size == 0;
    if (start >= size && !empty && !suffix_of_empty) || start > size {
        let message = format!("range {index} starts at byte {start}, but the object has {size} bytes");
        return Err(Error::new(ErrorKind::RangeNotSatisfiable, message));
    }
    Ok(start..end.max(start))
}

/// Plans the requests. A range shares the request of the previous one if it starts less than `coalesce` bytes after
/// that one's end. Every other range gets its own request, even if it overlaps the previous one, so that no bytes have
/// to be kept in memory.
fn plan(ranges: &[Range<u64>], coalesce: u64) -> VecDeque<Fetch> {
    let mut fetches: VecDeque<Fetch> = VecDeque::new();
    for (index, range) in ranges.iter().cloned().enumerate().filter(|(_, range)| !range.is_empty()) {
        match fetches.back_mut() {
            Some(fetch) if range.start >= fetch.bytes.end && range.start - fetch.bytes.end < coalesce => {
                fetch.bytes.end = range.end;
                fetch.ranges.push((index, range));
            }
            _ => fetches.push_back(Fetch { bytes: range.clone(), ranges: vec![(index, range)] }),
        }
    }
    fetches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ranges_that_are_close_together_share_a_request() {
        let fetches = plan(&[0..10, 15..20, 21..30, 0..5, 4..8, 8..8], 6);
        let bytes: Vec<_> = fetches.iter().map(|fetch| fetch.bytes.clone()).collect();
        assert_eq!(bytes, [0..30, 0..5, 4..8]);
        assert_eq!(fetches[0].ranges, [(0, 0..10), (1, 15..20), (2, 21..30)]);
        assert_eq!(plan(&[0..10, 15..20], 5).len(), 2);
        assert_eq!(plan(&[0..10, 10..20], 0).len(), 2);
    }

    #[test]
    fn ranges_are_clamped_to_the_object_or_rejected() {
        let bounded = |start, end| ByteRange::Bounded { start, end };
        assert_eq!(resolve(bounded(2, 50), 10, 0).unwrap(), 2..10);
        assert_eq!(resolve(ByteRange::Suffix(50), 10, 0).unwrap(), 0..10);
        assert_eq!(resolve(bounded(10, 10), 10, 0).unwrap(), 10..10);
        assert_eq!(resolve(ByteRange::Suffix(3), 0, 0).unwrap(), 0..0);
        assert!(resolve(ByteRange::Suffix(0), 10, 0).is_err());
        assert!(resolve(bounded(10, 12), 10, 0).is_err());
        assert!(resolve(bounded(11, 11), 10, 0).is_err());
    }
}
