//! Converts a store's settings into the message that callers see, without secrets.

use std::collections::HashMap;

use super::{duration, signed};
use crate::{
    pb,
    settings::Section,
    store::{StoreSettings, TransferSettings},
};

/// The message for a store of `tenant`. Settings decide by their form whether
/// they are shown, and secrets never are. Unless `shows_place` is set, the message does not say where the store's
/// objects are.
pub(crate) fn store(tenant: &str, name: &str, settings: &StoreSettings, shows_place: bool) -> pb::Store {
    let place = |text: &str| if shows_place { text.to_owned() } else { String::new() };
    let endpoint = settings.bucket.endpoint.as_deref().map(without_user).unwrap_or_default();
    pb::Store {
        name: name.to_owned(),
        tenant: tenant.to_owned(),
        bucket: place(&settings.bucket.bucket),
        prefix: place(&settings.prefix),
        region: settings.bucket.region.clone(),
        endpoint: place(&endpoint),
        config: config(settings, shows_place),
        client_options: named(settings.client_options.shown()),
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

/// The keys of `config`, except for those that have fields of their own.
fn config(settings: &StoreSettings, shows_place: bool) -> HashMap<String, String> {
    const FIELDS: [&str; 3] = ["bucket", "region", "endpoint"];
    let is_shown = |key: &str| !FIELDS.contains(&key) && (shows_place || key != "public_endpoint");
    named(settings.shown().into_iter().filter(|(key, _)| is_shown(key)))
}

fn named(shown: impl IntoIterator<Item = (&'static str, String)>) -> HashMap<String, String> {
    shown.into_iter().map(|(key, text)| (key.to_owned(), text)).collect()
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
        circuit_breaker: Some(pb::CircuitBreaker {
            failures: i32::try_from(policy.circuit_breaker.failures).unwrap_or(i32::MAX),
            open_time: Some(duration(policy.circuit_breaker.open_time)),
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
        orphan_age: transfer.orphan_age.map(duration),
        abort_orphans: transfer.abort_orphans,
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
}
