//! `UploadPartCopy`: copies bytes of an object into a part of a multipart upload.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html>

use super::{
    Client, Error,
    copy_object::CopySource,
    error::invalid_response,
    multipart::{MultipartUpload, Part, part},
    xml::Element,
};

impl Client {
    /// `UploadPartCopy` of bytes `start..end` of an object. `None` copies the whole object, which may be smaller than
    /// the 5 MiB that S3 requires for a range.
    pub(crate) async fn upload_part_copy(
        &self,
        upload: &MultipartUpload,
        number: u32,
        source: &CopySource,
        range: Option<std::ops::Range<u64>>,
    ) -> Result<Part, Error> {
        let mut request = part("UploadPartCopy", upload, number)?.slow_on_server();
        if let Some(range) = range {
            let bytes = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
            request = request.text_header("x-amz-copy-source-range", &bytes)?;
        }
        source.add(&mut request.headers)?;
        let answer = self.document(&request).await?;
        let copied =
            Element::read_result(&answer.body, "CopyPartResult", "ETag", "the response to UploadPartCopy")?;
        let etag = copied
            .text("ETag")
            .ok_or_else(|| invalid_response("the response to UploadPartCopy has no ETag"))?
            .to_owned();
        Ok(Part { number, etag, checksum: None })
    }
}
