//! Converts between the messages of the API and the types of the stores. Requests are validated here, and failures name
//! the invalid field by its path in the proto.

mod buckets;
pub(crate) mod field;
mod list;
pub(crate) mod object;
mod read;
mod settings;
mod sign;
mod sign_post;
mod upload;
mod versions;
mod write;

pub(crate) use buckets::{bucket, cors_rule_message, cors_rules};
pub(crate) use list::{list_options, page_size, prefix_options, walk_options, within_a_key};
pub(crate) use object::{
    algorithm_message, attributes_message, chunk, chunk_of_pieces, duration, object_meta, object_metas,
    signed, timestamp,
};
pub(crate) use read::{condition_names, conditions, key, range, ranges_options, read_options, version};
pub(crate) use settings::store as store_message;
pub(crate) use sign::{Signing, lifetime, signing};
pub(crate) use sign_post::{form_fields, posting};
pub(crate) use upload::{content_ranges, part_etags, part_run, verification};
pub(crate) use versions::{
    object_versions, restore_options, restore_outcome, restore_status, versions_options,
    walk_versions_options,
};
pub(crate) use write::{
    attributes, claim, mode, mode_name, start_options, tags, upload_options, write_options,
};

use super::failure::Failure;

/// A size, offset or count from the wire. It is signed on the wire, because many languages have only signed integers.
pub(crate) fn unsigned(value: i64, field: &str) -> Result<u64, Failure> {
    u64::try_from(value)
        .map_err(|_| Failure::field(field.to_owned(), format!("must be 0 or more, not {value}")))
}

/// A number of entries of a page. A page has at most 1,000.
pub(crate) fn count(value: usize) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// An empty text means `None`.
fn non_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// A text for the value of an HTTP header. Control characters are invalid there (RFC 9110, section 5.5), and a line
/// break would start another header.
fn header_text(text: String, field: &str) -> Result<String, Failure> {
    if text.chars().any(char::is_control) {
        return Err(Failure::field(field.to_owned(), "must not contain control characters"));
    }
    Ok(text)
}

#[cfg(test)]
pub(crate) mod testing {
    use super::Failure;

    /// The field that the failure of a conversion names.
    pub(crate) fn field<T: std::fmt::Debug>(result: Result<T, Failure>) -> String {
        match result.unwrap_err() {
            Failure::Field { field, .. } => field.into_owned(),
            other => panic!("{other:?}"),
        }
    }
}
