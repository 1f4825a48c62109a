//! Receives bytes from a caller. They are hashed and written to disk in batches as they arrive.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::StreamExt;
use s3s::{S3Error, S3Result, dto::StreamingBlob, s3_error};

use super::{
    call::text,
    checksums::{Algorithm, Claims, Digested, Digests},
};
use crate::embedded::{
    received::Received,
    s3s_adapter::body_error,
    storage::{BlobFile, Blobs, Failed, NewBlob, blocking},
};

/// The largest object that one PutObject takes, and the largest part
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>).
pub(super) const MAX_SINGLE_WRITE: u64 = 5 * 1024 * 1024 * 1024;

/// The number of bytes that are collected before a write to disk. A request holds these and the socket's buffers in
/// memory, and nothing else of its body.
const BATCH: usize = 1024 * 1024;

/// How long a caller may send nothing. S3 documents about 20 seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes that are on disk and match the caller's length and checksums.
pub(super) struct Incoming {
    pub(super) blob: NewBlob,
    pub(super) digested: Digested,
}

/// Receives the body of a request, either as a part of a stored body (given by id and number) or as a stored body of
/// its own. If the caller disconnects, or if its length or checksum does not match, nothing is stored. `algorithm` is
/// used if the caller sends no checksum.
pub(super) async fn receive(
    blobs: &Arc<Blobs>,
    part: Option<(u64, u16)>,
    body: Option<StreamingBlob>,
    received: Received,
    algorithm: Algorithm,
) -> S3Result<Incoming> {
    let claims = Claims::of(&received.headers)?;
    let digests = Digests::new(claims.algorithm().unwrap_or(algorithm));
    let length = Length::of(&received)?;
    let mut receiving =
        Receiving { blobs: Arc::clone(blobs), part, file: None, digests, claims, length, received };
    let mut body = body;
    loop {
        let (chunks, last) = gather(body.as_mut()).await?;
        if last {
            return blocking(move || receiving.finish(chunks)).await;
        }
        receiving = blocking(move || receiving.append(chunks)).await?;
    }
}

/// What is known of the length of a body before it arrives.
#[derive(Clone, Copy)]
enum Length {
    /// The declared length, without the framing of aws-chunked.
    Declared(u64),
    /// The smallest and the largest size that the policy of a form accepts.
    Within(u64, u64),
}

impl Length {
    fn of(received: &Received) -> S3Result<Self> {
        if let Some((least, most)) = received.sizes {
            return Ok(Self::Within(least, most.min(MAX_SINGLE_WRITE)));
        }
        let header = ["x-amz-decoded-content-length", "content-length"];
        let length = header.into_iter().find_map(|name| text(&received.headers, name));
        let Some(length) = length.and_then(|length| length.parse().ok()) else {
            return Err(s3_error!(MissingContentLength));
        };
        if length > MAX_SINGLE_WRITE {
            return Err(s3_error!(EntityTooLarge, "Your proposed upload exceeds the maximum allowed size"));
        }
        Ok(Self::Declared(length))
    }

    /// Checks a body of which this many bytes have arrived.
    fn check_begun(self, size: u64) -> Result<(), Failed> {
        match self {
            Self::Declared(length) if size > length => Err(incomplete()),
            Self::Within(_, most) if size > most => {
                Err(s3_error!(EntityTooLarge, "Your proposed upload exceeds the maximum allowed size").into())
            }
            _ => Ok(()),
        }
    }

    /// Checks a complete body of this size.
    fn check_complete(self, size: u64) -> Result<(), Failed> {
        match self {
            Self::Declared(length) if size != length => Err(incomplete()),
            Self::Within(least, _) if size < least => Err(s3_error!(
                EntityTooSmall,
                "Your proposed upload is smaller than the minimum allowed size"
            )
            .into()),
            _ => Ok(()),
        }
    }
}

/// The next bytes, and whether they are the last. Fails if the caller stops sending.
async fn gather(mut body: Option<&mut StreamingBlob>) -> S3Result<(Vec<Bytes>, bool)> {
    let (mut chunks, mut size) = (Vec::new(), 0);
    while size < BATCH {
        let next = match &mut body {
            Some(body) => tokio::time::timeout(PATIENCE, body.next()).await.map_err(|_| idle())?,
            None => None,
        };
        let Some(chunk) = next else { return Ok((chunks, true)) };
        let chunk = chunk.map_err(|error| body_error(&*error))?;
        size += chunk.len();
        chunks.push(chunk);
    }
    Ok((chunks, false))
}

struct Receiving {
    blobs: Arc<Blobs>,
    part: Option<(u64, u16)>,
    /// Created by the first `append`.
    file: Option<BlobFile>,
    digests: Digests,
    claims: Claims,
    length: Length,
    received: Received,
}

impl Receiving {
    fn append(mut self, mut chunks: Vec<Bytes>) -> Result<Self, Failed> {
        for chunk in &chunks {
            self.digests.update(chunk);
        }
        self.length.check_begun(self.digests.size())?;
        let mut file = match self.file.take() {
            Some(file) => file,
            None => BlobFile::create(&self.blobs, self.part)?,
        };
        file.append(&mut chunks)?;
        self.file = Some(file);
        Ok(self)
    }

    fn finish(self, chunks: Vec<Bytes>) -> Result<Incoming, Failed> {
        let Self { file, digests, claims, length, received, .. } = self.append(chunks)?;
        let digested = digests.finish();
        length.check_complete(digested.size)?;
        claims.check(&digested, &received)?;
        let Some(file) = file else { return Err(incomplete()) };
        Ok(Incoming { blob: file.finish()?, digested })
    }
}

fn idle() -> S3Error {
    s3_error!(
        RequestTimeout,
        "Your socket connection to the server was not read from or written to within the timeout period."
    )
}

fn incomplete() -> Failed {
    s3_error!(IncompleteBody).into()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::stream;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_stops_sending_times_out() {
        let begun = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"begun"))]);
        let mut body = StreamingBlob::wrap(begun.chain(stream::pending()));
        let error = gather(Some(&mut body)).await.unwrap_err();
        assert_eq!(error.code().as_str(), "RequestTimeout");
    }
}
