//! Parses a store's `url`, and validates prefixes.

use http::Uri;
use percent_encoding::percent_decode_str;

const FORMS: &str = "expected s3://BUCKET/PATH, s3a://BUCKET/PATH, https://s3.REGION.amazonaws.com/BUCKET, \
                     https://BUCKET.s3.REGION.amazonaws.com or https://ACCOUNT.r2.cloudflarestorage.com/BUCKET";

const OTHER_SERVER: &str = "is the URL of a server that is neither Amazon S3 nor Cloudflare R2: set `config.endpoint` \
                            to its scheme, host and port, and `url` to s3://BUCKET/PATH";

/// The settings that a `url` contains.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) bucket: String,
    /// As in the URL, not yet validated.
    pub(super) prefix: String,
    pub(super) region: Option<String>,
    pub(super) endpoint: UrlEndpoint,
    pub(super) virtual_hosted_style: Option<bool>,
}

/// The endpoint that a `url` implies.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum UrlEndpoint {
    /// The URL does not imply an endpoint.
    #[default]
    Unsaid,
    /// Amazon's endpoint of the region.
    Amazon,
    /// This endpoint.
    Given(String),
}

impl Location {
    /// Parses a `url`. Takes an `s3://` path literally and percent-decodes an `https://` path.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        if url.contains(['?', '#']) {
            return Err("contains a query (`?`) or a fragment (`#`): remove it, or set a prefix with these \
                        characters in `prefix`"
                .to_owned());
        }
        let Some((scheme, rest)) = url.split_once("://") else {
            let has_port = url.split('/').next().is_some_and(|host| host.contains(':'));
            return Err(if has_port { OTHER_SERVER } else { FORMS }.to_owned());
        };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if host.contains('@') {
            return Err(
                "contains credentials: set them in `config` or `credential_provider` instead".to_owned()
            );
        }
        let lower = host.to_ascii_lowercase();
        let known = lower.ends_with(".amazonaws.com")
            || lower == "amazonaws.com"
            || lower.ends_with(".r2.cloudflarestorage.com");
        match scheme {
            "s3" | "s3a" if !host.is_empty() => {
                Ok(Self { bucket: host.to_owned(), prefix: path.to_owned(), ..Self::default() })
            }
            "https" if known => Self::from_https(&lower, path),
            "http" | "https" if !known && !host.is_empty() => Err(OTHER_SERVER.to_owned()),
            _ => Err(FORMS.to_owned()),
        }
    }

    fn from_https(host: &str, path: &str) -> Result<Self, String> {
        let path = percent_decode_str(path).decode_utf8().map_err(|_| {
            "has a path that is not valid UTF-8 after percent-decoding: encode it as UTF-8".to_owned()
        })?;
        let (first, rest) = path.split_once('/').unwrap_or((&path, ""));
        let in_path = |region: &str, endpoint| Self {
            bucket: first.to_owned(),
            prefix: rest.to_owned(),
            region: Some(region.to_owned()),
            endpoint,
            virtual_hosted_style: Some(false),
        };
        if let Some(account) = host.strip_suffix(".r2.cloudflarestorage.com") {
            if account.is_empty() || first.is_empty() {
                return Err(FORMS.to_owned());
            }
            return Ok(in_path("auto", UrlEndpoint::Given(format!("https://{host}"))));
        }
        let host = host.strip_suffix(".amazonaws.com").ok_or_else(|| FORMS.to_owned())?;
        if let Some(region) = host.strip_prefix("s3.").filter(|region| !region.contains('.')) {
            if first.is_empty() {
                return Err(FORMS.to_owned());
            }
            return Ok(in_path(region, UrlEndpoint::Amazon));
        }
        let (host, region) = host.rsplit_once('.').ok_or_else(|| FORMS.to_owned())?;
        let bucket = host.strip_suffix(".s3").ok_or_else(|| FORMS.to_owned())?;
        Ok(Self {
            bucket: bucket.to_owned(),
            prefix: path.to_string(),
            region: Some(region.to_owned()),
            endpoint: UrlEndpoint::Amazon,
            virtual_hosted_style: Some(true),
        })
    }
}

/// Whether the endpoint belongs to Cloudflare R2.
pub(super) fn is_r2(endpoint: &str) -> bool {
    let host = endpoint.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_ascii_lowercase));
    host.is_some_and(|host| host.ends_with(".r2.cloudflarestorage.com"))
}

/// Validates a key prefix. Unless it is empty, the result ends in `/`.
pub(super) fn prefix(text: &str) -> Result<String, &'static str> {
    if text.starts_with('/') {
        return Err("begins with `/`, so every key in the bucket would begin with `/` too: remove the slash");
    }
    if text.split('/').any(|part| matches!(part, "." | "..")) {
        return Err(
            "contains a `.` or `..` segment, which some servers resolve and others do not: remove it",
        );
    }
    if text.chars().any(char::is_control) {
        return Err("contains a control character: remove it");
    }
    if text.len() > 512 {
        return Err("is longer than 512 bytes: shorten it (S3 limits a whole key to 1,024 bytes)");
    }
    let end = if text.is_empty() || text.ends_with('/') { "" } else { "/" };
    Ok(format!("{text}{end}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_url_is_parsed() {
        let at = |bucket: &str, prefix: &str| Location {
            bucket: bucket.into(),
            prefix: prefix.into(),
            ..Location::default()
        };
        let amazon = |location: Location, hosted| Location {
            region: Some("eu-west-1".into()),
            endpoint: UrlEndpoint::Amazon,
            virtual_hosted_style: Some(hosted),
            ..location
        };
        for (url, expected) in [
            ("s3://bucket", at("bucket", "")),
            ("s3://bucket/a%20b/c/", at("bucket", "a%20b/c/")),
            ("s3a://bucket/path", at("bucket", "path")),
            ("https://s3.eu-west-1.amazonaws.com/bucket/a%20b", amazon(at("bucket", "a b"), false)),
            ("https://bucket.s3.eu-west-1.amazonaws.com", amazon(at("bucket", ""), true)),
            ("https://S3.EU-WEST-1.AMAZONAWS.COM/Bucket", amazon(at("Bucket", ""), false)),
            ("https://my.bucket.s3.eu-west-1.amazonaws.com/a/b", amazon(at("my.bucket", "a/b"), true)),
            (
                "https://0123abc.eu.r2.cloudflarestorage.com/bucket/x",
                Location {
                    region: Some("auto".into()),
                    endpoint: UrlEndpoint::Given("https://0123abc.eu.r2.cloudflarestorage.com".into()),
                    virtual_hosted_style: Some(false),
                    ..at("bucket", "x")
                },
            ),
        ] {
            assert_eq!(Location::parse(url).unwrap(), expected, "{url}");
        }
    }

    #[test]
    fn invalid_urls_are_rejected_without_showing_secrets() {
        for url in [
            "",
            "bucket",
            "s3://",
            "s3:///x",
            "gs://bucket",
            "http://s3.eu-west-1.amazonaws.com/b",
            "https://example.com/bucket",
            "https://s3.eu-west-1.amazonaws.com",
            "https://amazonaws.com/x",
            "https://.r2.cloudflarestorage.com/b",
            "https://a.r2.cloudflarestorage.com",
            "s3://b/?x=1",
            "https://s3.eu-west-1.amazonaws.com/b/%ff",
            "s3://key:secret@bucket/path",
        ] {
            let text = Location::parse(url).unwrap_err();
            assert!(!text.contains("secret"), "{text}");
        }
    }

    #[test]
    fn the_error_for_urls_of_other_servers_points_to_the_endpoint() {
        for url in ["http://minio:9000/b", "https://s3.example.com/b", "minio:9000/b"] {
            assert_eq!(Location::parse(url).unwrap_err(), OTHER_SERVER, "{url}");
        }
        for url in ["http://s3.eu-west-1.amazonaws.com/b", "bucket/path", "gs://b", "https://"] {
            assert_eq!(Location::parse(url).unwrap_err(), FORMS, "{url}");
        }
    }

    #[test]
    fn prefixes_are_validated() {
        for (given, expected) in [("", ""), ("a", "a/"), ("a/b/", "a/b/"), ("a//b", "a//b/")] {
            assert_eq!(prefix(given).as_deref(), Ok(expected));
        }
        for bad in ["/a", "a/../b", "./a", "a\nb", &"a".repeat(513)] {
            assert!(prefix(bad).is_err(), "{bad}");
        }
    }
}
