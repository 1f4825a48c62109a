//! `head` and `get`: an object's metadata, and an object or one range of it.

use super::{
    ByteRange, Error, ErrorKind, Field, Head, ObjectMeta, ObjectReader, ReadInfo, ReadOptions, S3Store,
    transfer::{
        byte_range::{check_covers, resolve},
        pinned::Pinned,
    },
};
use crate::s3::{GetAnswer, HeadAnswer, Selection};

impl ReadOptions {
    pub(super) fn selecting<'a>(&'a self, key: &'a str) -> Selection<'a> {
        Selection { key, version: self.version.as_deref(), conditions: &self.conditions }
    }
}

impl S3Store {
    /// Returns an object's metadata and attributes.
    pub async fn head(&self, key: &str, options: &ReadOptions) -> Result<Head, Error> {
        let full = self.full_key(key, Field::Key)?;
        let HeadAnswer { size, properties, attributes, restore, archive_status, .. } =
            self.client().head_object(options.selecting(&full)).await?;
        let meta = ObjectMeta { key: key.to_owned(), size, properties };
        Ok(Head { meta, attributes, restore, archive_status })
    }

    /// Reads an object or one range of it. An empty range returns no data. A suffix longer than the object returns
    /// the whole object, even if that is empty.
    pub async fn get(
        &self,
        key: &str,
        range: Option<ByteRange>,
        options: &ReadOptions,
    ) -> Result<ObjectReader, Error> {
        if let Some(ByteRange::Bounded { start, end }) = range
            && start == end
        {
            return self.get_nothing(key, start, options).await;
        }
        let full_key = self.full_key(key, Field::Key)?;
        match self.client().get_object(options.selecting(&full_key), range).await {
            Ok(GetAnswer { size, properties, attributes, start, end, body }) => {
                let requested = range.map_or(Ok(0..size), |range| resolve(range, size, "the range"))?;
                check_covers(start..end, &requested)?;
                let meta = ObjectMeta { key: key.to_owned(), size, properties };
                let pinned = Pinned::new(full_key, options, &meta);
                let skip = requested.start - start;
                let info = ReadInfo { meta, attributes, start: requested.start, end: requested.end };
                Ok(ObjectReader::new(self.clone(), pinned, info, Some(body), skip))
            }
            Err(error) => match range {
                // S3 answers 416 to any suffix of an empty object.
                Some(ByteRange::Suffix(1..)) if error.kind() == ErrorKind::RangeNotSatisfiable => {
                    let reader = self.get_nothing(key, 0, options).await?;
                    if reader.info().meta.size == 0 { Ok(reader) } else { Err(error) }
                }
                _ => Err(error),
            },
        }
    }

    /// Reads an empty range at `offset`, for which S3 has no request.
    async fn get_nothing(
        &self,
        key: &str,
        offset: u64,
        options: &ReadOptions,
    ) -> Result<ObjectReader, Error> {
        let Head { meta, attributes, .. } = self.head(key, options).await?;
        resolve(ByteRange::Bounded { start: offset, end: offset }, meta.size, "the range")?;
        let pinned = Pinned::new(self.full_key(key, Field::Key)?, options, &meta);
        let info = ReadInfo { meta, attributes, start: offset, end: offset };
        Ok(ObjectReader::new(self.clone(), pinned, info, None, 0))
    }
}
