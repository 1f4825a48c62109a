//! What a server cannot judge, each with its reason. Everything else is demanded of every server.

use crate::support::house::House;

/// Something that S3 does and not every server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ability {
    /// Conditions of reads.
    ReadConditions,
    /// `If-None-Match` and `If-Match` on PutObject.
    ConditionalPut,
    /// `If-None-Match` on CompleteMultipartUpload.
    CreateByMultipart,
    /// `If-Match` on CompleteMultipartUpload.
    UpdateByMultipart,
    /// System headers beside the content type.
    SystemHeaders,
    /// Attributes of an object made by multipart upload.
    MultipartAttributes,
    /// Keys that are no path: `..`, `//`, `a` beside `a/b`, control characters.
    OddKeys,
    /// A line feed in a key.
    LineFeedInKey,
    /// A key that begins with a slash.
    LeadingSlash,
    /// ETags in listings.
    ListedEtags,
    /// Keys of 1,024 bytes.
    LongKeys,
    /// A missing bucket told apart from a missing key.
    MissingBucket,
}

const LIMITS: &[(&str, Ability, &str)] = &[
    ("embedded", Ability::ReadConditions, "s3s-fs ignores conditions on GET"),
    ("embedded", Ability::OddKeys, "s3s-fs keeps objects as files named by their keys"),
    ("embedded", Ability::LineFeedInKey, "s3s-fs keeps objects as files named by their keys"),
    ("embedded", Ability::LeadingSlash, "s3s-fs keeps objects as files named by their keys"),
    ("embedded", Ability::ListedEtags, "s3s-fs leaves them out"),
    ("embedded", Ability::LongKeys, "s3s-fs keeps metadata in files named by the encoded key"),
    ("embedded", Ability::MissingBucket, "s3s-fs answers NoSuchKey"),
    ("moto", Ability::LineFeedInKey, "moto's router takes a line feed for the path's end"),
    ("moto", Ability::UpdateByMultipart, "moto ignores If-Match on CompleteMultipartUpload"),
    ("versitygw", Ability::OddKeys, "versitygw keeps objects as files named by their keys"),
    ("versitygw", Ability::LeadingSlash, "versitygw drops the slash"),
    ("garage", Ability::ConditionalPut, "Garage ignores conditions on writes"),
    ("garage", Ability::CreateByMultipart, "Garage ignores conditions on writes"),
    ("garage", Ability::UpdateByMultipart, "Garage ignores conditions on writes"),
    ("garage", Ability::LeadingSlash, "Garage drops the slash"),
];

impl House {
    /// Whether the server behind this house has an ability; says so if not, so that no test passes unnoticed.
    pub(crate) fn judges(&self, ability: Ability) -> bool {
        let limit =
            LIMITS.iter().find(|(server, lacking, _)| *server == self.backend.name && *lacking == ability);
        if let Some((server, _, reason)) = limit {
            eprintln!("not judged on {server}: {ability:?}: {reason}");
        }
        limit.is_none()
    }
}
