//! What several test programs share.

pub mod calls;
pub mod failure;
pub mod house;
