//! What the conformance tests share.

pub(crate) mod calls;
pub(crate) mod failure;
pub(crate) mod harness;
