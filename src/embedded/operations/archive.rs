//! Archived objects: which can be read, and what responses say about their restored copies.

use http::HeaderValue;

use crate::embedded::storage::{self, ObjectRow};

/// Whether an object must be restored before its bytes can be read.
pub(super) fn is_archived(object: &ObjectRow) -> bool {
    has_archive_class(object) && object.restored_until <= storage::now()
}

/// Whether an object has a storage class whose objects can be read only after they have been restored.
pub(super) fn has_archive_class(object: &ObjectRow) -> bool {
    matches!(object.attributes.storage_class.as_str(), "GLACIER" | "DEEP_ARCHIVE")
}

/// The state of a restore, as Get and Head return it. A restored copy that has expired is not mentioned.
pub(super) fn restore_header(object: &ObjectRow) -> Option<HeaderValue> {
    if object.restored_until == 0 || is_archived(object) {
        return None;
    }
    let date = httpdate::fmt_http_date(storage::instant(object.restored_until));
    HeaderValue::from_str(&format!("ongoing-request=\"false\", expiry-date=\"{date}\"")).ok()
}
