//! Keys of `config` that describe where credentials come from, and what a profile says besides credentials.

use std::{fs, time::Duration};

use crate::{
    credentials::{ContainerSettings, ContainerToken, ImdsSettings, ProviderSettings, WebIdentitySettings},
    store::StoreSettings,
};

use super::*;

const ROLE: &str = "arn:aws:iam::123456789012:role/r";

/// The files of profiles that do not exist, so that those of the machine are not read.
const NONE: [(&str, &str); 2] =
    [("AWS_CONFIG_FILE", "/none/config"), ("AWS_SHARED_CREDENTIALS_FILE", "/none/credentials")];

fn with(text: &str, variables: &[(&str, &str)]) -> Result<StoreSettings, Vec<String>> {
    store(&format!("bucket: abc, {text}"), &[&NONE, variables].concat())
}

fn provider(text: &str, variables: &[(&str, &str)]) -> ProviderSettings {
    with(text, variables).unwrap().credential_provider
}

fn metadata(endpoint: &str, v1_fallback: bool, seconds: u64, attempts: u32) -> ImdsSettings {
    let (endpoint, timeout) = (endpoint.to_owned(), Duration::from_secs(seconds));
    ImdsSettings { endpoint, v1_fallback, timeout, attempts }
}

#[test]
fn keys_of_config_are_those_of_a_provider() {
    let web_identity = ProviderSettings::WebIdentity(WebIdentitySettings {
        role_arn: ROLE.to_owned(),
        token_file: "/token".into(),
        session_name: "me".to_owned(),
        duration: None,
        endpoint: Some("https://sts.example".to_owned()),
        region: None,
    });
    let container = |endpoint: &str, token: Option<&str>| {
        let token = token.map(|path| ContainerToken::File(path.into()));
        ProviderSettings::Container(ContainerSettings {
            endpoint: endpoint.to_owned(),
            token,
            refuse_local: false,
        })
    };
    for (keys, expected) in [
        (
            format!(
                "aws_role_arn: '{ROLE}', web_identity_token_file: /token, role_session_name: me, \
                 endpoint_url_sts: 'https://sts.example'"
            ),
            web_identity,
        ),
        ("container_credentials_relative_uri: /v2/1".into(), container("http://169.254.170.2/v2/1", None)),
        (
            "container_credentials_full_uri: 'http://127.0.0.1/x', container_authorization_token_file: /t"
                .into(),
            container("http://127.0.0.1/x", Some("/t")),
        ),
        (
            "ec2_metadata_service_endpoint: 'http://127.0.0.1:1', imdsv1_fallback: true, \
             metadata_service_timeout: 3s, metadata_service_num_attempts: 4"
                .into(),
            ProviderSettings::Imds(metadata("http://127.0.0.1:1", true, 3, 4)),
        ),
    ] {
        assert_eq!(provider(&format!("config: {{{keys}}}"), &[]), expected, "{keys}");
    }
    let profile = provider("config: {profile: p, config_file: /c}", &[]);
    let same = provider("credential_provider: {type: profile, profile: p, config_file: /c}", &[]);
    assert_eq!(profile, same);
    let default = provider(
        "config: {boto_config: /b, metadata_service_timeout: 3s}, credential_provider: {type: default}",
        &[],
    );
    let ProviderSettings::Default(default) = default else { panic!("{default:?}") };
    assert_eq!(default.boto2_files, [std::path::PathBuf::from("/b")]);
    assert_eq!(default.profile.imds.unwrap().timeout, Duration::from_secs(3));
}

#[test]
fn the_environment_supplies_what_config_lacks_with_from_env_only() {
    let variables = [("AWS_WEB_IDENTITY_TOKEN_FILE", "/token"), ("AWS_ROLE_ARN", "arn:aws:iam::1:role/env")];
    let text = format!("from_env: true, config: {{role_arn: '{ROLE}'}}");
    let ProviderSettings::WebIdentity(found) = provider(&text, &variables) else { panic!("another type") };
    assert_eq!((found.role_arn.as_str(), found.token_file.path().to_str()), (ROLE, Some("/token")));
    let problems = with(&format!("config: {{role_arn: '{ROLE}'}}"), &variables).unwrap_err();
    assert_eq!(
        problems,
        [
            "S.config.role_arn: requires web_identity_token_file; for a role that is assumed with other credentials, \
             set `credential_provider: {type: assume_role}`"
        ]
    );
    assert_eq!(with(&text, &[]).unwrap_err(), problems, "the environment has no token either");
    for (variables, expected) in [
        (&[("AWS_PROFILE", "p")][..], "profile"),
        (&[("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1")], "imds"),
        (&[("AWS_IMDSV1_FALLBACK", "true")], "imds"),
        (&[("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/x"), ("AWS_PROFILE", "p")], "container"),
    ] {
        assert_eq!(provider("from_env: true", variables).kind(), expected);
    }
    let nothing = with("from_env: true", &[("AWS_METADATA_SERVICE_TIMEOUT", "3")]).unwrap_err();
    assert!(nothing[0].contains("takes its credentials from the environment"), "{nothing:?}");
    let found = provider(
        "credential_provider: {type: imds}",
        &[("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1/"), ("AWS_METADATA_SERVICE_TIMEOUT", "3")],
    );
    assert_eq!(found, ProviderSettings::Imds(metadata("http://127.0.0.1:1", false, 3, 1)));
}

#[test]
fn keys_of_config_that_contradict_the_credentials_are_reported() {
    let keys = "access_key_id: A, secret_access_key: s";
    for (text, expected) in [
        (
            format!("config: {{{keys}, profile: p}}"),
            "S.config.profile: conflicts with `access_key_id`, which does not use this key: remove one of the two",
        ),
        (
            "config: {profile: p}, credential_provider: {type: imds}".into(),
            "S.config.profile: conflicts with `credential_provider: {type: imds}`, which does not use this key: remove one of the two",
        ),
        (
            "config: {profile: p}, credential_provider: {type: profile, name: q}".into(),
            "S.config.profile: is also set by another key: remove one of the two",
        ),
        (
            "config: {container_credentials_relative_uri: /x, container_credentials_full_uri: 'http://127.0.0.1/x'}".into(),
            "S.config.container_credentials_full_uri: is also set by another key: remove one of the two",
        ),
        (
            "config: {container_credentials_relative_uri: /x, profile: p}".into(),
            "S.config.profile: conflicts with `container_credentials_relative_uri`, which does not use this key: remove one of the two",
        ),
        (
            "config: {profile: p, skip_signature: true}".into(),
            "S.config.profile: conflicts with `skip_signature: true`: unsigned requests use no credentials; remove one of the two",
        ),
        (
            "config: {role_session_name: me}".into(),
            "S: has no credentials: set access_key_id and secret_access_key in `config`, `from_env: true`, a \
             `credential_provider`, or, for a public bucket, `skip_signature: true` in `config`",
        ),
        (
            "config: {web_identity_token_file: /t}".into(),
            "S.config.web_identity_token_file: requires role_arn: set it",
        ),
        (
            "config: {metadata_endpoint: 169.254.169.254}".into(),
            "S.config.metadata_endpoint: must be an http:// or https:// URL without a path, such as http://169.254.169.254",
        ),
    ] {
        assert_eq!(with(&text, &[]).unwrap_err(), [expected], "{text}");
    }
}

/// The store `text` with a provider of this type, whose config file has `profile` below `[default]`.
fn with_profile(text: &str, kind: &str, profile: &str) -> Result<StoreSettings, Vec<String>> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), format!("[default]\n{profile}")).unwrap();
    let path = file.path().to_str().unwrap();
    let variables = [("AWS_CONFIG_FILE", path), ("AWS_SHARED_CREDENTIALS_FILE", "/none")];
    let found = store(&format!("bucket: abc, credential_provider: {{type: {kind}}}, {text}"), &variables);
    found.map_err(|problems| problems.iter().map(|problem| problem.replace(path, "PROFILES")).collect())
}

#[test]
fn a_profile_sets_what_the_store_does_not() {
    let profile = "ec2_metadata_service_endpoint = http://127.0.0.1:1\nregion = eu-west-3\nendpoint_url = https://s3.example\nmetadata_service_timeout = 7\n\
                   metadata_service_num_attempts = 3\ns3 =\n  addressing_style = virtual\n  signature_version = s3v4\n";
    for kind in ["profile", "default"] {
        let found = with_profile("config: {}", kind, profile).unwrap();
        assert_eq!(found.bucket.region, "eu-west-3");
        assert_eq!(found.bucket.endpoint.as_deref(), Some("https://s3.example"));
        assert!(found.bucket.virtual_hosted_style);
        let imds = match found.credential_provider {
            ProviderSettings::Profile(profile) => profile.imds,
            ProviderSettings::Default(default) => default.profile.imds,
            other => panic!("{other:?}"),
        };
        assert_eq!(imds, Some(metadata("http://127.0.0.1:1", false, 7, 3)));
        let own = "config: {region: us-west-2, endpoint: 'https://own.example', virtual_hosted_style_request: false}";
        let found = with_profile(own, kind, profile).unwrap().bucket;
        assert_eq!((found.region.as_str(), found.virtual_hosted_style), ("us-west-2", false));
        assert_eq!(found.endpoint.as_deref(), Some("https://own.example"));
    }
    for (style, endpoint, is_hosted) in
        [("auto", "", true), ("auto", "endpoint_url = https://s3.example\n", false), ("path", "", false)]
    {
        let profile = format!("{endpoint}s3 =\n  addressing_style = {style}\n");
        assert_eq!(with_profile("", "profile", &profile).unwrap().bucket.virtual_hosted_style, is_hosted);
    }
    let chain = "chain, sources: [{type: profile}]";
    assert_eq!(with_profile("", chain, profile).unwrap().bucket.region, "us-east-1", "only the store's own");
}

#[test]
fn what_a_profile_says_is_valid_or_reported() {
    for (profile, expected) in [
        (
            "region = Paris\n",
            "has an invalid region: expected 1 to 64 of the characters a-z, 0-9 and `-`, found `Paris`",
        ),
        (
            "ca_bundle = /nowhere/ca.pem\n",
            "has an invalid ca_bundle: cannot read /nowhere/ca.pem: No such file or directory (os error 2)",
        ),
        (
            "s3 =\n  signature_version = s3\n",
            "has s3.signature_version `s3`: Longshore signs with s3v4 only, so remove it",
        ),
        (
            "s3 =\n  addressing_style = host\n",
            "has an invalid s3.addressing_style: expected path, virtual or auto, found `host`",
        ),
        (
            "use_fips_endpoint = true\n",
            "has use_fips_endpoint, which this version does not support: remove it",
        ),
        (
            "metadata_service_num_attempts = x\n",
            "has an invalid metadata_service_num_attempts: expected a whole number from 1 to 10, found `x`",
        ),
    ] {
        let found = with_profile("", "profile", profile).unwrap_err();
        assert_eq!(found, [format!("S.credential_provider: uses the profile default, which {expected}")]);
    }
    let found = with_profile("", "profile", "hush\n").unwrap_err();
    assert_eq!(
        found,
        ["S.credential_provider: uses a profile: PROFILES, line 2: expected [SECTION] or KEY = VALUE"]
    );
    let plain = with_profile("", "profile", "endpoint_url = http://s3.example\n").unwrap_err();
    assert!(plain[0].contains("S.credential_provider: uses plain HTTP"), "{plain:?}");
}

#[test]
fn variables_that_are_not_text_are_reported() {
    use std::os::unix::ffi::OsStringExt;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"tenants: {t: {stores: {s: {bucket: abc, credential_provider: {type: default}}}}}")
        .unwrap();
    let mut variables = pairs(&NONE);
    variables.push(("LONGSHORE_TENANTS_FILE".into(), file.path().into()));
    variables.push(("AWS_SECRET_ACCESS_KEY".into(), OsString::from_vec(b"hush\xff".to_vec())));
    let problems = load(variables).unwrap_err().problems.to_string();
    assert!(problems.contains("AWS_SECRET_ACCESS_KEY: is not valid UTF-8"), "{problems}");
    assert!(!problems.contains("hush"), "{problems}");
}

#[test]
fn a_profile_that_does_not_exist_yet_is_a_warning_if_it_is_named() {
    for (provider, count) in [("{type: profile, name: p}", 1), ("{type: default}", 0)] {
        let text =
            format!("tenants: {{t: {{stores: {{s: {{bucket: abc, credential_provider: {provider}}}}}}}}}");
        let warnings = load_text(&text, &NONE).unwrap().warnings.to_string();
        assert_eq!(
            warnings.matches("names the profile p, which is in neither of").count(),
            count,
            "{warnings}"
        );
    }
}

#[test]
fn a_check_without_secrets_does_not_know_what_the_environment_has() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let text = format!(
        "tenants: {{t: {{stores: {{a: {{bucket: abc, from_env: true, config: {{role_session_name: me}}}}, \
         b: {{bucket: abc, from_env: true, config: {{role_arn: '{ROLE}'}}}}}}}}}}"
    );
    file.write_all(text.as_bytes()).unwrap();
    let variables: Vec<Pair> = vec![("LONGSHORE_TENANTS_FILE".into(), file.path().into())];
    assert!(load(variables.clone()).is_err());
    let skip = Sources { secrets: Secrets::Skip, ..Sources::default() };
    let found = load_from(variables, skip).map_err(|invalid| invalid.problems.to_string());
    assert_eq!(found.unwrap().problems_of_rejected.to_string(), "");
}
