//! Uploads that outlive the call, and the process, that began them: whatever S3 has of one is what counts.

use std::{ops::Range, time::SystemTime};

use bytes::Bytes;

use super::{
    ChecksumAlgorithm, ChecksumType, Error, ErrorKind, ObjectMeta, ReadOptions, S3Store, UploadClaim,
    UploadOptions, WriteMode,
    conditional::Carrier,
    list::not_ours,
    multipart::{Multipart, whole_checksum},
    part_size::PartSizes,
    progress::Progress,
    schedule::{PartRun, Persisted, Schedule},
};
use crate::s3::{
    Checksum, HeadAnswer, MultipartUpload, NewObject, Part, SummedPayload, UploadMarker, UploadPage,
};

/// All that has to be known of an upload to go on with it, wherever that may be. Whoever has one can write to the upload:
/// it is not for callers' eyes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResumableUpload {
    /// The object's key, relative to the store's prefix.
    pub key: String,
    /// What S3 calls the upload.
    pub s3_upload_id: String,
    /// The checksum that its parts carry.
    pub checksum_algorithm: Option<ChecksumAlgorithm>,
    /// The object's size in bytes, if it is known.
    pub size: Option<u64>,
    /// The size of the first part in bytes; with `parts_grow` and `most_held` it gives every other's.
    pub part_size: u64,
    /// Whether parts double every 2,000.
    pub parts_grow: bool,
    /// The largest part, and how many bytes of parts may be under way, in bytes.
    pub most_held: u64,
    /// By which the object is known to be this upload's; empty where the store marks none.
    pub write_id: String,
}

impl ResumableUpload {
    /// The sizes of its parts, in order. Where the object's size is known the last one may be shorter.
    pub fn schedule(&self) -> Vec<PartRun> {
        Schedule::of(self).runs()
    }
}

/// Which bytes of an upload S3 has, in whole parts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PersistedBytes {
    /// How many without a gap, from the first on.
    pub size: u64,
    /// Those beyond the first gap, in order; ranges neither touch nor overlap.
    pub ranges: Vec<Range<u64>>,
}

/// How far an upload is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadProgress {
    /// S3 has these bytes.
    Persisted(PersistedBytes),
    /// The object is there.
    Finished(Box<ObjectMeta>),
}

/// An upload that was begun and has not ended, as S3 lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnfinishedUpload {
    /// The object's key, relative to the store's prefix.
    pub key: String,
    /// What S3 calls the upload.
    pub s3_upload_id: String,
    /// When it was begun; `None` where the server does not say it.
    pub started: Option<SystemTime>,
}

/// A page of unfinished uploads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UploadsPage {
    /// In the order of their keys.
    pub uploads: Vec<UnfinishedUpload>,
    /// How many entries the server listed that are left out, because they cannot be read.
    pub skipped: usize,
    /// What the server's clock said when it listed them, if it did.
    pub now: Option<SystemTime>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<String>,
}

impl S3Store {
    /// Begins an upload that any process can go on with. `options.write.mode` must be left at overwrite: it is the end of
    /// the upload that says what it may replace.
    pub async fn start_upload(&self, key: &str, options: UploadOptions) -> Result<ResumableUpload, Error> {
        let full_key = self.full_key(key, "key")?;
        self.require_tagging(&options.write.tags)?;
        let sizes = PartSizes::new(options.size, options.part_size, self.settings().transfer)?;
        let object = NewObject {
            headers: options.write.attributes.headers()?,
            tags: options.write.tags,
            write_id: self.new_write_id(),
        };
        let write_id = object.write_id.clone().unwrap_or_default();
        let algorithm = self.client().checksum_for(options.write.checksum_algorithm);
        let begun = Multipart::begin(self, full_key, object, WriteMode::Overwrite, algorithm)?;
        Ok(ResumableUpload {
            key: key.to_owned(),
            s3_upload_id: begun.leave().await?.id,
            checksum_algorithm: algorithm,
            size: options.size,
            part_size: sizes.base(),
            parts_grow: sizes.grows(),
            most_held: sizes.most_held(),
            write_id,
        })
    }

    /// How far an upload is. Fails with [`ErrorKind::UploadNotFound`] where S3 neither knows it nor has its object.
    pub async fn upload_progress(&self, upload: &ResumableUpload) -> Result<UploadProgress, Error> {
        match self.persisted(upload).await {
            Ok(persisted) => Ok(UploadProgress::Persisted(persisted.bytes)),
            Err(error) => self.finished(upload, error).await.map(Box::new).map(UploadProgress::Finished),
        }
    }

    /// Makes the object of what S3 has, if that is what `claim` and the upload's own size say. Repeated after it has
    /// succeeded, it gives the object again.
    pub async fn finish_upload(
        &self,
        upload: &ResumableUpload,
        claim: UploadClaim,
        mode: &WriteMode,
    ) -> Result<ObjectMeta, Error> {
        let persisted = match self.persisted(upload).await {
            Ok(persisted) => persisted,
            Err(error) => {
                let meta = self.finished(upload, error).await?;
                verify_finished(upload, claim, &meta)?;
                return Ok(meta);
            }
        };
        verify(upload, claim, &persisted)?;
        let etags =
            |parts: &[(Part, u64)]| parts.iter().map(|(part, _)| part.etag.clone()).collect::<Vec<_>>();
        let verified = etags(&persisted.parts);
        let error = match self.make_object(upload, persisted, mode).await {
            Err(error) if names_a_part(&error) => error,
            outcome => return outcome,
        };
        // A part may have been written again since it was listed: its bytes are verified, too, before the object is made of them.
        let persisted = self.persisted(upload).await?;
        if etags(&persisted.parts) == verified {
            return Err(error);
        }
        verify(upload, claim, &persisted)?;
        match self.make_object(upload, persisted, mode).await {
            Err(error) if names_a_part(&error) => {
                let message = "another call writes to the upload while it is being finished: wait for its end, and repeat";
                Err(Error::new(ErrorKind::Conflict, message))
            }
            outcome => outcome,
        }
    }

    async fn make_object(
        &self,
        upload: &ResumableUpload,
        mut persisted: Persisted,
        mode: &WriteMode,
    ) -> Result<ObjectMeta, Error> {
        let known = self.known_to_s3(upload)?;
        if persisted.listed == 0 {
            // S3 makes no object of no parts, and an empty one of an empty part.
            let nothing = SummedPayload::new(known.algorithm, Bytes::new().into()).await;
            let part = self.client().upload_part(&known, 1, nothing, self.deadline).await?;
            persisted.parts.push((part, 0));
        }
        let condition = self.condition(&known.key, mode, Carrier::Complete).await?;
        let write_id = Some(upload.write_id.clone()).filter(|id| !id.is_empty());
        let object = NewObject { write_id, ..NewObject::default() };
        match self.complete(&known, &persisted.parts, &object, &condition).await {
            Ok(properties) => {
                Ok(ObjectMeta { key: upload.key.clone(), size: persisted.bytes.size, properties })
            }
            // Another call has finished it meanwhile.
            Err(error) => self.finished(upload, error).await,
        }
    }

    /// Gives an upload up; S3 forgets its parts. One that S3 does not know is success; an object that was made of it stays.
    pub async fn cancel_upload(&self, key: &str, s3_upload_id: &str) -> Result<(), Error> {
        let upload =
            MultipartUpload { key: self.full_key(key, "key")?, id: s3_upload_id.to_owned(), algorithm: None };
        match self.client().abort_multipart_upload(&upload).await {
            Err(error) if error.kind() == ErrorKind::UploadNotFound => Ok(()),
            other => other,
        }
    }

    /// One page of the uploads below `prefix` that were begun, by whomever, and have not ended; `after` is the `next` of
    /// the page before.
    pub async fn list_uploads(
        &self,
        prefix: &str,
        after: Option<&str>,
        page_size: u16,
    ) -> Result<UploadsPage, Error> {
        let (mut progress, after) = match after {
            None => (Progress::default(), None),
            Some(text) => {
                let (progress, marker) = Progress::parse(text).ok_or_else(not_ours)?;
                let (upload_id, key) = marker.split_once('\0').ok_or_else(not_ours)?;
                let marker = UploadMarker { key: self.full_prefix(key), upload_id: upload_id.to_owned() };
                (progress, Some(marker))
            }
        };
        let prefix = self.full_prefix(prefix);
        let mut memory = self.page_memory();
        let listed = self
            .client()
            .list_multipart_uploads(&prefix, after.as_ref(), page_size, self.deadline, &mut memory)
            .await?;
        let UploadPage { uploads, unreadable, now, next } = listed;
        let count = uploads.len();
        let uploads = uploads.into_iter().filter_map(|listed| {
            Some(UnfinishedUpload {
                key: self.relative(&listed.key)?,
                s3_upload_id: listed.id,
                started: listed.initiated,
            })
        });
        let uploads: Vec<_> = uploads.collect();
        let skipped = unreadable + count - uploads.len();
        self.report_unreadable("ListMultipartUploads", skipped);
        // Ids are visible text; a key may hold anything.
        let marker = |next: UploadMarker| {
            Ok::<_, Error>(format!("{}\0{}", next.upload_id, self.relative_marker(&next.key)?))
        };
        let next = next.map(marker).transpose()?;
        progress.page(next.as_deref(), uploads.iter().map(|upload| upload.s3_upload_id.as_str()))?;
        let next = next.map(|next| progress.with(&next));
        Ok(UploadsPage { uploads, skipped, now, next })
    }

    pub(super) fn known_to_s3(&self, upload: &ResumableUpload) -> Result<MultipartUpload, Error> {
        Ok(MultipartUpload {
            key: self.full_key(&upload.key, "upload_id")?,
            id: upload.s3_upload_id.clone(),
            algorithm: upload.checksum_algorithm,
        })
    }

    /// What S3 has of an upload.
    pub(super) async fn persisted(&self, upload: &ResumableUpload) -> Result<Persisted, Error> {
        let (known, mut memory) = (self.known_to_s3(upload)?, self.page_memory());
        let listed = self.client().list_parts(&known, self.deadline, &mut memory).await?;
        Ok(Schedule::of(upload).persisted(listed.parts))
    }

    /// The object of an upload that S3 does not know any more, if that is because it was finished. The object's write id
    /// tells; without one nobody can know.
    async fn finished(&self, upload: &ResumableUpload, error: Error) -> Result<ObjectMeta, Error> {
        if error.kind() != ErrorKind::UploadNotFound || upload.write_id.is_empty() {
            return Err(error);
        }
        let full_key = self.full_key(&upload.key, "upload_id")?;
        let current = ReadOptions::default();
        match self.client().head_object(current.selecting(&full_key), self.deadline).await {
            Ok(HeadAnswer { write_id, size, properties, .. })
                if write_id.as_ref() == Some(&upload.write_id) =>
            {
                Ok(ObjectMeta { key: upload.key.clone(), size, properties })
            }
            _ => Err(error),
        }
    }
}

/// Holds what S3 has against what the object is to be.
fn verify(upload: &ResumableUpload, claim: UploadClaim, persisted: &Persisted) -> Result<(), Error> {
    let Some(size) = claim.size.or(upload.size) else {
        let message = "is required, since the upload was started without one";
        return Err(Error::invalid_field("size", message));
    };
    if upload.size.is_some_and(|announced| announced != size) {
        let announced = upload.size.unwrap_or_default();
        let message = format!("size is {size} bytes, and the upload was started with {announced}");
        return Err(Error::new(ErrorKind::SizeMismatch, message).with_field("size"));
    }
    let PersistedBytes { size: found, ranges } = &persisted.bytes;
    let message = match (ranges.first(), ranges.last()) {
        (_, Some(last)) if last.end > size => {
            format!(
                "size is {size} bytes, and S3 has bytes of the object up to {}: cancel the upload and start another",
                last.end
            )
        }
        (Some(first), _) => {
            format!("S3 does not have bytes {found} to {} of the object: write them first", first.start)
        }
        (None, _) if *found != size => format!("size is {size} bytes, and S3 has {found} bytes of the object"),
        (None, _) if persisted.listed > persisted.parts.len() => {
            "S3 has parts of the upload whose sizes are not those of its schedule: cancel it and start another".to_owned()
        }
        (None, _) => return verify_crc32c(claim, size, crc32c(&persisted.parts)),
    };
    Err(Error::new(ErrorKind::SizeMismatch, message).with_field("size"))
}

/// Compares the object of an upload that was finished already with what the caller says of it.
fn verify_finished(upload: &ResumableUpload, claim: UploadClaim, meta: &ObjectMeta) -> Result<(), Error> {
    if let Some(size) = claim.size.or(upload.size)
        && size != meta.size
    {
        let message = format!("the object has {} bytes, and not {size}", meta.size);
        return Err(Error::new(ErrorKind::SizeMismatch, message).with_field("size"));
    }
    let is_crc32c = |checksum: &&Checksum| {
        checksum.algorithm == ChecksumAlgorithm::Crc32c && checksum.kind == Some(ChecksumType::FullObject)
    };
    // Where the server keeps none of the whole object, its write id and its size say that it is the one that was verified before.
    match meta.properties.checksums.iter().find(is_crc32c) {
        Some(checksum) => verify_crc32c(claim, meta.size, Some(checksum.value.clone())),
        None => Ok(()),
    }
}

fn verify_crc32c(claim: UploadClaim, size: u64, found: Option<Vec<u8>>) -> Result<(), Error> {
    let Some(claimed) = claim.crc32c else { return Ok(()) };
    match if size == 0 { Some(0_u32.to_be_bytes().to_vec()) } else { found } {
        Some(found) if found == claimed.to_be_bytes() => Ok(()),
        Some(_) => {
            let message =
                "the bytes that S3 has do not have the crc32c given: cancel the upload and begin anew";
            Err(Error::new(ErrorKind::ChecksumMismatch, message).with_field("crc32c"))
        }
        None => {
            let message = "cannot be held against what S3 has: start the upload with checksum_algorithm CRC32C, in a store whose S3 server lists the checksums of parts";
            Err(Error::invalid_field("crc32c", message))
        }
    }
}

/// Whether S3 did not find a part with the ETag that it had been given.
fn names_a_part(error: &Error) -> bool {
    error.service().is_some_and(|service| service.code == "InvalidPart")
}

fn crc32c(parts: &[(Part, u64)]) -> Option<Vec<u8>> {
    let whole = whole_checksum(parts)?;
    (whole.algorithm == ChecksumAlgorithm::Crc32c).then_some(whole.value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::Properties;

    const MIB: u64 = 1024 * 1024;

    fn upload(size: Option<u64>) -> ResumableUpload {
        ResumableUpload {
            key: "k".to_owned(),
            s3_upload_id: "u".to_owned(),
            checksum_algorithm: None,
            size,
            parts_grow: size.is_none(),
            part_size: 5 * MIB,
            most_held: 128 * MIB,
            write_id: String::new(),
        }
    }

    #[test]
    fn parts_beyond_a_gap_are_not_dropped_in_silence() {
        let part = |number| (Part { number, etag: "e".to_owned(), checksum: None }, 5 * MIB);
        let upload = upload(None);
        let persisted = Schedule::of(&upload).persisted(vec![part(1), part(3)]);
        for (size, says) in [(5 * MIB, "cancel the upload"), (15 * MIB, "5242880 to 10485760")] {
            let claim = UploadClaim { size: Some(size), crc32c: None };
            let failed = verify(&upload, claim, &persisted).unwrap_err();
            assert_eq!((failed.kind(), failed.field()), (ErrorKind::SizeMismatch, Some("size")));
            assert!(failed.message().contains(says), "{}", failed.message());
        }
    }

    #[test]
    fn a_repeated_finish_is_compared_with_the_object() {
        let upload = upload(None);
        let checksum = Checksum {
            algorithm: ChecksumAlgorithm::Crc32c,
            value: vec![0, 0, 0, 7],
            kind: Some(ChecksumType::FullObject),
        };
        let properties = Properties { checksums: vec![checksum], ..Properties::default() };
        let known = ObjectMeta { key: "k".to_owned(), size: 5, properties };
        let unknown = ObjectMeta { properties: Properties::default(), ..known.clone() };
        let outcome = |meta, size, crc32c| {
            verify_finished(&upload, UploadClaim { size, crc32c }, meta).map_err(|error| error.kind())
        };
        assert_eq!(outcome(&known, Some(5), Some(7)), Ok(()));
        assert_eq!(outcome(&known, Some(6), None), Err(ErrorKind::SizeMismatch));
        assert_eq!(outcome(&known, Some(5), Some(8)), Err(ErrorKind::ChecksumMismatch));
        assert_eq!(outcome(&unknown, Some(5), Some(7)), Ok(()));
        assert_eq!(outcome(&unknown, Some(6), Some(7)), Err(ErrorKind::SizeMismatch));
    }

    #[test]
    fn a_finish_without_a_size_could_cut_the_object_short() {
        let persisted = |upload: &ResumableUpload| Schedule::of(upload).persisted(Vec::new());
        let claim = |size, crc32c| UploadClaim { size, crc32c };
        let outcome = |size, claim| {
            let upload = upload(size);
            verify(&upload, claim, &persisted(&upload)).map_err(|error| (error.kind(), error.field()))
        };
        assert_eq!(outcome(None, claim(None, None)), Err((ErrorKind::InvalidField, Some("size"))));
        assert_eq!(outcome(None, claim(Some(1), None)), Err((ErrorKind::SizeMismatch, Some("size"))));
        assert_eq!(outcome(Some(1), claim(Some(0), None)), Err((ErrorKind::SizeMismatch, Some("size"))));
        assert_eq!(outcome(None, claim(Some(0), None)), Ok(()));
        assert_eq!(outcome(Some(0), claim(None, Some(0))), Ok(()));
        assert_eq!(
            outcome(Some(0), claim(None, Some(1))),
            Err((ErrorKind::ChecksumMismatch, Some("crc32c")))
        );
    }
}
