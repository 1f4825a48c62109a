//! Makes presigned URLs.

use std::time::{Duration, SystemTime};

use super::{
    ByteRange, Checksum, ChecksumAlgorithm, Error, Field, PageMemory, PresignedUrl, ResponseHeaders, S3Store,
    WriteMode, WriteOptions, conditional::Carrier,
};
use crate::s3::{ExactBytes, NewObject, Presigner, Room as _, WriteCondition};

/// What a presigned URL allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignedOperation {
    /// To read an object.
    Get {
        /// The version id; `None` reads the current version.
        version: Option<String>,
        /// The range of bytes; `None` reads all of them. Not empty.
        range: Option<ByteRange>,
        /// The headers that S3 returns in place of the object's own.
        response: ResponseHeaders,
    },
    /// To read an object's metadata.
    Head {
        /// The version id; `None` reads the current version.
        version: Option<String>,
        /// The headers that S3 returns in place of the object's own.
        response: ResponseHeaders,
    },
    /// To write an object.
    Put(SignedWrite),
    /// To delete an object.
    Delete {
        /// The version id; `None` deletes the current version.
        version: Option<String>,
    },
}

impl SignedOperation {
    /// The version id that the request names.
    pub fn version(&self) -> Option<&str> {
        match self {
            Self::Get { version, .. } | Self::Head { version, .. } | Self::Delete { version } => {
                version.as_deref()
            }
            Self::Put(_) => None,
        }
    }
}

/// What a presigned URL writes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SignedWrite {
    /// The attributes, the tags and the mode. A version in the mode is ignored, as S3 has no condition on versions.
    pub options: WriteOptions,
    /// The exact size in bytes; `None` allows any.
    pub size: Option<u64>,
    /// The CRC-32C; `None` verifies none.
    pub crc32c: Option<u32>,
}

/// Makes the URLs of one call. They all expire at the same time.
#[derive(Debug)]
pub struct UrlSigner {
    store: S3Store,
    presigner: Presigner,
    request: Prepared,
    memory: PageMemory,
}

/// An operation, prepared for any number of keys.
#[derive(Debug)]
enum Prepared {
    Get { version: Option<String>, range: Option<ByteRange>, response: ResponseHeaders },
    Head { version: Option<String>, response: ResponseHeaders },
    Put { object: Box<NewObject>, condition: WriteCondition, bytes: ExactBytes },
    Delete { version: Option<String> },
}

impl S3Store {
    /// Prepares presigned URLs that are valid for `lifetime`, but not longer than the store's credentials are. No request
    /// is sent to S3.
    pub async fn url_signer(
        &self,
        operation: SignedOperation,
        lifetime: Duration,
    ) -> Result<UrlSigner, Error> {
        let request = match operation {
            SignedOperation::Get { version, range, response } => Prepared::Get { version, range, response },
            SignedOperation::Head { version, response } => Prepared::Head { version, response },
            SignedOperation::Delete { version } => Prepared::Delete { version },
            SignedOperation::Put(write) => self.prepared_write(write)?,
        };
        let presigner = self.client().presigner(lifetime).await?;
        Ok(UrlSigner { store: self.clone(), presigner, request, memory: self.page_memory() })
    }

    fn prepared_write(&self, write: SignedWrite) -> Result<Prepared, Error> {
        let SignedWrite { options: WriteOptions { attributes, tags, mode, .. }, size, crc32c } = write;
        self.require_tagging(&tags)?;
        let condition = self.condition_for_s3(&mode, Carrier::Put)?;
        let object = NewObject { headers: attributes.headers()?, tags, write_id: None };
        let checksum = crc32c.map(|sum| Checksum {
            algorithm: ChecksumAlgorithm::Crc32c,
            value: sum.to_be_bytes().to_vec(),
            kind: None,
        });
        Ok(Prepared::Put { object: Box::new(object), condition, bytes: ExactBytes { size, checksum } })
    }
}

impl UrlSigner {
    /// The URL for a key.
    pub async fn url(&mut self, key: &str) -> Result<PresignedUrl, Error> {
        let key = self.store.full_key(key, Field::Key)?;
        let signer = &self.presigner;
        let made = match &self.request {
            Prepared::Get { version, range, response } => {
                signer.get(&key, version.as_deref(), *range, response)
            }
            Prepared::Head { version, response } => signer.head(&key, version.as_deref(), response),
            Prepared::Put { object, condition, bytes } => signer.put(&key, object, condition, bytes),
            Prepared::Delete { version } => signer.delete(&key, version.as_deref()),
        }?;
        self.memory.grow(made.url.len() as u64).await?;
        Ok(made)
    }

    /// When the URLs expire.
    pub fn expires_at(&self) -> SystemTime {
        self.presigner.expires_at()
    }

    /// The memory of the URLs that have been made.
    pub fn into_memory(self) -> PageMemory {
        self.memory
    }
}

impl WriteMode {
    /// Whether the mode is a condition on the object that is replaced.
    pub fn is_update(&self) -> bool {
        matches!(self, Self::Update { .. })
    }
}
