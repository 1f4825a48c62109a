//! DeleteObjects.

use std::fmt::Write as _;

use super::answer::{self, Answer};

/// Confirms each key of the request body, or none of them in quiet mode. Keys are not unescaped.
pub(super) fn batch(body: &[u8]) -> Answer {
    let Ok(body) = std::str::from_utf8(body) else { return answer::unknown() };
    let mut text = String::with_capacity(body.len() * 2 + 256);
    text.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<DeleteResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    if !body.contains("<Quiet>true</Quiet>") {
        for key in body.split("<Key>").skip(1).filter_map(|rest| rest.split_once("</Key>")) {
            // Writing to a String does not fail.
            let _ = write!(text, "<Deleted><Key>{}</Key></Deleted>", key.0);
        }
    }
    text.push_str("</DeleteResult>");
    answer::xml(text)
}
