//! Validates and converts requests for upload forms.

use std::time::Duration;

use http::Uri;

use super::{
    Failure, attributes, header_text, key, non_empty,
    sign::{LARGEST, lifetime},
    tags, unsigned,
};
use crate::{
    pb::{
        self,
        sign_post_request::{Success, Target},
    },
    store::{PostOptions, PostSuccess, PostTarget},
};

/// What S3 replaces by the name of the file.
const FILENAME: &str = "${filename}";

/// The request of `SignPost`, without its store: what the form allows, and how long.
pub(crate) fn posting(request: pb::SignPostRequest) -> Result<(PostOptions, Duration), Failure> {
    let lifetime = lifetime(request.expires_in)?;
    let attributes = attributes(request.attributes.unwrap_or_default())?;
    if !attributes.content_language.is_empty() {
        let message = "must be empty: S3 has no form field for it";
        return Err(Failure::field("attributes.content_language", message));
    }
    let content_type_prefix = non_empty(header_text(request.content_type_prefix, "content_type_prefix")?);
    if content_type_prefix.is_some() && !attributes.content_type.is_empty() {
        let message = "must be empty if `attributes.content_type` is set";
        return Err(Failure::field("content_type_prefix", message));
    }
    let options = PostOptions {
        target: target(request.target)?,
        sizes: sizes(request.size)?,
        attributes,
        content_type_prefix,
        tags: tags(request.tags)?,
        success: success(request.success)?,
    };
    Ok((options, lifetime))
}

/// The fields of a form.
pub(crate) fn form_fields(fields: Vec<(String, String)>) -> Vec<pb::FormField> {
    fields.into_iter().map(|(name, value)| pb::FormField { name, value }).collect()
}

fn target(target: Option<Target>) -> Result<PostTarget, Failure> {
    let literal = |text: &str, field: &'static str| {
        if text.contains(FILENAME) {
            return Err(Failure::field(field, format!("must not contain {FILENAME}, which S3 replaces")));
        }
        Ok(())
    };
    match target {
        None => Err(Failure::field("key", "must be set, or `key_prefix`")),
        Some(Target::Key(name)) => {
            literal(key(&name, "key")?, "key")?;
            Ok(PostTarget::Key(name))
        }
        Some(Target::KeyPrefix(prefix)) => {
            literal(&prefix, "key_prefix")?;
            Ok(PostTarget::Prefix(prefix))
        }
    }
}

fn sizes(range: Option<pb::SizeRange>) -> Result<(u64, u64), Failure> {
    let Some(pb::SizeRange { min, max }) = range else { return Ok((0, LARGEST)) };
    let (min, max) = (unsigned(min, "size.min")?, unsigned(max, "size.max")?);
    if max < min {
        return Err(Failure::field("size.max", format!("must not be less than `min` ({max} < {min})")));
    }
    if max > LARGEST {
        return Err(Failure::field("size.max", "must be at most 5 GiB, S3's limit for one request"));
    }
    Ok((min, max))
}

fn success(success: Option<Success>) -> Result<PostSuccess, Failure> {
    match success {
        None => Ok(PostSuccess::Default),
        Some(Success::SuccessStatus(status)) => match u16::try_from(status) {
            Ok(status @ (200 | 201 | 204)) => Ok(PostSuccess::Status(status)),
            _ => Err(Failure::field("success_status", format!("must be 200, 201 or 204, not {status}"))),
        },
        Some(Success::SuccessRedirect(url)) => {
            let parsed: Option<Uri> = url.parse().ok();
            let is_http = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https"));
            if !parsed.as_ref().is_some_and(is_http) {
                return Err(Failure::field("success_redirect", "must be an http or https URL"));
            }
            Ok(PostSuccess::Redirect(url))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::field, *};

    fn request() -> pb::SignPostRequest {
        pb::SignPostRequest {
            target: Some(Target::Key("k".to_owned())),
            expires_in: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
            ..Default::default()
        }
    }

    fn wrong(edit: impl FnOnce(&mut pb::SignPostRequest)) -> String {
        let mut request = request();
        edit(&mut request);
        field(posting(request))
    }

    #[test]
    fn invalid_fields_are_named() {
        let of_type = |content_type: &str| {
            Some(pb::Attributes { content_type: content_type.to_owned(), ..Default::default() })
        };
        assert_eq!(wrong(|r| r.target = None), "key");
        assert_eq!(wrong(|r| r.target = Some(Target::Key(String::new()))), "key");
        assert_eq!(wrong(|r| r.target = Some(Target::Key("a/${filename}".to_owned()))), "key");
        assert_eq!(wrong(|r| r.target = Some(Target::KeyPrefix("${filename}".to_owned()))), "key_prefix");
        assert_eq!(wrong(|r| r.expires_in = None), "expires_in");
        for (min, max, named) in
            [(-1, 1, "size.min"), (0, -1, "size.max"), (2, 1, "size.max"), (0, 1 << 40, "size.max")]
        {
            assert_eq!(wrong(|r| r.size = Some(pb::SizeRange { min, max })), named);
        }
        assert_eq!(wrong(|r| r.attributes = of_type("a\r\n")), "attributes.content_type");
        let both = |r: &mut pb::SignPostRequest| {
            r.attributes = of_type("image/png");
            r.content_type_prefix = "image/".to_owned();
        };
        assert_eq!(wrong(both), "content_type_prefix");
        let german = pb::Attributes { content_language: "de".to_owned(), ..Default::default() };
        assert_eq!(wrong(|r| r.attributes = Some(german)), "attributes.content_language");
        assert_eq!(wrong(|r| drop(r.tags.insert(String::new(), String::new()))), "tags");
        for status in [0, 202, 302, -200] {
            assert_eq!(wrong(|r| r.success = Some(Success::SuccessStatus(status))), "success_status");
        }
        for url in ["", "/done", "javascript:alert(1)", "a b"] {
            let redirect = Some(Success::SuccessRedirect(url.to_owned()));
            assert_eq!(wrong(|r| r.success = redirect), "success_redirect", "{url}");
        }
    }

    #[test]
    fn defaults_are_those_of_s3() {
        let (options, lifetime) = posting(request()).unwrap();
        assert_eq!((options.sizes, lifetime.as_secs()), ((0, 5 << 30), 60));
        assert_eq!(options.success, PostSuccess::Default);
        let mut everything = request();
        everything.target = Some(Target::KeyPrefix(String::new()));
        assert_eq!(posting(everything).unwrap().0.target, PostTarget::Prefix(String::new()));
    }
}
