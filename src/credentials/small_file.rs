//! Files with a token or with credentials, which other programs replace while Longshore runs.

use std::io::Read;

use tokio::task::spawn_blocking;

use super::{CredentialsError, document::MAX_DOCUMENT};
use crate::settings::LocalPath;

/// Reads a file of at most 64 KiB.
pub(super) async fn read(path: impl Into<LocalPath>) -> Result<String, CredentialsError> {
    let path = path.into();
    blocking(move || read_now(path)).await
}

/// Runs `work`, which may block, on a thread for such work.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CredentialsError> + Send + 'static,
) -> Result<T, CredentialsError> {
    let stopped = |_| Err(CredentialsError::new("reading credentials was interrupted"));
    spawn_blocking(work).await.unwrap_or_else(stopped)
}

/// The same as [`read`], on this thread.
pub(super) fn read_now(path: impl Into<LocalPath>) -> Result<String, CredentialsError> {
    read_up_to(path, MAX_DOCUMENT)
}

/// Reads a file of at most `max` bytes, on this thread.
pub(super) fn read_up_to(path: impl Into<LocalPath>, max: usize) -> Result<String, CredentialsError> {
    let path = path.into();
    let failed = |why: String| CredentialsError::new(format!("cannot read {}: {why}", path.path().display()));
    // A pipe without a writer would otherwise block here for ever. Regular files are read as usual.
    let file = path.open_nonblocking().map_err(|error| failed(error.to_string()))?;
    if !file.metadata().is_ok_and(|found| found.is_file()) {
        return Err(failed("it is not a regular file".to_owned()));
    }
    let mut text = String::new();
    file.take(max as u64 + 1).read_to_string(&mut text).map_err(|error| failed(error.to_string()))?;
    if text.len() > max {
        return Err(failed(format!("it is larger than {} KiB", max / 1024)));
    }
    if text.trim().is_empty() {
        return Err(failed("it is empty".to_owned()));
    }
    Ok(text)
}
