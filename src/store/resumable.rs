//! Uploads that outlive the call and the process that started them. Their progress is what S3 has stored.

use std::{collections::BTreeMap, time::SystemTime};

use bytes::Bytes;

use super::{
    ChecksumAlgorithm, ChecksumType, Error, ErrorKind, Field, ObjectMeta, PersistedBytes, ReadOptions,
    ResumableUpload, S3Store, UploadClaim, UploadOptions, WriteMode,
    conditional::Carrier,
    list::invalid_page_token,
    progress::Progress,
    transfer::{
        multipart::{Multipart, whole_checksum},
        part_size::PartSizes,
        schedule::{PartRun, Persisted, Schedule},
    },
};
use crate::s3::{
    Checksum, ChecksummedPayload, MultipartUpload, NewObject, Part, Properties, UploadMarker, UploadPage,
    expected_etag,
};

/// Maximum length of an upload id in bytes. S3's ids have about 130, those of other servers up to about 700.
const MAX_UPLOAD_ID: usize = 2048;

impl ResumableUpload {
    /// The sizes of its parts, in order. If the object's size is known, the last part may be shorter.
    pub fn schedule(&self) -> Vec<PartRun> {
        Schedule::of(self).runs()
    }
}

/// The progress of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadProgress {
    /// S3 has stored these bytes.
    Persisted(PersistedBytes),
    /// The upload is finished, and this is its object.
    Finished(Box<ObjectMeta>),
}

/// A finished upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedUpload {
    /// The object.
    pub meta: ObjectMeta,
    /// What is known about its bytes.
    pub verification: Verification,
}

/// What has been verified about the bytes of an upload, besides its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verification {
    /// Nothing.
    Size,
    /// S3 has verified a checksum of each part.
    Parts,
    /// The checksum that the caller claims for the whole object.
    Object,
}

impl Verification {
    fn of_parts(claim: UploadClaim, parts: &[(Part, u64)]) -> Self {
        match claim.crc32c {
            Some(_) => Self::Object,
            None if !parts.is_empty() && parts.iter().all(|(part, _)| part.checksum.is_some()) => Self::Parts,
            None => Self::Size,
        }
    }

    fn of_object(upload: &ResumableUpload, claim: UploadClaim, meta: &ObjectMeta) -> Self {
        let has =
            |algorithm| meta.properties.checksums.iter().any(|checksum| checksum.algorithm == algorithm);
        match (claim.crc32c, upload.checksum_algorithm) {
            (Some(_), _) if meta.size == 0 || has(ChecksumAlgorithm::Crc32c) => Self::Object,
            (_, Some(algorithm)) if has(algorithm) => Self::Parts,
            _ => Self::Size,
        }
    }
}

/// An unfinished upload, as S3 lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnfinishedUpload {
    /// The object's key, relative to the store's prefix.
    pub key: String,
    /// S3's id of the upload.
    pub s3_upload_id: String,
    /// When it was started; `None` if the server does not report it.
    pub started: Option<SystemTime>,
}

/// A page of unfinished uploads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UploadsPage {
    /// The uploads, in key order.
    pub uploads: Vec<UnfinishedUpload>,
    /// Number of entries that were left out because they cannot be read or lie outside the store's prefix.
    pub skipped: usize,
    /// The time of the server's clock when it listed them, if known.
    pub now: Option<SystemTime>,
    /// Where the next page starts; `None` on the last page.
    pub next: Option<String>,
}

impl S3Store {
    /// Starts an upload that any process can resume. `options.write.mode` must be [`WriteMode::Overwrite`]: what the
    /// object may replace is decided in [`S3Store::finish_upload`].
    pub async fn start_upload(&self, key: &str, options: UploadOptions) -> Result<ResumableUpload, Error> {
        let full_key = self.full_key(key, Field::Key)?;
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
            max_in_flight_bytes: sizes.max_in_flight_bytes(),
            write_id,
        })
    }

    /// Returns the progress of an upload. Fails with [`ErrorKind::UploadNotFound`] if S3 has neither the upload nor its
    /// object.
    pub async fn upload_progress(&self, upload: &ResumableUpload) -> Result<UploadProgress, Error> {
        match self.persisted(upload).await {
            Ok(persisted) => Ok(UploadProgress::Persisted(persisted.bytes)),
            Err(error) => self.finished(upload, error).await.map(Box::new).map(UploadProgress::Finished),
        }
    }

    /// Completes the upload if the stored parts match `claim`, the `part_etags` by part number, and the upload's own
    /// size. If it is called again after it has succeeded, it returns the object again.
    pub async fn finish_upload(
        &self,
        upload: &ResumableUpload,
        claim: UploadClaim,
        part_etags: &BTreeMap<u32, String>,
        mode: &WriteMode,
    ) -> Result<FinishedUpload, Error> {
        let persisted = match self.persisted(upload).await {
            Ok(persisted) => persisted,
            Err(error) => return self.finished_as(upload, claim, error).await,
        };
        self.progress.set_total(persisted.bytes.size);
        self.progress.add(persisted.bytes.size);
        verify(upload, claim, &persisted)?;
        verify_etags(part_etags, &persisted.parts)?;
        let etags =
            |parts: &[(Part, u64)]| parts.iter().map(|(part, _)| part.etag.clone()).collect::<Vec<_>>();
        let verified = etags(&persisted.parts);
        let error = match self.make_object(upload, claim, persisted, mode).await {
            Err(error) if names_a_part(&error) => error,
            outcome => return outcome,
        };
        // Another call may have replaced a part since it was listed. Verify the new part, too, before it becomes part of the object.
        let persisted = self.persisted(upload).await?;
        if etags(&persisted.parts) == verified {
            return Err(error);
        }
        verify(upload, claim, &persisted)?;
        verify_etags(part_etags, &persisted.parts)?;
        match self.make_object(upload, claim, persisted, mode).await {
            Err(error) if names_a_part(&error) => {
                let message =
                    "another call is writing to the upload: finish it again after that call has ended";
                Err(Error::new(ErrorKind::Conflict, message))
            }
            outcome => outcome,
        }
    }

    async fn make_object(
        &self,
        upload: &ResumableUpload,
        claim: UploadClaim,
        mut persisted: Persisted,
        mode: &WriteMode,
    ) -> Result<FinishedUpload, Error> {
        let verification = Verification::of_parts(claim, &persisted.parts);
        let known = self.known_to_s3(upload)?;
        if persisted.listed == 0 {
            // S3 cannot complete an upload without parts, but it makes an empty object from an empty part.
            let nothing = ChecksummedPayload::new(known.algorithm, Bytes::new().into()).await;
            let part = self.client().upload_part(&known, 1, nothing).await?;
            persisted.parts.push((part, 0));
        }
        let condition = self.condition(&known.key, mode, Carrier::Complete).await?;
        let write_id = Some(upload.write_id.clone()).filter(|id| !id.is_empty());
        let object = NewObject { write_id, ..NewObject::default() };
        match self.complete(&known, &persisted.parts, &object, &condition).await {
            Ok(properties) => {
                let parts: Vec<_> = persisted.parts.into_iter().map(|(part, _)| part).collect();
                // A server that repeats its response may return the object that another call finished from other parts.
                let is_of_parts = properties.etag == expected_etag(&parts);
                let other = if is_of_parts { None } else { self.object_of(upload).await };
                if let Some(meta) = other {
                    return verified_again(upload, claim, meta);
                }
                let (key, size) = (upload.key.clone(), persisted.bytes.size);
                Ok(FinishedUpload { meta: ObjectMeta { key, size, properties }, verification })
            }
            // Another call may have finished it in the meantime.
            Err(error) => self.finished_as(upload, claim, error).await,
        }
    }

    /// Cancels an upload, so that S3 deletes its parts. Succeeds if S3 does not know the upload. If the upload was
    /// finished, its object stays.
    pub async fn cancel_upload(&self, key: &str, s3_upload_id: &str) -> Result<(), Error> {
        let upload = MultipartUpload {
            key: self.full_key(key, Field::UploadId)?,
            id: s3_upload_id.to_owned(),
            algorithm: None,
        };
        match self.client().abort_multipart_upload(&upload).await {
            Err(error) if error.kind() == ErrorKind::UploadNotFound => Ok(()),
            other => other,
        }
    }

    /// Returns one page of the unfinished uploads under `prefix`, including those of other programs. `after` is the
    /// `next` of the previous page.
    pub async fn list_uploads(
        &self,
        prefix: &str,
        after: Option<&str>,
        page_size: u16,
    ) -> Result<UploadsPage, Error> {
        let (mut progress, after) = match after {
            None => (Progress::default(), None),
            Some(text) => {
                let (progress, marker) = Progress::parse(text).ok_or_else(invalid_page_token)?;
                let (upload_id, key) = marker.split_once('\0').ok_or_else(invalid_page_token)?;
                let marker = UploadMarker { key: self.full_prefix(key), upload_id: upload_id.to_owned() };
                (progress, Some(marker))
            }
        };
        let prefix = self.full_prefix(prefix);
        let mut memory = self.page_memory();
        let listed =
            self.client().list_multipart_uploads(&prefix, after.as_ref(), page_size, &mut memory).await?;
        let UploadPage { uploads, unreadable, now, next } = listed;
        let count = uploads.len();
        let uploads = uploads.into_iter().filter_map(|listed| {
            // Keys are not empty: this upload could not be cancelled through its store.
            let key = self.relative(&listed.key).filter(|key| !key.is_empty())?;
            let id = Some(listed.id).filter(|id| id.len() <= MAX_UPLOAD_ID)?;
            Some(UnfinishedUpload { key, s3_upload_id: id, started: listed.initiated })
        });
        let uploads: Vec<_> = uploads.collect();
        let skipped = unreadable + count - uploads.len();
        self.report_unreadable("ListMultipartUploads", skipped);
        // Upload ids are printable; a key may contain any character.
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
            key: self.full_key(&upload.key, Field::UploadId)?,
            id: upload.s3_upload_id.clone(),
            algorithm: upload.checksum_algorithm,
        })
    }

    /// The parts of an upload that S3 has stored.
    pub(super) async fn persisted(&self, upload: &ResumableUpload) -> Result<Persisted, Error> {
        let (known, mut memory) = (self.known_to_s3(upload)?, self.page_memory());
        let listed = self.client().list_parts(&known, &mut memory).await?;
        Ok(Schedule::of(upload).persisted(listed.parts))
    }

    /// Returns the object of an upload that S3 no longer knows because it was finished. The object's write id
    /// identifies it; without a write id, it cannot be identified.
    async fn finished(&self, upload: &ResumableUpload, error: Error) -> Result<ObjectMeta, Error> {
        if error.kind() != ErrorKind::UploadNotFound {
            return Err(error);
        }
        self.object_of(upload).await.ok_or(error)
    }

    /// Like [`S3Store::finished`], for a caller that claims what the object is.
    async fn finished_as(
        &self,
        upload: &ResumableUpload,
        claim: UploadClaim,
        error: Error,
    ) -> Result<FinishedUpload, Error> {
        let meta = self.finished(upload, error).await?;
        verified_again(upload, claim, meta)
    }

    /// The object that has the upload's write id, without the time of its last change, which S3 does not return when it
    /// completes an upload.
    async fn object_of(&self, upload: &ResumableUpload) -> Option<ObjectMeta> {
        let write_id = Some(&upload.write_id).filter(|id| !id.is_empty())?;
        let full_key = self.full_key(&upload.key, Field::UploadId).ok()?;
        let current = ReadOptions::default();
        let found = self.client().head_object(current.selecting(&full_key)).await.ok()?;
        let properties = Properties { last_modified: None, ..found.properties };
        let meta = ObjectMeta { key: upload.key.clone(), size: found.size, properties };
        (found.write_id.as_ref() == Some(write_id)).then_some(meta)
    }
}

/// Verifies an object that was finished before.
fn verified_again(
    upload: &ResumableUpload,
    claim: UploadClaim,
    meta: ObjectMeta,
) -> Result<FinishedUpload, Error> {
    verify_finished(upload, claim, &meta)?;
    let verification = Verification::of_object(upload, claim, &meta);
    Ok(FinishedUpload { meta, verification })
}

/// Verifies that the parts are those with the ETags that the caller knows.
fn verify_etags(known: &BTreeMap<u32, String>, parts: &[(Part, u64)]) -> Result<(), Error> {
    for (number, etag) in known {
        let found = parts.iter().map(|(part, _)| part).find(|part| part.number == *number);
        if found.is_none_or(|part| part.etag.trim_matches('"') != etag.trim_matches('"')) {
            let message = format!(
                "part {number} in S3 does not have the ETag given in part_etags: it was written again by someone else, or not at all"
            );
            return Err(Error::new(ErrorKind::PreconditionFailed, message));
        }
    }
    Ok(())
}

/// Verifies the stored parts against the size and the checksum that the object should have.
fn verify(upload: &ResumableUpload, claim: UploadClaim, persisted: &Persisted) -> Result<(), Error> {
    let Some(size) = claim.size.or(upload.size) else {
        let message = "is required, because the upload was started without a size";
        return Err(Error::invalid_field(Field::FinalSize, message));
    };
    if upload.size.is_some_and(|announced| announced != size) {
        let announced = upload.size.unwrap_or_default();
        let message = format!("size is {size} bytes, but the upload was started with {announced}");
        return Err(Error::new(ErrorKind::SizeMismatch, message).with_field(Field::FinalSize));
    }
    let PersistedBytes { size: found, ranges } = &persisted.bytes;
    let message = match (ranges.first(), ranges.last()) {
        (_, Some(last)) if last.end > size => {
            format!(
                "size is {size} bytes, but S3 has bytes of the object up to {}: cancel the upload and start another",
                last.end
            )
        }
        (Some(first), _) => {
            format!("S3 does not have bytes {found} to {} of the object: write them first", first.start)
        }
        (None, _) if *found != size => {
            format!("size is {size} bytes, but S3 has {found} bytes of the object")
        }
        (None, _) if persisted.listed > persisted.parts.len() => {
            "S3 has parts whose sizes do not match the upload's schedule: cancel the upload and start another"
                .to_owned()
        }
        (None, _) => return verify_crc32c(claim, size, crc32c(&persisted.parts)),
    };
    Err(Error::new(ErrorKind::SizeMismatch, message).with_field(Field::FinalSize))
}

/// Verifies the object of an upload that was already finished against the caller's claim.
fn verify_finished(upload: &ResumableUpload, claim: UploadClaim, meta: &ObjectMeta) -> Result<(), Error> {
    if let Some(size) = claim.size.or(upload.size)
        && size != meta.size
    {
        let message = format!("size is {size} bytes, but the object has {}", meta.size);
        return Err(Error::new(ErrorKind::SizeMismatch, message).with_field(Field::FinalSize));
    }
    let is_crc32c = |checksum: &&Checksum| {
        checksum.algorithm == ChecksumAlgorithm::Crc32c && checksum.kind == Some(ChecksumType::FullObject)
    };
    match meta.properties.checksums.iter().find(is_crc32c) {
        Some(checksum) => verify_crc32c(claim, meta.size, Some(checksum.value.clone())),
        // The write id and the size show that it is the object that was verified when the upload was finished, if it could be.
        None if upload.checksum_algorithm == Some(ChecksumAlgorithm::Crc32c) => Ok(()),
        None => verify_crc32c(claim, meta.size, None),
    }
}

fn verify_crc32c(claim: UploadClaim, size: u64, found: Option<Vec<u8>>) -> Result<(), Error> {
    let Some(claimed) = claim.crc32c else { return Ok(()) };
    match if size == 0 { Some(0_u32.to_be_bytes().to_vec()) } else { found } {
        Some(found) if found == claimed.to_be_bytes() => Ok(()),
        Some(_) => {
            let message = "the bytes that S3 has do not match crc32c: cancel the upload and start again";
            Err(Error::new(ErrorKind::ChecksumMismatch, message).with_field(Field::FinalCrc32c))
        }
        None => {
            let message = "cannot be verified: start the upload with checksum_algorithm CRC32C, in a store whose S3 server lists the checksums of parts";
            Err(Error::invalid_field(Field::FinalCrc32c, message))
        }
    }
}

/// Whether S3 rejected the completion because a part does not exist with the given ETag.
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

    #[test]
    fn finishing_fails_while_there_are_parts_beyond_a_gap() {
        let part = |number| (Part { number, etag: "e".to_owned(), checksum: None }, 5 * MIB);
        let upload = ResumableUpload::of_size(None);
        let persisted = Schedule::of(&upload).persisted(vec![part(1), part(3)]);
        for (size, says) in [(5 * MIB, "cancel the upload"), (15 * MIB, "5242880 to 10485760")] {
            let claim = UploadClaim { size: Some(size), crc32c: None };
            let failed = verify(&upload, claim, &persisted).unwrap_err();
            assert_eq!((failed.kind(), failed.field()), (ErrorKind::SizeMismatch, Some(Field::FinalSize)));
            assert!(failed.message().contains(says), "{}", failed.message());
        }
    }

    #[test]
    fn a_repeated_finish_is_verified_against_the_object() {
        let upload = ResumableUpload {
            checksum_algorithm: Some(ChecksumAlgorithm::Crc32c),
            ..ResumableUpload::of_size(None)
        };
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
        let without = ResumableUpload { checksum_algorithm: None, ..upload.clone() };
        let claim = UploadClaim { size: Some(5), crc32c: Some(7) };
        let refused = verify_finished(&without, claim, &unknown).unwrap_err();
        assert_eq!((refused.kind(), refused.field()), (ErrorKind::InvalidField, Some(Field::FinalCrc32c)));
        assert_eq!(outcome(&known, Some(5), Some(7)), Ok(()));
        assert_eq!(outcome(&known, Some(6), None), Err(ErrorKind::SizeMismatch));
        assert_eq!(outcome(&known, Some(5), Some(8)), Err(ErrorKind::ChecksumMismatch));
        assert_eq!(outcome(&unknown, Some(5), Some(7)), Ok(()));
        assert_eq!(outcome(&unknown, Some(6), Some(7)), Err(ErrorKind::SizeMismatch));
    }

    #[test]
    fn finishing_requires_the_exact_size() {
        let persisted = |upload: &ResumableUpload| Schedule::of(upload).persisted(Vec::new());
        let claim = |size, crc32c| UploadClaim { size, crc32c };
        let outcome = |size, claim| {
            let upload = ResumableUpload::of_size(size);
            verify(&upload, claim, &persisted(&upload)).map_err(|error| (error.kind(), error.field()))
        };
        assert_eq!(outcome(None, claim(None, None)), Err((ErrorKind::InvalidField, Some(Field::FinalSize))));
        assert_eq!(
            outcome(None, claim(Some(1), None)),
            Err((ErrorKind::SizeMismatch, Some(Field::FinalSize)))
        );
        assert_eq!(
            outcome(Some(1), claim(Some(0), None)),
            Err((ErrorKind::SizeMismatch, Some(Field::FinalSize)))
        );
        assert_eq!(outcome(None, claim(Some(0), None)), Ok(()));
        assert_eq!(outcome(Some(0), claim(None, Some(0))), Ok(()));
        assert_eq!(
            outcome(Some(0), claim(None, Some(1))),
            Err((ErrorKind::ChecksumMismatch, Some(Field::FinalCrc32c)))
        );
    }
}
