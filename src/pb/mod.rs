//! The code that `build.rs` generates from `proto/`: messages, clients and servers of `longshore.v1`. Also the names of
//! gRPC's status codes.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    missing_debug_implementations,
    reason = "generated code"
)]

mod code;
mod codec;

use std::fmt;

pub(crate) use code::code_name;

tonic::include_proto!("longshore.v1");

/// The descriptors of every proto of `longshore.v1` that is served to callers, and of its imports, for reflection.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/longshore.v1.bin"));

/// Those descriptors, and the descriptor of `AdminService`, for reflection on the admin listener.
pub const ADMIN_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/longshore.v1.admin.bin"));

impl fmt::Debug for SignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, expire_time, .. } = self;
        f.debug_struct("SignedUrl")
            .field("key", key)
            .field("expire_time", expire_time)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SignedPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { part_number, expire_time, .. } = self;
        f.debug_struct("SignedPart")
            .field("part_number", part_number)
            .field("expire_time", expire_time)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for FormField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FormField").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for S3Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Credential").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}
