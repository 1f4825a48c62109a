//! What a server cannot judge, each with its reason. Everything else is demanded of every server.

use crate::support::house::House;

/// Something that S3 does and not every server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ability {
    /// `If-None-Match` and `If-Match` on PutObject.
    ConditionalPut,
    /// `If-None-Match` on CompleteMultipartUpload.
    CreateByMultipart,
    /// `If-Match` on CompleteMultipartUpload.
    UpdateByMultipart,
    /// Keys that are no path: `..`, `//`, `a` beside `a/b`, control characters.
    OddKeys,
    /// A line feed in a key.
    LineFeedInKey,
    /// A key that begins with a slash.
    LeadingSlash,
    /// The checksum in the answer to PutObject.
    ChecksumsOfPuts,
    /// The checksums of parts in ListParts.
    PartChecksums,
    /// A second page of ListMultipartUploads.
    PagesOfUploads,
    /// An object that is replaced keeps nothing of the one before.
    FreshMetadata,
}

const LIMITS: &[(&str, Ability, &str)] = &[
    ("moto", Ability::LineFeedInKey, "moto's router takes a line feed for the path's end"),
    ("moto", Ability::UpdateByMultipart, "moto ignores If-Match on CompleteMultipartUpload"),
    (
        "moto",
        Ability::ChecksumsOfPuts,
        "moto keeps a checksum only where x-amz-sdk-checksum-algorithm names it",
    ),
    ("moto", Ability::PartChecksums, "moto's ListParts has no checksums"),
    ("versitygw", Ability::OddKeys, "versitygw keeps objects as files named by their keys"),
    ("versitygw", Ability::LeadingSlash, "versitygw drops the slash"),
    ("versitygw", Ability::PagesOfUploads, "versitygw refuses the upload id marker that it has given"),
    ("versitygw", Ability::FreshMetadata, "versitygw keeps the metadata of the object before"),
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
