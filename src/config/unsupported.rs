//! Names that this version does not support but recognizes, so that they are reported as unsupported and not as
//! misspelt.

const UNSUPPORTED: &str = "is not supported by this version: remove it";
const STREAMS: &str = "configures how boto3 accesses local files, which Longshore does not use: remove it";

/// The message for `key` in a mapping of this kind (the serde name of its type), if the key is listed here.
pub(super) fn key(kind: &str, key: &str) -> Option<&'static str> {
    if key == "<<" {
        return Some("YAML merge keys are not supported: write the values out, or use `defaults`");
    }
    let listed: &[&str] = match kind {
        "defaults" | "store" => &["limits"],
        "tenant" => &["memory"],
        "limits" => &["max_in_flight", "requests_per_second", "bytes_per_second"],
        "caller" => &["jwt", "san"],
        "config" => {
            let key = key.strip_prefix("aws_").unwrap_or(key);
            return CONFIG.contains(&key).then_some(UNSUPPORTED);
        }
        "client_options" => CLIENT_OPTIONS,
        "credential_provider" => CREDENTIAL_PROVIDER,
        "transfer" => match key {
            "max_io_queue" | "io_chunksize" => return Some(STREAMS),
            "preferred_transfer_client" => {
                return Some(
                    "chooses between the transfer clients of boto3, and Longshore has only one: remove it",
                );
            }
            _ => &["max_bandwidth"],
        },
        _ => &[],
    };
    listed.contains(&key).then_some(UNSUPPORTED)
}

/// Keys of `config`, without `aws_`, whose variables change the requests to S3, so `from_env` must not ignore
/// them silently. It may ignore variables of credential sources, because the store names another source.
pub(super) const CHANGES_REQUESTS: &[&str] = &[
    "s3_express",
    "sse_customer_key_base64",
    "ca_bundle",
    "use_accelerate_endpoint",
    "use_dualstack_endpoint",
    "use_fips_endpoint",
];

/// Variables of credential sources, and the unsupported feature that each belongs to.
pub(super) const SOURCES: &[(&str, &str)] = &[
    ("AWS_WEB_IDENTITY_TOKEN_FILE", "web identity tokens"),
    ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "container credentials"),
    ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "container credentials"),
    ("AWS_PROFILE", "profiles"),
];

const CONFIG: &[&str] = &[
    "s3_express",
    "sse_customer_key_base64",
    "metadata_endpoint",
    "imdsv1_fallback",
    "metadata_service_timeout",
    "metadata_service_num_attempts",
    "ec2_metadata_service_endpoint",
    "container_credentials_relative_uri",
    "container_credentials_full_uri",
    "container_authorization_token_file",
    "web_identity_token_file",
    "role_arn",
    "role_session_name",
    "endpoint_url_sts",
    "profile",
    "config_file",
    "shared_credentials_file",
    "boto_config",
    "ca_bundle",
    "use_accelerate_endpoint",
    "use_dualstack_endpoint",
    "use_fips_endpoint",
    "addressing",
    "addressing_style",
];

/// Keys of `client_options`. The variable of each is `AWS_` followed by the key in capitals.
pub(super) const CLIENT_OPTIONS: &[&str] = &[
    "allow_invalid_certificates",
    "root_certificates",
    "disable_system_certificates",
    "http1_only",
    "http2_only",
    "http2_keep_alive_interval",
    "http2_keep_alive_timeout",
    "http2_keep_alive_while_idle",
    "http2_max_frame_size",
    "proxy_url",
    "proxy_ca_certificate",
    "proxy_excludes",
    "randomize_addresses",
    "default_content_type",
    "content_type_by_suffix",
    "default_headers",
];

const CREDENTIAL_PROVIDER: &[&str] = &[
    "expires_at",
    "name",
    "profile",
    "config_file",
    "shared_credentials_file",
    "role_arn",
    "role_session_name",
    "external_id",
    "duration",
    "session_tags",
    "source",
    "sources",
    "web_identity_token_file",
    "token_file",
    "endpoint",
    "command",
    "path",
    "file",
    "chain",
];
