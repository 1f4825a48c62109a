//! Signatures that S3 rejects before it computes its own, and that s3s would accept or report differently.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html>

use http::{HeaderMap, StatusCode, Uri, header::AUTHORIZATION};
use percent_encoding::percent_decode_str;
use s3s::header::X_AMZ_CONTENT_SHA256;

use super::refusal::Refusal;

/// The only region.
pub(super) const REGION: &str = "us-east-1";

/// Seven days in seconds. <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>
const LONGEST_PRESIGNED: u64 = 604_800;

/// The reason to reject a request for the form of its signature, if there is one.
pub(super) fn refusal(headers: &HeaderMap, query: &Query) -> Option<Refusal> {
    signature_v2(headers, query)
        .or_else(|| two_signatures(headers, query))
        .or_else(|| unknown_authorization(headers))
        .or_else(|| presigned(query))
        .or_else(|| wrong_scope(headers, query))
        .or_else(|| unsigned(headers, query))
}

/// A decoded query. Its names are case-sensitive, as in s3s.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn of(uri: &Uri) -> Self {
        let decoded =
            |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
        let pairs = uri.query().unwrap_or_default().split('&').map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        });
        Self(pairs.collect())
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }
}

/// S3 regions launched after January 2014 support only SigV4, and reject SigV2 with this message. s3s would accept it.
fn signature_v2(headers: &HeaderMap, query: &Query) -> Option<Refusal> {
    let in_header = authorization(headers).any(|value| value.starts_with("AWS "));
    let in_query = query.has("AWSAccessKeyId") && query.has("Signature");
    (in_header || in_query).then(|| {
        let message =
            "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.";
        Refusal::bad("InvalidRequest", message)
    })
}

fn two_signatures(headers: &HeaderMap, query: &Query) -> Option<Refusal> {
    let in_query = query.has("X-Amz-Algorithm") || query.has("X-Amz-Signature");
    let value = authorization(headers).next().filter(|_| in_query)?;
    let message = "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query \
                   string parameter or the Authorization header should be specified";
    let name = Refusal::bad("InvalidArgument", message).with("ArgumentName", "Authorization");
    // Only the first word of the value: the rest contains the signature.
    Some(name.with("ArgumentValue", value.split_whitespace().next().unwrap_or_default()))
}

/// Rejects unknown kinds of authorization. s3s checks only what follows the name of the algorithm.
fn unknown_authorization(headers: &HeaderMap) -> Option<Refusal> {
    authorization(headers).any(|value| !value.starts_with("AWS4-HMAC-SHA256 ")).then(|| {
        Refusal::bad("InvalidArgument", "Unsupported Authorization Type")
            .with("ArgumentName", "Authorization")
    })
}

/// Checks the parameters of a presigned URL. s3s accepts any number of seconds.
fn presigned(query: &Query) -> Option<Refusal> {
    const PARTS: [&str; 6] = [
        "X-Amz-Algorithm",
        "X-Amz-Credential",
        "X-Amz-Signature",
        "X-Amz-Date",
        "X-Amz-SignedHeaders",
        "X-Amz-Expires",
    ];
    let refused = |message: String| Some(Refusal::bad("AuthorizationQueryParametersError", message));
    if !query.has("X-Amz-Algorithm") && !query.has("X-Amz-Signature") {
        return None;
    }
    if !PARTS.iter().all(|part| query.has(part)) {
        let parts = PARTS[..5].join(", ");
        let last = PARTS[5];
        return refused(format!(
            "Query-string authentication version 4 requires the {parts}, and {last} parameters."
        ));
    }
    let expires = query.value("X-Amz-Expires").unwrap_or_default();
    match expires.parse::<i64>().map(u64::try_from) {
        Err(_) => refused("X-Amz-Expires should be a number".to_owned()),
        Ok(Err(_) | Ok(0)) => refused("X-Amz-Expires must be non-negative".to_owned()),
        Ok(Ok(seconds)) if seconds > LONGEST_PRESIGNED => refused(format!(
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be \
             less than {LONGEST_PRESIGNED} seconds"
        )),
        Ok(Ok(_)) => None,
    }
}

/// Rejects signatures for other regions and services. s3s accepts any region, and the service STS.
fn wrong_scope(headers: &HeaderMap, query: &Query) -> Option<Refusal> {
    let in_header = authorization(headers).find_map(|value| {
        value.split([',', ' ']).find_map(|part| part.strip_prefix("Credential=")).map(str::to_owned)
    });
    let (scope, code, prefix) = match in_header {
        Some(scope) => (scope, "AuthorizationHeaderMalformed", "The authorization header is malformed"),
        None => (
            query.value("X-Amz-Credential")?.to_owned(),
            "AuthorizationQueryParametersError",
            "Error parsing the X-Amz-Credential parameter",
        ),
    };
    // Split from the right: an access key id may contain a slash.
    let mut parts = scope.rsplit('/').skip(1);
    let (Some(service), Some(region), Some(_), Some(_)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        let message = format!(
            "{prefix}; the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\"."
        );
        return Some(Refusal::bad(code, message));
    };
    if region != REGION {
        let message = format!("{prefix}; the region '{region}' is wrong; expecting '{REGION}'");
        return Some(Refusal::bad(code, message).with("Region", REGION));
    }
    (service != "s3").then(|| {
        let message = format!("{prefix}; incorrect service \"{service}\". This endpoint belongs to \"s3\".");
        Refusal::bad(code, message)
    })
}

/// Rejects `x-amz-*` headers that are not signed: anyone could have added them.
fn unsigned(headers: &HeaderMap, query: &Query) -> Option<Refusal> {
    let in_header = authorization(headers)
        .find_map(|value| value.split([',', ' ']).find_map(|part| part.strip_prefix("SignedHeaders=")));
    let signed = in_header.or_else(|| query.value("X-Amz-SignedHeaders"))?;
    let signed: Vec<_> = signed.split(';').collect();
    let unsigned: Vec<_> = headers
        .keys()
        .map(http::HeaderName::as_str)
        // The payload's hash is part of what is signed, even if the header is not listed.
        .filter(|name| name.starts_with("x-amz-") && *name != X_AMZ_CONTENT_SHA256.as_str())
        .filter(|name| !signed.contains(name))
        .collect();
    (!unsigned.is_empty()).then(|| {
        let message = "There were headers present in the request which were not signed";
        Refusal::new(StatusCode::FORBIDDEN, "AccessDenied", message)
            .with("HeadersNotSigned", unsigned.join(", "))
    })
}

fn authorization(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    // A value that is not text cannot begin with a known scheme.
    headers.get_all(AUTHORIZATION).iter().map(|value| value.to_str().unwrap_or_default())
}
