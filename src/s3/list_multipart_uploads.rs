//! `ListMultipartUploads`.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html>

use std::time::SystemTime;

use http::Method;
use tokio::time::Instant;

use super::{
    Client, Error, encode, failure::server_clock, headers::not_s3, page::Room, request::Request, xml::Element,
};

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

/// A page of uploads.
#[derive(Debug, Default)]
pub(crate) struct UploadPage {
    pub(crate) uploads: Vec<ListedUpload>,
    /// How many were left out, because they have no key that can be read, or no id.
    pub(crate) unreadable: usize,
    /// What the server's clock said; `None` where it did not say, or nothing plausible.
    pub(crate) now: Option<SystemTime>,
    /// Where the next page begins; `None` at the end.
    pub(crate) next: Option<UploadMarker>,
}

impl Client {
    /// `ListMultipartUploads`, one page of at most `max_uploads` in the order of the keys: the uploads whose keys begin with `prefix`.
    pub(crate) async fn list_multipart_uploads(
        &self,
        prefix: &str,
        after: Option<&UploadMarker>,
        max_uploads: u16,
        deadline: Option<Instant>,
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
        let answer = self.page(&request, deadline, room).await?;
        let page = page(&answer.body, after, usize::from(max_uploads))?;
        Ok(UploadPage { now: server_clock(&answer.headers), ..page })
    }
}

fn page(body: &str, after: Option<&UploadMarker>, max_uploads: usize) -> Result<UploadPage, Error> {
    let result = Element::read(body, "ListMultipartUploadsResult", "a listing of uploads")?;
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
            // Some servers leave the second marker out: the rest of the key's uploads would never be seen.
            let listed = || uploads.iter().rfind(|upload| upload.key == key).map(|upload| upload.id.clone());
            let upload_id = result.text("NextUploadIdMarker").map(str::to_owned).or_else(listed);
            Some(UploadMarker { key, upload_id: upload_id.unwrap_or_default() })
        }
        (Some(true), None) => {
            Some(last(&uploads).ok_or_else(|| not_s3("a listing of uploads goes on without saying where"))?)
        }
    };
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
    fn a_page_is_read_with_its_odd_keys_and_where_the_next_begins() {
        let UploadPage { uploads, next, .. } = page(PAGE, None, 1000).unwrap();
        assert_eq!((uploads[0].key.as_str(), uploads[0].id.as_str()), ("a b+c", "u/2"));
        let since = uploads[0].initiated.unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(since.as_secs(), 1_767_323_045);
        assert_eq!(next, Some(UploadMarker { key: "a b+c".to_owned(), upload_id: "u/2".to_owned() }));
        let last = page(&PAGE.replace("<IsTruncated>true", "<IsTruncated>false"), None, 1000).unwrap();
        assert_eq!(last.next, None);
    }

    #[test]
    fn an_upload_without_a_key_or_an_id_is_left_out() {
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
    fn markers_that_the_server_leaves_out_are_those_of_its_last_upload() {
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
    fn an_answer_that_is_no_listing_of_uploads_is_told() {
        let lost = PAGE
            .replace("NextKeyMarker", "Other")
            .replace("<Upload>", "<Other>")
            .replace("</Upload>", "</Other>");
        for body in ["<html/>", "", &lost] {
            assert!(page(body, None, 1000).is_err(), "{body}");
        }
    }

    #[test]
    fn a_page_with_more_than_was_asked_for_is_cut_and_the_next_begins_after_it() {
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
