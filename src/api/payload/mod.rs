//! The calls that carry objects' bytes, without copying the bytes.
//!
//! tonic copies every message into one buffer before sending it, and out of one buffer after receiving it. For `Get`,
//! `GetRanges`, `Upload`, `WriteUpload` and `WriteUploadWithProgress` this module bypasses tonic's generated services
//! and avoids both copies. Callers see the same responses and the same errors.

mod answer;
mod chunk;
#[cfg(feature = "microbench")]
pub mod microbench;
mod service;
mod upload_messages;
mod write_service;

pub(crate) use service::{PayloadService, reads_messages};
pub(crate) use write_service::WritePayloadService;
