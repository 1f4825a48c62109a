//! One store: which source of a setting wins, and which settings conflict.

use std::time::Duration;

use crate::{s3::ChecksumAlgorithm, store::OrphanSettings};

use super::*;

#[test]
fn config_overrides_the_url_and_the_url_overrides_variables() {
    let from_url =
        "url: 'https://s3.eu-west-1.amazonaws.com/url-bucket/a', credential_provider: {type: anonymous}";
    let variables = [
        ("AWS_BUCKET", "env-bucket"),
        ("AWS_REGION", "us-west-2"),
        ("AWS_DEFAULT_REGION", "us-west-1"),
        ("AWS_ENDPOINT", "https://env.example/"),
        ("AWS_TIMEOUT", "7s"),
        ("AWS_REQUESTER_PAYS", "1"),
        ("AWS_CHECKSUM_ALGORITHM", "SHA256"),
    ];
    let found = store(from_url, &variables).unwrap();
    assert_eq!((found.bucket.bucket.as_str(), found.bucket.region.as_str()), ("url-bucket", "eu-west-1"));
    assert!(!found.bucket.request_payer && found.client_options.timeout.is_none());

    let found = store(&format!("{from_url}, from_env: true"), &variables).unwrap();
    assert_eq!((found.bucket.bucket.as_str(), found.bucket.region.as_str()), ("url-bucket", "eu-west-1"));
    assert_eq!((found.bucket.endpoint.as_deref(), found.prefix.as_str()), (None, "a/"));
    assert!(found.bucket.request_payer);
    assert_eq!(found.client_options.timeout.unwrap().as_secs(), 7);
    assert_eq!(found.bucket.checksum_algorithm, Some(ChecksumAlgorithm::Sha256));

    let found = store(&format!("from_env: true, {ANONYMOUS}"), &variables).unwrap();
    assert_eq!((found.bucket.bucket.as_str(), found.bucket.region.as_str()), ("env-bucket", "us-west-2"));
    assert_eq!(found.bucket.endpoint.as_deref(), Some("https://env.example"));

    let more = "prefix: b, config: {aws_region: eu-north-1, bucket_name: config-bucket, endpoint_url: 'https://c.example'}";
    let found = store(&format!("{from_url}, from_env: true, {more}"), &variables).unwrap();
    assert_eq!((found.bucket.bucket.as_str(), found.bucket.region.as_str()), ("config-bucket", "eu-north-1"));
    assert_eq!((found.bucket.endpoint.as_deref(), found.prefix.as_str()), (Some("https://c.example"), "b/"));
}

#[test]
fn stores_override_tenants_and_tenants_override_defaults() {
    let text = "
defaults: {transfer: {max_concurrency: 20, part_size: 64MiB, num_download_attempts: 3, hedge_after: 1s 500ms}, retry_config: {backoff: {base: 3, max_backoff: 20s}}}
tenants:
  t:
    transfer: {use_threads: false}
    stores:
      a: {bucket: abc, credential_provider: {type: anonymous}}
      b:
        bucket: abc
        credential_provider: {type: anonymous}
        transfer: {use_threads: true, multipart_chunksize: 5242880, download_attempts: 1, orphan_age: 7d, abort_orphans: true}
        retry_config: {backoff: {init_backoff: 16s}}
";
    let loaded = load_text(text, &[]).unwrap();
    let stores = &loaded.settings.server.tenants[0].stores;
    assert_eq!((stores["a"].transfer.max_concurrency, stores["a"].transfer.part_size), (1, 64 << 20));
    assert_eq!((stores["b"].transfer.max_concurrency, stores["b"].transfer.part_size), (10, 5 << 20));
    assert_eq!(stores["a"].transfer.hedge_after, Some(Duration::from_millis(1500)));
    assert_eq!((stores["a"].transfer.download_attempts, stores["b"].transfer.download_attempts), (3, 1));
    let orphans = OrphanSettings { age: Duration::from_hours(7 * 24), abort: true };
    assert_eq!((stores["a"].transfer.orphans(), stores["b"].transfer.orphans()), (None, Some(orphans)));
    let backoff = &stores["b"].retry_config.backoff;
    assert_eq!((backoff.init_backoff.as_secs(), backoff.max_backoff.as_secs()), (16, 20));
    assert!((backoff.base - 3.0).abs() < f64::EPSILON);
}

#[test]
fn conflicting_and_invalid_settings_of_a_store_are_reported() {
    for (text, expected) in [
        (
            "bucket: abc, config: {endpoint: 'http://localhost:9000'}",
            vec![
                "S.config.endpoint: uses plain HTTP: use an https:// endpoint, or set `allow_http: true` in `client_options`",
            ],
        ),
        (
            "bucket: abc, transfer: {abort_orphans: true}",
            vec![
                "S.transfer.abort_orphans: has no effect without `orphan_age`: set `orphan_age` to the age from which uploads are aborted, such as 7d",
            ],
        ),
        (
            "bucket: abc, client_options: {read_timeout: 10s}, transfer: {hedge_after: 10s}",
            vec![
                "S.transfer.hedge_after: hedge_after (10s) must be shorter than read_timeout (10s), after which the request has already failed",
            ],
        ),
        (
            "bucket: abc, transfer: {hedge_after: 10s}, client_options: {read_timeout: 5s}",
            vec![
                "S.client_options.read_timeout: hedge_after (10s) must be shorter than read_timeout (5s), after which the request has already failed",
            ],
        ),
        (
            "bucket: abc, transfer: {hedge_after: 2}",
            vec!["S.transfer.hedge_after: is a duration without a unit: add one, as in 5s or 500ms"],
        ),
        (
            "bucket: abc, transfer: {max_bandwidth: 1MiB}",
            vec!["S.transfer.max_bandwidth: is not supported by this version: remove it"],
        ),
        (
            "bucket: abc, config: {bucket: abd}",
            vec!["S.bucket: differs from the bucket in `config`: remove one of the two"],
        ),
        (
            "url: 'http://minio:9000/abc'",
            vec![
                "S.url: is the URL of a server that is neither Amazon S3 nor Cloudflare R2: set `config.endpoint` to its scheme, host and port, and `url` to s3://BUCKET/PATH",
            ],
        ),
        (
            "bucket: abc, config: {endpoint: 'minio:9000'}",
            vec!["S.config.endpoint: has no scheme: put http:// or https:// in front of the host"],
        ),
        (
            "url: 's3://abc//x'",
            vec![
                "S.url: has a path that begins with `/`, so every key in the bucket would begin with `/` too: remove the slash",
            ],
        ),
        (
            "url: 's3://a b/x'",
            vec![
                "S.url: has an invalid bucket name: it must not contain slashes, whitespace or control characters",
            ],
        ),
        (
            "bucket: abc, config: {sse_kms_key_id: k, sse_bucket_key_enabled: true, server_side_encryption: AES256}",
            vec![
                "S.config.sse_kms_key_id: requires server_side_encryption: \"aws:kms\" or \"aws:kms:dsse\"",
                "S.config.sse_bucket_key_enabled: requires server_side_encryption: \"aws:kms\"",
            ],
        ),
        (
            "bucket: abc, config: {server_side_encryption: sse-c, conditional_put: 'dynamo:t', copy_if_not_exists: 'dynamo:t:5'}",
            vec![
                "S.config.server_side_encryption: `sse-c` is not supported by this version; expected one of AES256, aws:kms, aws:kms:dsse",
                "S.config.conditional_put: `dynamo:t` is not supported by this version; expected one of etag, disabled",
                "S.config.copy_if_not_exists: `dynamo` is not supported by this version; expected multipart, native, header:NAME:VALUE or header-with-status:NAME:VALUE:STATUS",
            ],
        ),
        (
            "bucket: abc, config: {copy_if_not_exists: 'header-with-status:a:b:200'}",
            vec![
                "S.config.copy_if_not_exists: the status 200 cannot signal that the key exists: use an error status such as 412",
            ],
        ),
        (
            "bucket: abc, config: {region: eu-west-1, aws_region: eu-west-1}",
            vec![
                "S.config.aws_region: sets `region` a second time under another name: remove one of the two keys",
            ],
        ),
        (
            "bucket: abc, config: {copy_if_not_exists: 'header:a b:c'}",
            vec![
                "S.config.copy_if_not_exists: expected multipart, native, header:NAME:VALUE or header-with-status:NAME:VALUE:STATUS, found `header:a b:c`",
            ],
        ),
        ("bucket: 123", vec!["S.bucket: expected a bucket name, found a number"]),
    ] {
        assert_eq!(store(&format!("{text}, {ANONYMOUS}"), &[]).unwrap_err(), expected, "{text}");
    }
}

#[test]
fn problems_of_from_env_name_the_variable() {
    let variables = [
        ("AWS_SKIP_SIGNATURE", "perhaps"),
        ("AWS_CONNECT_TIMEOUT", "5"),
        ("AWS_USE_FIPS_ENDPOINT", "true"),
        ("AWS_USE_DUALSTACK_ENDPOINT", "false"),
        ("AWS_REGION", ""),
    ];
    let mut found = store(&format!("bucket: abc, from_env: true, {ANONYMOUS}"), &variables).unwrap_err();
    found.sort();
    assert_eq!(
        found,
        [
            "AWS_CONNECT_TIMEOUT: S.client_options.connect_timeout: is a duration without a unit: add one, as in 5s or 500ms",
            "AWS_SKIP_SIGNATURE: S.config.skip_signature: expected true or false, found `perhaps`",
            "AWS_USE_FIPS_ENDPOINT: S: is not supported by this version: unset it, or remove `from_env` from the store",
        ]
    );
    assert!(store(&format!("bucket: abc, {ANONYMOUS}"), &variables).is_ok());
}

#[test]
fn independent_problems_of_a_store_are_reported_together() {
    let found = store(
        "bucket: a_b, prefix: /x, config: {endpoint: 'http://minio:9000', virtual_hosted_style_request: true}",
        &[],
    );
    let found = found.unwrap_err();
    for (place, part) in [
        ("S.config.endpoint", "uses plain HTTP"),
        ("S: ", "has no credentials"),
        ("S: ", "into the host name"),
        ("S.prefix", "begins with `/`"),
    ] {
        assert!(found.iter().any(|line| line.starts_with(place) && line.contains(part)), "{part}: {found:?}");
    }
}
