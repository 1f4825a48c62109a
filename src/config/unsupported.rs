//! Names that the settings' design knows and this version does not, so that nobody takes them for
//! misspelt, and nothing is accepted and ignored.

const LATER: &str = "is not supported by this version";
const STREAMS: &str = "is about boto3's files on a local disk; Longshore streams: leave it out";

/// What to say of `key` in a mapping of this kind (its type's name for serde), if it is known here.
pub(super) fn key(kind: &str, key: &str) -> Option<&'static str> {
    if key == "<<" {
        return Some("merge keys are not supported: write the values out, or use `defaults`");
    }
    let listed: &[&str] = match kind {
        "defaults" | "store" => &["limits"],
        "tenant" => &["memory"],
        "limits" => &["max_in_flight", "requests_per_second", "bytes_per_second"],
        "caller" => &["jwt", "san"],
        "config" => {
            let key = key.strip_prefix("aws_").unwrap_or(key);
            return CONFIG.contains(&key).then_some(LATER);
        }
        "client_options" => CLIENT_OPTIONS,
        "credential_provider" => CREDENTIAL_PROVIDER,
        "transfer" => match key {
            "max_io_queue" | "io_chunksize" => return Some(STREAMS),
            "preferred_transfer_client" => {
                return Some("names a client of boto3's; here is one: leave it out");
            }
            _ => &["max_bandwidth"],
        },
        _ => &[],
    };
    listed.contains(&key).then_some(LATER)
}

/// Keys of `config`, without `aws_`, whose variables change how S3 is spoken to: with `from_env` they
/// cannot be passed over in silence. Those of credential sources can: another source is named instead.
pub(super) const CHANGES_REQUESTS: &[&str] = &[
    "s3_express",
    "sse_customer_key_base64",
    "ca_bundle",
    "use_accelerate_endpoint",
    "use_dualstack_endpoint",
    "use_fips_endpoint",
];

/// Variables of credential sources, and what this version would have to know to use them.
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

/// Keys of `client_options`; their variables are `AWS_` and the key in capitals.
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
