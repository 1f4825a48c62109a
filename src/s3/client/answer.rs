//! Responses of S3, and how much of them an attempt reads.

use std::future::Future;

use http::{HeaderMap, StatusCode};

use crate::{
    s3::{
        failed_attempt::{self, FailedAttempt, Subject},
        page::{Page, Room},
        xml,
    },
    transport::ResponseBody,
};

/// Maximum size in bytes of a document that is not a listing page: results for 1,000 keys of 1,024 bytes,
/// percent-encoded, with room to spare.
pub(super) const MAX_DOCUMENT: usize = 16 * 1024 * 1024;

/// A response whose headers have arrived.
#[derive(Debug)]
pub(in crate::s3) struct Answer {
    pub(in crate::s3) status: StatusCode,
    pub(in crate::s3) headers: HeaderMap,
    pub(in crate::s3) body: ResponseBody,
}

/// A response that has been read completely.
#[derive(Debug)]
pub(in crate::s3) struct Document {
    pub(in crate::s3) status: StatusCode,
    pub(in crate::s3) headers: HeaderMap,
    pub(in crate::s3) body: String,
}

/// Reads a successful response. If reading fails, the attempt has failed.
pub(super) trait ReadAnswer: Send {
    type Read: Send;

    fn read(
        &mut self,
        answer: Answer,
        subject: Subject,
    ) -> impl Future<Output = Result<Self::Read, FailedAttempt>> + Send;
}

/// Leaves the body to the caller.
pub(super) struct Unbuffered;

impl ReadAnswer for Unbuffered {
    type Read = Answer;

    async fn read(&mut self, answer: Answer, _: Subject) -> Result<Answer, FailedAttempt> {
        Ok(answer)
    }
}

/// Reads the whole body.
pub(super) struct Buffered;

impl ReadAnswer for Buffered {
    type Read = Document;

    async fn read(&mut self, answer: Answer, subject: Subject) -> Result<Document, FailedAttempt> {
        let Answer { status, headers, body } = answer;
        let body = body.collect(MAX_DOCUMENT).await.map_err(failed_attempt::of_transport)?;
        document(status, headers, body.into(), subject)
    }
}

impl<R: Room> ReadAnswer for Page<'_, R> {
    type Read = Document;

    async fn read(&mut self, answer: Answer, subject: Subject) -> Result<Document, FailedAttempt> {
        let Answer { status, headers, body } = answer;
        let text = self.collect(body).await?;
        document(status, headers, text, subject)
    }
}

/// S3 can respond to a long operation with status 200 and then send an error
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html>). Such a response is a failure
/// like any other.
fn document(
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
    subject: Subject,
) -> Result<Document, FailedAttempt> {
    let body = xml::into_text(body);
    if xml::root(&body).as_deref() == Some("Error") {
        return Err(failed_attempt::of_answer(status, &headers, &body, subject));
    }
    Ok(Document { status, headers, body })
}
