//! The response to a form whose file has been stored.

use http::{
    HeaderValue, Response, StatusCode, Uri,
    header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, LOCATION},
};
use percent_encoding::utf8_percent_encode;
use s3s::Body;

use super::{super::refusal::escaped, ENCODED, form::Form};

/// What the form asks for.
pub(super) enum Success {
    /// A redirect.
    Redirect(String),
    /// A status.
    Status(StatusCode),
}

impl Success {
    /// S3 ignores a redirect to something other than a URL, and a status other than 200, 201 and 204.
    pub(super) fn of(form: &Form) -> Self {
        let url = form.value("success_action_redirect").or_else(|| form.value("redirect"));
        let is_url = |url: &&str| {
            url.parse::<Uri>().is_ok_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")))
        };
        if let Some(url) = url.filter(is_url) {
            return Self::Redirect(url.to_owned());
        }
        Self::Status(match form.value("success_action_status") {
            Some("200") => StatusCode::OK,
            Some("201") => StatusCode::CREATED,
            _ => StatusCode::NO_CONTENT,
        })
    }

    /// The response, from that of the `PutObject`.
    pub(super) fn answer(
        self,
        mut stored: Response<Body>,
        bucket: &str,
        key: &str,
        location: &str,
    ) -> Response<Body> {
        let etag =
            stored.headers().get(ETAG).and_then(|etag| etag.to_str().ok()).unwrap_or_default().to_owned();
        let (status, body, location) = match self {
            Self::Redirect(url) => {
                let encoded = |text: &str| utf8_percent_encode(text, ENCODED).to_string();
                let mark = if url.contains('?') { '&' } else { '?' };
                let (bucket, key, etag) = (encoded(bucket), encoded(key), encoded(&etag));
                let location = format!("{url}{mark}bucket={bucket}&key={key}&etag={etag}");
                (StatusCode::SEE_OTHER, Body::empty(), location)
            }
            Self::Status(StatusCode::CREATED) => {
                let xml = format!(
                    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<PostResponse><Location>{}</Location><Bucket>{}</Bucket>\
                     <Key>{}</Key><ETag>{}</ETag></PostResponse>",
                    escaped(location),
                    escaped(bucket),
                    escaped(key),
                    escaped(&etag)
                );
                (StatusCode::CREATED, Body::from(xml), location.to_owned())
            }
            Self::Status(status) => (status, Body::empty(), location.to_owned()),
        };
        let headers = stored.headers_mut();
        headers.remove(CONTENT_LENGTH);
        headers.remove(CONTENT_TYPE);
        if status == StatusCode::CREATED {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        }
        if let Ok(location) = HeaderValue::from_str(&location) {
            headers.insert(LOCATION, location);
        }
        *stored.status_mut() = status;
        *stored.body_mut() = body;
        stored
    }
}
