//! Cross-origin requests, answered from a bucket's rules as in S3.
//!
//! Which rule applies: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/cors.html>. Which headers it sets:
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/RESTCommonResponseHeaders.html>.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
        ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
        ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
    },
};
use percent_encoding::percent_decode_str;
use s3s::{Body, dto::CORSRule};

use super::{bucket_settings::BucketSettings, refusal::Refusal};

const ANY: &str = "*";

/// The methods that a rule can allow.
const METHODS: [&str; 5] = ["GET", "PUT", "POST", "DELETE", "HEAD"];

/// A request from a web page of another origin.
#[derive(Debug)]
pub(super) struct Origin {
    name: String,
    method: Method,
    bucket: String,
}

impl Origin {
    /// `None` for a request without an origin, and for a preflight, which [`preflight`] answers.
    pub(super) fn of(request: &Request<Body>) -> Option<Self> {
        if request.method() == Method::OPTIONS {
            return None;
        }
        let name = text(request.headers(), &ORIGIN)?.to_owned();
        let (bucket, _) = resource(request.uri().path());
        Some(Self { name, method: request.method().clone(), bucket })
    }

    /// Adds the headers that allow the page to see the response, if a rule allows it.
    pub(super) async fn allow(&self, rules: &dyn BucketSettings, headers: &mut HeaderMap) {
        let rules = rules.cors_rules(&self.bucket).await;
        if let Some(allowed) = Allowed::by(&rules, &self.name, self.method.as_str(), &[]) {
            allowed.say(headers);
        }
    }
}

/// The response to a preflight, which a browser sends before the actual request.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/RESTOPTIONSobject.html>
pub(super) async fn preflight(rules: &dyn BucketSettings, request: &Request<Body>) -> Response<Body> {
    match judge(rules, request).await {
        Ok(headers) => {
            let mut answer = Response::new(Body::empty());
            *answer.headers_mut() = headers;
            answer
        }
        Err(refusal) => refusal.answer(),
    }
}

async fn judge(rules: &dyn BucketSettings, request: &Request<Body>) -> Result<HeaderMap, Refusal> {
    let bad = |message: String| Refusal::new(StatusCode::BAD_REQUEST, "BadRequest", message);
    let headers = request.headers();
    let origin = text(headers, &ORIGIN)
        .ok_or_else(|| bad("Insufficient information. Origin request header needed.".to_owned()))?;
    let method = text(headers, &ACCESS_CONTROL_REQUEST_METHOD);
    let method = method
        .filter(|method| METHODS.contains(method))
        .ok_or_else(|| bad(format!("Invalid Access-Control-Request-Method: {}", method.unwrap_or("null"))))?;
    let asked = asked_headers(headers);
    let (bucket, kind) = resource(request.uri().path());
    let rules = rules.cors_rules(&bucket).await;
    let refused = |message: &str| {
        Refusal::new(StatusCode::FORBIDDEN, "AccessForbidden", message)
            .with("Method", method)
            .with("ResourceType", kind)
    };
    if rules.is_empty() {
        return Err(refused("CORSResponse: CORS is not enabled for this bucket."));
    }
    let allowed = Allowed::by(&rules, origin, method, &asked).ok_or_else(|| {
        refused(
            "CORSResponse: This CORS request is not allowed. This is usually because the evalution of \
             Origin, request method / Access-Control-Request-Method or Access-Control-Request-Headers are \
             not whitelisted by the resource's CORS spec.",
        )
    })?;
    let mut headers = HeaderMap::new();
    allowed.say(&mut headers);
    Ok(headers)
}

fn asked_headers(headers: &HeaderMap) -> Vec<String> {
    let lists = headers.get_all(ACCESS_CONTROL_REQUEST_HEADERS).iter().filter_map(|list| list.to_str().ok());
    let names = lists.flat_map(|list| list.split(',')).map(|name| name.trim().to_ascii_lowercase());
    names.filter(|name| !name.is_empty()).collect()
}

/// What the first matching rule allows.
struct Allowed<'a> {
    rule: &'a CORSRule,
    origin: &'a str,
    headers: &'a [String],
}

impl<'a> Allowed<'a> {
    fn by(rules: &'a [CORSRule], origin: &'a str, method: &str, headers: &'a [String]) -> Option<Self> {
        rules.iter().find_map(|rule| {
            let pattern = rule.allowed_origins.iter().find(|pattern| fits(pattern, origin))?;
            let names: Vec<String> =
                rule.allowed_headers.iter().flatten().map(|h| h.to_ascii_lowercase()).collect();
            let header = |name: &String| names.iter().any(|pattern| fits(pattern, name));
            let fit =
                rule.allowed_methods.iter().any(|allowed| allowed == method) && headers.iter().all(header);
            // If a rule allows every origin, S3 returns `*` and not the origin of the request.
            let origin = if pattern == ANY { ANY } else { origin };
            fit.then_some(Self { rule, origin, headers })
        })
    }

    fn say(&self, headers: &mut HeaderMap) {
        let mut say = |name: HeaderName, value: String| {
            if let Ok(value) = HeaderValue::try_from(value)
                && !value.is_empty()
            {
                headers.insert(name, value);
            }
        };
        say(ACCESS_CONTROL_ALLOW_ORIGIN, self.origin.to_owned());
        say(ACCESS_CONTROL_ALLOW_METHODS, self.rule.allowed_methods.join(", "));
        say(ACCESS_CONTROL_ALLOW_HEADERS, self.headers.join(", "));
        say(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            self.rule.expose_headers.iter().flatten().cloned().collect::<Vec<_>>().join(", "),
        );
        if let Some(seconds) = self.rule.max_age_seconds {
            say(ACCESS_CONTROL_MAX_AGE, seconds.to_string());
        }
        if self.origin != ANY {
            say(ACCESS_CONTROL_ALLOW_CREDENTIALS, "true".to_owned());
        }
        say(VARY, "Origin, Access-Control-Request-Headers, Access-Control-Request-Method".to_owned());
    }
}

/// Whether a pattern matches a text. A pattern has at most one `*`, which matches any text.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| rest.ends_with(after)),
    }
}

/// The bucket in a path, and S3's name for the kind of resource that the path addresses.
pub(super) fn resource(path: &str) -> (String, &'static str) {
    let path = path.trim_start_matches('/');
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    let bucket = percent_decode_str(bucket).decode_utf8_lossy().into_owned();
    (bucket, if key.is_empty() { "BUCKET" } else { "OBJECT" })
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).filter(|value| !value.is_empty())
}
