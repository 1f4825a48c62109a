//! Validates and converts requests for writes.

use std::collections::{BTreeMap, HashMap};

use super::{Failure, header_text, non_empty, read::etag, unsigned};
use crate::{
    pb::{self, write_mode::Mode},
    store::{Attributes, ChecksumAlgorithm, Tags, UploadClaim, UploadOptions, WriteMode, WriteOptions},
    telemetry::cut,
};

/// The user metadata with which a conditional write identifies its own object.
const WRITE_ID: &str = "longshore-write-id";

/// S3's limits for object tags: the number of tags, and the number of UTF-16 code units in a key and in a value
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html>).
const MAX_TAGS: usize = 10;
const MAX_TAG_KEY: usize = 128;
const MAX_TAG_VALUE: usize = 256;

/// The options of `Put`.
pub(crate) fn write_options(
    attributes_message: Option<pb::Attributes>,
    tags_message: HashMap<String, String>,
    mode_message: Option<pb::WriteMode>,
    checksum_algorithm: i32,
) -> Result<WriteOptions, Failure> {
    Ok(WriteOptions {
        attributes: attributes(attributes_message.unwrap_or_default())?,
        tags: tags(tags_message)?,
        mode: mode(mode_message)?,
        checksum_algorithm: algorithm(checksum_algorithm)?,
    })
}

/// The options of `Upload`.
pub(crate) fn upload_options(spec: pb::UploadSpec) -> Result<UploadOptions, Failure> {
    let size = spec.size.map(|size| unsigned(size, "spec.size")).transpose()?;
    let part_size = spec.part_size.map(|size| unsigned(size, "spec.part_size")).transpose()?;
    let write = write_options(spec.attributes, spec.tags, spec.mode, spec.checksum_algorithm)
        .map_err(|failure| below("spec", failure))?;
    Ok(UploadOptions { write, size, part_size })
}

/// The options of `StartUpload`. The write mode is set when the upload is finished.
pub(crate) fn start_options(message: pb::StartUploadRequest) -> Result<UploadOptions, Failure> {
    Ok(UploadOptions {
        size: message.size.map(|size| unsigned(size, "size")).transpose()?,
        part_size: message.part_size.map(|size| unsigned(size, "part_size")).transpose()?,
        write: write_options(message.attributes, message.tags, None, message.checksum_algorithm)?,
    })
}

/// The size and checksum of the whole object, from the caller.
pub(crate) fn claim(finish: pb::UploadFinish) -> Result<UploadClaim, Failure> {
    let size = finish.size.map(|size| unsigned(size, "finish.size")).transpose()?;
    Ok(UploadClaim { size, crc32c: finish.crc32c })
}

/// The headers and user metadata of an object.
pub(crate) fn attributes(message: pb::Attributes) -> Result<Attributes, Failure> {
    Ok(Attributes {
        content_type: header_text(message.content_type, "attributes.content_type")?,
        content_encoding: header_text(message.content_encoding, "attributes.content_encoding")?,
        content_language: header_text(message.content_language, "attributes.content_language")?,
        content_disposition: header_text(message.content_disposition, "attributes.content_disposition")?,
        cache_control: header_text(message.cache_control, "attributes.cache_control")?,
        expires: header_text(message.expires, "attributes.expires")?,
        storage_class: header_text(message.storage_class, "attributes.storage_class")?,
        metadata: metadata(message.metadata)?,
    })
}

/// The tags of an object.
pub(crate) fn tags(message: HashMap<String, String>) -> Result<Tags, Failure> {
    if message.len() > MAX_TAGS {
        let message = format!("must have at most {MAX_TAGS} entries, not {}", message.len());
        return Err(Failure::field("tags", message));
    }
    for (key, value) in &message {
        check_tag(key, value).map_err(|message| Failure::field("tags", message))?;
    }
    Ok(message.into_iter().collect())
}

fn check_tag(key: &str, value: &str) -> Result<(), String> {
    let length = |text: &str| text.encode_utf16().count();
    let shown = cut(key, 2 * MAX_TAG_KEY).escape_debug().to_string();
    if !(1..=MAX_TAG_KEY).contains(&length(key)) {
        return Err(format!("the key `{shown}` must have 1 to {MAX_TAG_KEY} UTF-16 code units"));
    }
    if length(value) > MAX_TAG_VALUE {
        return Err(format!("the value of `{shown}` must have at most {MAX_TAG_VALUE} UTF-16 code units"));
    }
    if key.starts_with("aws:") {
        return Err(format!("the key `{shown}` must not begin with `aws:`, which is reserved for AWS"));
    }
    for (what, text) in [("key", key), ("value of", value)] {
        if !text.chars().all(is_in_tags) {
            return Err(format!(
                "the {what} `{shown}` must contain only letters, digits, spaces and + - = . _ : / @"
            ));
        }
    }
    Ok(())
}

/// Whether S3 may accept a character in a tag: `[\p{L}\p{Z}\p{N}_.:/=+\-@]`
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_control_Tag.html>). Vowel signs, which Rust counts as
/// alphabetic, are left for S3 to decide.
fn is_in_tags(c: char) -> bool {
    c.is_alphanumeric() || (c.is_whitespace() && !c.is_control()) || "_.:/=+-@".contains(c)
}

/// The write mode: whether a write may replace an existing object.
pub(crate) fn mode(message: Option<pb::WriteMode>) -> Result<WriteMode, Failure> {
    let Some(message) = message else { return Ok(WriteMode::Overwrite) };
    match message.mode {
        None => Err(Failure::field(
            "mode",
            "must set one of `overwrite`, `create` and `update`; leave `mode` out to overwrite",
        )),
        Some(Mode::Overwrite(_)) => Ok(WriteMode::Overwrite),
        Some(Mode::Create(_)) => Ok(WriteMode::Create),
        Some(Mode::Update(update)) => {
            let etag = etag(update.etag, "mode.update.etag")?
                .ok_or_else(|| Failure::field("mode.update.etag", "must not be empty"))?;
            let version = header_text(update.version, "mode.update.version")?;
            Ok(WriteMode::Update { etag, version: non_empty(version) })
        }
    }
}

/// The field of the mode, if the mode is a condition.
pub(crate) fn mode_name(mode: &WriteMode) -> Option<&'static str> {
    match mode {
        WriteMode::Overwrite => None,
        WriteMode::Create => Some("mode.create"),
        WriteMode::Update { .. } => Some("mode.update"),
    }
}

fn algorithm(value: i32) -> Result<Option<ChecksumAlgorithm>, Failure> {
    let algorithm = pb::ChecksumAlgorithm::try_from(value).map_err(|_| {
        Failure::field("checksum_algorithm", format!("must be a value of ChecksumAlgorithm, not {value}"))
    })?;
    Ok(match algorithm {
        pb::ChecksumAlgorithm::Unspecified => None,
        pb::ChecksumAlgorithm::Crc32 => Some(ChecksumAlgorithm::Crc32),
        pb::ChecksumAlgorithm::Crc32c => Some(ChecksumAlgorithm::Crc32c),
        pb::ChecksumAlgorithm::Crc64nvme => Some(ChecksumAlgorithm::Crc64Nvme),
        pb::ChecksumAlgorithm::Sha1 => Some(ChecksumAlgorithm::Sha1),
        pb::ChecksumAlgorithm::Sha256 => Some(ChecksumAlgorithm::Sha256),
    })
}

/// User metadata. A key becomes part of a header's name, which is case-insensitive. If two keys differed only by case,
/// one of their values would be lost silently.
fn metadata(message: HashMap<String, String>) -> Result<BTreeMap<String, String>, Failure> {
    let wrong = |message: String| Failure::field("attributes.metadata", message);
    let mut metadata = BTreeMap::new();
    for (name, value) in message {
        if name.is_empty() || !name.bytes().all(token) {
            return Err(wrong(format!("the key `{}` must be a valid HTTP header name", name.escape_debug())));
        }
        let lower = name.to_ascii_lowercase();
        if lower == WRITE_ID {
            return Err(wrong(format!("the key `{WRITE_ID}` is reserved for Longshore")));
        }
        if metadata.insert(lower.clone(), value).is_some() {
            return Err(wrong(format!("the key `{lower}` occurs more than once: keys are case-insensitive")));
        }
    }
    Ok(metadata)
}

/// Whether a byte is valid in a header's name (RFC 9110, section 5.6.2).
fn token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The same failure, with the field below `parent`.
pub(super) fn below(parent: &str, failure: Failure) -> Failure {
    match failure {
        Failure::Field { field, message } => Failure::field(format!("{parent}.{field}"), message),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::field, *};

    fn texts(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn metadata_keys_are_valid_in_header_names_and_lower_cased() {
        let taken = metadata(texts(&[("Owner", "\u{e9}t\u{e9}\n"), ("x-Y_z", "")])).unwrap();
        assert_eq!(taken.keys().collect::<Vec<_>>(), ["owner", "x-y_z"]);
        assert_eq!(taken["owner"], "\u{e9}t\u{e9}\n");
        for wrong in ["", "a b", "a:b", "\u{e9}", "a\r\nb", "longshore-write-id", "Longshore-Write-Id"] {
            assert_eq!(field(metadata(texts(&[(wrong, "")]))), "attributes.metadata", "{wrong}");
        }
        assert_eq!(field(metadata(texts(&[("Owner", "a"), ("owner", "b")]))), "attributes.metadata");
    }

    #[test]
    fn headers_must_not_contain_line_breaks() {
        let attributes = |content_type: &str| {
            super::attributes(pb::Attributes { content_type: content_type.to_owned(), ..Default::default() })
        };
        assert_eq!(field(attributes("text/plain\r\nx-amz-acl: public-read")), "attributes.content_type");
        assert_eq!(attributes("text/plain").unwrap().content_type, "text/plain");
    }

    #[test]
    fn tags_are_limited_as_in_s3() {
        let many: HashMap<_, _> = (0..11).map(|n| (n.to_string(), String::new())).collect();
        assert_eq!(field(tags(many)), "tags");
        assert_eq!(field(tags(texts(&[("", "v")]))), "tags");
        assert_eq!(field(tags(texts(&[(&"k".repeat(129), "v")]))), "tags");
        assert_eq!(field(tags(texts(&[("k", &"v".repeat(257))]))), "tags");
        assert_eq!(field(tags(texts(&[(&"\u{20000}".repeat(65), "v")]))), "tags", "130 UTF-16 code units");
        let (key, value) = ("\u{e9}".repeat(128), "\u{20000}".repeat(128));
        assert_eq!(tags(texts(&[(&key, &value)])).unwrap().len(), 1);
    }

    #[test]
    fn tags_contain_only_characters_that_s3_allows() {
        let allowed = "aZ9 +-=._:/@\u{e4}\u{6f22}\u{3000}\u{bd}";
        assert_eq!(tags(texts(&[(allowed, allowed), ("AWS", "aws:x")])).unwrap().len(), 2);
        for c in ["?", "#", "&", "*", "<", "\t", "\n", "\0", "\u{85}", "\u{1f600}", "%", ","] {
            assert_eq!(field(tags(texts(&[(c, "v")]))), "tags", "{c:?}");
            assert_eq!(field(tags(texts(&[("k", c)]))), "tags", "{c:?}");
        }
        assert_eq!(field(tags(texts(&[("aws:k", "v")]))), "tags");
    }

    #[test]
    fn write_modes_are_converted() {
        let of = |mode| super::mode(Some(pb::WriteMode { mode: Some(mode) }));
        let update = |etag: &str| {
            Mode::Update(pb::write_mode::Update { etag: etag.to_owned(), version: String::new() })
        };
        assert_eq!(mode(None).unwrap(), WriteMode::Overwrite);
        assert_eq!(field(mode(Some(pb::WriteMode { mode: None }))), "mode");
        let overwrite = Mode::Overwrite(pb::write_mode::Overwrite {});
        assert_eq!(of(overwrite).unwrap(), WriteMode::Overwrite);
        assert_eq!(of(Mode::Create(pb::write_mode::Create {})).unwrap(), WriteMode::Create);
        let expected = WriteMode::Update { etag: "\"e\"".to_owned(), version: None };
        assert_eq!(of(update("\"e\"")).unwrap(), expected);
        assert_eq!(mode_name(&expected), Some("mode.update"));
        assert_eq!(field(of(update(""))), "mode.update.etag");
    }

    #[test]
    fn unknown_enum_values_are_rejected() {
        assert_eq!(algorithm(0).unwrap(), None);
        assert_eq!(algorithm(5).unwrap(), Some(ChecksumAlgorithm::Sha256));
        for value in [6, -1, i32::MAX] {
            assert_eq!(field(algorithm(value)), "checksum_algorithm");
        }
    }

    #[test]
    fn invalid_fields_of_a_spec_are_named_with_their_parent() {
        let spec = |edit: fn(&mut pb::UploadSpec)| {
            let mut spec = pb::UploadSpec::default();
            edit(&mut spec);
            upload_options(spec)
        };
        assert_eq!(field(spec(|spec| spec.size = Some(-1))), "spec.size");
        assert_eq!(field(spec(|spec| spec.part_size = Some(-1))), "spec.part_size");
        assert_eq!(field(spec(|spec| spec.checksum_algorithm = 9)), "spec.checksum_algorithm");
        let options = spec(|spec| (spec.size, spec.part_size) = (Some(0), Some(5 << 20))).unwrap();
        assert_eq!((options.size, options.part_size), (Some(0), Some(5 << 20)));
        assert_eq!(field(claim(pb::UploadFinish { size: Some(-1), crc32c: None })), "finish.size");
    }
}
