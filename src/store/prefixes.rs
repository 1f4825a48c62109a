//! Which prefixes of stores have keys in common.

use super::S3Store;

impl S3Store {
    /// Whether keys with `prefix` in this store may also have the prefix `others` in the store `other`. Two endpoints count
    /// as different servers, although they may be two names of one.
    pub fn overlaps(&self, prefix: &str, other: &Self, others: &str) -> bool {
        let (one, two) = (&self.settings().bucket, &other.settings().bucket);
        let (own, others) = (self.full_prefix(prefix), other.full_prefix(others));
        one.bucket == two.bucket
            && one.endpoint.as_deref().map(normal) == two.endpoint.as_deref().map(normal)
            && (own.starts_with(&others) || others.starts_with(&own))
    }
}

/// An endpoint without the differences that do not matter.
fn normal(endpoint: &str) -> String {
    let endpoint = endpoint.trim_end_matches('/').to_ascii_lowercase();
    let port = if endpoint.starts_with("https:") { ":443" } else { ":80" };
    endpoint.strip_suffix(port).unwrap_or(&endpoint).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_port_and_case_of_an_endpoint_do_not_matter() {
        assert_eq!(normal("HTTPS://S3.test:443/"), normal("https://s3.test"));
        assert_eq!(normal("http://s3.test:80"), "http://s3.test");
        assert_ne!(normal("http://s3.test:443"), normal("http://s3.test"));
    }
}
