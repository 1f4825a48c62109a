//! The versions of objects.
//!
//! The current version of an object is in the table of objects, unless it is a delete marker. All other versions and all
//! delete markers are in a table of their own, so that buckets without versions cost nothing more. A number that
//! increases with every write to a bucket with versions orders the versions of a key, and is also their id.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/versioning-workflows.html>

use prost::Message;
use redb::{ReadableTable, StorageError};

use super::{
    rows::{ObjectRow, Versioning, now},
    tables::{ObjectKey, Row, VersionKey, Writing, decode, object},
};

/// The id of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::embedded) enum VersionId {
    /// The version that was written without versioning.
    Null,
    /// The version with this number.
    Number(u64),
}

/// What a delete has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::embedded) struct Deletion {
    /// The delete marker that was added, or the version that was removed.
    pub(in crate::embedded) version: Option<VersionId>,
    /// Whether that is a delete marker.
    pub(in crate::embedded) marker: bool,
}

impl VersionId {
    /// Parses an id as [`VersionId::text`] writes it.
    pub(in crate::embedded) fn parse(text: &str) -> Option<Self> {
        if text == "null" {
            return Some(Self::Null);
        }
        let digits =
            text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let number = if digits { u64::from_str_radix(text, 16).ok() } else { None };
        number.filter(|number| *number > 0).map(Self::Number)
    }

    pub(in crate::embedded) fn text(self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Number(number) => format!("{number:032x}"),
        }
    }

    /// The id of a row.
    pub(in crate::embedded) fn of(row: &ObjectRow) -> Self {
        if row.has_version { Self::Number(row.number) } else { Self::Null }
    }
}

/// Where a version is in the table: the newest of a key comes first.
pub(in crate::embedded) fn place(number: u64) -> u64 {
    u64::MAX - number
}

/// A version of a key. `None` is the current one, which may be a delete marker.
pub(in crate::embedded) fn version(
    objects: &impl ReadableTable<ObjectKey, Row>,
    versions: &impl ReadableTable<VersionKey, Row>,
    (bucket, key): (&str, &str),
    id: Option<VersionId>,
) -> Result<Option<ObjectRow>, StorageError> {
    let current = object(objects, bucket, key)?;
    if current.as_ref().is_some_and(|row| id.is_none_or(|id| VersionId::of(row) == id)) {
        return Ok(current);
    }
    for row in others(versions, bucket, key)? {
        let row = row?;
        if id.is_none_or(|id| VersionId::of(&row) == id) {
            return Ok(Some(row));
        }
    }
    Ok(None)
}

/// The versions of a key except for a current object, the newest first.
fn others(
    versions: &impl ReadableTable<VersionKey, Row>,
    bucket: &str,
    key: &str,
) -> Result<impl Iterator<Item = Result<ObjectRow, StorageError>>, StorageError> {
    let range = versions.range::<(&str, &str, u64)>((bucket, key, 0)..=(bucket, key, u64::MAX))?;
    Ok(range.map(|entry| decode(entry?.1.value())))
}

impl Writing<'_> {
    /// Writes a new current version, which replaces what S3 would replace. Returns the row as it was written.
    pub(in crate::embedded) fn write_object(
        &mut self,
        bucket: &str,
        key: &str,
        mut row: ObjectRow,
        versioning: Versioning,
    ) -> Result<ObjectRow, StorageError> {
        if versioning != Versioning::Never {
            // Count the new user first, so that a version that is copied onto its own key keeps its body.
            self.use_body(row.body)?;
            (row.number, row.has_version) = (self.next_number()?, versioning == Versioning::Enabled);
            self.make_room(bucket, key, versioning)?;
            self.objects.insert((bucket, key), &*row.encode_to_vec())?;
            return Ok(row);
        }
        (row.number, row.has_version) = (0, false);
        self.put_object(bucket, key, &row)?;
        Ok(row)
    }

    /// Hides the current version behind a delete marker, or removes it in a bucket without versions.
    pub(in crate::embedded) fn hide_object(
        &mut self,
        bucket: &str,
        key: &str,
        versioning: Versioning,
    ) -> Result<Deletion, StorageError> {
        if versioning == Versioning::Never {
            self.remove_object(bucket, key)?;
            return Ok(Deletion::default());
        }
        let marker = ObjectRow {
            modified: now(),
            number: self.next_number()?,
            has_version: versioning == Versioning::Enabled,
            delete_marker: true,
            ..ObjectRow::default()
        };
        self.make_room(bucket, key, versioning)?;
        self.objects.remove((bucket, key))?;
        self.insert_version(bucket, key, &marker)?;
        Ok(Deletion { version: Some(VersionId::of(&marker)), marker: true })
    }

    /// Removes a version for good. The newest of the others becomes the current one. Removing a version that does not
    /// exist succeeds, as in S3.
    pub(in crate::embedded) fn remove_version(
        &mut self,
        bucket: &str,
        key: &str,
        id: VersionId,
    ) -> Result<Deletion, StorageError> {
        let Some(row) = version(&self.objects, &self.versions, (bucket, key), Some(id))? else {
            return Ok(Deletion { version: Some(id), marker: false });
        };
        let current = object(&self.objects, bucket, key)?;
        if current.is_some_and(|current| current.number == row.number) {
            self.objects.remove((bucket, key))?;
        } else {
            self.versions.remove((bucket, key, place(row.number)))?;
        }
        self.let_go_of(&row)?;
        self.promote(bucket, key)?;
        Ok(Deletion { version: Some(id), marker: row.delete_marker })
    }

    /// Replaces the row of a version that keeps its body and its number.
    pub(in crate::embedded) fn amend_version(
        &mut self,
        bucket: &str,
        key: &str,
        row: &ObjectRow,
    ) -> Result<(), StorageError> {
        let current = object(&self.objects, bucket, key)?;
        if current.is_some_and(|current| current.number == row.number) {
            return self.amend_object(bucket, key, row);
        }
        self.insert_version(bucket, key, row)
    }

    /// Moves the current object to the other versions, or removes it if the next version replaces it.
    fn make_room(&mut self, bucket: &str, key: &str, versioning: Versioning) -> Result<(), StorageError> {
        let current = object(&self.objects, bucket, key)?;
        let replaced = versioning == Versioning::Suspended;
        match current {
            Some(current) if replaced && !current.has_version => self.let_go_of(&current)?,
            Some(current) => self.insert_version(bucket, key, &current)?,
            None => {}
        }
        if replaced {
            let null = others(&self.versions, bucket, key)?.collect::<Result<Vec<_>, _>>()?;
            for row in null.iter().filter(|row| !row.has_version) {
                self.versions.remove((bucket, key, place(row.number)))?;
                self.let_go_of(row)?;
            }
        }
        Ok(())
    }

    /// Makes the newest of the other versions the current one, if there is no current object and it is one.
    fn promote(&mut self, bucket: &str, key: &str) -> Result<(), StorageError> {
        if object(&self.objects, bucket, key)?.is_some() {
            return Ok(());
        }
        let newest = others(&self.versions, bucket, key)?.next().transpose()?;
        if let Some(row) = newest.filter(|row| !row.delete_marker) {
            self.versions.remove((bucket, key, place(row.number)))?;
            self.objects.insert((bucket, key), &*row.encode_to_vec())?;
        }
        Ok(())
    }

    fn insert_version(&mut self, bucket: &str, key: &str, row: &ObjectRow) -> Result<(), StorageError> {
        self.versions.insert((bucket, key, place(row.number)), &*row.encode_to_vec()).map(|_| ())
    }

    fn let_go_of(&mut self, row: &ObjectRow) -> Result<(), StorageError> {
        if row.delete_marker { Ok(()) } else { self.let_go(row.body) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_parsed_only_as_it_is_written() {
        for id in [VersionId::Null, VersionId::Number(1), VersionId::Number(u64::MAX)] {
            assert_eq!(VersionId::parse(&id.text()), Some(id));
        }
        let zero = "0".repeat(32);
        let upper = VersionId::Number(0xab).text().to_uppercase();
        let too_large = "f".repeat(32);
        for text in ["", "0", "NULL", &zero, &upper, &too_large, "+0000000000000000000000000000001"] {
            assert_eq!(VersionId::parse(text), None, "{text}");
        }
    }
}
