//! Where a store's `url` points, and what an endpoint may look like.

use http::Uri;
use percent_encoding::percent_decode_str;

const FORMS: &str = "should be s3://BUCKET/PATH, s3a://BUCKET/PATH, https://s3.REGION.amazonaws.com/BUCKET, \
                     https://BUCKET.s3.REGION.amazonaws.com or https://ACCOUNT.r2.cloudflarestorage.com/BUCKET";

/// What a `url` says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) bucket: String,
    /// Without normalisation.
    pub(super) prefix: String,
    pub(super) region: Option<String>,
    pub(super) endpoint: UrlEndpoint,
    pub(super) virtual_hosted_style: Option<bool>,
}

/// What a `url` says of the endpoint.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum UrlEndpoint {
    /// Nothing.
    #[default]
    Unsaid,
    /// Amazon's own of the region.
    Amazon,
    /// This one.
    Given(String),
}

impl Location {
    /// Reads a `url`. `s3://` is taken literally; in `https://` percent-encoding is undone.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        if url.contains(['?', '#']) {
            return Err("has a query or a fragment, which a store has no use for: leave it out".to_owned());
        }
        let (scheme, rest) = url.split_once("://").ok_or_else(|| FORMS.to_owned())?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if host.contains('@') {
            return Err("holds credentials: give them under `config` or `credential_provider`".to_owned());
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
        let path = percent_decode_str(path)
            .decode_utf8()
            .map_err(|_| "has a path that is not UTF-8 once its percent-encoding is undone".to_owned())?;
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

/// An endpoint without a slash at its end. Says what is wrong without repeating it, since people paste
/// credentials into them.
pub(super) fn endpoint(text: &str) -> Result<String, String> {
    const EXPECTED: &str = "should be http:// or https://, a host, and if need be a port and a path";
    if text.contains(['?', '#']) {
        return Err("has a query or a fragment: leave it out".to_owned());
    }
    let uri: Uri = text.parse().map_err(|_| format!("is no URL, {EXPECTED}"))?;
    let authority = uri.authority().ok_or_else(|| format!("names no host, {EXPECTED}"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(format!("has another scheme, {EXPECTED}"));
    }
    if authority.as_str().contains('@') {
        return Err("holds credentials: give them under `config` or `credential_provider`".to_owned());
    }
    let after_host = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
    if authority.host().is_empty() || (!after_host.is_empty() && authority.port_u16().is_none()) {
        return Err(format!("has a host or port that cannot be, {EXPECTED}"));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// Whether the endpoint is Cloudflare R2's.
pub(super) fn is_r2(endpoint: &str) -> bool {
    let host = endpoint.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_ascii_lowercase));
    host.is_some_and(|host| host.ends_with(".r2.cloudflarestorage.com"))
}

/// Whether requests to this endpoint go in the open.
pub(super) fn is_plain_http(endpoint: &str) -> bool {
    endpoint.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("http://"))
}

/// A bucket's name in a path. Servers have other rules than S3's (capitals, underscores, `tenant:bucket`), as S3 had itself, so they judge it;
/// refused is what would make another path of it.
pub(super) fn check_bucket(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.len() > 255 {
        return Err("should have 1 to 255 bytes");
    }
    if name.contains(|c: char| c == '/' || c.is_control() || c.is_whitespace()) {
        return Err("should have no slashes, spaces or control characters");
    }
    if matches!(name, "." | "..") {
        return Err("should be no part of a path that is resolved");
    }
    Ok(())
}

/// A bucket's name in a host, by S3's rules: "Bucket naming rules" in the S3 User Guide.
pub(super) fn check_bucket_in_host(name: &str) -> Result<(), &'static str> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !(3..=63).contains(&name.len()) || !name.chars().all(|c| plain(c) || matches!(c, '-' | '.')) {
        return Err("should be 3 to 63 of a-z, 0-9, - and .");
    }
    if !name.starts_with(plain) || !name.ends_with(plain) || name.contains("..") {
        return Err("should begin and end with a letter or digit, and have no two dots in a row");
    }
    if name.parse::<std::net::Ipv4Addr>().is_ok() {
        return Err("should not look like an IP address");
    }
    Ok(())
}

/// What keys begin with: empty, or ending in `/`.
pub(super) fn prefix(text: &str) -> Result<String, &'static str> {
    if text.starts_with('/') {
        return Err("begins with `/`, and so would every key in the bucket: leave the slash out");
    }
    if text.split('/').any(|part| matches!(part, "." | "..")) {
        return Err("has a part `.` or `..`, which some servers resolve and others do not");
    }
    if text.chars().any(char::is_control) {
        return Err("holds a control character");
    }
    if text.len() > 512 {
        return Err("is longer than 512 bytes; a whole key has 1,024");
    }
    let end = if text.is_empty() || text.ends_with('/') { "" } else { "/" };
    Ok(format!("{text}{end}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_url() {
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
    fn urls_that_name_no_bucket_are_refused() {
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
    fn endpoints() {
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
    fn bucket_names_and_prefixes() {
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
