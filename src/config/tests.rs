//! Whole files: what good ones give, and exactly what is said of bad ones.

use std::{fs, io::Write, path::Path};

use proptest::prelude::*;

use crate::{
    auth::{Access, AuthMode},
    credentials::ProviderSettings,
    s3::ChecksumAlgorithm,
    store::{CopyIfNotExists, StoreSettings},
    telemetry::LogFormat,
};

use super::*;

type Pair = (OsString, OsString);

fn pairs(variables: &[(&str, &str)]) -> Vec<Pair> {
    variables.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

/// Loads `text` as the tenants file, with more variables. The file is called FILE in what comes back.
fn load_text(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, String> {
    load_bytes(text.as_bytes(), variables)
}

fn load_bytes(bytes: &[u8], variables: &[(&str, &str)]) -> Result<Loaded, String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let mut all = pairs(variables);
    all.push(("LONGSHORE_TENANTS_FILE".into(), file.path().into()));
    load(all).map_err(|problems| named(&problems, file.path())).map(|mut loaded| {
        let text = named(&loaded.left_out, file.path());
        if !text.is_empty() {
            // For tests that compare texts.
            loaded.left_out = Problems::default();
            loaded.left_out.add(Place::file("left out"), text);
        }
        loaded
    })
}

fn named(problems: &Problems, file: &Path) -> String {
    problems.to_string().replace(&file.display().to_string(), "FILE")
}

/// What is said of a file.
fn problems(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let text = match load_text(text, variables) {
        Ok(loaded) => loaded.left_out.iter().map(|problem| problem.text().to_owned()).collect(),
        Err(text) => text,
    };
    text.lines().map(ToOwned::to_owned).collect()
}

/// The settings of the one store `s` of tenant `t`, of which `text` gives the keys as one flow mapping.
fn store(text: &str, variables: &[(&str, &str)]) -> Result<StoreSettings, Vec<String>> {
    let file = format!("tenants: {{t: {{stores: {{s: {{{text}}}}}}}}}");
    match load_text(&file, variables) {
        Ok(loaded) if loaded.left_out.is_empty() => {
            Ok(loaded.settings.server.tenants[0].stores.get("s").unwrap().clone())
        }
        Ok(_) | Err(_) => Err(problems(&file, variables)
            .into_iter()
            .map(|line| line.replace("FILE:1: ", "").replace("tenants.t.stores.s", "S"))
            .collect()),
    }
}

const ANONYMOUS: &str = "credential_provider: {type: anonymous}";

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
    let loaded = load(pairs(&variables)).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.left_out.to_string(), "");
    let shown = format!("{loaded:?}");
    assert!(!shown.contains("-secret"), "{shown}");

    let [acme, globex] = loaded.settings.server.tenants.as_slice() else { panic!("two tenants") };
    assert_eq!((acme.name.as_str(), globex.name.as_str()), ("acme", "globex"));
    assert_eq!(acme.callers[1].access, [Access::Read, Access::List, Access::Sign]);
    assert_eq!(acme.callers[0].stores.as_deref(), Some(&["default".to_owned()][..]));
    assert_eq!(acme.callers[1].stores, None);
    assert_eq!(acme.callers[0].token_sha256[..2], [0xd1, 0xe5]);

    let default = &acme.stores["default"];
    assert_eq!((default.bucket.bucket.as_str(), default.prefix.as_str()), ("acme-data", "prod/"));
    assert_eq!((default.retry_config.max_retries, default.retry_config.retry_timeout.as_secs()), (5, 180));
    assert_eq!(default.transfer.part_size, 16 * 1024 * 1024);
    assert_eq!(default.bucket.checksum_algorithm, Some(ChecksumAlgorithm::Crc64Nvme));
    let encryption = default.bucket.encryption.as_ref().unwrap();
    assert_eq!((encryption.algorithm.as_str(), encryption.bucket_key_enabled), ("aws:kms", Some(true)));
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
        (32, 5)
    );
    let header = CopyIfNotExists::Header {
        name: "cf-copy-destination-if-none-match".into(),
        value: "*".into(),
        status: 412,
    };
    assert_eq!(r2.copy_if_not_exists, header);
    assert_eq!(globex.stores["minio"].client_options.timeout.unwrap().as_secs(), 600);
}

#[test]
fn every_problem_of_a_file_is_found_at_its_line() {
    let text = "\
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
          dynamo: yes
          role_arn: arn:aws:iam::1:role/x
          access_key_id: AKID
        client_options: {connect_timeout: 5, proxy_url: http://proxy, timeout: 0s}
        retry_config:
          max_retries: -1
          backoff: {init_backoff: 20s, base: 0.5, max_backof: 1s}
        transfer: {part_size: 1MiB, io_chunksize: 3, max_concurrency: 101}
      Default: {}
      empty:
      number: 3
    limits: {}
  good:
    stores: {s: {bucket: some-bucket, credential_provider: {type: anonymous}}}
";
    let loaded = load_text(text, &[]).unwrap();
    assert_eq!(loaded.settings.server.tenants.len(), 1);
    let digest = "should be 64 hexadecimal digits in quotes, as from `printf %s TOKEN | sha256sum`";
    let expected = [
        format!("FILE:5: tenants.acme.callers[0].token_sha256: {digest}"),
        "FILE:6: tenants.acme.callers[0].access[1]: `wirte` is not known; did you mean `write`?".into(),
        "FILE:7: tenants.acme.callers[0].stores[1]: `other` is no store of this tenant; it has: default, Default, \
         empty, number"
            .into(),
        format!("FILE:8: tenants.acme.callers[1].token_sha256: is a number, {digest}"),
        "FILE:8: tenants.acme.callers[1]: has no `name`: give one, for the logs".into(),
        "FILE:8: tenants.acme.callers[1].access: grants no access: give some of read, write, delete, list, sign, \
         bucket_admin"
            .into(),
        "FILE:13: tenants.acme.stores.default.config.regoin: unknown key; did you mean `region`?".into(),
        "FILE:14: tenants.acme.stores.default.config.aws_unsigned_payload: is `maybe`, should be true or false".into(),
        "FILE:15: tenants.acme.stores.default.config.dynamo: unknown key; known here: access_key_id, bucket, \
         bucket_name, checksum_algorithm, conditional_put, copy_if_not_exists, default_region, disable_bulk_delete, \
         disable_tagging, endpoint, endpoint_url, region, request_payer, secret_access_key, server_side_encryption, \
         session_token, skip_signature, sse_bucket_key_enabled, sse_kms_key_id, token, unsigned_payload, \
         virtual_hosted_style_request, write_id"
            .into(),
        "FILE:16: tenants.acme.stores.default.config.role_arn: is not supported by this version".into(),
        "FILE:17: tenants.acme.stores.default.config.access_key_id: has no secret_access_key beside it: give both \
         halves of the pair, or neither"
            .into(),
        "FILE:18: tenants.acme.stores.default.client_options.connect_timeout: is a number without a unit: give a \
         unit, such as 5s"
            .into(),
        "FILE:18: tenants.acme.stores.default.client_options.proxy_url: is not supported by this version".into(),
        "FILE:18: tenants.acme.stores.default.client_options.timeout: is zero, after which nothing could ever succeed"
            .into(),
        "FILE:20: tenants.acme.stores.default.retry_config.max_retries: is -1, should be a whole number from 0 to 1000"
            .into(),
        "FILE:21: tenants.acme.stores.default.retry_config.backoff.base: is 0.5, should be a number of at least 1"
            .into(),
        "FILE:21: tenants.acme.stores.default.retry_config.backoff.max_backof: unknown key; did you mean \
         `max_backoff`?"
            .into(),
        "FILE:21: tenants.acme.stores.default.retry_config.backoff.init_backoff: makes init_backoff (20s) longer than \
         max_backoff (15s): it should be at most as long"
            .into(),
        "FILE:22: tenants.acme.stores.default.transfer.part_size: is 1048576 bytes, should be from 5.0 MiB to 512.0 \
         MiB"
            .into(),
        "FILE:22: tenants.acme.stores.default.transfer.io_chunksize: is about boto3's files on a local disk; \
         Longshore streams: leave it out"
            .into(),
        "FILE:22: tenants.acme.stores.default.transfer.max_concurrency: is 101, should be a whole number from 1 to 100"
            .into(),
        "FILE:23: tenants.acme.stores.Default: a name should be 1 to 64 of a-z, 0-9, ., _ and -, and not start with \
         a dot"
            .into(),
        "FILE:23: tenants.acme.stores.Default: has no credentials: give access_key_id and secret_access_key under \
         `config`, `from_env: true`, a `credential_provider`, or `skip_signature: true` under `config` for a public \
         bucket"
            .into(),
        "FILE:23: tenants.acme.stores.Default: names no bucket: give `url`, such as s3://BUCKET/PREFIX, or `bucket`"
            .into(),
        "FILE:24: tenants.acme.stores.empty: has no value: give one or leave the key out".into(),
        "FILE:25: tenants.acme.stores.number: is a number, should be a mapping".into(),
        "FILE:26: tenants.acme.limits: is not supported by this version".into(),
    ];
    let found = problems(text, &[]);
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len());
}

#[test]
fn problems_beyond_one_tenant_are_an_error_with_all_problems() {
    for (text, expected) in [
        ("", &["FILE:1:1: empty: give at least one tenant below `tenants`"][..]),
        ("tenants: {}", &["LONGSHORE_TENANTS_FILE: there is no tenant in FILE: give at least one"]),
        ("[a]", &["FILE:1: is a list, should be a mapping"]),
        ("tenants: [a]", &["FILE:1: tenants: is a list, should be a mapping"]),
        (
            "tenant: {}",
            &[
                "FILE:1: has no `tenants`: give at least one below it",
                "FILE:1: tenant: unknown key; did you mean `tenants`?",
            ],
        ),
        ("tenants:\n", &["FILE:1: tenants: has no value: give one or leave the key out"]),
        (
            "defaults:\n  limits: {}\n  retry_config: {max_retries: x}\n  transfer: {use_threads: false, max_concurrency: 4}\ntenants: {b: {}, B: 1, 7: {}}",
            &[
                "FILE:2: defaults.limits: is not supported by this version",
                "FILE:3: defaults.retry_config.max_retries: is `x`, should be a whole number from 0 to 1000",
                "FILE:4: defaults.transfer.use_threads: contradicts max_concurrency: 4: false is a max_concurrency of 1; give one of them",
                "FILE:5: tenants.b: has no stores: give at least one under `stores`",
                "FILE:5: tenants.B: is a number, should be a mapping",
                "FILE:5: tenants: has a key that is not text: put it in quotes",
            ],
        ),
        (
            "tenants:\n  a: {stores: {s: {}}}\n  a: {}\n",
            &["FILE:3:3: the key `a` is given twice in this mapping: give it once"],
        ),
        (
            "tenants: {a: {<<: {}}}",
            &[
                "FILE:1: tenants.a.<<: merge keys are not supported: use `defaults`, or an alias for a whole value",
                "FILE:1: tenants.a: has no stores: give at least one under `stores`",
            ],
        ),
        ("tenants: {a: !x {}}", &["FILE:1: tenants.a: has a tag: tags are not supported"]),
        (
            "tenants: {a: {callers: [{jwt: x, san: y}], stores: {}}}",
            &[
                "FILE:1: tenants.a.callers[0].jwt: is not supported by this version",
                "FILE:1: tenants.a.callers[0].san: is not supported by this version",
                "FILE:1: tenants.a: has no stores: give at least one under `stores`",
                "FILE:1: tenants.a.callers[0]: has no `name`: give one, for the logs",
                "FILE:1: tenants.a.callers[0]: has no `token_sha256`: give 64 hexadecimal digits in quotes, as from `printf %s TOKEN | sha256sum`",
                "FILE:1: tenants.a.callers[0]: grants no access: give some of read, write, delete, list, sign, bucket_admin",
            ],
        ),
    ] {
        let found = load_text(text, &[]).unwrap_err();
        assert_eq!(found.lines().collect::<Vec<_>>(), expected, "{text}");
    }
    assert_eq!(load_bytes(b"a: 1\nb: \xff\n", &[]).unwrap_err(), "FILE:2: is not UTF-8");
}

#[test]
fn callers() {
    let digest = "ab".repeat(32);
    let tenant =
        |callers: &str| format!("{{stores: {{s: {{bucket: abc, {ANONYMOUS}}}}}, callers: [{callers}]}}");
    let caller =
        |name: &str, more: &str| format!("{{name: {name}, token_sha256: '{digest}', access: [read]{more}}}");
    let twice = tenant(&format!("{}, {}", caller("a", ""), caller("b", "")));
    assert_eq!(
        problems(&format!("tenants: {{t: {twice}}}"), &[]),
        ["FILE:1: tenants.t.callers[1]: has the same token as the caller `a`: give each its own"]
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
            "FILE:1: tenants.t.callers[0].prefixes[0]: is empty: give a value or leave the key out",
            "FILE:1: tenants.t.callers[0].stores: is empty, which is no store at all: name some, or leave it out for all",
        ]
    );
    let anyone = tenant(
        "{name: a, access: [read], token_sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855}",
    );
    assert_eq!(
        problems(&format!("tenants: {{t: {anyone}}}"), &[]),
        ["FILE:1: tenants.t.callers[0].token_sha256: is the SHA-256 of an empty token"]
    );
}

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
defaults: {transfer: {max_concurrency: 20, part_size: 64MiB}, retry_config: {backoff: {base: 3, max_backoff: 20s}}}
tenants:
  t:
    transfer: {use_threads: false}
    stores:
      a: {bucket: abc, credential_provider: {type: anonymous}}
      b:
        bucket: abc
        credential_provider: {type: anonymous}
        transfer: {use_threads: true, multipart_chunksize: 5242880}
        retry_config: {backoff: {init_backoff: 16s}}
";
    let loaded = load_text(text, &[]).unwrap();
    let stores = &loaded.settings.server.tenants[0].stores;
    assert_eq!((stores["a"].transfer.max_concurrency, stores["a"].transfer.part_size), (1, 64 << 20));
    assert_eq!((stores["b"].transfer.max_concurrency, stores["b"].transfer.part_size), (10, 5 << 20));
    let backoff = &stores["b"].retry_config.backoff;
    assert_eq!((backoff.init_backoff.as_secs(), backoff.max_backoff.as_secs()), (16, 20));
    assert!((backoff.base - 3.0).abs() < f64::EPSILON);
}

#[test]
fn credentials() {
    let keys = "access_key_id: AKID, secret_access_key: topsecret";
    let environment = [("AWS_ACCESS_KEY_ID", "ENVID"), ("AWS_SECRET_ACCESS_KEY", "env-topsecret")];
    for (text, expected) in [
        (format!("config: {{{keys}, token: t}}"), "static"),
        (format!("credential_provider: {{type: static, {keys}}}"), "static"),
        (format!("from_env: true, config: {{{keys}}}"), "static"),
        ("config: {skip_signature: true}".into(), "anonymous"),
        (ANONYMOUS.into(), "anonymous"),
        ("credential_provider: {type: env}".into(), "env"),
        ("from_env: true".into(), "env"),
    ] {
        let found = store(&format!("bucket: abc, {text}"), &environment).unwrap();
        assert_eq!(found.credential_provider.kind(), expected, "{text}");
        assert_eq!(found.bucket.skip_signature, expected == "anonymous");
    }
    let unset = "takes its credentials from the environment, which has no AWS_ACCESS_KEY_ID with \
                 AWS_SECRET_ACCESS_KEY: set both";
    for (text, expected) in [
        ("from_env: true".into(), vec![format!("S: {unset} (AWS_PROFILE is set, but profiles are not supported by this version)")]),
        (
            format!("config: {{{keys}}}, credential_provider: {{type: env}}"),
            vec![
                "S.config.access_key_id: contradicts credential_provider: give the keys there, or leave it out".into(),
                format!("S.credential_provider: {unset} (AWS_PROFILE is set, but profiles are not supported by this version)"),
            ],
        ),
        (
            format!("config: {{{keys}, skip_signature: true}}"),
            vec!["S.config.access_key_id: contradicts skip_signature: unsigned requests need no credentials".into()],
        ),
        (
            "config: {secret_access_key: topsecret}".into(),
            vec!["S.config.secret_access_key: has no access_key_id beside it: give both halves of the pair, or neither".into()],
        ),
        (
            format!("credential_provider: {{type: anonymous, {keys}}}"),
            vec!["S.credential_provider.access_key_id: belongs to the type static".into()],
        ),
        (
            "credential_provider: {type: static}".into(),
            vec!["S.credential_provider: needs access_key_id and secret_access_key".into()],
        ),
        (
            "credential_provider: {type: assume_role, role_arn: x}".into(),
            vec![
                "S.credential_provider.role_arn: is not supported by this version".into(),
                "S.credential_provider.type: `assume_role` is not supported by this version".into(),
            ],
        ),
        (
            "credential_provider: {}".into(),
            vec!["S.credential_provider: has no `type`: give static, env or anonymous".into()],
        ),
    ] {
        let mut found = store(&format!("bucket: abc, {text}"), &[("AWS_PROFILE", "dev")]).unwrap_err();
        found.sort();
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn secrets_come_from_files_and_variables_and_are_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let good = path("good", b"topsecret/from-file\r\n");
    let with = |secret: &str| {
        let text = format!("bucket: abc, config: {{access_key_id: AKID, secret_access_key: {secret}}}");
        store(&text, &[("KEY", "topsecret-env"), ("EMPTY", ""), ("SPACED", "topsecret x")])
    };
    for (given, expected) in [
        ("topsecret", "topsecret"),
        ("{env: KEY}", "topsecret-env"),
        (&format!("{{file: '{good}'}}"), "topsecret/from-file"),
    ] {
        let settings = with(given).unwrap();
        assert!(!format!("{settings:?}").contains("topsecret"));
        let ProviderSettings::Static(credentials) = settings.credential_provider else { panic!("static") };
        assert_eq!(credentials.secret_access_key(), expected);
    }
    let empty = path("empty", b"\n");
    let binary = path("binary", b"topsecret\xff");
    let spaced = path("spaced", b"topsecret\ntopsecret");
    let large = path("large", &vec![b's'; 70_000]);
    let missing = folder.path().join("missing").display().to_string();
    for (given, expected) in [
        ("''".to_owned(), "is empty: give a value or leave the key out".to_owned()),
        (
            "12345678901".into(),
            "is a number, should be text (a number in quotes), {file: PATH} or {env: NAME}".into(),
        ),
        (
            "[topsecret]".into(),
            "is a list, should be text (a number in quotes), {file: PATH} or {env: NAME}".into(),
        ),
        (
            "topsecret x".into(),
            "holds a character that no credential has, such as a space or a line break".into(),
        ),
        ("{env: UNSET}".into(), "the variable UNSET is not set".into()),
        ("{env: EMPTY}".into(), "the variable EMPTY is empty".into()),
        (
            "{env: SPACED}".into(),
            "holds a character that no credential has, such as a space or a line break".into(),
        ),
        ("{}".into(), "should be text, {file: PATH} or {env: NAME}".into()),
        ("{env: KEY, file: x}".into(), "should be text, {file: PATH} or {env: NAME}".into()),
        (format!("{{file: '{empty}'}}"), format!("{empty} is empty")),
        (
            format!("{{file: '{binary}'}}"),
            format!("cannot read {binary}: stream did not contain valid UTF-8"),
        ),
        (
            format!("{{file: '{spaced}'}}"),
            "holds a character that no credential has, such as a space or a line break".into(),
        ),
        (format!("{{file: '{large}'}}"), format!("{large} is too large to be a secret")),
        (
            format!("{{file: '{missing}'}}"),
            format!("cannot read {missing}: No such file or directory (os error 2)"),
        ),
    ] {
        let found = with(&given).unwrap_err();
        assert_eq!(found, [format!("S.config.secret_access_key: {expected}")], "{given}");
        assert!(!found[0].contains("topsecret"), "{found:?}");
    }
    assert_eq!(
        with("{fiel: topsecret}").unwrap_err(),
        [
            "S.config.secret_access_key.fiel: unknown key; did you mean `file`?",
            "S.config.secret_access_key: should be text, {file: PATH} or {env: NAME}",
        ]
    );
}

#[test]
fn a_secret_in_the_wrong_place_is_not_shown_either() {
    let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    for text in [
        format!("config: {secret}"),
        format!("config: {{endpoint: 'https://AKID:{secret}@host'}}"),
        format!("config: {{endpoint: {secret}}}"),
        format!("url: 's3://AKID:{secret}@abc/x'"),
        format!("url: {secret}"),
        format!("credential_provider: {secret}"),
        format!("config: {{access_key_id: {{{secret}: x}}}}"),
        format!("config: {{region: '{secret}'}}"),
        format!("config: {{conditional_put: '{secret}'}}"),
        format!("from_env: '{secret}'"),
        format!("client_options: {{timeout: '{secret}'}}"),
        format!("transfer: {{part_size: '{secret}'}}"),
        format!("bucket: '{secret}'"),
    ] {
        let found = store(&text, &[]).unwrap_err().join("\n");
        assert!(!found.contains(secret) && !found.contains(&secret[..30]), "{text}: {found}");
    }
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
            "bucket: abc, config: {bucket: abd}",
            vec!["S.bucket: is not the bucket that `config` names: give one of them"],
        ),
        (
            "url: 's3://abc//x'",
            vec![
                "S.url: has a path that begins with `/`, and so would every key in the bucket: leave the slash out",
            ],
        ),
        ("url: 's3://Abc/x'", vec!["S.url: names a bucket that should be 3 to 63 of a-z, 0-9, - and ."]),
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

#[test]
fn a_folder_of_files() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let tenant = |name: &str| format!("tenants: {{{name}: {{stores: {{s: {{bucket: abc, {ANONYMOUS}}}}}}}}}");
    let variables = [("LONGSHORE_TENANTS_FILE", folder.path().to_str().unwrap())];
    let shown = |problems: &Problems| problems.to_string().replace(folder.path().to_str().unwrap(), "DIR");
    assert_eq!(
        shown(&load(pairs(&variables)).unwrap_err()),
        "LONGSHORE_TENANTS_FILE: the folder DIR holds no *.yaml, *.yml or *.json file"
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
    assert_eq!(
        shown(&loaded.left_out),
        "DIR/b.yaml:1: tenants.bravo: is also given at DIR/d.yaml:1: tenants.bravo: give it once\n\
         DIR/d.yaml:1: tenants.bravo: is also given at DIR/b.yaml:1: tenants.bravo: give it once"
    );
    file("e.yaml", "tenants: [");
    assert!(shown(&load(pairs(&variables)).unwrap_err()).starts_with("DIR/e.yaml:1:11: not YAML: "));
}

#[test]
fn the_environment_has_its_defaults() {
    let text = format!("tenants: {{t: {{stores: {{s: {{bucket: abc, {ANONYMOUS}}}}}}}}}");
    let Settings { server, log } = load_text(&text, &[]).unwrap().settings;
    assert_eq!(
        (server.listen_addr.to_string(), server.health_addr.to_string()),
        ("127.0.0.1:50051".into(), "127.0.0.1:9090".into())
    );
    assert_eq!((server.auth, server.reflection, server.tls), (AuthMode::Required, true, None));
    assert_eq!((server.max_message_bytes, server.max_concurrent_streams), (4 << 20, 100));
    assert_eq!((server.shutdown_delay.as_secs(), server.shutdown_grace.as_secs()), (0, 30));
    assert_eq!((log.filter.as_str(), log.format), ("info", None));

    let variables = [
        ("LONGSHORE_LISTEN_ADDR", "0.0.0.0:1"),
        ("LONGSHORE_AUTH", "none"),
        ("LONGSHORE_ALLOW_INSECURE", "true"),
        ("LONGSHORE_REFLECTION", "false"),
        ("LONGSHORE_MAX_MESSAGE_BYTES", "16MiB"),
        ("LONGSHORE_MAX_CONCURRENT_STREAMS", "7"),
        ("LONGSHORE_SHUTDOWN_DELAY", "5s"),
        ("LONGSHORE_SHUTDOWN_GRACE", "1m"),
        ("LONGSHORE_LOG", "longshore=debug,info"),
        ("LONGSHORE_LOG_FORMAT", "json"),
        ("LONGSHORE_PORT", "tcp://10.0.0.1:50051"),
        ("LONGSHORE_PORT_50051_TCP_ADDR", "10.0.0.1"),
        ("LONGSHORE_SERVICE_HOST", "10.0.0.1"),
    ];
    let Settings { server, log } = load_text(&text, &variables).unwrap().settings;
    assert_eq!((server.auth, server.reflection), (AuthMode::None, false));
    assert_eq!((server.max_message_bytes, server.max_concurrent_streams), (16 << 20, 7));
    assert_eq!((server.shutdown_delay.as_secs(), server.shutdown_grace.as_secs()), (5, 60));
    assert_eq!((log.filter.as_str(), log.format), ("longshore=debug,info", Some(LogFormat::Json)));
}

#[test]
fn every_problem_of_the_environment_is_found() {
    let found = load(pairs(&[
        ("LONGSHORE_LISTEN_ADDR", "0.0.0.0:9090"),
        ("LONGSHORE_HEALTH_ADDR", "localhost:9090"),
        ("LONGSHORE_AUTH", "none"),
        ("LONGSHORE_REFLECTION", "perhaps"),
        ("LONGSHORE_MAX_MESSAGE_BYTES", "1KiB"),
        ("LONGSHORE_MAX_CONCURRENT_STREAMS", "0"),
        ("LONGSHORE_SHUTDOWN_DELAY", "5"),
        ("LONGSHORE_SHUTDOWN_GRACE", "soon"),
        ("LONGSHORE_TLS_CERT", "/nowhere/cert.pem"),
        ("LONGSHORE_LOG", "longshore=loud"),
        ("LONGSHORE_LOG_FORMAT", "xml"),
        ("LONGSHORE_LISTEN_ADR", "x"),
        ("LONGSHORE_JWT_ISSUER", "x"),
        ("LONGSHORE_ADMIN_ADDR", "x"),
        ("LONGSHORE_ALLOW_INSECURE", ""),
        ("OTHER", "x"),
    ]))
    .unwrap_err()
    .to_string();
    assert_eq!(
        found.lines().collect::<Vec<_>>(),
        [
            "LONGSHORE_ADMIN_ADDR: is not supported by this version",
            "LONGSHORE_JWT_ISSUER: is not supported by this version",
            "LONGSHORE_LISTEN_ADR: unknown variable; did you mean `LONGSHORE_LISTEN_ADDR`?",
            "LONGSHORE_ALLOW_INSECURE: is empty: give a value or unset it",
            "LONGSHORE_HEALTH_ADDR: is `localhost:9090`, should be an IP address and a port, such as 127.0.0.1:50051 or [::]:50051",
            "LONGSHORE_TLS_CERT: cannot read /nowhere/cert.pem: No such file or directory (os error 2)",
            "LONGSHORE_TLS_KEY: is not set: give LONGSHORE_TLS_CERT and LONGSHORE_TLS_KEY, or neither",
            "LONGSHORE_AUTH: none would let anyone who reaches 0.0.0.0:9090 do anything: use required, listen on a loopback address, or set LONGSHORE_ALLOW_INSECURE=true",
            "LONGSHORE_REFLECTION: is `perhaps`, should be true or false",
            "LONGSHORE_MAX_MESSAGE_BYTES: is 1024 bytes, should be from 64.0 KiB to 1.0 GiB",
            "LONGSHORE_MAX_CONCURRENT_STREAMS: is `0`, should be a whole number from 1 to 1000000",
            "LONGSHORE_SHUTDOWN_DELAY: is a number without a unit: give a unit, such as 5s",
            "LONGSHORE_SHUTDOWN_GRACE: is `soon`, should be a length of time such as 5s, 500ms or 1m 30s",
            "LONGSHORE_LOG: is no filter such as info or longshore=debug,info: invalid filter directive",
            "LONGSHORE_LOG_FORMAT: `xml` is not known; known here: text, json",
            "LONGSHORE_TENANTS_FILE: is not set: give the tenants file, or a folder of them",
        ]
    );
}

#[cfg(unix)]
#[test]
fn variables_that_are_not_utf8_are_named() {
    use std::os::unix::ffi::OsStringExt;

    let strange = || OsString::from_vec(b"\xff".to_vec());
    let mut variables = vec![
        ("LONGSHORE_LISTEN_ADDR".into(), strange()),
        ("LONGSHORE_TENANTS_FILE".into(), strange()),
        ("UNRELATED".into(), strange()),
        (OsString::from_vec(b"LONGSHORE_\xff".to_vec()), "x".into()),
    ];
    let found = load(variables.clone()).unwrap_err().to_string();
    let lines: Vec<_> = found.lines().collect();
    assert!(lines[0].starts_with("LONGSHORE_\u{fffd}: unknown variable; "), "{found}");
    assert_eq!(lines[1..], ["LONGSHORE_LISTEN_ADDR: is not UTF-8", "LONGSHORE_TENANTS_FILE: is not UTF-8"]);

    let file =
        "tenants: {t: {stores: {s: {bucket: abc, from_env: true, config: {access_key_id: {env: ID}}}}}}";
    let path = tempfile::NamedTempFile::new().unwrap();
    fs::write(path.path(), file).unwrap();
    variables = vec![
        ("LONGSHORE_TENANTS_FILE".into(), path.path().into()),
        ("AWS_REGION".into(), strange()),
        ("ID".into(), strange()),
    ];
    let found = named(&load(variables).unwrap_err(), path.path());
    assert!(found.contains("AWS_REGION: tenants.t.stores.s.config.region: is not UTF-8"), "{found}");
    assert!(found.contains("access_key_id: the variable ID is not UTF-8"), "{found}");
}

/// Text that looks enough like YAML to get past the first character.
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
    fn bytes_of_any_kind_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = load_bytes(&bytes, &[]);
    }

    #[test]
    fn garbage_that_resembles_yaml_never_panics(text in yamlish()) {
        let _ = load_text(&text, &[]);
        let _ = load_text(&format!("tenants:\n  t:\n    stores:\n      s: {text}"), &[]);
    }

    #[test]
    fn any_text_as_a_value_never_panics(value in any::<String>()) {
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
