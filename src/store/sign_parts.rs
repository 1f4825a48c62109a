//! Makes presigned URLs for the parts of an upload.

use std::{
    ops::Range,
    time::{Duration, SystemTime},
};

use super::{
    Checksum, Error, Field, PageMemory, PresignedUrl, ResumableUpload, S3Store,
    transfer::schedule::{PartRun, Schedule},
};
use crate::s3::{ExactBytes, MultipartUpload, Presigner, Room as _};

/// A part and its URL.
#[derive(Debug)]
pub struct SignedPart {
    /// The offset in the object of the first byte, and of the byte after the last.
    pub bytes: Range<u64>,
    /// The URL of a PUT.
    pub url: PresignedUrl,
}

/// Makes the URLs of one call. They all expire at the same time.
#[derive(Debug)]
pub struct PartSigner {
    presigner: Presigner,
    upload: MultipartUpload,
    /// The size of the object, if it is known.
    size: Option<u64>,
    runs: Vec<PartRun>,
    memory: PageMemory,
}

impl S3Store {
    /// Prepares URLs for parts of an upload that are valid for `lifetime`, but not longer than the store's credentials
    /// are. No request is sent to S3.
    pub async fn part_signer(
        &self,
        upload: &ResumableUpload,
        lifetime: Duration,
    ) -> Result<PartSigner, Error> {
        let presigner = self.client().presigner(lifetime).await?;
        Ok(PartSigner {
            presigner,
            upload: self.known_to_s3(upload)?,
            size: upload.size,
            runs: Schedule::of(upload).runs(),
            memory: self.page_memory(),
        })
    }
}

impl PartSigner {
    /// The URL for part `number`, whose checksum by the upload's algorithm is `checksum`. Empty: none.
    pub async fn part(&mut self, number: u32, checksum: Vec<u8>) -> Result<SignedPart, Error> {
        let bytes = self.bytes_of(number)?;
        // If the size of the object is not known, any part can be the last, and shorter.
        let size = self.size.map(|_| bytes.end - bytes.start);
        let exact = ExactBytes { size, checksum: self.checksum(checksum)? };
        let url = self.presigner.part(&self.upload, number, &exact)?;
        self.memory.grow(url.url.len() as u64).await?;
        Ok(SignedPart { bytes, url })
    }

    /// When the URLs expire.
    pub fn expires_at(&self) -> SystemTime {
        self.presigner.expires_at()
    }

    /// The memory of the URLs that have been made.
    pub fn into_memory(self) -> PageMemory {
        self.memory
    }

    fn bytes_of(&self, number: u32) -> Result<Range<u64>, Error> {
        let (mut first, mut start) = (1, 0);
        for PartRun { parts, part_size } in &self.runs {
            if (first..first + parts).contains(&number) {
                let start = start + u64::from(number - first) * part_size;
                let end = self.size.map_or(start + part_size, |size| size.min(start + part_size));
                return Ok(start..end);
            }
            (first, start) = (first + parts, start + u64::from(*parts) * part_size);
        }
        let message = format!("must be a part of the upload's schedule, which has {} parts", first - 1);
        Err(Error::invalid_field(Field::PartNumber, message))
    }

    fn checksum(&self, value: Vec<u8>) -> Result<Option<Checksum>, Error> {
        let wrong = |message| Err(Error::invalid_field(Field::PartChecksum, message));
        let Some(algorithm) = self.upload.algorithm else {
            if value.is_empty() {
                return Ok(None);
            }
            return wrong("must be empty: the upload has no checksum_algorithm".to_owned());
        };
        if value.len() != algorithm.length() {
            let (length, name) = (algorithm.length(), algorithm.name());
            return wrong(format!("must be the {name} of the part, which has {length} bytes"));
        }
        Ok(Some(Checksum { algorithm, value, kind: None }))
    }
}
