//! Property tests: no content of a tenants file makes the reader panic.

use proptest::prelude::*;

use super::*;

/// Text that resembles YAML closely enough for the parser to accept more than its first character.
fn yamlish() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "tenants", "defaults", "stores", "a", "config", "callers", ": ", ":", "- ", "? ", "\n", "\n  ",
        "\n    ", "{", "}", "[", "]", ", ", "&x ", "*x", "!t ", "!!int ", "|", ">", "'", "\"", "#", "%",
        "---", "...", "\t", "\r", "<<", "0x", "1e9", "~", "\u{feff}", "\\", "é", "@", "`", "\0", "\u{85}",
        "\u{2028}",
    ]);
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = load_bytes(&bytes, &[]);
    }

    #[test]
    fn text_that_resembles_yaml_never_panics(text in yamlish()) {
        let _ = load_text(&text, &[]);
        let _ = load_text(&format!("tenants:\n  t:\n    stores:\n      s: {text}"), &[]);
    }

    #[test]
    fn arbitrary_values_never_panic(value in any::<String>()) {
        let quoted = format!("{value:?}").replace("\\u{", "\\\\u{").replace("\\'", "'");
        for key in ["url", "bucket", "prefix", "from_env", "config"] {
            let _ = store(&format!("{key}: {quoted}"), &[]);
        }
        for key in ["endpoint", "region", "copy_if_not_exists", "request_payer", "secret_access_key"] {
            let _ = store(&format!("bucket: abc, config: {{{key}: {quoted}}}"), &[]);
        }
        for key in ["timeout", "user_agent"] {
            let _ = store(&format!("bucket: abc, client_options: {{{key}: {quoted}}}"), &[]);
        }
    }
}
