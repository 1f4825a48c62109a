//! Validates and converts requests and responses about versions of objects and about restores.

use super::{Failure, header_text, object_meta, page_size, timestamp, unsigned, within_a_key};
use crate::{
    pb,
    store::{
        ObjectVersion, RestoreOptions, RestoreStatus, RestoreTier, Restoring, VersionsOptions,
        WalkVersionsOptions,
    },
};

/// Options for one page of versions. `continuation` is where it begins, from the page token.
pub(crate) fn versions_options(
    request: pb::ListVersionsRequest,
    continuation: Option<String>,
) -> Result<VersionsOptions, Failure> {
    for (text, field) in [
        (&request.prefix, "prefix"),
        (&request.delimiter, "delimiter"),
        (&request.start_after, "start_after"),
    ] {
        within_a_key(text, field)?;
    }
    Ok(VersionsOptions {
        page_size: page_size(request.page_size)?,
        prefix: request.prefix,
        delimiter: request.delimiter,
        start_after: request.start_after,
        continuation,
    })
}

/// Options for a walk of all versions below a prefix.
pub(crate) fn walk_versions_options(
    request: pb::WalkVersionsRequest,
) -> Result<WalkVersionsOptions, Failure> {
    within_a_key(&request.prefix, "prefix")?;
    within_a_key(&request.start_after, "start_after")?;
    within_a_key(&request.start_after_version, "start_after_version")?;
    if request.start_after.is_empty() && !request.start_after_version.is_empty() {
        return Err(Failure::field("start_after_version", "needs `start_after`, the key of the version"));
    }
    let limit = unsigned(request.limit, "limit")?;
    Ok(WalkVersionsOptions {
        prefix: request.prefix,
        start_after: request.start_after,
        start_after_version: header_text(request.start_after_version, "start_after_version")?,
        limit: (limit > 0).then_some(limit),
    })
}

/// Converts versions.
pub(crate) fn object_versions(versions: Vec<ObjectVersion>) -> Vec<pb::ObjectVersion> {
    let version = |ObjectVersion { meta, is_latest, delete_marker }| pb::ObjectVersion {
        meta: Some(object_meta(meta)),
        is_latest,
        delete_marker,
    };
    versions.into_iter().map(version).collect()
}

/// What a restore is asked for.
pub(crate) fn restore_options(days: i32, tier: i32) -> Result<RestoreOptions, Failure> {
    let days = u32::try_from(days)
        .map_err(|_| Failure::field("days", format!("must be 1 or more, or 0 for no number, not {days}")))?;
    let tier = pb::RestoreTier::try_from(tier)
        .map_err(|_| Failure::field("tier", format!("must be a value of RestoreTier, not {tier}")))?;
    let tier = match tier {
        pb::RestoreTier::Unspecified => None,
        pb::RestoreTier::Expedited => Some(RestoreTier::Expedited),
        pb::RestoreTier::Standard => Some(RestoreTier::Standard),
        pb::RestoreTier::Bulk => Some(RestoreTier::Bulk),
    };
    Ok(RestoreOptions { days: (days > 0).then_some(days), tier })
}

/// The outcome of a restore request.
pub(crate) fn restore_outcome(restoring: Restoring) -> pb::RestoreOutcome {
    match restoring {
        Restoring::Started => pb::RestoreOutcome::Started,
        Restoring::InProgress => pb::RestoreOutcome::InProgress,
        Restoring::Extended => pb::RestoreOutcome::Extended,
    }
}

/// What is known about a restored copy.
pub(crate) fn restore_status(status: RestoreStatus) -> pb::RestoreStatus {
    pb::RestoreStatus { in_progress: status.in_progress, expire_time: status.expires.map(timestamp) }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::field, *};

    #[test]
    fn a_version_to_start_after_needs_its_key() {
        let walk = |key: &str, version: &str| {
            walk_versions_options(pb::WalkVersionsRequest {
                start_after: key.to_owned(),
                start_after_version: version.to_owned(),
                ..Default::default()
            })
        };
        assert_eq!(field(walk("", "v")), "start_after_version");
        assert_eq!(field(walk("k", "a\nb")), "start_after_version");
        assert_eq!(field(walk("k", &"v".repeat(1025))), "start_after_version");
        assert_eq!(walk("k", "v").unwrap().start_after_version, "v");
        let limited = |limit| walk_versions_options(pb::WalkVersionsRequest { limit, ..Default::default() });
        assert_eq!(limited(0).unwrap().limit, None);
        assert_eq!(field(limited(-1)), "limit");
    }

    #[test]
    fn texts_longer_than_a_key_are_rejected() {
        let long = || "k".repeat(1_025);
        let list = |request| versions_options(request, None);
        let default = pb::ListVersionsRequest::default;
        assert_eq!(field(list(pb::ListVersionsRequest { prefix: long(), ..default() })), "prefix");
        assert_eq!(field(list(pb::ListVersionsRequest { delimiter: long(), ..default() })), "delimiter");
        assert_eq!(field(list(pb::ListVersionsRequest { start_after: long(), ..default() })), "start_after");
        assert_eq!(field(list(pb::ListVersionsRequest { page_size: -1, ..default() })), "page_size");
    }

    #[test]
    fn the_days_and_the_tier_of_a_restore_are_optional() {
        assert_eq!(restore_options(0, 0).unwrap(), RestoreOptions::default());
        let options = RestoreOptions { days: Some(7), tier: Some(RestoreTier::Bulk) };
        assert_eq!(restore_options(7, pb::RestoreTier::Bulk.into()).unwrap(), options);
        assert_eq!(field(restore_options(-1, 0)), "days");
        assert_eq!(field(restore_options(1, 9)), "tier");
    }
}
