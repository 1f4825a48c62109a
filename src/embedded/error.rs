//! Errors that prevent the embedded server from starting.

use std::{io, net::SocketAddr, path::PathBuf};

/// Why the embedded server did not start. Each message is one sentence for the person who started it.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// The address is not a loopback address. The server speaks plain HTTP, so other machines must not reach it.
    #[error("the embedded S3 server cannot listen on {address}: use a loopback address such as 127.0.0.1")]
    NotLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// The server cannot listen on the address.
    #[error("cannot listen for S3 on {address}: {}", plain(.source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The operating system's error.
        source: io::Error,
    },
    /// The folder, or a file in it, cannot be read or written.
    #[error("cannot {what} {}: {}", .path.display(), plain(.source))]
    Folder {
        /// What failed: `write to the folder`, `read the access keys from` and so on.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// Another server has locked the folder.
    #[error(
        "the folder {} is in use by another embedded S3 server: stop it, or use another folder",
        .folder.display()
    )]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// The credentials file is invalid.
    #[error(
        "the access keys in {} are invalid: {reason}; correct the file, or delete it to get new keys",
        .path.display()
    )]
    Keys {
        /// The file.
        path: PathBuf,
        /// What is wrong with it. The text contains no secret.
        reason: &'static str,
    },
    /// S3 does not allow this bucket name.
    #[error("{bucket:?} is not a valid bucket name: use 3 to 63 characters from a-z, 0-9, '.' and '-'")]
    BucketName {
        /// The name.
        bucket: String,
    },
    /// The operating system provided no random bytes for the keys.
    #[error("cannot generate access keys: the operating system provided no random bytes")]
    NoRandomness,
    /// The data in the folder cannot be opened.
    #[error("cannot serve the folder {}: {reason}", .folder.display())]
    Storage {
        /// The folder.
        folder: PathBuf,
        /// The reason, as part of a sentence.
        reason: String,
    },
    /// A bucket that does not exist cannot be created.
    #[error("cannot create the bucket {bucket}: {reason}")]
    Bucket {
        /// Its name.
        bucket: String,
        /// The reason.
        reason: String,
    },
}

/// Formats an operating system error as part of a sentence: without its number, and with a lower-case first letter.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}
