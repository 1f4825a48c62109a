//! The size of a status in trailers.

use crate::telemetry::cut;

/// The most bytes of a status: grpc-message as it is percent-encoded, and the details in base64. With the other trailers it
/// stays below 4 KiB. C-core clients refuse more than 8 KiB of metadata in all, and count 32 bytes for each entry.
pub(super) const LIMIT: usize = 4096 - OTHERS;

/// grpc-status, x-request-id, grpc-retry-pushback-ms, content-type, their names, and 32 bytes for each.
const OTHERS: usize = 576;

/// The most bytes of a message as it is percent-encoded.
const MAX_MESSAGE: usize = 1024;

/// Details and texts up to this size are kept, so request ids are whole.
pub(super) const SMALL: usize = 128;

/// `text` without control characters, cut to what a message may have.
pub(super) fn message(text: &str) -> String {
    let mut message = cut(text, MAX_MESSAGE);
    while encoded_len(&message) > MAX_MESSAGE {
        // Each byte has three at most, so this ends, with at least a third of the message.
        let shorter = message.len() - (encoded_len(&message) - MAX_MESSAGE).div_ceil(3);
        message = cut(&message, shorter).into_owned().into();
    }
    message.into_owned()
}

/// Whether a status of `message` and so many bytes of details is within [`LIMIT`].
pub(super) fn fits(message: &str, details: usize) -> bool {
    encoded_len(message) + details.div_ceil(3) * 4 <= LIMIT
}

/// The length of a message that is percent-encoded. An upper bound: the specification lets a server encode more than it must.
fn encoded_len(message: &str) -> usize {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/|[]^\\".contains(byte);
    message.bytes().map(|byte| if plain(&byte) { 1 } else { 3 }).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_message_is_below_its_limit_however_it_is_encoded(text in "\\PC{0,3000}") {
            let message = message(&text);
            prop_assert!(encoded_len(&message) <= MAX_MESSAGE);
            prop_assert!(text.len() > MAX_MESSAGE / 3 || message == cut(&text, MAX_MESSAGE));
        }
    }
}
