//! What an error is about.

/// The value that an error is about: one that the caller gave, or one of the store's settings. The API knows where a
/// request has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    /// The object's key.
    Key,
    /// The prefix of the keys that an upload form can write.
    KeyPrefix,
    /// The object that is copied.
    Source,
    /// Where the copy goes.
    Destination,
    /// The id of an upload.
    UploadId,
    /// Where a listing continues.
    PageToken,
    /// [`Conditions::if_match`](super::Conditions::if_match).
    IfMatch,
    /// [`Conditions::if_none_match`](super::Conditions::if_none_match).
    IfNoneMatch,
    /// [`Conditions::if_modified_since`](super::Conditions::if_modified_since).
    IfModifiedSince,
    /// [`Conditions::if_unmodified_since`](super::Conditions::if_unmodified_since).
    IfUnmodifiedSince,
    /// The ETag of the object to replace.
    ReplacedEtag,
    /// All attributes of the object to write.
    Attributes,
    /// Its Content-Type.
    ContentType,
    /// Its Content-Encoding.
    ContentEncoding,
    /// Its Content-Language.
    ContentLanguage,
    /// Its Content-Disposition.
    ContentDisposition,
    /// Its Cache-Control.
    CacheControl,
    /// Its Expires.
    Expires,
    /// Its storage class.
    StorageClass,
    /// Its user metadata.
    Metadata,
    /// Its tags.
    Tags,
    /// The size of the object to upload, given before its bytes.
    Size,
    /// The size of the parts.
    PartSize,
    /// The number of a part.
    PartNumber,
    /// The checksum of a part.
    PartChecksum,
    /// A chunk of the object's bytes.
    Chunk,
    /// The end of the object's bytes.
    End,
    /// The size of the uploaded object, given after its bytes.
    FinalSize,
    /// The CRC-32C of the uploaded object, given after its bytes.
    FinalCrc32c,
    /// A setting of the store, by its name.
    Setting(&'static str),
}
