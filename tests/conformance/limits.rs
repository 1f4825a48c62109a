//! What each S3 server does not support, with the reason. Every server must support everything else.

use std::{fs::OpenOptions, io::Write};

use crate::support::harness::Harness;

/// A feature of S3 that some servers lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ability {
    /// `If-None-Match` and `If-Match` on PutObject.
    ConditionalPut,
    /// `If-None-Match` on CompleteMultipartUpload.
    CreateByMultipart,
    /// `If-Match` on CompleteMultipartUpload.
    UpdateByMultipart,
    /// Keys that are not valid paths: `..`, `//`, `a` beside `a/b`, control characters.
    OddKeys,
    /// A line feed in a key.
    LineFeedInKey,
    /// A key that begins with a slash.
    LeadingSlash,
    /// The checksum in the response to PutObject.
    ChecksumsOfPuts,
    /// The checksums of parts in ListParts.
    PartChecksums,
    /// A second page of ListMultipartUploads.
    PagesOfUploads,
    /// ListMultipartUploads in the order of the keys.
    OrderedUploads,
    /// A part without bytes, which an empty object uploaded in parts consists of.
    EmptyPart,
    /// An object keeps no metadata of the one that it replaces.
    FreshMetadata,
    /// Object tags.
    Tags,
    /// PutObjectTagging with an empty set of tags.
    EmptyTagSet,
    /// NoSuchKey in the response to DeleteObjectTagging.
    DeleteTagsOfMissing,
    /// Buckets with versions, and ListObjectVersions.
    Versions,
    /// Several pages of ListObjectVersions.
    PagesOfVersions,
    /// RestoreObject.
    Restore,
    /// Signatures and policies are verified.
    Signatures,
    /// Uploads from HTML forms.
    Forms,
    /// The region of a bucket in the response to HeadBucket or GetBucketLocation.
    BucketRegion,
    /// CORS rules.
    Cors,
}

const LIMITS: &[(&str, Ability, &str)] = &[
    ("moto", Ability::Signatures, "moto accepts any signature and any policy"),
    ("moto", Ability::LineFeedInKey, "moto's router treats a line feed as the end of the path"),
    ("moto", Ability::UpdateByMultipart, "moto ignores If-Match on CompleteMultipartUpload"),
    ("moto", Ability::ChecksumsOfPuts, "moto keeps a checksum only if x-amz-sdk-checksum-algorithm names it"),
    ("moto", Ability::PartChecksums, "moto's ListParts has no checksums"),
    ("moto", Ability::EmptyTagSet, "moto answers PutObjectTagging without tags with 500"),
    ("moto", Ability::DeleteTagsOfMissing, "moto answers DeleteObjectTagging of a missing key with 500"),
    ("versitygw", Ability::OddKeys, "versitygw keeps objects as files named after their keys"),
    ("versitygw", Ability::LeadingSlash, "versitygw drops the slash"),
    ("versitygw", Ability::PagesOfUploads, "versitygw rejects the upload id marker that it returned"),
    ("versitygw", Ability::FreshMetadata, "versitygw keeps the metadata of the replaced object"),
    ("versitygw", Ability::PagesOfVersions, "versitygw loses and repeats versions between pages"),
    ("versitygw", Ability::Restore, "versitygw has no archive"),
    ("garage", Ability::ConditionalPut, "Garage ignores conditions on writes"),
    ("garage", Ability::CreateByMultipart, "Garage ignores conditions on writes"),
    ("garage", Ability::UpdateByMultipart, "Garage ignores conditions on writes"),
    ("garage", Ability::LeadingSlash, "Garage drops the slash"),
    ("garage", Ability::OrderedUploads, "Garage lists uploads in any order"),
    ("garage", Ability::EmptyPart, "Garage rejects a part without bytes"),
    ("garage", Ability::Tags, "Garage does not implement object tagging"),
    ("garage", Ability::Versions, "Garage does not implement versioning"),
    ("garage", Ability::PagesOfVersions, "Garage does not implement versioning"),
    ("garage", Ability::Restore, "Garage has no archive"),
];

impl Harness {
    /// Whether the S3 server supports a feature. If it does not, adds a line to the file that `CONFORMANCE_SKIPPED` names,
    /// which `tests/conformance.sh` prints and counts, so that no skipped check goes unnoticed.
    pub(crate) fn judges(&self, ability: Ability) -> bool {
        let limit =
            LIMITS.iter().find(|(server, lacking, _)| *server == self.backend.name && *lacking == ability);
        if let Some((server, _, reason)) = limit {
            let line = format!("{ability:?}: {reason}\n");
            eprint!("skipped on {server}: {line}");
            if let Some(file) = std::env::var_os("CONFORMANCE_SKIPPED") {
                let file = OpenOptions::new().append(true).create(true).open(file);
                file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the notice is written");
            }
        }
        limit.is_none()
    }
}
