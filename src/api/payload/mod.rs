//! The calls that carry objects' bytes, with the bytes passed on as they are.
//!
//! tonic copies every message into one buffer before it sends it, and every message that it receives out of one.
//! For `Get`, `GetRanges`, `Upload`, `WriteUpload` and `WriteUploadWithProgress` this room stands beside tonic's generated services and does
//! neither: what the services say and how they fail is the same for any caller.

mod answer;
mod chunk;
#[cfg(feature = "microbench")]
pub mod microbench;
mod service;
mod upload_messages;
mod write_service;

pub(crate) use service::{PayloadService, reads_messages};
pub(crate) use write_service::WritePayloadService;
