//! `from_env: true`: `AWS_*` variables for the keys that a store does not set.

use serde::Deserialize;

use super::{
    bucket::Config,
    client::Client,
    node::Node,
    path::Path,
    problem::{Notes, Place},
    read::{Cursor, read},
    unsupported,
    variables::{NotText, Variables},
};

/// Keys of `config` and their variables. The first variable that is set and not empty is used. Credentials
/// are not listed, because the `env` credential provider reads them.
const CONFIG: &[(&str, &[&str])] = &[
    ("bucket", &["AWS_BUCKET", "AWS_BUCKET_NAME"]),
    ("region", &["AWS_REGION"]),
    ("default_region", &["AWS_DEFAULT_REGION"]),
    ("endpoint", &["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"]),
    ("virtual_hosted_style_request", &["AWS_VIRTUAL_HOSTED_STYLE_REQUEST"]),
    ("unsigned_payload", &["AWS_UNSIGNED_PAYLOAD"]),
    ("skip_signature", &["AWS_SKIP_SIGNATURE"]),
    ("request_payer", &["AWS_REQUEST_PAYER", "AWS_REQUESTER_PAYS"]),
    ("checksum_algorithm", &["AWS_CHECKSUM_ALGORITHM"]),
    ("conditional_put", &["AWS_CONDITIONAL_PUT"]),
    ("copy_if_not_exists", &["AWS_COPY_IF_NOT_EXISTS"]),
    ("disable_tagging", &["AWS_DISABLE_TAGGING"]),
    ("disable_bulk_delete", &["AWS_DISABLE_BULK_DELETE"]),
    ("server_side_encryption", &["AWS_SERVER_SIDE_ENCRYPTION"]),
    ("sse_kms_key_id", &["AWS_SSE_KMS_KEY_ID"]),
    ("sse_bucket_key_enabled", &["AWS_SSE_BUCKET_KEY_ENABLED"]),
];

/// Keys of `client_options` and their variables.
const CLIENT: &[(&str, &[&str])] = &[
    ("allow_http", &["AWS_ALLOW_HTTP"]),
    ("connect_timeout", &["AWS_CONNECT_TIMEOUT"]),
    ("timeout", &["AWS_TIMEOUT"]),
    ("read_timeout", &["AWS_READ_TIMEOUT"]),
    ("pool_idle_timeout", &["AWS_POOL_IDLE_TIMEOUT"]),
    ("pool_max_idle_per_host", &["AWS_POOL_MAX_IDLE_PER_HOST"]),
    ("user_agent", &["AWS_USER_AGENT"]),
];

/// The settings from the variables, for the store at `path`.
pub(super) fn settings(path: &str, variables: &Variables, notes: &Notes) -> (Config, Client) {
    refuse_unsupported(path, variables, notes);
    (
        section(&format!("{path}.config"), CONFIG, variables, notes),
        section(&format!("{path}.client_options"), CLIENT, variables, notes),
    )
}

fn section<T: Default + for<'de> Deserialize<'de>>(
    path: &str,
    table: &[(&str, &[&str])],
    variables: &Variables,
    notes: &Notes,
) -> T {
    let mut pairs = Vec::new();
    for (key, names) in table {
        let set = names.iter().find_map(|name| match variables.text(name) {
            Ok(Some("") | None) => None,
            Ok(Some(text)) => Some((name, text)),
            Err(NotText) => {
                notes.problem_at(Place::variable(*name).at(format!("{path}.{key}")), NotText::TEXT);
                None
            }
        });
        if let Some((name, text)) = set {
            pairs.push((Node::variable(name, key), Node::variable(name, text)));
        }
    }
    let node = Node::mapping(pairs);
    read(Cursor::new(&node, &Path::Start(path), notes)).unwrap_or_default()
}

fn refuse_unsupported(path: &str, variables: &Variables, notes: &Notes) {
    for key in unsupported::CHANGES_REQUESTS.iter().chain(unsupported::CLIENT_OPTIONS) {
        let name = format!("AWS_{}", key.to_ascii_uppercase());
        let off = |text: &str| text.is_empty() || matches!(text.to_ascii_lowercase().as_str(), "false" | "0");
        if variables.text(&name).is_ok_and(|text| text.is_none_or(off)) {
            continue;
        }
        notes.problem_at(
            Place::variable(name).at(path),
            "is not supported by this version: unset it, or remove `from_env` from the store",
        );
    }
}
