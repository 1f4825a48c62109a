//! How the settings of a bucket are written.

use http::Uri;

use crate::{
    settings::{Flag, Keywords, Notes, Scalar, UNTRUSTED, case_insensitive, quoted},
    transport::names_local_host,
};

use super::ChecksumAlgorithm;

/// A bucket name.
pub(crate) struct BucketName;

impl Scalar for BucketName {
    type Value = String;

    fn expected() -> String {
        "a bucket name".to_owned()
    }

    fn from_text(text: &str) -> Result<String, String> {
        check_bucket(text).map_err(|why| format!("{} is not a valid bucket name: it {why}", quoted(text)))?;
        Ok(text.to_owned())
    }

    fn show(value: &String) -> Option<String> {
        Some(value.clone()).filter(|name| !name.is_empty())
    }
}

/// A region name.
pub(crate) struct RegionName;

impl Scalar for RegionName {
    type Value = String;

    fn expected() -> String {
        "a region name such as eu-west-1".to_owned()
    }

    fn from_text(text: &str) -> Result<String, String> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
            return Ok(text.to_owned());
        }
        Err(format!("expected 1 to 64 of the characters a-z, 0-9 and `-`, found {}", quoted(text)))
    }

    fn show(value: &String) -> Option<String> {
        Some(value.clone())
    }
}

/// The URL of an S3 server, without trailing slashes. `None` stands for Amazon S3.
pub(crate) struct EndpointUrl;

impl Scalar for EndpointUrl {
    type Value = Option<String>;

    fn expected() -> String {
        "a URL such as https://s3.example.com".to_owned()
    }

    fn form() -> String {
        "URL".to_owned()
    }

    fn from_text(text: &str) -> Result<Option<String>, String> {
        endpoint(text).map(Some)
    }

    fn admit(url: Option<String>, notes: &Notes) -> Result<Option<String>, String> {
        if notes.trusts_author() || !url.as_deref().is_some_and(names_local_host) {
            return Ok(url);
        }
        Err(format!(
            "is an address of the server's own machine or of its metadata service, {UNTRUSTED}: set the URL of another \
             machine"
        ))
    }

    fn show(value: &Option<String>) -> Option<String> {
        value.clone()
    }
}

/// Whether the requester pays: true, false, or S3's own value `requester`.
pub(crate) struct RequestPayer;

impl Scalar for RequestPayer {
    type Value = bool;

    fn expected() -> String {
        "true, false or requester".to_owned()
    }

    fn form() -> String {
        "boolean, or `requester`".to_owned()
    }

    fn from_text(text: &str) -> Result<bool, String> {
        if text.eq_ignore_ascii_case("requester") {
            return Ok(true);
        }
        Flag::from_text(text).map_err(|_| format!("expected {}, found {}", Self::expected(), quoted(text)))
    }

    fn from_flag(flag: bool) -> Result<bool, String> {
        Ok(flag)
    }

    fn show(value: &bool) -> Option<String> {
        Flag::show(value)
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({"anyOf": [Flag::schema(), case_insensitive(&["requester"])]})
    }
}

impl Keywords for ChecksumAlgorithm {
    const KEYWORDS: &'static [(&'static str, Self)] = &[
        ("crc32", Self::Crc32),
        ("crc32c", Self::Crc32c),
        ("crc64nvme", Self::Crc64Nvme),
        ("sha1", Self::Sha1),
        ("sha256", Self::Sha256),
    ];
}

/// Validates an endpoint and removes trailing slashes. Messages do not repeat the value, because users paste
/// credentials into endpoints.
fn endpoint(text: &str) -> Result<String, String> {
    const EXPECTED: &str = "expected http:// or https://, a host, and optionally a port and a path";
    if text.contains(['?', '#']) {
        return Err("contains a query (`?`) or a fragment (`#`): remove it".to_owned());
    }
    let uri: Uri = text.parse().map_err(|_| format!("is not a valid URL; {EXPECTED}"))?;
    if uri.scheme().is_none() && uri.authority().is_some() {
        return Err("has no scheme: put http:// or https:// in front of the host".to_owned());
    }
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

/// Checks a bucket name that is used in a path. Some servers allow more than S3 does today (capitals, underscores,
/// `tenant:bucket`), as S3 itself once did. This function therefore rejects only names that would change the path,
/// and leaves the rest to the server.
pub(crate) fn check_bucket(name: &str) -> Result<(), &'static str> {
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
pub(crate) fn check_bucket_in_host(name: &str) -> Result<(), &'static str> {
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

/// Whether requests to this endpoint are not encrypted.
pub(crate) fn is_plain_http(endpoint: &str) -> bool {
    endpoint.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("http://"))
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn bucket_names_are_validated() {
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
    }
}
