//! Why the embedded server does not start.

use std::{io, net::SocketAddr, path::PathBuf};

/// Why the embedded server does not start; each is one sentence for the person who started it.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// It speaks plain HTTP, so it stays on this machine.
    #[error("the embedded S3 server listens on a loopback address only, and {address} is none")]
    NotLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("cannot listen for S3 on {address}: {}", plain(.source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// Something in the folder cannot be read or written.
    #[error("cannot {what} {}: {}", .path.display(), plain(.source))]
    Folder {
        /// `write to the folder`, `read the keys in` and so on.
        what: &'static str,
        /// Which file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another process serves the same folder.
    #[error("the folder {} is in use by another process", .folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// The file with the keys is not as this program writes it.
    #[error("the keys in {} cannot be read: {reason}; new ones are made when the file is gone", .path.display())]
    Keys {
        /// The file.
        path: PathBuf,
        /// What is wrong with it; it names no secret.
        reason: &'static str,
    },
    /// A name that S3 does not allow for buckets.
    #[error("{bucket:?} is no bucket name: S3 wants 3 to 63 of a-z, 0-9, '.' and '-'")]
    BucketName {
        /// The name.
        bucket: String,
    },
    /// The operating system gave no random bytes for the keys.
    #[error("cannot make access keys: the system has no random bytes to give")]
    NoRandomness,
    /// What is in the folder cannot be opened.
    #[error("cannot serve the folder {}: {reason}", .folder.display())]
    Storage {
        /// The folder.
        folder: PathBuf,
        /// Why, as part of a sentence.
        reason: String,
    },
    /// A bucket that is missing cannot be made.
    #[error("cannot make the bucket {bucket}: {reason}")]
    Bucket {
        /// Its name.
        bucket: String,
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
