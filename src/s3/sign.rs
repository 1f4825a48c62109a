//! Signature version 4 in the `Authorization` header.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>
//!
//! This module builds the canonical request and signs it with the primitives of aws-sigv4, so that it can cache the
//! derived key. A derived key is valid for one credential, day and region.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header::AUTHORIZATION};
use jiff::{Timestamp, tz::TimeZone};
use sha2::{Digest, Sha256};

use super::{Error, ErrorKind};
use crate::credentials::Credentials;

/// The payload hash of a request whose signature omits the payload.
pub(super) const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// The payload hash of a request without a payload: the SHA-256 of no bytes.
pub(super) const EMPTY_PAYLOAD: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// The name of the algorithm.
pub(super) const ALGORITHM: &str = "AWS4-HMAC-SHA256";

const X_AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");
const X_AMZ_CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const X_AMZ_SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// A cache of the date and the derived key of the last signature.
#[derive(Default)]
pub(super) struct SigningKeys(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    date: Option<Date>,
    key: Option<DerivedKey>,
}

/// A time in whole seconds, and its text in SigV4's format: `20130524T000000Z`.
#[derive(Clone)]
struct Date {
    second: u64,
    text: HeaderValue,
}

struct DerivedKey {
    credentials: Credentials,
    scope: String,
    key: Vec<u8>,
}

impl std::fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKeys")
    }
}

/// The parts of a request that are signed besides its headers.
pub(super) struct Target<'a> {
    /// The method.
    pub(super) method: &'a Method,
    /// The path as it is sent.
    pub(super) path: &'a str,
    /// The query as it is sent, in canonical order.
    pub(super) query: &'a str,
    /// The value of `x-amz-content-sha256`.
    pub(super) payload_hash: &'a str,
}

impl SigningKeys {
    /// Adds `x-amz-date`, `x-amz-content-sha256`, `x-amz-security-token` and `authorization` to `headers`.
    /// Signs all headers that are already present.
    pub(super) fn sign(
        &self,
        target: &Target<'_>,
        headers: &mut HeaderMap,
        credentials: &Credentials,
        region: &str,
        now: SystemTime,
    ) -> Result<(), Error> {
        let date = self.kept().date(now)?;
        let time = date.to_str().map_err(|_| unsignable())?;
        headers.insert(X_AMZ_DATE, date.clone());
        let hash = HeaderValue::from_str(target.payload_hash).map_err(|_| unsignable())?;
        headers.insert(X_AMZ_CONTENT_SHA256, hash);
        if let Some(token) = credentials.session_token() {
            let mut token = HeaderValue::from_str(token).map_err(|_| not_a_header("session token"))?;
            token.set_sensitive(true);
            headers.insert(X_AMZ_SECURITY_TOKEN, token);
        }
        let scope = scope(time, region);
        let (canonical, signed_headers) = canonical_request(target, headers);
        let to_sign = string_to_sign(&canonical, time, &scope)?;
        let signature = self.signature(credentials, region, now, &scope, &to_sign);
        let value = [
            "AWS4-HMAC-SHA256 Credential=",
            credentials.access_key_id(),
            "/",
            &scope,
            ", SignedHeaders=",
            &signed_headers,
            ", Signature=",
            &signature,
        ];
        let value = HeaderValue::try_from(value.concat());
        let mut value = value.map_err(|_| not_a_header("access key id"))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
        Ok(())
    }

    /// The signature of `to_sign`, with the key derived for this scope.
    pub(super) fn signature(
        &self,
        credentials: &Credentials,
        region: &str,
        now: SystemTime,
        scope: &str,
        to_sign: &str,
    ) -> String {
        self.kept().signature(credentials, region, now, scope, to_sign)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn date(&mut self, now: SystemTime) -> Result<HeaderValue, Error> {
        let second = now.duration_since(UNIX_EPOCH).map_err(|_| unsignable())?.as_secs();
        if let Some(date) = &self.date
            && date.second == second
        {
            return Ok(date.text.clone());
        }
        let text = HeaderValue::try_from(long_date(now)?).map_err(|_| unsignable())?;
        self.date = Some(Date { second, text: text.clone() });
        Ok(text)
    }

    fn signature(
        &mut self,
        credentials: &Credentials,
        region: &str,
        now: SystemTime,
        scope: &str,
        to_sign: &str,
    ) -> String {
        if let Some(kept) = &self.key
            && kept.scope == scope
            && kept.credentials == *credentials
        {
            return calculate_signature(&kept.key, to_sign.as_bytes());
        }
        let key = generate_signing_key(credentials.secret_access_key(), now, region, "s3").as_ref().to_vec();
        let signature = calculate_signature(&key, to_sign.as_bytes());
        self.key = Some(DerivedKey { credentials: credentials.clone(), scope: scope.to_owned(), key });
        signature
    }
}

/// What a derived key is valid for: the day of `time`, the region and the service.
pub(super) fn scope(time: &str, region: &str) -> String {
    [time.get(..8).unwrap_or_default(), "/", region, "/s3/aws4_request"].concat()
}

/// The text that is signed for a canonical request.
pub(super) fn string_to_sign(canonical: &[u8], time: &str, scope: &str) -> Result<String, Error> {
    let mut digest = [0; 64];
    hex::encode_to_slice(Sha256::digest(canonical), &mut digest).map_err(|_| unsignable())?;
    let digest = std::str::from_utf8(&digest).unwrap_or_default();
    Ok([ALGORITHM, "\n", time, "\n", scope, "\n", digest].concat())
}

/// The names of the headers in canonical order.
pub(super) fn sorted_names(headers: &HeaderMap) -> Vec<&HeaderName> {
    let mut names: Vec<&HeaderName> = headers.keys().collect();
    names.sort_unstable_by_key(|name| name.as_str());
    names
}

/// The canonical request and the list of its signed headers.
pub(super) fn canonical_request(target: &Target<'_>, headers: &HeaderMap) -> (Vec<u8>, String) {
    let names = sorted_names(headers);
    let mut signed = String::with_capacity(16 * names.len());
    let mut text = Vec::with_capacity(512 + target.path.len() + target.query.len());
    for piece in [target.method.as_str(), "\n", target.path, "\n", target.query, "\n"] {
        text.extend_from_slice(piece.as_bytes());
    }
    for name in names {
        if !signed.is_empty() {
            signed.push(';');
        }
        signed.push_str(name.as_str());
        text.extend_from_slice(name.as_str().as_bytes());
        let mut separator = b':';
        for value in headers.get_all(name) {
            text.push(separator);
            push_trimmed(&mut text, value.as_bytes());
            separator = b',';
        }
        text.push(b'\n');
    }
    for piece in ["\n", &signed, "\n", target.payload_hash] {
        text.extend_from_slice(piece.as_bytes());
    }
    (text, signed)
}

/// Appends a header's value with its spaces as SigV4 requires: trims both ends, and reduces each run to one space.
fn push_trimmed(text: &mut Vec<u8>, value: &[u8]) {
    let mut words = value.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    text.extend_from_slice(words.next().unwrap_or_default());
    for word in words {
        text.push(b' ');
        text.extend_from_slice(word);
    }
}

/// A time in SigV4's format.
pub(super) fn long_date(now: SystemTime) -> Result<String, Error> {
    let instant = Timestamp::try_from(now).map_err(|_| unsignable())?;
    Ok(instant.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string())
}

pub(super) fn unsignable() -> Error {
    Error::new(ErrorKind::Internal, "the request cannot be signed: the system time is out of range")
}

fn not_a_header(what: &str) -> Error {
    let message = format!("the store's {what} contains characters that are invalid in an HTTP header");
    Error::new(ErrorKind::StoreMisconfigured, message)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_sigv4::http_request::{
        PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
        UriPathNormalizationMode, sign,
    };
    use aws_sigv4::sign::v4;
    use proptest::prelude::*;

    use super::*;
    use crate::s3::encode;

    const AKID: &str = "AKIAIOSFODNN7EXAMPLE";
    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

    fn credentials() -> Credentials {
        Credentials::new(AKID, SECRET.to_owned(), None)
    }

    /// 2013-05-24T00:00:00Z, the time of the published examples and a whole number of hours after the epoch.
    fn then() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_hours(380_376)
    }

    fn signature(
        method: &Method,
        path: &str,
        query: &str,
        payload: &[u8],
        more: &[(&'static str, &str)],
    ) -> String {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("examplebucket.s3.amazonaws.com"));
        for (name, value) in more {
            headers.insert(*name, HeaderValue::from_str(value).unwrap());
        }
        let payload_hash = &hex::encode(Sha256::digest(payload));
        let target = Target { method, path, query, payload_hash };
        SigningKeys::default().sign(&target, &mut headers, &credentials(), "us-east-1", then()).unwrap();
        let value = headers[AUTHORIZATION].to_str().unwrap().to_owned();
        value.rsplit_once("Signature=").unwrap().1.to_owned()
    }

    #[test]
    fn header_values_are_signed_unchanged_except_for_spaces() {
        let mut text = Vec::new();
        push_trimmed(&mut text, b"  a\xff   b\t ");
        assert_eq!(text, b"a\xff b\t");
    }

    // The next three are the examples of "Authenticating Requests: Using the Authorization Header" in the S3 API
    // reference.

    #[test]
    fn the_published_get_object_signature_matches() {
        let signed = signature(&Method::GET, "/test.txt", "", b"", &[("range", "bytes=0-9")]);
        assert_eq!(signed, "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
    }

    #[test]
    fn the_published_put_object_signature_matches() {
        let path = encode::path("/test$file.text");
        let headers =
            [("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")];
        let signed = signature(&Method::PUT, &path, "", b"Welcome to Amazon S3.", &headers);
        assert_eq!(signed, "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
    }

    #[test]
    fn the_published_lifecycle_and_list_signatures_match() {
        let query = encode::canonical_query(&[("lifecycle", "")]);
        let signed = signature(&Method::GET, "/", &query, b"", &[]);
        assert_eq!(signed, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
        let query = encode::canonical_query(&[("max-keys", "2"), ("prefix", "J")]);
        let signed = signature(&Method::GET, "/", &query, b"", &[]);
        assert_eq!(signed, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
    }

    #[test]
    fn a_cached_key_is_used_only_for_its_scope() {
        let keys = SigningKeys::default();
        let sign = |region: &str| {
            let mut headers = HeaderMap::new();
            let target = Target { method: &Method::GET, path: "/", query: "", payload_hash: EMPTY_PAYLOAD };
            keys.sign(&target, &mut headers, &credentials(), region, then()).unwrap();
            headers[AUTHORIZATION].clone()
        };
        let first = sign("eu-west-1");
        assert_ne!(sign("eu-west-2"), first);
        assert_eq!(sign("eu-west-1"), first);
    }

    proptest! {
        /// Compares the canonical form of this module with that of the official signer.
        #[test]
        fn signatures_match_aws_sigv4_for_every_key(
            key in "\\PC{1,40}|[a-z/.+@% ~]{1,40}",
            value in "[!-~]([ -~]{0,20}[!-~])?",
            pairs in proptest::collection::vec(("[a-z-]{1,8}", "\\PC{0,8}"), 0..4),
        ) {
            let path = format!("/bucket/{}", encode::path(&key));
            let pairs: Vec<_> = pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            let query = encode::canonical_query(&pairs);
            let ours = {
                let mut headers = HeaderMap::new();
                headers.insert("host", HeaderValue::from_static("s3.test"));
                headers.insert("x-amz-meta-a", HeaderValue::from_str(&value).unwrap());
                let target = Target { method: &Method::GET, path: &path, query: &query, payload_hash: EMPTY_PAYLOAD };
                SigningKeys::default().sign(&target, &mut headers, &credentials(), "r", then()).unwrap();
                headers[AUTHORIZATION].to_str().unwrap().to_owned()
            };
            let mut settings = SigningSettings::default();
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
            let identity = aws_credential_types::Credentials::new(AKID, SECRET, None, None, "test").into();
            let params = v4::SigningParams::builder()
                .identity(&identity).region("r").name("s3").time(then()).settings(settings)
                .build().unwrap().into();
            let url = format!("https://s3.test{path}?{query}");
            let headers = [("host", "s3.test"), ("x-amz-meta-a", value.as_str())];
            let request = SignableRequest::new("GET", &url, headers.into_iter(), SignableBody::Bytes(b"")).unwrap();
            let theirs = sign(request, &params).unwrap().into_parts().1;
            prop_assert!(ours.ends_with(&format!("Signature={theirs}")), "{ours} {theirs}");
        }
    }
}
