//! Getting one request to a server and its answer back: connections, timeouts, attempts, backoff.
//!
//! Knows no S3: the room above hands it what to send and says how to judge what came back.

mod attempts;
mod body;
mod connector;
mod descriptors;
mod http_client;
mod options;
mod pool;
mod quota;

pub use attempts::{Again, Attempts, RetryCost};
pub(crate) use body::AT_ONCE;
pub use body::{Payload, RequestBody, ResponseBody};
pub use descriptors::{limit_connections, open_connections};
pub use http_client::{HttpClient, TransportError, TransportErrorKind};
pub use options::{Backoff, ClientOptions, RetryPolicy};
pub use quota::RetryQuota;
