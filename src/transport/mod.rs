//! HTTP requests and their responses: connections, timeouts, attempts, backoff.
//!
//! This module does not know S3: the modules above provide the requests and classify the responses.

mod attempts;
mod body;
mod connector;
mod descriptors;
mod error;
mod http_client;
mod options;
mod pool;
mod quota;

pub use attempts::{Attempts, Retry, RetryCost};
pub(crate) use body::HASH_SLICE;
pub use body::{Payload, RequestBody, ResponseBody};
pub use descriptors::{limit_connections, open_connections};
pub use error::{ClientError, TransportError, TransportErrorKind};
pub use http_client::HttpClient;
pub use options::{Backoff, ClientOptions, RetryPolicy};
pub use quota::RetryQuota;
