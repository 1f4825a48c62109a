//! Statuses for calls that the server's layers reject.

use tonic::{Extensions, Status, metadata::MetadataValue};

use super::{ENCODINGS, failure::Failure, gate};
use crate::auth::Refusal;

/// The maximum length of an encoding's name that is repeated to the caller.
const LONGEST_NAME: usize = 32;

/// The call's metadata is larger than `limit` bytes.
pub fn metadata_too_large(extensions: &Extensions, limit: usize) -> Status {
    gate::rejected_early(extensions, Failure::MetadataTooLarge { limit })
}

/// The call's messages use an encoding that the server does not support.
pub fn encoding_unknown(extensions: &Extensions, encoding: &[u8]) -> Status {
    let shown = encoding.iter().take(LONGEST_NAME).filter(|byte| byte.is_ascii_graphic());
    let name = shown.map(|byte| char::from(*byte)).collect();
    let mut status =
        gate::rejected_early(extensions, Failure::EncodingUnknown { encoding: name, supported: ENCODINGS });
    status.metadata_mut().insert("grpc-accept-encoding", MetadataValue::from_static(ENCODINGS));
    status
}

/// The audit log has had no room for as long as a call may wait.
pub fn audit_unavailable(extensions: &Extensions) -> Status {
    gate::rejected_early(extensions, Failure::AuditUnavailable)
}

/// The status of a call of the admin listener that does not have its token.
pub fn admin_refused(extensions: &Extensions, refusal: Refusal) -> Status {
    gate::rejected_early(extensions, refusal.into())
}
