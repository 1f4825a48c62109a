//! The sources of credentials, and that messages never contain credentials.

use std::fs;

use crate::credentials::ProviderSettings;

use super::*;

const KINDS: &str = "static, env, anonymous, file, process, container, imds, grpc, web_identity, assume_role, profile, default, chain";

#[test]
fn credentials_come_from_config_the_provider_or_the_environment() {
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
    let unset = "takes its credentials from the environment, which lacks AWS_ACCESS_KEY_ID or \
                 AWS_SECRET_ACCESS_KEY: set both";
    for (text, expected) in [
        ("from_env: true".into(), vec![format!("S: {unset}")]),
        (
            format!("config: {{{keys}}}, credential_provider: {{type: env}}"),
            vec![
                "S.config.access_key_id: conflicts with `credential_provider`: set the keys there, or remove `credential_provider`".into(),
                format!("S.credential_provider: {unset}"),
            ],
        ),
        (
            format!("config: {{{keys}, skip_signature: true}}"),
            vec!["S.config.access_key_id: conflicts with `skip_signature: true`: unsigned requests use no credentials; remove one of the two".into()],
        ),
        (
            "config: {secret_access_key: topsecret}".into(),
            vec!["S.config.secret_access_key: is set without access_key_id: set both access_key_id and secret_access_key, or neither".into()],
        ),
        (
            format!("credential_provider: {{type: anonymous, {keys}}}"),
            vec![
                "S.credential_provider.access_key_id: is only valid with `type: static`: remove it, or change the type".into(),
                "S.credential_provider.secret_access_key: is only valid with `type: static`: remove it, or change the type".into(),
            ],
        ),
        (
            "credential_provider: {type: static}".into(),
            vec!["S.credential_provider: has `type: static` but no keys: set access_key_id and secret_access_key".into()],
        ),
        (
            "credential_provider: {type: vault, expires_at: x}".into(),
            vec![
                "S.credential_provider.expires_at: expected a time such as 2030-01-02T03:04:05Z, found `x`".into(),
                format!("S.credential_provider.type: `vault` is not a known value; expected one of: {KINDS}"),
            ],
        ),
        (
            "credential_provider: {}".into(),
            vec![format!("S.credential_provider: has no `type`: set it to one of {KINDS}")],
        ),
    ] {
        let mut found = store(&format!("bucket: abc, {text}"), &[]).unwrap_err();
        found.sort();
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn secrets_come_from_files_and_variables_and_are_never_displayed() {
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
        ("''".to_owned(), "is empty: set a value or remove the key".to_owned()),
        (
            "12345678901".into(),
            "expected a string (put a number in quotes), {file: PATH} or {env: NAME}, found a number".into(),
        ),
        (
            "[topsecret]".into(),
            "expected a string (put a number in quotes), {file: PATH} or {env: NAME}, found a list".into(),
        ),
        (
            "topsecret x".into(),
            "contains a character that is invalid in credentials, such as a space or line break: remove it"
                .into(),
        ),
        ("{env: UNSET}".into(), "the variable `UNSET` is not set: set it to the secret".into()),
        ("{env: EMPTY}".into(), "the variable `EMPTY` is empty: set it to the secret".into()),
        (
            "{env: SPACED}".into(),
            "contains a character that is invalid in credentials, such as a space or line break: remove it"
                .into(),
        ),
        ("{}".into(), "expected either {file: PATH} or {env: NAME}".into()),
        ("{env: KEY, file: x}".into(), "expected either {file: PATH} or {env: NAME}".into()),
        (format!("{{file: '{empty}'}}"), format!("{empty} is empty: write the secret to it")),
        (format!("{{file: '{binary}'}}"), format!("cannot read {binary}: it is not valid UTF-8")),
        (
            format!("{{file: '{spaced}'}}"),
            "contains a character that is invalid in credentials, such as a space or line break: remove it"
                .into(),
        ),
        (format!("{{file: '{large}'}}"), format!("{large} is larger than 64 KiB, the limit for a secret")),
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
        ["S.config.secret_access_key.fiel: unknown key; did you mean `file`?"]
    );
}

#[test]
fn secrets_in_the_wrong_place_are_not_displayed() {
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
