//! RestoreObject. There is no archive, so a restore takes no time.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_RestoreObject.html>

use std::sync::Arc;

use s3s::{
    S3Request, S3Response, S3Result,
    dto::{RestoreObjectInput, RestoreObjectOutput, RestoreRequest, Tier},
    s3_error,
};

use super::{
    archive,
    call::{admit, asked_version, received},
    content::existing,
};
use crate::embedded::{
    received::Accepted,
    storage::{self, Storage, now},
};

const DAY: u64 = 24 * 60 * 60;

/// Makes an archived object readable, and says with the status whether it was readable before.
pub(super) async fn restore_object(
    storage: &Arc<Storage>,
    mut request: S3Request<RestoreObjectInput>,
) -> S3Result<S3Response<RestoreObjectOutput>> {
    let headers = received(&mut request).headers;
    let RestoreObjectInput { bucket, key, version_id, restore_request, .. } = request.input;
    let version = asked_version(version_id.as_deref())?;
    let Some(restore_request) = restore_request else { return Err(s3_error!(MalformedXML)) };
    let (days, tier) = asked(restore_request)?;
    let restored_before = storage
        .write(move |tables| {
            admit(storage::bucket(&tables.buckets, &bucket)?, &headers)?;
            let found = storage::version(&tables.objects, &tables.versions, (&bucket, &key), version)?;
            let mut object = existing(found, version)?;
            if !archive::has_archive_class(&object) {
                return Err(s3_error!(
                    InvalidObjectState,
                    "Restore is not allowed for the object's current storage class"
                )
                .into());
            }
            if tier.as_deref() == Some(Tier::EXPEDITED) && object.attributes.storage_class == "DEEP_ARCHIVE" {
                return Err(s3_error!(
                    InvalidArgument,
                    "Expedited retrievals are not available for DEEP_ARCHIVE"
                )
                .into());
            }
            let restored_before = !archive::is_archived(&object);
            object.restored_until = until(now(), days);
            tables.amend_version(&bucket, &key, &object)?;
            Ok(restored_before)
        })
        .await?;
    let mut response = S3Response::new(RestoreObjectOutput::default());
    if !restored_before {
        response.extensions.insert(Accepted);
    }
    Ok(response)
}

/// The number of days and the tier.
fn asked(request: RestoreRequest) -> S3Result<(u64, Option<String>)> {
    if request.type_.is_some() || request.select_parameters.is_some() || request.output_location.is_some() {
        return Err(s3_error!(NotImplemented, "S3 Select is not implemented"));
    }
    let days = request.days.and_then(|days| u64::try_from(days).ok()).filter(|days| *days > 0);
    let tier = request.glacier_job_parameters.map(|parameters| parameters.tier).or(request.tier);
    let tier = tier.map(|tier| tier.as_str().to_owned());
    let known = [Tier::EXPEDITED, Tier::STANDARD, Tier::BULK];
    match days {
        Some(days) if tier.as_deref().is_none_or(|tier| known.contains(&tier)) => Ok((days, tier)),
        _ => Err(s3_error!(MalformedXML)),
    }
}

/// The midnight (UTC) at which a copy expires: the first one after the number of days.
fn until(now: u64, days: u64) -> u64 {
    (now + days * DAY).next_multiple_of(DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_expires_at_the_first_midnight_after_its_days() {
        assert_eq!(until(DAY * 10 + 1, 1), DAY * 12);
        assert_eq!(until(DAY * 10, 1), DAY * 11);
    }
}
