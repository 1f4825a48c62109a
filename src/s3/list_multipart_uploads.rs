//! `ListMultipartUploads`.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html>

use std::time::SystemTime;

use http::Method;

use super::{
    Client, Error, encode, error::invalid_response, failed_attempt::server_clock, page::Room,
    request::Request, xml::Element,
};

/// The start of a page of uploads: after this upload of this key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UploadMarker {
    pub(crate) key: String,
    pub(crate) upload_id: String,
}

/// An upload that is neither completed nor aborted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedUpload {
    /// The full key, including the store's prefix.
    pub(crate) key: String,
    pub(crate) id: String,
    /// `None` if the server does not state it.
    pub(crate) initiated: Option<SystemTime>,
}

/// A page of uploads.
#[derive(Debug, Default)]
pub(crate) struct UploadPage {
    pub(crate) uploads: Vec<ListedUpload>,
    /// The number of uploads skipped because their key is unreadable or their id is missing.
    pub(crate) unreadable: usize,
    /// The time of the server's clock; `None` if the response has no plausible one.
    pub(crate) now: Option<SystemTime>,
    /// The start of the next page. `None` on the last page.
    pub(crate) next: Option<UploadMarker>,
}

impl Client {
    /// `ListMultipartUploads`: one page of at most `max_uploads` uploads whose keys begin with `prefix`, in key order.
    pub(crate) async fn list_multipart_uploads(
        &self,
        prefix: &str,
        after: Option<&UploadMarker>,
        max_uploads: u16,
        room: &mut impl Room,
    ) -> Result<UploadPage, Error> {
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
        let answer = self.page(&request, room).await?;
        let page = page(&answer.body, after, usize::from(max_uploads))?;
        Ok(UploadPage { now: server_clock(&answer.headers), ..page })
    }
}

fn page(body: &str, after: Option<&UploadMarker>, max_uploads: usize) -> Result<UploadPage, Error> {
    let result = Element::read(body, "ListMultipartUploadsResult", "the response to ListMultipartUploads")?;
    let encoded = result.text("EncodingType") == Some("url");
    let name = |text: &str| {
        if encoded { encode::decode_listed(text.to_owned()).ok() } else { Some(text.to_owned()) }
    };
    let upload = |listed: &Element| {
        Some(ListedUpload {
            key: name(listed.text("Key")?)?,
            id: listed.text("UploadId")?.to_owned(),
            initiated: listed.time("Initiated"),
        })
    };
    let listed = result.all("Upload").count();
    let mut uploads: Vec<_> = result.all("Upload").filter_map(upload).collect();
    let unreadable = listed - uploads.len();
    let last = |uploads: &[ListedUpload]| {
        uploads.last().map(|last| UploadMarker { key: last.key.clone(), upload_id: last.id.clone() })
    };
    let next = match (result.flag("IsTruncated"), result.text("NextKeyMarker").and_then(name)) {
        (Some(false), _) | (None, None) => None,
        (_, Some(key)) => {
            // Some servers omit NextUploadIdMarker. Without it, the next page would skip the key's remaining uploads.
            let listed = || uploads.iter().rfind(|upload| upload.key == key).map(|upload| upload.id.clone());
            let upload_id = result.text("NextUploadIdMarker").map(str::to_owned).or_else(listed);
            Some(UploadMarker { key, upload_id: upload_id.unwrap_or_default() })
        }
        (Some(true), None) => Some(
            last(&uploads)
                .ok_or_else(|| invalid_response("a list of uploads is truncated without a marker"))?,
        ),
    };
    // moto ignores markers and repeats the uploads up to this one.
    let marker = |listed: &ListedUpload| {
        after.is_some_and(|after| after.key == listed.key && after.upload_id == listed.id)
    };
    if let Some(at) = uploads.iter().position(marker) {
        uploads.drain(..=at);
    }
    let is_cut = uploads.len() > max_uploads;
    uploads.truncate(max_uploads);
    // If the server returned more uploads than requested, the next page has the rest.
    let next = if is_cut { last(&uploads) } else { next };
    Ok(UploadPage { uploads, unreadable, next, now: None })
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
    fn a_page_with_encoded_keys_and_next_markers_is_parsed() {
        let UploadPage { uploads, next, .. } = page(PAGE, None, 1000).unwrap();
        assert_eq!((uploads[0].key.as_str(), uploads[0].id.as_str()), ("a b+c", "u/2"));
        let since = uploads[0].initiated.unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(since.as_secs(), 1_767_323_045);
        assert_eq!(next, Some(UploadMarker { key: "a b+c".to_owned(), upload_id: "u/2".to_owned() }));
        let last = page(&PAGE.replace("<IsTruncated>true", "<IsTruncated>false"), None, 1000).unwrap();
        assert_eq!(last.next, None);
    }

    #[test]
    fn an_upload_without_a_key_or_an_id_is_skipped() {
        for (old, new) in [
            ("<UploadId>u/2</UploadId>", "<UploadId/>"),
            ("<UploadId>u/2</UploadId>", ""),
            ("<Key>a+b%2Bc</Key>", "<Key>%FF</Key>"),
        ] {
            let page = page(&PAGE.replace(old, new), None, 1000).unwrap();
            assert_eq!((page.uploads.len(), page.unreadable), (0, 1), "{new}");
        }
    }

    #[test]
    fn missing_next_markers_are_taken_from_the_last_upload() {
        let expected = Some(UploadMarker { key: "a b+c".to_owned(), upload_id: "u/2".to_owned() });
        for without in ["NextUploadIdMarker", "NextKeyMarker"] {
            assert_eq!(
                page(&PAGE.replace(without, "Other"), None, 1000).unwrap().next,
                expected,
                "{without}"
            );
        }
    }

    #[test]
    fn a_response_that_is_not_a_list_of_uploads_is_rejected() {
        let lost = PAGE
            .replace("NextKeyMarker", "Other")
            .replace("<Upload>", "<Other>")
            .replace("</Upload>", "</Other>");
        for body in ["<html/>", "", &lost] {
            assert!(page(body, None, 1000).is_err(), "{body}");
        }
    }

    #[test]
    fn an_oversized_page_is_truncated_and_the_next_page_has_the_rest() {
        let upload = "<Upload><Key>b</Key><UploadId>u/3</UploadId></Upload></ListMultipartUploadsResult>";
        let UploadPage { uploads, next, .. } =
            page(&PAGE.replace("</ListMultipartUploadsResult>", upload), None, 1).unwrap();
        assert_eq!(uploads.len(), 1);
        assert_eq!(next, Some(UploadMarker { key: "a b+c".to_owned(), upload_id: "u/2".to_owned() }));
        let repeated = PAGE.replace("</ListMultipartUploadsResult>", upload);
        let rest = page(&repeated, next.as_ref(), 1).unwrap().uploads;
        assert_eq!(rest[0].id, "u/3", "the server ignored the marker");
    }
}
