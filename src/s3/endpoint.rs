//! A bucket's endpoint: the host and path of every request.

use http::uri::{Authority, Scheme, Uri};

use super::{BucketSettings, Error, ErrorKind, encode};

/// The address of one bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    scheme: Scheme,
    authority: Authority,
    /// The prefix of every path: the endpoint's own path and, unless the bucket is in the host, `/` and the bucket.
    base: String,
}

/// The endpoint of Amazon S3 in `region` (<https://docs.aws.amazon.com/general/latest/gr/s3.html>).
fn amazon(region: &str) -> String {
    let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    format!("https://s3.{region}.{suffix}")
}

impl Endpoint {
    /// The bucket's address when requests are signed for `region`.
    pub(super) fn of(settings: &BucketSettings, region: &str) -> Result<Self, Error> {
        Self::at(&settings.endpoint.clone().unwrap_or_else(|| amazon(region)), settings)
    }

    /// The bucket's address in presigned URLs.
    pub(super) fn public(settings: &BucketSettings, region: &str) -> Result<Self, Error> {
        match &settings.public_endpoint {
            Some(url) => Self::at(url, settings),
            None => Self::of(settings, region),
        }
    }

    /// The address of the server itself, for requests that are not about the bucket.
    pub(super) fn service(settings: &BucketSettings, region: &str) -> Result<Self, Error> {
        let url = settings.endpoint.clone().unwrap_or_else(|| amazon(region));
        let (scheme, authority, path) = parts(&url)?;
        Ok(Self { scheme, authority, base: path })
    }

    /// The bucket's address on the server at `url`.
    fn at(url: &str, settings: &BucketSettings) -> Result<Self, Error> {
        let (scheme, host, path) = parts(url)?;
        let bucket = &settings.bucket;
        let no_certificate_matches = bucket.contains('.') && scheme == Scheme::HTTPS;
        if settings.virtual_hosted_style && !no_certificate_matches {
            let authority = format!("{bucket}.{host}").parse().map_err(|_| misconfigured(url))?;
            return Ok(Self { scheme, authority, base: path });
        }
        Ok(Self { scheme, authority: host, base: format!("{path}/{}", encode::path(bucket)) })
    }

    /// Whether requests use TLS.
    pub(super) fn is_tls(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// The `Host` header. Omits the scheme's default port, as HTTP clients do.
    pub(super) fn host(&self) -> &str {
        let own = if self.is_tls() { ":443" } else { ":80" };
        let text = self.authority.as_str();
        text.strip_suffix(own).unwrap_or(text)
    }

    /// The encoded path of a key, or of the bucket itself.
    pub(super) fn path(&self, key: Option<&str>) -> String {
        match key {
            Some(key) => format!("{}/{}", self.base, encode::path(key)),
            None if self.base.is_empty() => "/".to_owned(),
            None => self.base.clone(),
        }
    }

    /// The URL of a path. `query` is already encoded.
    pub(super) fn url(&self, path: &str, query: &str) -> String {
        let mark = if query.is_empty() { "" } else { "?" };
        [self.scheme.as_str(), "://", self.host(), path, mark, query].concat()
    }

    /// The URI of a request. `query` is already encoded.
    pub(super) fn uri(&self, path: &str, query: &str) -> Result<Uri, Error> {
        let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(target)
            .build()
            .map_err(|error| {
                Error::new(ErrorKind::Internal, "the request has an invalid URI").caused_by(error)
            })
    }
}

/// The scheme, the host with its port, and the path of a URL. The path does not end in `/`.
fn parts(url: &str) -> Result<(Scheme, Authority, String), Error> {
    let uri: Uri = url.parse().map_err(|_| misconfigured(url))?;
    match (uri.scheme().cloned(), uri.authority().cloned()) {
        (Some(scheme), Some(host)) => Ok((scheme, host, uri.path().trim_end_matches('/').to_owned())),
        _ => Err(misconfigured(url)),
    }
}

fn misconfigured(url: &str) -> Error {
    let url = without_user(url);
    let cause =
        format!("the endpoint {url} must be an http or https URL with a host that accepts a bucket name");
    Error::new(ErrorKind::StoreMisconfigured, "the store's endpoint is invalid").because(&cause)
}

/// `url` without a user name and password, which must not be logged.
fn without_user(url: &str) -> String {
    match (url.find("//"), url.rfind('@')) {
        (Some(scheme), Some(user)) if scheme < user => format!("{}//{}", &url[..scheme], &url[user + 1..]),
        _ => url.to_owned(),
    }
}

/// Whether the store's endpoint is Amazon S3.
pub(super) fn is_amazon(settings: &BucketSettings) -> bool {
    let Some(endpoint) = &settings.endpoint else { return true };
    let host = endpoint.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_ascii_lowercase));
    host.is_some_and(|host| host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_in_an_error_has_no_password() {
        assert_eq!(without_user("https://user:p@ss@minio:9000/a"), "https://minio:9000/a");
        assert_eq!(without_user("https://minio:9000"), "https://minio:9000");
        assert_eq!(without_user("user@minio"), "user@minio");
    }

    fn address(settings: &BucketSettings, key: Option<&str>) -> String {
        let endpoint = Endpoint::of(settings, "eu-west-1").unwrap();
        endpoint.uri(&endpoint.path(key), "").unwrap().to_string()
    }

    fn at(bucket: &str, endpoint: &str, virtual_hosted_style: bool) -> BucketSettings {
        let endpoint = Some(endpoint.to_owned());
        BucketSettings { endpoint, virtual_hosted_style, ..BucketSettings::new(bucket) }
    }

    #[test]
    fn amazon_has_an_endpoint_in_each_region() {
        assert_eq!(address(&BucketSettings::new("b"), Some("k")), "https://s3.eu-west-1.amazonaws.com/b/k");
        let virtual_hosted = BucketSettings { virtual_hosted_style: true, ..BucketSettings::new("b") };
        assert_eq!(address(&virtual_hosted, Some("k")), "https://b.s3.eu-west-1.amazonaws.com/k");
        assert_eq!(address(&virtual_hosted, None), "https://b.s3.eu-west-1.amazonaws.com/");
        assert_eq!(amazon("cn-north-1"), "https://s3.cn-north-1.amazonaws.com.cn");
    }

    #[test]
    fn a_bucket_with_dots_stays_in_the_path_under_tls() {
        assert_eq!(address(&at("a.b", "https://s3.test", true), Some("k")), "https://s3.test/a.b/k");
        assert_eq!(address(&at("a.b", "http://s3.test", true), Some("k")), "http://a.b.s3.test/k");
    }

    #[test]
    fn an_endpoint_may_have_a_port_and_a_path() {
        let settings = at("b", "http://127.0.0.1:9000/s3/", false);
        assert_eq!(address(&settings, Some("/a//../b c")), "http://127.0.0.1:9000/s3/b//a//../b%20c");
        assert_eq!(Endpoint::of(&settings, "r").unwrap().host(), "127.0.0.1:9000");
        assert_eq!(Endpoint::of(&at("b", "https://s3.test:443", false), "r").unwrap().host(), "s3.test");
    }

    #[test]
    fn requests_to_the_service_do_not_name_the_bucket() {
        let address = |settings: &BucketSettings| {
            let endpoint = Endpoint::service(settings, "eu-west-1").unwrap();
            endpoint.uri(&endpoint.path(None), "").unwrap().to_string()
        };
        for virtual_hosted in [false, true] {
            assert_eq!(
                address(&at("b", "http://127.0.0.1:9000/s3/", virtual_hosted)),
                "http://127.0.0.1:9000/s3"
            );
            assert_eq!(address(&at("b", "https://s3.test", virtual_hosted)), "https://s3.test/");
        }
        assert_eq!(address(&BucketSettings::new("b")), "https://s3.eu-west-1.amazonaws.com/");
    }

    #[test]
    fn amazon_endpoints_are_recognised() {
        assert!(is_amazon(&BucketSettings::new("b")));
        assert!(is_amazon(&at("b", "https://s3.dualstack.eu-west-1.amazonaws.com", false)));
        assert!(!is_amazon(&at("b", "https://amazonaws.com.example.org", false)));
    }
}
