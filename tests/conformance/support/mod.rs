//! What several test programs share.

pub(crate) mod calls;
pub(crate) mod failure;
pub(crate) mod house;
