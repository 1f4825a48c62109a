//! Limits the size of a status in trailers.

use crate::telemetry::cut;

/// The maximum size of a status in bytes: the percent-encoded grpc-message and the details in base64. With the other
/// trailers the total stays below 4 KiB. C-core clients reject more than 8 KiB of metadata in total and count 32 bytes
/// for each entry.
pub(super) const LIMIT: usize = 4096 - OTHERS;

/// The size of grpc-status, x-request-id, grpc-retry-pushback-ms and content-type: names, values and 32 bytes for each
/// entry.
const OTHERS: usize = 576;

/// The maximum size of a percent-encoded message, in bytes.
const MAX_MESSAGE: usize = 1024;

/// Details and texts up to this size are never removed or cut, so that request ids stay complete.
pub(super) const SMALL: usize = 128;

/// `text` without control characters, cut to the maximum size of a message.
pub(super) fn message(text: &str) -> String {
    let mut message = cut(text, MAX_MESSAGE);
    while encoded_len(&message) > MAX_MESSAGE {
        // A byte takes at most three when encoded, so the loop ends with at least a third of the message.
        let shorter = message.len() - (encoded_len(&message) - MAX_MESSAGE).div_ceil(3);
        message = cut(&message, shorter).into_owned().into();
    }
    message.into_owned()
}

/// Whether a status with `message` and this many bytes of details is within [`LIMIT`].
pub(super) fn fits(message: &str, details: usize) -> bool {
    encoded_len(message) + details.div_ceil(3) * 4 <= LIMIT
}

/// The length of a percent-encoded message. An upper bound: the specification allows a server to encode more than
/// necessary.
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
        fn an_encoded_message_is_within_its_limit(text in "\\PC{0,3000}") {
            let message = message(&text);
            prop_assert!(encoded_len(&message) <= MAX_MESSAGE);
            prop_assert!(text.len() > MAX_MESSAGE / 3 || message == cut(&text, MAX_MESSAGE));
        }
    }
}
