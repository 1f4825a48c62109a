//! Reads several ranges of one object, one after another. Ranges that are close together share a request.

use std::{collections::VecDeque, ops::Range};

use bytes::Bytes;

use super::{
    Error, Field, ObjectReader, RangesOptions, ReadInfo, S3Store,
    transfer::{byte_range::resolve, pinned::Pinned},
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
    pinned: Pinned,
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
        let resolved = ranges.iter().enumerate();
        let resolved = resolved.map(|(index, range)| resolve(*range, size, format_args!("range {index}")));
        let resolved = resolved.collect::<Result<Vec<_>, _>>()?;
        let (start, end) = resolved.first().map_or((0, 0), |range| (range.start, range.end));
        Ok(RangesReader {
            store: self.clone(),
            pinned: Pinned::new(self.full_key(key, Field::Key)?, &read, &head.meta),
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
        let reader =
            ObjectReader::of_pinned(self.store.clone(), self.pinned.clone(), fetch.bytes.clone()).await?;
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
}
