//! Why a server does not start, or stopped.

use std::{error::Error, io, net::SocketAddr, path::PathBuf};

/// Why a server does not start, or stopped; each is one sentence for the operator.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {}", plain(.source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file of the certificate cannot be read.
    #[error("cannot read the TLS {what} {}: {}", .path.display(), plain(.source))]
    TlsFile {
        /// `certificate` or `key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Certificate and key are readable, but TLS cannot use them.
    #[error("cannot serve TLS with the certificate {} and the key {}: {reason}", .cert.display(), .key.display())]
    Tls {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong with them.
        reason: String,
    },
    /// The descriptor sets cannot be served by reflection: a fault of the build.
    #[error("cannot serve reflection: {0}")]
    Reflection(String),
    /// Serving ended by itself.
    #[error("the {listener} listener stopped by itself: {reason}")]
    Stopped {
        /// `gRPC` or `health`.
        listener: &'static str,
        /// Why.
        reason: String,
    },
}

/// An operating system's error as part of a sentence: without its number and its capital letter.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

/// The innermost cause of an error: tonic's own text is only "transport error".
pub(super) fn root_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_operating_system_says_becomes_a_sentence() {
        let error = ServerError::Listen {
            address: SocketAddr::from(([127, 0, 0, 1], 50051)),
            source: io::Error::from_raw_os_error(98),
        };
        assert_eq!(error.to_string(), "cannot listen on 127.0.0.1:50051: address already in use");
    }
}
