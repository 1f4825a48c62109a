//! `RestoreObject`, and what responses say about restored copies of archived objects.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_RestoreObject.html>

use std::{fmt::Write, time::SystemTime};

use http::{HeaderMap, HeaderName, Method, StatusCode};

use super::{Client, Error, ErrorKind, headers::text, request::Request};

const RESTORE: HeaderName = HeaderName::from_static("x-amz-restore");
const ARCHIVE_STATUS: HeaderName = HeaderName::from_static("x-amz-archive-status");

/// How fast an archived object is restored, and at which price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestoreTier {
    /// Within minutes. Not for DEEP_ARCHIVE.
    Expedited,
    /// Within hours.
    Standard,
    /// Within half a day, or two days for DEEP_ARCHIVE. The cheapest.
    Bulk,
}

/// What a restore is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RestoreOptions {
    /// For how many days the restored copy stays. `None` for objects in an archive tier of INTELLIGENT_TIERING, which
    /// move to another tier instead.
    pub days: Option<u32>,
    /// `None` leaves the choice to the server, which uses Standard.
    pub tier: Option<RestoreTier>,
}

/// The outcome of a request to restore an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restoring {
    /// The restore has begun.
    Started,
    /// A restore was already in progress. Nothing has changed.
    InProgress,
    /// The object was restored before, and its copy now stays as long as requested.
    Extended,
}

/// What a response says about the restored copy of an archived object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestoreStatus {
    /// Whether a restore is in progress, so that the object cannot be read yet.
    pub in_progress: bool,
    /// When the restored copy is removed.
    pub expires: Option<SystemTime>,
}

impl Client {
    /// `RestoreObject`. Repeating it has no further effect while the restore is in progress.
    pub(crate) async fn restore_object(
        &self,
        key: &str,
        version: Option<&str>,
        options: RestoreOptions,
    ) -> Result<Restoring, Error> {
        let request = Request::object("RestoreObject", Method::POST, key)
            .query("restore", "")
            .version(version)
            .document(document(options))?;
        match self.document(&request).await {
            Ok(answer) if answer.status == StatusCode::OK => Ok(Restoring::Extended),
            Ok(_) => Ok(Restoring::Started),
            Err(error) if error.code() == Some("RestoreAlreadyInProgress") => Ok(Restoring::InProgress),
            // For a read, this error says that the object is archived. Here it says the opposite.
            Err(error) if error.kind() == ErrorKind::ObjectArchived => Err(error.recast(
                ErrorKind::InvalidRequest,
                "the object is not archived, or its storage class does not allow this restore",
            )),
            Err(error) => Err(error),
        }
    }
}

impl RestoreTier {
    fn name(self) -> &'static str {
        match self {
            Self::Expedited => "Expedited",
            Self::Standard => "Standard",
            Self::Bulk => "Bulk",
        }
    }
}

fn document(options: RestoreOptions) -> String {
    let mut text = String::from("<RestoreRequest xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    if let Some(days) = options.days {
        let _ = write!(text, "<Days>{days}</Days>");
    }
    if let Some(tier) = options.tier {
        let tier = tier.name();
        let _ = write!(text, "<GlacierJobParameters><Tier>{tier}</Tier></GlacierJobParameters>");
    }
    text.push_str("</RestoreRequest>");
    text
}

/// Parses `x-amz-restore`, such as `ongoing-request="false", expiry-date="Fri, 21 Dec 2012 00:00:00 GMT"`
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html>).
pub(super) fn status(headers: &HeaderMap) -> Option<RestoreStatus> {
    let value = text(headers, &RESTORE)?;
    let field = |name: &str| {
        let (_, rest) = value.split_once(&format!("{name}=\""))?;
        rest.split('"').next()
    };
    Some(RestoreStatus {
        in_progress: field("ongoing-request")? == "true",
        expires: field("expiry-date").and_then(|date| httpdate::parse_http_date(date).ok()),
    })
}

/// The archive tier of an object in INTELLIGENT_TIERING. Empty if it is in none.
pub(super) fn archive_status(headers: &HeaderMap) -> String {
    text(headers, &ARCHIVE_STATUS).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_request_names_only_what_was_asked_for() {
        let document = |days, tier| {
            let text = super::document(RestoreOptions { days, tier });
            text.split_once('>').unwrap().1.replace("</RestoreRequest>", "")
        };
        assert_eq!(document(None, None), "");
        assert_eq!(
            document(Some(7), Some(RestoreTier::Bulk)),
            "<Days>7</Days><GlacierJobParameters><Tier>Bulk</Tier></GlacierJobParameters>"
        );
    }

    #[test]
    fn the_status_is_parsed_and_an_unknown_form_is_ignored() {
        let status = |value: &'static str| {
            super::status(&HeaderMap::from_iter([(RESTORE, HeaderValue::from_static(value))]))
        };
        let progress = RestoreStatus { in_progress: true, expires: None };
        assert_eq!(status("ongoing-request=\"true\""), Some(progress));
        let done =
            status("ongoing-request=\"false\", expiry-date=\"Fri, 21 Dec 2012 00:00:00 GMT\"").unwrap();
        let expires = SystemTime::UNIX_EPOCH + Duration::from_hours(376_680);
        assert_eq!(done, RestoreStatus { in_progress: false, expires: Some(expires) });
        assert_eq!(status("ongoing-request=\"false\", expiry-date=\"soon\"").unwrap().expires, None);
        assert_eq!(status("later"), None);
        assert_eq!(super::status(&HeaderMap::new()), None);
    }
}
