//! Converts a store's settings into the message that callers see, without secrets.

use std::{collections::HashMap, time::Duration};

use super::{duration, signed};
use crate::{
    pb,
    store::{ChecksumAlgorithm, ConditionalPut, CopyIfNotExists, StoreSettings, TransferSettings},
};

/// The message for a store of `tenant`. It is built field by field, never with `Debug` or serde, so that a secret that
/// is later added to the settings does not appear here.
pub(crate) fn store(tenant: &str, name: &str, settings: &StoreSettings) -> pb::Store {
    pb::Store {
        name: name.to_owned(),
        tenant: tenant.to_owned(),
        bucket: settings.bucket.bucket.clone(),
        prefix: settings.prefix.clone(),
        region: settings.bucket.region.clone(),
        endpoint: settings.bucket.endpoint.as_deref().map(without_user).unwrap_or_default(),
        config: config(settings),
        client_options: client_options(settings),
        retry_config: Some(retry_config(settings)),
        transfer: Some(transfer(&settings.transfer)),
        credential_provider: settings.credential_provider.kind().to_owned(),
    }
}

/// A URL without `user:password@` (RFC 3986, section 3.2.1).
fn without_user(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if scheme.is_empty() { format!("{host}{path}") } else { format!("{scheme}://{host}{path}") }
}

fn config(settings: &StoreSettings) -> HashMap<String, String> {
    let mut config = bucket_config(settings);
    let mut put = |key: &str, value: String| config.insert(key.to_owned(), value);
    let conditional_put = match settings.conditional_put {
        ConditionalPut::Etag => "etag",
        ConditionalPut::Disabled => "disabled",
    };
    put("conditional_put", conditional_put.to_owned());
    put("copy_if_not_exists", copy_if_not_exists(&settings.copy_if_not_exists));
    put("write_id", settings.write_id.to_string());
    put("disable_tagging", settings.disable_tagging.to_string());
    put("disable_bulk_delete", settings.disable_bulk_delete.to_string());
    config
}

fn bucket_config(settings: &StoreSettings) -> HashMap<String, String> {
    let bucket = &settings.bucket;
    let mut config = HashMap::new();
    let mut put = |key: &str, value: String| config.insert(key.to_owned(), value);
    put("virtual_hosted_style_request", bucket.virtual_hosted_style.to_string());
    put("skip_signature", bucket.skip_signature.to_string());
    put("request_payer", bucket.request_payer.to_string());
    if let Some(unsigned) = bucket.unsigned_payload {
        put("unsigned_payload", unsigned.to_string());
    }
    if let Some(algorithm) = bucket.checksum_algorithm {
        put("checksum_algorithm", algorithm_name(algorithm).to_owned());
    }
    if let Some(encryption) = &bucket.encryption {
        put("server_side_encryption", encryption.algorithm.clone());
        if let Some(key_id) = &encryption.kms_key_id {
            put("sse_kms_key_id", key_id.clone());
        }
        if let Some(enabled) = encryption.bucket_key_enabled {
            put("sse_bucket_key_enabled", enabled.to_string());
        }
    }
    config
}

fn copy_if_not_exists(setting: &CopyIfNotExists) -> String {
    match setting {
        CopyIfNotExists::Multipart => "multipart".to_owned(),
        CopyIfNotExists::Native => "native".to_owned(),
        CopyIfNotExists::Header { name, value, status: 412 } => format!("header:{name}:{value}"),
        CopyIfNotExists::Header { name, value, status } => {
            format!("header-with-status:{name}:{value}:{status}")
        }
    }
}

fn algorithm_name(algorithm: ChecksumAlgorithm) -> &'static str {
    match algorithm {
        ChecksumAlgorithm::Crc32 => "crc32",
        ChecksumAlgorithm::Crc32c => "crc32c",
        ChecksumAlgorithm::Crc64Nvme => "crc64nvme",
        ChecksumAlgorithm::Sha1 => "sha1",
        ChecksumAlgorithm::Sha256 => "sha256",
    }
}

fn client_options(settings: &StoreSettings) -> HashMap<String, String> {
    let options = &settings.client_options;
    let time = |time: Duration| humantime::format_duration(time).to_string();
    let mut texts = vec![
        ("allow_http", options.allow_http.to_string()),
        ("connect_timeout", time(options.connect_timeout)),
        ("read_timeout", time(options.read_timeout)),
        ("pool_idle_timeout", time(options.pool_idle_timeout)),
        ("user_agent", options.user_agent.clone()),
    ];
    if let Some(timeout) = options.timeout {
        texts.push(("timeout", time(timeout)));
    }
    if options.pool_max_idle_per_host != usize::MAX {
        texts.push(("pool_max_idle_per_host", options.pool_max_idle_per_host.to_string()));
    }
    texts.into_iter().map(|(key, text)| (key.to_owned(), text)).collect()
}

fn retry_config(settings: &StoreSettings) -> pb::RetryConfig {
    let policy = &settings.retry_config;
    pb::RetryConfig {
        max_retries: i32::try_from(policy.max_retries).unwrap_or(i32::MAX),
        retry_timeout: Some(duration(policy.retry_timeout)),
        backoff: Some(pb::Backoff {
            init_backoff: Some(duration(policy.backoff.init_backoff)),
            max_backoff: Some(duration(policy.backoff.max_backoff)),
            base: policy.backoff.base,
        }),
    }
}

fn transfer(transfer: &TransferSettings) -> pb::TransferConfig {
    pb::TransferConfig {
        multipart_threshold: signed(transfer.multipart_threshold),
        part_size: signed(transfer.part_size),
        max_concurrency: i32::try_from(transfer.max_concurrency).unwrap_or(i32::MAX),
        download_attempts: i32::try_from(transfer.download_attempts).unwrap_or(i32::MAX),
        hedge_after: transfer.hedge_after.map(duration),
        equal_parts: transfer.equal_parts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_shown_without_user_and_password() {
        let cases = [
            ("https://user:password@minio:9000/base?x@y", "https://minio:9000/base?x@y"),
            ("http://user@[::1]:9000", "http://[::1]:9000"),
            ("https://minio/a@b", "https://minio/a@b"),
            ("user:password@minio", "minio"),
        ];
        for (url, shown) in cases {
            assert_eq!(without_user(url), shown);
        }
    }

    #[test]
    fn the_default_status_of_a_header_is_left_out() {
        let header = |status| CopyIfNotExists::Header { name: "n".to_owned(), value: "v".to_owned(), status };
        assert_eq!(copy_if_not_exists(&header(412)), "header:n:v");
        assert_eq!(copy_if_not_exists(&header(409)), "header-with-status:n:v:409");
    }
}
