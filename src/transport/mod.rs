//! HTTP requests and their responses: connections, timeouts, attempts, backoff.
//!
//! This module does not know S3: the modules above provide the requests and classify the responses.

mod attempts;
mod circuit;
mod connector;
mod descriptors;
mod error;
mod http_client;
mod local;
mod lookups;
mod options;
mod payload;
mod pool;
mod quota;
mod resolver;
mod response_body;
mod root_certificates;
mod tls;

pub use attempts::{Attempts, Retry, RetryCost};
pub use circuit::{Awaited, Change as CircuitChange, Circuit};
pub(crate) use connector::TcpConnector;
pub use descriptors::{limit_connections, open_connections};
pub use error::{ClientError, TransportError, TransportErrorKind};
pub use http_client::HttpClient;
pub(crate) use local::names_local_host;
pub use lookups::Lookups;
pub(crate) use options::ClientLayer;
pub use options::{Backoff, CircuitBreaker, ClientOptions, RetryPolicy};
pub(crate) use payload::{HASH_SLICE, SendObserver};
pub use payload::{Payload, RequestBody};
pub use pool::ConnectionCounts;
pub use quota::RetryQuota;
pub use response_body::ResponseBody;
pub(crate) use root_certificates::CertificatesFile;
pub use root_certificates::RootCertificates;
