//! Multipart uploads: create, upload a part, complete, abort.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html>

use std::{fmt::Write, time::SystemTime};

use http::{HeaderMap, Method, header::ETAG};
use md5::{Digest, Md5};

use super::{
    Checksum, ChecksumAlgorithm, ChecksumType, ChecksummedPayload, Client, Error, ErrorKind, Properties,
    checksum,
    encryption::DataAccess,
    error::invalid_response,
    headers,
    request::Request,
    write_object::{NewObject, WriteCondition, add_checksum},
    xml::{self, Element},
};

/// A multipart upload that S3 has created.
#[derive(Debug, Clone)]
pub(crate) struct MultipartUpload {
    pub(crate) key: String,
    pub(crate) id: String,
    /// The checksum that its parts carry.
    pub(crate) algorithm: Option<ChecksumAlgorithm>,
}

/// A part that S3 has stored.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) number: u32,
    pub(crate) etag: String,
    pub(crate) checksum: Option<Checksum>,
}

impl Client {
    /// `CreateMultipartUpload`. Requests full-object checksums for the CRCs, because a reader can verify these.
    pub(crate) async fn create_multipart_upload(
        &self,
        key: &str,
        object: &NewObject,
        algorithm: Option<ChecksumAlgorithm>,
    ) -> Result<MultipartUpload, Error> {
        let mut request = Request::object("CreateMultipartUpload", Method::POST, key)
            .query("uploads", String::new())
            .accessing(DataAccess::Create);
        object.add(&mut request.headers)?;
        if let Some(algorithm) = algorithm {
            request = request
                .header("x-amz-checksum-algorithm", algorithm.name())
                .header("x-amz-checksum-type", algorithm.multipart_type().name());
        }
        let answer = self.document(&request).await?;
        let what = "the response to CreateMultipartUpload";
        let created = Element::read_result(&answer.body, "InitiateMultipartUploadResult", "UploadId", what)?;
        // Without an id, requests for the upload would act on the object itself.
        let id = created
            .text("UploadId")
            .ok_or_else(|| invalid_response("the response to CreateMultipartUpload has no upload id"))?
            .to_owned();
        Ok(MultipartUpload { key: key.to_owned(), id, algorithm })
    }

    /// `UploadPart`. Part numbers start at 1.
    pub(crate) async fn upload_part(
        &self,
        upload: &MultipartUpload,
        number: u32,
        payload: ChecksummedPayload,
    ) -> Result<Part, Error> {
        let mut request = part("UploadPart", upload, number)?;
        let ChecksummedPayload { bytes, checksum } = payload;
        if let Some(checksum) = &checksum {
            add_checksum(&mut request.headers, checksum)?;
        }
        let answer = self.document(&request.payload(bytes)).await?;
        // S3 cannot complete the upload without every part's ETag.
        let etag = headers::text(&answer.headers, &ETAG)
            .ok_or_else(|| invalid_response("the response to UploadPart has no ETag"))?;
        Ok(Part { number, etag, checksum })
    }

    /// `CompleteMultipartUpload`, with the full object's checksum if the upload's algorithm has one.
    pub(crate) async fn complete_multipart_upload(
        &self,
        upload: &MultipartUpload,
        parts: &[Part],
        whole: Option<&Checksum>,
        condition: &WriteCondition,
    ) -> Result<Properties, Error> {
        let mut request = Request::object("CompleteMultipartUpload", Method::POST, &upload.key)
            .accessing(DataAccess::Upload)
            .query("uploadId", upload.known_id()?)
            .payload(bytes::Bytes::from(completion(parts)).into())
            .slow_on_server();
        // After a conflict, S3 requires the whole upload to be repeated.
        request.retries_conflict = false;
        condition.add(&mut request.headers)?;
        if let Some(checksum) = whole {
            add_checksum(&mut request.headers, checksum)?;
            request = request.header("x-amz-checksum-type", ChecksumType::FullObject.name());
        }
        let answer = self.document(&request).await?;
        // Without a result, S3 has not created the object, whatever the status says.
        let what = "the response to CompleteMultipartUpload";
        let completed = Element::read_result(&answer.body, "CompleteMultipartUploadResult", "ETag", what)?;
        Ok(written(&completed, &answer.headers))
    }

    /// `AbortMultipartUpload`.
    pub(crate) async fn abort_multipart_upload(&self, upload: &MultipartUpload) -> Result<(), Error> {
        let request = Request::object("AbortMultipartUpload", Method::DELETE, &upload.key)
            .query("uploadId", upload.known_id()?);
        self.until(None).document(&request).await.map(drop)
    }
}

impl MultipartUpload {
    /// The upload's id, which must not be empty. A request with an empty id would act on the object itself, and some
    /// servers would then delete or overwrite the object.
    pub(super) fn known_id(&self) -> Result<&str, Error> {
        match self.id.as_str() {
            "" => Err(Error::new(ErrorKind::Internal, "a multipart upload has no id")),
            id => Ok(id),
        }
    }
}

/// A request about a part.
pub(super) fn part(operation: &'static str, upload: &MultipartUpload, number: u32) -> Result<Request, Error> {
    Ok(Request::object(operation, Method::PUT, &upload.key)
        .accessing(DataAccess::Upload)
        .query("partNumber", number.to_string())
        .query("uploadId", upload.known_id()?))
}

/// The properties of the object that was written, from an XML response.
pub(super) fn written(result: &Element, headers: &HeaderMap) -> Properties {
    let said = headers::properties(headers);
    let date = result.text("LastModified").and_then(|date| date.trim().parse::<jiff::Timestamp>().ok());
    Properties {
        last_modified: date.map(SystemTime::from).or(said.last_modified),
        etag: result.text("ETag").map(str::to_owned).or(said.etag),
        checksums: checksum::from_element(result),
        ..said
    }
}

fn completion(parts: &[Part]) -> String {
    let mut text =
        String::from("<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for part in parts {
        let _ = write!(
            text,
            "<Part><PartNumber>{}</PartNumber><ETag>{}</ETag>",
            part.number,
            xml::text(&part.etag)
        );
        if let Some(checksum) = &part.checksum {
            let element = checksum.algorithm.element();
            let _ = write!(text, "<{element}>{}</{element}>", checksum.encoded());
        }
        text.push_str("</Part>");
    }
    text.push_str("</CompleteMultipartUpload>");
    text
}

/// The ETag that S3 gives to an object with these parts: the MD5 of the parts' MD5s, and the number of parts. `None`
/// if the parts' ETags are not MD5s, as with some kinds of encryption.
pub(crate) fn expected_etag(parts: &[Part]) -> Option<String> {
    let mut digest = Md5::new();
    for part in parts {
        let md5 = hex::decode(part.etag.trim_matches('"')).ok().filter(|md5| md5.len() == 16)?;
        digest.update(md5);
    }
    Some(format!("\"{}-{}\"", hex::encode(digest.finalize()), parts.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(number: u32, etag: &str) -> Part {
        Part { number, etag: etag.to_owned(), checksum: None }
    }

    #[test]
    fn a_completion_lists_parts_with_their_checksums() {
        let checksum = Checksum {
            algorithm: ChecksumAlgorithm::Crc32,
            value: vec![0xcb, 0xf4, 0x39, 0x26],
            kind: Some(ChecksumType::FullObject),
        };
        let parts = [part(1, "\"a\""), Part { checksum: Some(checksum), ..part(2, "b") }];
        assert_eq!(
            completion(&parts),
            "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <Part><PartNumber>1</PartNumber><ETag>&quot;a&quot;</ETag></Part>\
             <Part><PartNumber>2</PartNumber><ETag>b</ETag><ChecksumCRC32>y/Q5Jg==</ChecksumCRC32></Part>\
             </CompleteMultipartUpload>"
        );
    }

    /// Two empty parts. The expected value was computed with md5sum.
    #[test]
    fn the_etag_of_a_multipart_object_is_predicted() {
        let empty = "\"d41d8cd98f00b204e9800998ecf8427e\"";
        let etag = expected_etag(&[part(1, empty), part(2, empty)]).unwrap();
        assert_eq!(etag, "\"5873dd45edd01f09c1ef2e7819369e8e-2\"");
        assert_eq!(expected_etag(&[part(1, "\"not-an-md5\"")]), None);
    }
}
