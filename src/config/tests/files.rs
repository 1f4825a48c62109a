//! Whole tenants files, and folders of them.

use std::fs;

use crate::{
    auth::Access,
    credentials::ProviderSettings,
    s3::{ChecksumAlgorithm, EncryptionAlgorithm},
    store::CopyIfNotExists,
};

use super::*;

#[test]
fn the_example_file_loads() {
    let variables = [
        ("LONGSHORE_TENANTS_FILE", concat!(env!("CARGO_MANIFEST_DIR"), "/examples/tenants.yaml")),
        ("ACME_ACCESS_KEY_ID", "AKIDACME"),
        ("ACME_SECRET_ACCESS_KEY", "acme-secret"),
        ("GLOBEX_ACCESS_KEY_ID", "AKIDGLOBEX"),
        ("GLOBEX_SECRET_ACCESS_KEY", "globex-secret"),
        ("AWS_ACCESS_KEY_ID", "AKIDENV"),
        ("AWS_SECRET_ACCESS_KEY", "env-secret"),
        ("AWS_ENDPOINT_URL", "https://overridden.by.the.url.example"),
    ];
    let loaded = load(pairs(&variables)).unwrap_or_else(|invalid| panic!("{invalid}"));
    assert_eq!(loaded.problems_of_rejected.to_string(), "");
    let shown = format!("{loaded:?}");
    assert!(!shown.contains("-secret"), "{shown}");

    let [acme, globex] = loaded.settings.server.tenants.as_slice() else { panic!("two tenants") };
    assert_eq!((acme.name.as_str(), globex.name.as_str()), ("acme", "globex"));
    assert_eq!(acme.callers[1].access, [Access::Read, Access::List, Access::Sign]);
    assert_eq!(acme.callers[0].stores.as_deref(), Some(&["default".to_owned()][..]));
    assert_eq!(acme.callers[1].stores, None);
    assert_eq!(acme.callers[0].identities.tokens[0].sha256[..2], [0xd1, 0xe5]);

    let default = &acme.stores["default"];
    assert_eq!((default.bucket.bucket.as_str(), default.prefix.as_str()), ("acme-data", "prod/"));
    assert_eq!((default.retry_config.max_retries, default.retry_config.retry_timeout.as_secs()), (5, 180));
    assert_eq!(default.transfer.part_size, 16 * 1024 * 1024);
    assert_eq!(default.bucket.checksum_algorithm, Some(ChecksumAlgorithm::Crc64Nvme));
    let bucket = &default.bucket;
    assert_eq!(bucket.server_side_encryption, Some(EncryptionAlgorithm::Kms));
    assert_eq!(bucket.sse_bucket_key_enabled, Some(true));
    let ProviderSettings::Static(credentials) = &default.credential_provider else { panic!("static") };
    assert_eq!((credentials.access_key_id(), credentials.secret_access_key()), ("AKIDACME", "acme-secret"));

    let archive = &acme.stores["archive"];
    assert_eq!(archive.bucket.endpoint, None);
    assert_eq!(archive.bucket.region, "eu-central-1");
    assert!(archive.bucket.virtual_hosted_style && archive.bucket.request_payer && !archive.write_id);
    assert_eq!(archive.credential_provider, ProviderSettings::Env);
    assert!(acme.stores["weather"].bucket.skip_signature);

    let r2 = &globex.stores["r2"];
    assert_eq!(r2.bucket.endpoint.as_deref(), Some("https://0123456789abcdef.r2.cloudflarestorage.com"));
    assert_eq!(r2.bucket.region, "auto");
    assert_eq!(
        (r2.client_options.pool_max_idle_per_host, r2.client_options.connect_timeout.as_secs()),
        (Some(32), 5)
    );
    let header = CopyIfNotExists::Header {
        name: "cf-copy-destination-if-none-match".into(),
        value: "*".into(),
        status: 412,
    };
    assert_eq!(r2.copy_if_not_exists, header);
    assert_eq!(globex.stores["minio"].client_options.timeout.unwrap().as_secs(), 600);
}

const MISTAKES: &str = "\
tenants:
  acme:
    callers:
      - name: billing
        token_sha256: nonsense
        access: [read, wirte]
        stores: [default, other]
      - {token_sha256: 5, access: []}
    stores:
      default:
        url: s3://acme-data/prod
        config:
          regoin: eu-west-1
          aws_unsigned_payload: maybe
          role_arn: arn:aws:iam::1:role/x
          access_key_id: AKID
        client_options: {connect_timeout: 5, proxy_url: http://proxy, timeout: 0s}
        retry_config:
          max_retries: -1
          backoff: {init_backoff: 20s, base: 0.5, max_backof: 1s}
        transfer: {part_size: 1MiB, io_chunksize: 3, max_concurrency: 101, num_download_attempts: 0, hedge_after: 0s, orphan_age: 5m}
      Default: {}
      empty:
      number: 3
    limits: {max_in_flight: 0, request_per_second: 5, max_buffered: 1KiB}
  good:
    stores: {s: {bucket: some-bucket, credential_provider: {type: anonymous}}}
";

const SAID_OF_MISTAKES: &str = r"
FILE:5: tenants.acme.callers[0].token_sha256: expected 64 hexadecimal digits in quotes, as printed by `longshore token`
FILE:6: tenants.acme.callers[0].access[1]: `wirte` is not a known value; did you mean `write`?
FILE:7: tenants.acme.callers[0].stores[1]: `other` is not a store of this tenant; expected one of: Default, default, empty, number
FILE:8: tenants.acme.callers[1].token_sha256: expected 64 hexadecimal digits in quotes, as printed by `longshore token`, found a number
FILE:8: tenants.acme.callers[1]: has no `name`: set one, by which the log identifies the caller
FILE:8: tenants.acme.callers[1].access: grants no access: list at least one of read, write, delete, list, sign, bucket_admin
FILE:13: tenants.acme.stores.default.config.regoin: unknown key; did you mean `region`?
FILE:14: tenants.acme.stores.default.config.aws_unsigned_payload: expected true or false, found `maybe`
FILE:15: tenants.acme.stores.default.config.role_arn: conflicts with `access_key_id`, which does not use this key: remove one of the two
FILE:16: tenants.acme.stores.default.config.access_key_id: is set without secret_access_key: set both access_key_id and secret_access_key, or neither
FILE:17: tenants.acme.stores.default.client_options.connect_timeout: is a duration without a unit: add one, as in 5s or 500ms
FILE:17: tenants.acme.stores.default.client_options.proxy_url: is not supported by this version: remove it
FILE:17: tenants.acme.stores.default.client_options.timeout: must be longer than zero: expected a duration such as 5s, 500ms or 1m 30s
FILE:19: tenants.acme.stores.default.retry_config.max_retries: expected a whole number from 0 to 1000, found -1
FILE:20: tenants.acme.stores.default.retry_config.backoff.base: expected a number of at least 1, found 0.5
FILE:20: tenants.acme.stores.default.retry_config.backoff.max_backof: unknown key; did you mean `max_backoff`?
FILE:20: tenants.acme.stores.default.retry_config.backoff.init_backoff: init_backoff (20s) must not be longer than max_backoff (15s)
FILE:21: tenants.acme.stores.default.transfer.part_size: expected a size from 5.0 MiB to 512.0 MiB, found 1048576 bytes
FILE:21: tenants.acme.stores.default.transfer.io_chunksize: configures how boto3 accesses local files, which Longshore does not use: remove it
FILE:21: tenants.acme.stores.default.transfer.max_concurrency: expected a whole number from 1 to 100, found 101
FILE:21: tenants.acme.stores.default.transfer.num_download_attempts: expected a whole number from 1 to 100, found 0
FILE:21: tenants.acme.stores.default.transfer.hedge_after: must be 1ms or longer, found 0s
FILE:21: tenants.acme.stores.default.transfer.orphan_age: must be 1h or longer, found 5m
FILE:22: tenants.acme.stores.Default: a name must consist of 1 to 64 of the characters a-z, 0-9, `.`, `_` and `-`, and must not begin with a dot
FILE:22: tenants.acme.stores.Default: has no credentials: set access_key_id and secret_access_key in `config`, `from_env: true`, a `credential_provider`, or, for a public bucket, `skip_signature: true` in `config`
FILE:22: tenants.acme.stores.Default: has no bucket: set `url`, such as s3://BUCKET/PREFIX, or `bucket`
FILE:23: tenants.acme.stores.empty: has no value: set one or remove the key
FILE:24: tenants.acme.stores.number: expected a mapping, found a number
FILE:25: tenants.acme.limits.max_in_flight: expected a whole number from 1 to 1000000, found 0
FILE:25: tenants.acme.limits.request_per_second: unknown key; did you mean `requests_per_second`?
FILE:25: tenants.acme.limits.max_buffered: expected a size from 1.0 MiB to 1.0 TiB, found 1024 bytes
";

#[test]
fn every_problem_in_a_file_is_reported_with_its_line() {
    let loaded = load_text(MISTAKES, &[]).unwrap();
    assert_eq!(loaded.settings.server.tenants.len(), 1);
    assert_eq!(problems(MISTAKES, &[]), SAID_OF_MISTAKES.trim().lines().collect::<Vec<_>>());
}

#[test]
fn problems_that_concern_more_than_one_tenant_fail_the_load_with_all_problems() {
    for (text, expected) in [
        ("", &["FILE:1:1: the file is empty: define at least one tenant under `tenants`"][..]),
        (
            "tenants: {}",
            &["LONGSHORE_TENANTS_FILE: FILE defines no tenant: define at least one under `tenants`"],
        ),
        ("[a]", &["FILE:1: expected a mapping, found a list"]),
        ("tenants: [a]", &["FILE:1: tenants: expected a mapping, found a list"]),
        (
            "tenant: {}",
            &[
                "FILE:1: tenant: unknown key; did you mean `tenants`?",
                "FILE:1: has no `tenants`: add the key, with at least one tenant under it",
            ],
        ),
        ("tenants:\n", &["FILE:1: tenants: has no value: set one or remove the key"]),
        (
            "defaults:\n  limit: {}\n  retry_config: {max_retries: x}\n  transfer: {use_threads: false, max_concurrency: 4}\ntenants: {b: {}, B: 1, 7: {}}",
            &[
                "FILE:2: defaults.limit: unknown key; did you mean `limits`?",
                "FILE:3: defaults.retry_config.max_retries: expected a whole number from 0 to 1000, found `x`",
                "FILE:4: defaults.transfer.use_threads: conflicts with max_concurrency: 4, because false means max_concurrency: 1; remove one of the two",
                "FILE:5: tenants.b: has no stores: define at least one under `stores`",
                "FILE:5: tenants.B: expected a mapping, found a number",
                "FILE:5: tenants: has a key that is not a string: put the key in quotes",
            ],
        ),
        (
            "tenants:\n  a: {stores: {s: {}}}\n  a: {}\n",
            &["FILE:3:3: the key `a` appears twice in this mapping, first on line 2: remove one of the two"],
        ),
        ("tenants: {a: {<<: {}}}", &["FILE:1: tenants.a: has no stores: define at least one under `stores`"]),
        (
            "tenants: {a: !x {}}",
            &["FILE:1: tenants.a: has a YAML tag, and tags are not supported: remove the tag"],
        ),
        (
            "tenants: {a: {callers: [{jwt: x}], stores: {}}}",
            &[
                "FILE:1: tenants.a.callers[0].jwt: expected a mapping, found a string",
                "FILE:1: tenants.a: has no stores: define at least one under `stores`",
                "FILE:1: tenants.a.callers[0]: has no `name`: set one, by which the log identifies the caller",
                "FILE:1: tenants.a.callers[0]: grants no access: list at least one of read, write, delete, list, sign, bucket_admin",
            ],
        ),
    ] {
        let found = load_text(text, &[]).unwrap_err();
        assert_eq!(found.lines().collect::<Vec<_>>(), expected, "{text}");
    }
    assert_eq!(
        load_bytes(b"a: 1\nb: \xff\n", &[]).unwrap_err(),
        "FILE:2: is not valid UTF-8: save the file as UTF-8"
    );
}

#[test]
fn callers_are_read_and_validated() {
    let digest = "ab".repeat(32);
    let tenant =
        |callers: &str| format!("{{stores: {{s: {{bucket: abc, {ANONYMOUS}}}}}, callers: [{callers}]}}");
    let caller =
        |name: &str, more: &str| format!("{{name: {name}, token_sha256: '{digest}', access: [read]{more}}}");
    let twice = tenant(&format!("{}, {}", caller("a", ""), caller("b", "")));
    assert_eq!(
        problems(&format!("tenants: {{t: {twice}}}"), &[]),
        [
            "FILE:1: tenants.t.callers[1]: has the same token as the caller `a`: give each caller its own token"
        ]
    );
    let shared = tenant(&caller("a", ", prefixes: [x/]"));
    let loaded = load_text(&format!("tenants: {{t: {shared}, u: {shared}}}"), &[]).unwrap();
    assert_eq!(loaded.settings.server.tenants.len(), 2);
    assert_eq!(
        loaded.settings.server.tenants[0].callers[0].prefixes.as_deref(),
        Some(&["x/".to_owned()][..])
    );

    let empty = tenant(&caller("a", ", stores: [], prefixes: ['']"));
    assert_eq!(
        problems(&format!("tenants: {{t: {empty}}}"), &[]),
        [
            "FILE:1: tenants.t.callers[0].prefixes[0]: is empty: set a value or remove the key",
            "FILE:1: tenants.t.callers[0].stores: is empty, so the caller can use no store: list at least one, or remove the key to allow all stores",
        ]
    );
    let anyone = tenant(
        "{name: a, access: [read], token_sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855}",
    );
    assert_eq!(
        problems(&format!("tenants: {{t: {anyone}}}"), &[]),
        [
            "FILE:1: tenants.t.callers[0].token_sha256: is the SHA-256 of an empty token: use the SHA-256 of the caller's token"
        ]
    );
}

#[test]
fn all_files_of_a_folder_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let tenant = |name: &str| format!("tenants: {{{name}: {{stores: {{s: {{bucket: abc, {ANONYMOUS}}}}}}}}}");
    let variables = [("LONGSHORE_TENANTS_FILE", folder.path().to_str().unwrap())];
    let shown = |problems: &Problems| problems.to_string().replace(folder.path().to_str().unwrap(), "DIR");
    assert_eq!(
        shown(&load(pairs(&variables)).unwrap_err().problems),
        "LONGSHORE_TENANTS_FILE: the folder DIR contains no *.yaml, *.yml or *.json file: add a tenants file"
    );
    file("b.yaml", &tenant("bravo"));
    file(
        "a.json",
        r#"{"tenants": {"alpha": {"stores": {"s": {"bucket": "abc", "credential_provider": {"type": "anonymous"}}}}}}"#,
    );
    file("c.yml", &tenant("charlie"));
    file("README.md", "not: [a tenants file");
    fs::create_dir(folder.path().join("..data.yaml")).unwrap();
    let names = |loaded: &Loaded| {
        loaded.settings.server.tenants.iter().map(|tenant| tenant.name.clone()).collect::<Vec<_>>()
    };
    let loaded = load(pairs(&variables)).unwrap();
    assert_eq!(names(&loaded), ["alpha", "bravo", "charlie"]);

    file("d.yaml", &tenant("bravo"));
    let loaded = load(pairs(&variables)).unwrap();
    assert_eq!(names(&loaded), ["alpha", "charlie"]);
    assert_eq!(loaded.settings.server.rejected_tenants, ["bravo"]);
    assert_eq!(
        shown(&loaded.problems_of_rejected),
        "DIR/b.yaml:1: tenants.bravo: is also defined at DIR/d.yaml:1: keep one of the definitions"
    );
    for copy in ["f", "g", "h", "i"] {
        file(&format!("{copy}.yaml"), &tenant("bravo"));
    }
    assert_eq!(
        shown(&load(pairs(&variables)).unwrap().problems_of_rejected),
        "DIR/b.yaml:1: tenants.bravo: is also defined at DIR/d.yaml:1, DIR/f.yaml:1, DIR/g.yaml:1 and 2 more places: \
         keep one of the definitions"
    );
    file("e.yaml", "tenants: [");
    let found = shown(&load(pairs(&variables)).unwrap_err().problems);
    assert!(found.starts_with("DIR/e.yaml:") && found.contains(": invalid YAML: "), "{found}");
}

#[test]
fn anchors_aliases_and_merge_keys_are_resolved() {
    let text = "
x-fast: &fast {connect_timeout: 1s, read_timeout: 10s}
tenants:
  t:
    limits: &limits {max_buffered: 64MiB}
    stores:
      s: &store
        bucket: abc
        credential_provider: {type: anonymous}
        client_options: {<<: *fast, read_timeout: 20s}
      u: {<<: *store, bucket: abd}
  v: {limits: *limits, stores: {s: *store}}
";
    let tenants = load_text(text, &[]).unwrap().settings.server.tenants;
    let [t, v] = tenants.as_slice() else { panic!("two tenants") };
    assert_eq!((t.limits.max_buffered, v.limits.max_buffered), (Some(64 << 20), Some(64 << 20)));
    assert_eq!((t.stores["u"].bucket.bucket.as_str(), &t.stores["s"]), ("abd", &v.stores["s"]));
    let client = &t.stores["u"].client_options;
    assert_eq!((client.connect_timeout.as_secs(), client.read_timeout.as_secs()), (1, 20));
    // A problem in a shared value has the line where the value is written, and the path where it is used.
    let wrong = text.replace("connect_timeout: 1s", "connect_timeout: 1");
    assert_eq!(
        problems(&wrong, &[])[0],
        "FILE:2: tenants.t.stores.s.client_options.connect_timeout: is a duration without a unit: add one, as in 5s or \
         500ms"
    );
}

#[test]
fn values_that_look_like_variables_are_warned_of() {
    let text = "tenants: {t: {stores: {s: {bucket: abc, config: {access_key_id: '${AWS_KEY}', secret_access_key: $SECRET, region: us-east-1, sse_kms_key_id: '${KEY}', server_side_encryption: 'aws:kms'}}}}}";
    let loaded = load_text(text, &[]).unwrap();
    let warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
    let path = "tenants.t.stores.s.config";
    let secret = "looks like a variable, which Longshore does not expand: to read the secret from a variable, write {env: NAME}";
    for (warning, expected) in warnings.iter().zip([
        format!("{path}.access_key_id: {secret}"),
        format!("{path}.secret_access_key: {secret}"),
        format!(
            "{path}.sse_kms_key_id: looks like a variable, which Longshore does not expand: write the value itself"
        ),
    ]) {
        assert!(warning.ends_with(&expected), "{warning}");
    }
    assert_eq!(warnings.len(), 3);
    // A failure to load has the warnings too, since they may explain it.
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.replace("us-east-1", "'${REGION}'").as_bytes()).unwrap();
    let sources = Sources { tenants_file: Some(file.path().to_owned()), ..Sources::default() };
    let invalid = load_from([], sources).unwrap_err();
    assert_eq!((invalid.problems.len(), invalid.warnings.len()), (1, 4));
}

#[test]
fn with_secrets_skipped_no_secret_file_or_variable_is_read() {
    let text = "
tenants:
  t:
    stores:
      s: {bucket: abc, config: {access_key_id: {env: ID}, secret_access_key: {file: /nowhere/key}}}
      e: {bucket: abc, from_env: true}
";
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    let variables = [
        ("LONGSHORE_TENANTS_FILE", path.as_str()),
        ("LONGSHORE_TLS_CERT", "/nowhere/cert.pem"),
        ("LONGSHORE_TLS_KEY", "/nowhere/key.pem"),
    ];
    let skip = || Sources { secrets: Secrets::Skip, ..Sources::default() };
    let loaded = load_from(pairs(&variables), skip()).unwrap();
    assert_eq!((loaded.problems_of_rejected.len(), loaded.settings.server.tenants[0].stores.len()), (0, 2));
    let found = load(pairs(&variables)).unwrap_err().to_string();
    for part in ["/nowhere/key:", "the variable `ID` is not set", "AWS_ACCESS_KEY_ID", "/nowhere/cert.pem"] {
        assert!(found.contains(part), "{part}: {found}");
    }
    // Other problems are still found.
    file.write_all(b"      x: {bucket: abc, config: {access_key_id: {env: ID}, regoin: x}}\n").unwrap();
    let found = load_from(pairs(&variables), skip()).unwrap_err().to_string();
    assert!(found.contains("regoin") && found.contains("secret_access_key"), "{found}");
}

#[test]
fn a_file_with_very_many_problems_reports_the_first_thousand() {
    let keys = (0..100).map(|key| format!("k{key}: 1")).collect::<Vec<_>>().join(", ");
    let stores = (0..200).map(|store| format!("s{store}: {{bucket: abc, config: *keys}}"));
    let stores = stores.collect::<Vec<_>>().join(", ");
    let text = format!("x-keys: &keys {{{keys}}}\ntenants: {{t: {{stores: {{{stores}}}}}}}");
    let found = problems(&text, &[]);
    assert_eq!(found.len(), 1_001);
    assert_eq!(
        found[1_000],
        "FILE:2: tenants.t: has problems that are not listed: the file has more than 1000 problems"
    );
}

#[test]
fn a_file_given_as_an_argument_is_named_in_its_problems() {
    let sources = |path: &str| Sources { tenants_file: Some(path.into()), ..Sources::default() };
    let variables = [("LONGSHORE_TENANTS_FILE", "/elsewhere")];
    let found = load_from(pairs(&variables), sources("/nowhere/tenants.yaml")).unwrap_err().to_string();
    assert!(found.starts_with("/nowhere/tenants.yaml: cannot read "), "{found}");
}

#[test]
fn a_tenant_whose_problems_are_not_listed_is_rejected_all_the_same() {
    let keys = (0..1_100).map(|key| format!("k{key}: 1")).collect::<Vec<_>>().join(", ");
    let callers =
        format!("{{name: a, token_sha256: '{}', access: [read], prefixes: team-a/}}", "ab".repeat(32));
    let text = format!(
        "tenants:\n  t: {{{keys}}}\n  u: {{stores: {{s: {{bucket: abc, {ANONYMOUS}}}}}, callers: [{callers}]}}\n  v: {{stores: {{s: {{bucket: abc, {ANONYMOUS}}}}}}}"
    );
    let loaded = load_text(&text, &[]).unwrap();
    assert_eq!(loaded.settings.server.rejected_tenants, ["t", "u"]);
    let last = loaded.problems_of_rejected.iter().last().unwrap();
    assert_eq!(last.place().path(), "tenants.u");
    assert_eq!(last.text(), "has problems that are not listed: the file has more than 1000 problems");
}
