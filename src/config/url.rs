//! Parses a store's `url`, and validates endpoints, bucket names and prefixes.

use http::Uri;
use percent_encoding::percent_decode_str;

const FORMS: &str = "expected s3://BUCKET/PATH, s3a://BUCKET/PATH, https://s3.REGION.amazonaws.com/BUCKET, \
                     https://BUCKET.s3.REGION.amazonaws.com or https://ACCOUNT.r2.cloudflarestorage.com/BUCKET";

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
        let (scheme, rest) = url.split_once("://").ok_or_else(|| FORMS.to_owned())?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if host.contains('@') {
            return Err(
                "contains credentials: set them in `config` or `credential_provider` instead".to_owned()
            );
        }
        match scheme {
            "s3" | "s3a" if !host.is_empty() => {
                Ok(Self { bucket: host.to_owned(), prefix: path.to_owned(), ..Self::default() })
            }
            "https" => Self::from_https(host, path),
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

/// Validates an endpoint and removes trailing slashes. Messages do not repeat the value, because users paste
/// credentials into endpoints.
pub(super) fn endpoint(text: &str) -> Result<String, String> {
    const EXPECTED: &str = "expected http:// or https://, a host, and optionally a port and a path";
    if text.contains(['?', '#']) {
        return Err("contains a query (`?`) or a fragment (`#`): remove it".to_owned());
    }
    let uri: Uri = text.parse().map_err(|_| format!("is not a valid URL; {EXPECTED}"))?;
    let authority = uri.authority().ok_or_else(|| format!("has no host; {EXPECTED}"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(format!("has an unsupported scheme; {EXPECTED}"));
    }
    if authority.as_str().contains('@') {
        return Err("contains credentials: set them in `config` or `credential_provider` instead".to_owned());
    }
    let after_host = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
    if authority.host().is_empty() || (!after_host.is_empty() && authority.port_u16().is_none()) {
        return Err(format!("has an invalid host or port; {EXPECTED}"));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// Whether the endpoint belongs to Cloudflare R2.
pub(super) fn is_r2(endpoint: &str) -> bool {
    let host = endpoint.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_ascii_lowercase));
    host.is_some_and(|host| host.ends_with(".r2.cloudflarestorage.com"))
}

/// Whether requests to this endpoint are not encrypted.
pub(super) fn is_plain_http(endpoint: &str) -> bool {
    endpoint.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("http://"))
}

/// Checks a bucket name that is used in a path. Some servers allow more than S3 does today (capitals, underscores,
/// `tenant:bucket`), as S3 itself once did. This function therefore rejects only names that would change the path,
/// and leaves the rest to the server.
pub(super) fn check_bucket(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.len() > 255 {
        return Err("must be 1 to 255 bytes long");
    }
    if name.contains(|c: char| c == '/' || c.is_control() || c.is_whitespace()) {
        return Err("must not contain slashes, whitespace or control characters");
    }
    if matches!(name, "." | "..") {
        return Err("must not be `.` or `..`");
    }
    Ok(())
}

/// Checks a bucket name that is used in a host name, by the "Bucket naming rules" in the S3 User Guide.
pub(super) fn check_bucket_in_host(name: &str) -> Result<(), &'static str> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !(3..=63).contains(&name.len()) || !name.chars().all(|c| plain(c) || matches!(c, '-' | '.')) {
        return Err("must consist of 3 to 63 of the characters a-z, 0-9, `-` and `.`");
    }
    if !name.starts_with(plain) || !name.ends_with(plain) || name.contains("..") {
        return Err("must begin and end with a letter or digit, and must not contain two dots in a row");
    }
    if name.parse::<std::net::Ipv4Addr>().is_ok() {
        return Err("must not look like an IP address");
    }
    Ok(())
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
    fn endpoints_are_validated_without_showing_secrets() {
        for (given, expected) in [
            ("https://minio.local", "https://minio.local"),
            ("http://127.0.0.1:9000/", "http://127.0.0.1:9000"),
            ("http://[::1]:9000/s3/", "http://[::1]:9000/s3"),
        ] {
            assert_eq!(endpoint(given).unwrap(), expected);
        }
        for bad in [
            "",
            "minio:9000",
            "/path",
            "ftp://host",
            "https://",
            "https://:80",
            "https://user:secret@host",
            "https://host?x=secret",
            "https://host#secret",
            "https://host:99999",
            "https://host:",
            "http://a b",
        ] {
            assert!(!endpoint(bad).unwrap_err().contains("secret"), "{bad}");
        }
    }

    #[test]
    fn bucket_names_and_prefixes_are_validated() {
        for good in ["abc", "my-bucket.v2", "0a0"] {
            assert_eq!((check_bucket(good), check_bucket_in_host(good)), (Ok(()), Ok(())));
        }
        for other in ["ab", "Abc", "a_b", "-abc", "abc-", "a..b", "10.0.0.1", "ä-ö-ü", "t:b", &"a".repeat(64)]
        {
            assert_eq!(check_bucket(other), Ok(()));
            assert!(check_bucket_in_host(other).is_err(), "{other}");
        }
        for bad in ["", ".", "..", "a/b", "a b", "a\n", &"a".repeat(256)] {
            assert!(check_bucket(bad).is_err() && check_bucket_in_host(bad).is_err(), "{bad}");
        }
        for (given, expected) in [("", ""), ("a", "a/"), ("a/b/", "a/b/"), ("a//b", "a//b/")] {
            assert_eq!(prefix(given).as_deref(), Ok(expected));
        }
        for bad in ["/a", "a/../b", "./a", "a\nb", &"a".repeat(513)] {
            assert!(prefix(bad).is_err(), "{bad}");
        }
    }
}
