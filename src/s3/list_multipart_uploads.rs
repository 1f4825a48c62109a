//! `ListMultipartUploads`.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html>

use std::time::SystemTime;

use http::Method;
use serde::Deserialize;
use tokio::time::Instant;

use super::{Client, Error, encode, headers::not_s3, page::Room, request::Request, xml};

/// Where a page of uploads begins: after this upload of this key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UploadMarker {
    pub(crate) key: String,
    pub(crate) upload_id: String,
}

/// An upload that was begun and has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedUpload {
    /// The whole key.
    pub(crate) key: String,
    pub(crate) id: String,
    /// `None` where the server does not say it.
    pub(crate) initiated: Option<SystemTime>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct ListMultipartUploadsResult {
    encoding_type: Option<String>,
    is_truncated: bool,
    next_key_marker: Option<String>,
    next_upload_id_marker: Option<String>,
    upload: Vec<Listed>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Listed {
    key: String,
    upload_id: String,
    initiated: String,
}

impl Client {
    /// `ListMultipartUploads`, one page of at most `max_uploads` in the order of the keys: the uploads whose keys begin with `prefix`, and where the
    /// next page begins.
    pub(crate) async fn list_multipart_uploads(
        &self,
        prefix: &str,
        after: Option<&UploadMarker>,
        max_uploads: u16,
        deadline: Option<Instant>,
        room: &mut impl Room,
    ) -> Result<(Vec<ListedUpload>, Option<UploadMarker>), Error> {
        let mut request = Request::bucket("ListMultipartUploads", Method::GET)
            .query("uploads", "")
            .query("encoding-type", "url")
            .query("max-uploads", max_uploads.to_string());
        if !prefix.is_empty() {
            request = request.query("prefix", prefix);
        }
        if let Some(UploadMarker { key, upload_id }) = after {
            request = request.query("key-marker", key.as_str());
            if !upload_id.is_empty() {
                request = request.query("upload-id-marker", upload_id.as_str());
            }
        }
        let answer = self.page(&request, deadline, room).await?;
        page(&answer.body, after, usize::from(max_uploads))
    }
}

fn page(
    body: &str,
    after: Option<&UploadMarker>,
    max_uploads: usize,
) -> Result<(Vec<ListedUpload>, Option<UploadMarker>), Error> {
    if xml::root(body).as_deref() != Some("ListMultipartUploadsResult") {
        return Err(not_s3("a listing of uploads is no ListMultipartUploadsResult"));
    }
    let result: ListMultipartUploadsResult = xml::read(body, "a listing of uploads")?;
    let encoded = result.encoding_type.as_deref() == Some("url");
    let name = |text: String| {
        if encoded {
            encode::decode_listed(text).map_err(|_| not_s3("a listed key is not UTF-8"))
        } else {
            Ok(text)
        }
    };
    let next = match (result.is_truncated, result.next_key_marker) {
        (false, _) => None,
        (true, Some(key)) if !key.is_empty() => Some(UploadMarker {
            key: name(key)?,
            upload_id: result.next_upload_id_marker.unwrap_or_default(),
        }),
        (true, _) => return Err(not_s3("a listing of uploads goes on without saying where")),
    };
    let upload = |listed: Listed| {
        Ok(ListedUpload {
            key: name(listed.key)?,
            id: listed.upload_id,
            initiated: listed.initiated.parse::<jiff::Timestamp>().ok().map(SystemTime::from),
        })
    };
    let mut uploads = result.upload.into_iter().map(upload).collect::<Result<Vec<_>, Error>>()?;
    // moto ignores markers, and repeats what came before this one.
    let marker = |listed: &ListedUpload| {
        after.is_some_and(|after| after.key == listed.key && after.upload_id == listed.id)
    };
    if let Some(at) = uploads.iter().position(marker) {
        uploads.drain(..=at);
    }
    let is_cut = uploads.len() > max_uploads;
    uploads.truncate(max_uploads);
    // The rest of a page that has more than was asked for comes on the next one.
    let last = |listed: &ListedUpload| UploadMarker { key: listed.key.clone(), upload_id: listed.id.clone() };
    let next = if is_cut { uploads.last().map(last) } else { next };
    Ok((uploads, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<ListMultipartUploadsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Bucket>b</Bucket><KeyMarker/>
<UploadIdMarker/><NextKeyMarker>a+b%2Bc</NextKeyMarker><NextUploadIdMarker>u/2</NextUploadIdMarker>
<EncodingType>url</EncodingType><MaxUploads>1</MaxUploads><IsTruncated>true</IsTruncated>
<Upload><Key>a+b%2Bc</Key><UploadId>u/2</UploadId><Initiator><ID>i</ID></Initiator>
<Initiated>2026-01-02T03:04:05.000Z</Initiated></Upload></ListMultipartUploadsResult>"#;

    #[test]
    fn a_page_is_read_with_its_odd_keys_and_where_the_next_begins() {
        let (uploads, next) = page(PAGE, None, 1000).unwrap();
        assert_eq!((uploads[0].key.as_str(), uploads[0].id.as_str()), ("a b+c", "u/2"));
        let since = uploads[0].initiated.unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(since.as_secs(), 1_767_323_045);
        assert_eq!(next, Some(UploadMarker { key: "a b+c".to_owned(), upload_id: "u/2".to_owned() }));
        let last = page(&PAGE.replace("<IsTruncated>true", "<IsTruncated>false"), None, 1000).unwrap();
        assert_eq!(last.1, None);
    }

    #[test]
    fn an_answer_that_is_no_listing_of_uploads_is_told() {
        for body in ["<html/>", "", &PAGE.replace("NextKeyMarker", "Other")] {
            assert!(page(body, None, 1000).is_err(), "{body}");
        }
    }

    #[test]
    fn a_page_with_more_than_was_asked_for_is_cut_and_the_next_begins_after_it() {
        let upload = "<Upload><Key>b</Key><UploadId>u/3</UploadId></Upload></ListMultipartUploadsResult>";
        let (uploads, next) = page(&PAGE.replace("</ListMultipartUploadsResult>", upload), None, 1).unwrap();
        assert_eq!(uploads.len(), 1);
        assert_eq!(next, Some(UploadMarker { key: "a b+c".to_owned(), upload_id: "u/2".to_owned() }));
        let repeated = PAGE.replace("</ListMultipartUploadsResult>", upload);
        let (rest, _) = page(&repeated, next.as_ref(), 1).unwrap();
        assert_eq!(rest[0].id, "u/3", "the server ignored the marker");
    }
}
