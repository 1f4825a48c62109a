//! Tags of objects. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html>

use std::borrow::Cow;

use http::{HeaderMap, StatusCode};
use percent_encoding::percent_decode_str;
use s3s::{S3Error, S3Result, dto::Tag, s3_error};

use super::call::{coded, text};
use crate::embedded::storage::TagRow;

const MAX_TAGS: usize = 10;
/// In UTF-16 code units, as S3 counts. The same applies to `MAX_VALUE`.
const MAX_KEY: usize = 128;
const MAX_VALUE: usize = 256;

/// The tags in the header `x-amz-tagging`, which is encoded like a form.
pub(super) fn of_header(headers: &HeaderMap) -> S3Result<Vec<TagRow>> {
    let Some(pairs) = text(headers, "x-amz-tagging") else { return Ok(Vec::new()) };
    let tags = pairs.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok(TagRow { key: decoded(key)?, value: decoded(value)? })
    });
    let tags = tags.collect::<S3Result<Vec<_>>>()?;
    if tags.len() > MAX_TAGS {
        return Err(too_many());
    }
    checked(tags, || {
        s3_error!(
            InvalidArgument,
            "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates."
        )
    })
}

fn decoded(text: &str) -> S3Result<String> {
    let text = text.replace('+', " ");
    let text = percent_decode_str(&text).decode_utf8();
    text.map(Cow::into_owned).map_err(|_| {
        s3_error!(InvalidArgument, "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.")
    })
}

/// The tags in a PutObjectTagging request.
pub(super) fn of_set(set: Vec<Tag>) -> S3Result<Vec<TagRow>> {
    if set.len() > MAX_TAGS {
        return Err(too_many());
    }
    let tags = set.into_iter().map(|tag| match (tag.key, tag.value) {
        (Some(key), Some(value)) => Ok(TagRow { key, value }),
        _ => Err(s3_error!(MalformedXML)),
    });
    let tags = tags.collect::<S3Result<Vec<_>>>()?;
    checked(tags, || s3_error!(InvalidTag, "Cannot provide multiple Tags with the same key"))
}

fn too_many() -> S3Error {
    coded("BadRequest", StatusCode::BAD_REQUEST, "Object tags cannot be greater than 10")
}

fn checked(tags: Vec<TagRow>, twice: impl Fn() -> S3Error) -> S3Result<Vec<TagRow>> {
    for (index, tag) in tags.iter().enumerate() {
        let length = |text: &str| text.encode_utf16().count();
        if tag.key.is_empty() || length(&tag.key) > MAX_KEY || !is_allowed(&tag.key) {
            return Err(s3_error!(InvalidTag, "The TagKey you have provided is invalid"));
        }
        if length(&tag.value) > MAX_VALUE || !is_allowed(&tag.value) {
            return Err(s3_error!(InvalidTag, "The TagValue you have provided is invalid"));
        }
        if tag.key.starts_with("aws:") {
            return Err(s3_error!(InvalidTag, "System tags cannot be added/updated by requester"));
        }
        if tags[..index].iter().any(|other| other.key == tag.key) {
            return Err(twice());
        }
    }
    Ok(tags)
}

/// Whether a text contains only letters, digits and spaces of any language, and `+ - = . _ : / @`.
fn is_allowed(text: &str) -> bool {
    text.chars().all(|c| c.is_alphanumeric() || c.is_whitespace() || "+-=._:/@".contains(c))
}

/// The tags as S3 returns them: sorted by key.
pub(super) fn set(tags: &[TagRow]) -> Vec<Tag> {
    let mut tags = tags.to_vec();
    tags.sort_by(|one, other| one.key.cmp(&other.key));
    tags.into_iter().map(|tag| Tag { key: Some(tag.key), value: Some(tag.value) }).collect()
}
