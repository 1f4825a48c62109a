//! A blob that is being written.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, IoSlice, Write},
    path::PathBuf,
    sync::Arc,
};

use bytes::{Buf, Bytes};

use super::blobs::{BlobName, Blobs, NewBlob};

/// The file of a new blob. Dropping it removes the file, unless it is finished.
#[derive(Debug)]
pub(in crate::embedded) struct BlobFile {
    blobs: Arc<Blobs>,
    name: BlobName,
    path: PathBuf,
    file: File,
    finished: bool,
}

impl BlobFile {
    /// Creates a file for a part of a body, given by the body's id and the part's number. With `None` the file is a
    /// body of its own.
    pub(in crate::embedded) fn create(blobs: &Arc<Blobs>, part: Option<(u64, u16)>) -> io::Result<Self> {
        let (blobs, name) = (Arc::clone(blobs), blobs.new_name(part));
        let path = blobs.path_of_unfinished(name);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        // As private as the access keys in the same folder.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path)?;
        Ok(Self { blobs, name, path, file, finished: false })
    }

    /// Appends bytes to the file.
    pub(in crate::embedded) fn append(&mut self, chunks: &mut [Bytes]) -> io::Result<()> {
        let mut first = 0;
        while first < chunks.len() {
            let slices: Vec<_> = chunks[first..].iter().map(|chunk| IoSlice::new(chunk)).collect();
            let mut written = self.file.write_vectored(&slices)?;
            if written == 0 && chunks[first].has_remaining() {
                return Err(io::ErrorKind::WriteZero.into());
            }
            while first < chunks.len() && chunks[first].len() <= written {
                written -= chunks[first].len();
                first += 1;
            }
            if let Some(chunk) = chunks.get_mut(first) {
                chunk.advance(written);
            }
        }
        Ok(())
    }

    /// Flushes the file to disk, then gives it its final name: a file with that name is always complete.
    pub(in crate::embedded) fn finish(mut self) -> io::Result<NewBlob> {
        self.file.sync_all()?;
        fs::rename(&self.path, self.blobs.path_of_new(self.name)?)?;
        self.finished = true;
        Ok(NewBlob::new(Arc::clone(&self.blobs), self.name))
    }
}

impl Drop for BlobFile {
    fn drop(&mut self) {
        if !self.finished {
            // If this fails, the next run removes the file.
            let _ = fs::remove_file(&self.path);
        }
    }
}
