//! Errors that keep a server from starting, or that stop it.

use std::{error::Error, io, net::SocketAddr, path::PathBuf};

/// Why a server did not start, or why it stopped. Each message is one sentence for the operator.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// An address cannot be bound.
    #[error("cannot listen on {address}: {}", plain(.source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The operating system's error.
        source: io::Error,
    },
    /// The address of the admin listener cannot be bound.
    #[error("cannot listen on {address}, the address in LONGSHORE_ADMIN_ADDR: {}", plain(.source))]
    ListenAdmin {
        /// The address.
        address: SocketAddr,
        /// The operating system's error.
        source: io::Error,
    },
    /// The audit log cannot be opened.
    #[error("cannot open the audit log in LONGSHORE_AUDIT_LOG: {}", audit_problem(.0))]
    Audit(io::Error),
    /// A TLS file cannot be read.
    #[error("cannot read the TLS {what} {}: {}", .path.display(), plain(.source))]
    TlsFile {
        /// `certificate`, `key`, `client CAs` or `revocation lists`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The certificate and the key are readable, but TLS cannot use them.
    #[error("cannot serve TLS with the certificate {} and the key {}: {reason}", .cert.display(), .key.display())]
    Tls {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why TLS cannot use them.
        reason: String,
    },
    /// A file with client CAs or revocation lists is readable, but cannot be used.
    #[error("cannot verify client certificates with {}: {reason}", .path.display())]
    ClientTrust {
        /// The file.
        path: PathBuf,
        /// Why it cannot be used.
        reason: String,
    },
    /// Reflection cannot serve the descriptor sets: a defect of the build.
    #[error("cannot serve reflection: {0}")]
    Reflection(String),
    /// A listener stopped on its own.
    #[error("the {listener} listener stopped unexpectedly: {reason}")]
    Stopped {
        /// `gRPC`, `health` or `admin`.
        listener: &'static str,
        /// Why it stopped.
        reason: String,
    },
}

/// Why the audit log cannot be opened.
fn audit_problem(error: &io::Error) -> String {
    // ENXIO, which says "no such device or address".
    if error.raw_os_error() == Some(6) { "no process reads the pipe".to_owned() } else { plain(error) }
}

/// The operating system's error as part of a sentence: without its number and its capital letter.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

/// The innermost cause of an error, whose text is the most specific.
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
    fn an_operating_system_error_becomes_part_of_a_sentence() {
        let error = ServerError::Listen {
            address: SocketAddr::from(([127, 0, 0, 1], 50051)),
            source: io::Error::from_raw_os_error(98),
        };
        assert_eq!(error.to_string(), "cannot listen on 127.0.0.1:50051: address already in use");
    }
}
