//! One store: where its settings come from, and what contradicts what.

use std::time::Duration;

use crate::{s3::ChecksumAlgorithm, store::OrphanSettings};

use super::*;

#[test]
fn config_wins_over_the_url_and_the_url_over_variables() {
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
fn defaults_lie_under_tenants_and_stores() {
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
    assert_eq!((stores["a"].transfer.orphans, stores["b"].transfer.orphans), (None, Some(orphans)));
    let backoff = &stores["b"].retry_config.backoff;
    assert_eq!((backoff.init_backoff.as_secs(), backoff.max_backoff.as_secs()), (16, 20));
    assert!((backoff.base - 3.0).abs() < f64::EPSILON);
}

#[test]
fn stores_that_contradict_themselves() {
    for (text, expected) in [
        (
            "bucket: abc, config: {endpoint: 'http://localhost:9000'}",
            vec![
                "S.config.endpoint: is plain HTTP: give an https:// endpoint, or `allow_http: true` under `client_options`",
            ],
        ),
        (
            "bucket: abc, transfer: {abort_orphans: true}",
            vec![
                "S.transfer.abort_orphans: has no effect without `orphan_age`: give how old an upload must be, such as 7d",
            ],
        ),
        (
            "bucket: abc, client_options: {read_timeout: 10s}, transfer: {hedge_after: 10s}",
            vec![
                "S.transfer.hedge_after: leaves hedge_after (10s) without effect: it should be shorter than read_timeout (10s), which ends the request",
            ],
        ),
        (
            "bucket: abc, transfer: {hedge_after: 10s}, client_options: {read_timeout: 5s}",
            vec![
                "S.client_options.read_timeout: leaves hedge_after (10s) without effect: it should be shorter than read_timeout (5s), which ends the request",
            ],
        ),
        (
            "bucket: abc, transfer: {hedge_after: 2}",
            vec!["S.transfer.hedge_after: is a number without a unit: give a unit, such as 5s"],
        ),
        (
            "bucket: abc, transfer: {max_bandwidth: 1MiB}",
            vec!["S.transfer.max_bandwidth: is not supported by this version"],
        ),
        (
            "bucket: abc, config: {bucket: abd}",
            vec!["S.bucket: is not the bucket that `config` names: give one of them"],
        ),
        (
            "url: 's3://abc//x'",
            vec![
                "S.url: has a path that begins with `/`, and so would every key in the bucket: leave the slash out",
            ],
        ),
        (
            "url: 's3://a b/x'",
            vec!["S.url: names a bucket that should have no slashes, spaces or control characters"],
        ),
        (
            "bucket: abc, config: {sse_kms_key_id: k, sse_bucket_key_enabled: true, server_side_encryption: AES256}",
            vec![
                "S.config.sse_kms_key_id: needs server_side_encryption: \"aws:kms\" or \"aws:kms:dsse\"",
                "S.config.sse_bucket_key_enabled: needs server_side_encryption: \"aws:kms\"",
            ],
        ),
        (
            "bucket: abc, config: {server_side_encryption: sse-c, conditional_put: 'dynamo:t', copy_if_not_exists: 'dynamo:t:5'}",
            vec![
                "S.config.server_side_encryption: `sse-c` is not supported by this version",
                "S.config.conditional_put: `dynamo:t` is not supported by this version",
                "S.config.copy_if_not_exists: `dynamo` is not supported by this version",
            ],
        ),
        (
            "bucket: abc, config: {copy_if_not_exists: 'header-with-status:a:b:200'}",
            vec!["S.config.copy_if_not_exists: says that the key exists by 200, which is a success"],
        ),
        (
            "bucket: abc, config: {region: eu-west-1, aws_region: eu-west-1}",
            vec!["S.config.aws_region: is the same setting as another key here: give `region` once"],
        ),
        (
            "bucket: abc, config: {copy_if_not_exists: 'header:a b:c'}",
            vec![
                "S.config.copy_if_not_exists: is `header:a b:c`, should be multipart, native, header:NAME:VALUE or header-with-status:NAME:VALUE:STATUS",
            ],
        ),
        ("bucket: 123", vec!["S.bucket: is a number, should be a bucket's name"]),
    ] {
        assert_eq!(store(&format!("{text}, {ANONYMOUS}"), &[]).unwrap_err(), expected, "{text}");
    }
}

#[test]
fn variables_of_from_env_are_named_in_their_problems() {
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
            "AWS_CONNECT_TIMEOUT: S.client_options.connect_timeout: is a number without a unit: give a unit, such as 5s",
            "AWS_SKIP_SIGNATURE: S.config.skip_signature: is `perhaps`, should be true or false",
            "AWS_USE_FIPS_ENDPOINT: S: is not supported by this version: unset it, or leave out from_env",
        ]
    );
    assert!(store(&format!("bucket: abc, {ANONYMOUS}"), &variables).is_ok());
}
