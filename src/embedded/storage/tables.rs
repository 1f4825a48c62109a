//! The tables of the database, and look-ups in them.

use prost::Message;
use redb::{
    ReadOnlyTable, ReadTransaction, ReadableTable, StorageError, Table, TableDefinition, TableError,
    WriteTransaction,
};

use super::{
    blobs::{BlobName, NewBlob},
    rows::{BucketRow, ObjectRow, PartRow, UploadRow},
};

pub(super) type Row = &'static [u8];
/// Bucket and key. Strings are ordered by their UTF-8 bytes, as S3 orders keys.
pub(super) type ObjectKey = (&'static str, &'static str);
/// Bucket, key, and a number by which the newest version of a key comes first.
pub(super) type VersionKey = (&'static str, &'static str, u64);
/// Bucket, key and upload id. The uploads of a key are ordered by their creation, as S3 lists them.
type UploadKey = (&'static str, &'static str, u64);
/// Body and part number.
type PartKey = (u64, u16);

const BUCKETS: TableDefinition<&str, Row> = TableDefinition::new("buckets");
const OBJECTS: TableDefinition<ObjectKey, Row> = TableDefinition::new("objects");
const VERSIONS: TableDefinition<VersionKey, Row> = TableDefinition::new("versions");
const UPLOADS: TableDefinition<UploadKey, Row> = TableDefinition::new("uploads");
const PARTS: TableDefinition<PartKey, Row> = TableDefinition::new("parts");
/// The number of objects that use a body: a copy shares the body of its source.
const BODIES: TableDefinition<u64, u32> = TableDefinition::new("bodies");
pub(super) const META: TableDefinition<&str, u64> = TableDefinition::new("meta");

/// The number of the latest version, in the table `meta`.
const LATEST_VERSION: &str = "latest_version";

/// A snapshot of the database.
pub(in crate::embedded) struct Reading {
    pub(in crate::embedded) buckets: ReadOnlyTable<&'static str, Row>,
    pub(in crate::embedded) objects: ReadOnlyTable<ObjectKey, Row>,
    pub(in crate::embedded) versions: ReadOnlyTable<VersionKey, Row>,
    pub(in crate::embedded) uploads: ReadOnlyTable<UploadKey, Row>,
    pub(in crate::embedded) parts: ReadOnlyTable<PartKey, Row>,
}

impl Reading {
    pub(super) fn open(transaction: &ReadTransaction) -> Result<Self, TableError> {
        Ok(Self {
            buckets: transaction.open_table(BUCKETS)?,
            objects: transaction.open_table(OBJECTS)?,
            versions: transaction.open_table(VERSIONS)?,
            uploads: transaction.open_table(UPLOADS)?,
            parts: transaction.open_table(PARTS)?,
        })
    }
}

/// A transaction that changes the database, completely or not at all.
pub(in crate::embedded) struct Writing<'t> {
    pub(in crate::embedded) buckets: Table<'t, &'static str, Row>,
    pub(in crate::embedded) objects: Table<'t, ObjectKey, Row>,
    pub(in crate::embedded) versions: Table<'t, VersionKey, Row>,
    pub(in crate::embedded) uploads: Table<'t, UploadKey, Row>,
    pub(in crate::embedded) parts: Table<'t, PartKey, Row>,
    bodies: Table<'t, u64, u32>,
    meta: Table<'t, &'static str, u64>,
    /// The blobs that new rows refer to.
    pub(super) kept: Vec<NewBlob>,
    /// The blobs that no row refers to any more.
    pub(super) dropped: Vec<BlobName>,
}

impl<'t> Writing<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, TableError> {
        Ok(Self {
            buckets: transaction.open_table(BUCKETS)?,
            objects: transaction.open_table(OBJECTS)?,
            versions: transaction.open_table(VERSIONS)?,
            uploads: transaction.open_table(UPLOADS)?,
            parts: transaction.open_table(PARTS)?,
            bodies: transaction.open_table(BODIES)?,
            meta: transaction.open_table(META)?,
            kept: Vec::new(),
            dropped: Vec::new(),
        })
    }

    /// Adds or replaces a part.
    pub(in crate::embedded) fn put_part(&mut self, blob: NewBlob, row: &PartRow) -> Result<(), StorageError> {
        let BlobName { body, part, .. } = blob.name();
        let before =
            self.parts.insert((body, part), &*row.encode_to_vec())?.map(|row| decode::<PartRow>(row.value()));
        if let Some(before) = before {
            self.dropped.push(BlobName { body, part, blob: before?.blob });
        }
        self.kept.push(blob);
        Ok(())
    }

    /// Removes a part of an upload.
    pub(in crate::embedded) fn remove_part(&mut self, body: u64, part: u16) -> Result<(), StorageError> {
        let before = self.parts.remove((body, part))?.map(|row| decode::<PartRow>(row.value()));
        if let Some(before) = before {
            self.dropped.push(BlobName { body, part, blob: before?.blob });
        }
        Ok(())
    }

    /// Removes all parts of a body.
    pub(in crate::embedded) fn remove_parts(&mut self, body: u64) -> Result<(), StorageError> {
        let numbers =
            parts(&self.parts, body)?.map(|part| Ok(part?.0)).collect::<Result<Vec<_>, StorageError>>()?;
        numbers.into_iter().try_for_each(|number| self.remove_part(body, number))
    }

    /// Adds or replaces an object, and counts it as a user of its body.
    pub(in crate::embedded) fn put_object(
        &mut self,
        bucket: &str,
        key: &str,
        row: &ObjectRow,
    ) -> Result<(), StorageError> {
        // Count the new user first, so that copying an object onto itself does not remove its body.
        self.use_body(row.body)?;
        let before = self
            .objects
            .insert((bucket, key), &*row.encode_to_vec())?
            .map(|row| decode::<ObjectRow>(row.value()));
        match before {
            Some(before) => self.let_go(before?.body),
            None => Ok(()),
        }
    }

    /// Replaces the row of an object that keeps its body.
    pub(in crate::embedded) fn amend_object(
        &mut self,
        bucket: &str,
        key: &str,
        row: &ObjectRow,
    ) -> Result<(), StorageError> {
        self.objects.insert((bucket, key), &*row.encode_to_vec()).map(|_| ())
    }

    /// Removes an object, if there is one.
    pub(in crate::embedded) fn remove_object(&mut self, bucket: &str, key: &str) -> Result<(), StorageError> {
        let before = self.objects.remove((bucket, key))?.map(|row| decode::<ObjectRow>(row.value()));
        match before {
            Some(before) => self.let_go(before?.body),
            None => Ok(()),
        }
    }

    /// Adds one user of a body.
    pub(super) fn use_body(&mut self, body: u64) -> Result<(), StorageError> {
        let users = self.bodies.get(body)?.map_or(0, |users| users.value());
        self.bodies.insert(body, users + 1).map(|_| ())
    }

    /// The number of the next version.
    pub(super) fn next_number(&mut self) -> Result<u64, StorageError> {
        let next = self.meta.get(LATEST_VERSION)?.map_or(0, |latest| latest.value()) + 1;
        self.meta.insert(LATEST_VERSION, next)?;
        Ok(next)
    }

    /// Removes one user of a body. Without users, the parts of the body are removed.
    pub(super) fn let_go(&mut self, body: u64) -> Result<(), StorageError> {
        let users = self.bodies.get(body)?.map_or(0, |users| users.value());
        if users > 1 {
            self.bodies.insert(body, users - 1)?;
            return Ok(());
        }
        self.bodies.remove(body)?;
        self.remove_parts(body)
    }
}

pub(in crate::embedded) fn bucket(
    buckets: &impl ReadableTable<&'static str, Row>,
    name: &str,
) -> Result<Option<BucketRow>, StorageError> {
    buckets.get(name)?.map(|row| decode(row.value())).transpose()
}

pub(in crate::embedded) fn object(
    objects: &impl ReadableTable<ObjectKey, Row>,
    bucket: &str,
    key: &str,
) -> Result<Option<ObjectRow>, StorageError> {
    objects.get((bucket, key))?.map(|row| decode(row.value())).transpose()
}

pub(in crate::embedded) fn upload(
    uploads: &impl ReadableTable<UploadKey, Row>,
    bucket: &str,
    key: &str,
    upload: u64,
) -> Result<Option<UploadRow>, StorageError> {
    uploads.get((bucket, key, upload))?.map(|row| decode(row.value())).transpose()
}

pub(in crate::embedded) fn part(
    parts: &impl ReadableTable<PartKey, Row>,
    body: u64,
    number: u16,
) -> Result<Option<PartRow>, StorageError> {
    parts.get((body, number))?.map(|row| decode(row.value())).transpose()
}

/// The parts of a body in order, with their numbers.
pub(in crate::embedded) fn parts(
    parts: &impl ReadableTable<PartKey, Row>,
    body: u64,
) -> Result<impl Iterator<Item = Result<(u16, PartRow), StorageError>>, StorageError> {
    let range = parts.range((body, 0)..=(body, u16::MAX))?;
    Ok(range.map(|entry| {
        let (key, row) = entry?;
        Ok((key.value().1, decode(row.value())?))
    }))
}

pub(in crate::embedded) fn decode<T: Message + Default>(bytes: &[u8]) -> Result<T, StorageError> {
    T::decode(bytes).map_err(|error| StorageError::Corrupted(error.to_string()))
}
