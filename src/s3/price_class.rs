//! The classes of Amazon's price list (<https://aws.amazon.com/s3/pricing/>, "Requests & data retrievals").

use crate::telemetry::S3Class;

/// Every operation that this client uses, with its class.
const CLASSES: &[(&str, S3Class)] = &[
    ("GetObject", S3Class::GetAndOthers),
    ("PutObject", S3Class::PutCopyPostList),
    ("HeadObject", S3Class::GetAndOthers),
    ("UploadPart", S3Class::PutCopyPostList),
    ("ListObjectsV2", S3Class::PutCopyPostList),
    ("ListObjectVersions", S3Class::PutCopyPostList),
    ("RestoreObject", S3Class::PutCopyPostList),
    ("DeleteObject", S3Class::DeleteAndCancel),
    // A POST request, but the deletion of several objects is as free as that of one.
    ("DeleteObjects", S3Class::DeleteAndCancel),
    ("CopyObject", S3Class::PutCopyPostList),
    ("UploadPartCopy", S3Class::PutCopyPostList),
    ("CreateMultipartUpload", S3Class::PutCopyPostList),
    ("CompleteMultipartUpload", S3Class::PutCopyPostList),
    ("AbortMultipartUpload", S3Class::DeleteAndCancel),
    ("ListParts", S3Class::PutCopyPostList),
    ("ListMultipartUploads", S3Class::PutCopyPostList),
    ("GetObjectTagging", S3Class::GetAndOthers),
    // Changes of tags cost what other writes and deletes cost (https://aws.amazon.com/s3/faqs/, "S3 Object Tags").
    ("PutObjectTagging", S3Class::PutCopyPostList),
    ("DeleteObjectTagging", S3Class::DeleteAndCancel),
    ("HeadBucket", S3Class::GetAndOthers),
    ("GetBucketLocation", S3Class::GetAndOthers),
    ("GetBucketVersioning", S3Class::GetAndOthers),
    ("ListBuckets", S3Class::PutCopyPostList),
    ("GetBucketCors", S3Class::GetAndOthers),
    ("PutBucketCors", S3Class::PutCopyPostList),
    ("DeleteBucketCors", S3Class::DeleteAndCancel),
];

/// The class of an operation.
pub(super) fn of(operation: &str) -> S3Class {
    CLASSES.iter().find(|(name, _)| *name == operation).map_or(S3Class::GetAndOthers, |(_, class)| *class)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    #[test]
    fn every_operation_of_the_client_has_a_class() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/s3");
        let mut used = BTreeSet::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.ends_with("price_class.rs") {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap_or_default();
            // Constructors of requests have the operation as their first argument.
            for call in [
                "Request::object(",
                "Request::bucket(",
                "Request::service(",
                "reading(",
                "part(",
                "tagging(",
                "cors(",
            ] {
                for rest in text.split(call).skip(1) {
                    if let Some((name, _)) =
                        rest.trim_start().strip_prefix('"').and_then(|rest| rest.split_once('"'))
                    {
                        used.insert(name.to_owned());
                    }
                }
            }
        }
        let listed: BTreeSet<_> = CLASSES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(used, listed);
    }
}
