//! `credential_provider`: what each type needs, and what it takes from the environment.

use std::time::Duration;

use crate::credentials::{
    AssumeRoleSettings, ContainerSettings, ContainerToken, GrpcSettings, ImdsSettings, ProviderSettings,
    WebIdentitySettings,
};

use super::*;

const ROLE: &str = "arn:aws:iam::123456789012:role/path/name";

fn provider(text: &str, variables: &[(&str, &str)]) -> Result<ProviderSettings, Vec<String>> {
    let text = format!("bucket: abc, credential_provider: {{{text}}}");
    store(&text, variables).map(|settings| settings.credential_provider)
}

/// The settings that IAM roles for service accounts, EKS Pod Identity and ECS put into the environment.
const IRSA: &[(&str, &str)] = &[("AWS_ROLE_ARN", ROLE), ("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/token")];
const POD_IDENTITY: &[(&str, &str)] = &[
    ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/v1/credentials"),
    ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/var/run/pod-token"),
];
const ECS: &[(&str, &str)] = &[("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/1")];

fn irsa(role_arn: &str) -> ProviderSettings {
    ProviderSettings::WebIdentity(WebIdentitySettings {
        role_arn: role_arn.to_owned(),
        token_file: "/var/run/token".into(),
        session_name: "longshore".to_owned(),
        duration: None,
        endpoint: None,
        region: None,
    })
}

fn container(endpoint: &str, token: Option<ContainerToken>) -> ProviderSettings {
    ProviderSettings::Container(ContainerSettings {
        endpoint: endpoint.to_owned(),
        token,
        refuse_local: false,
    })
}

#[test]
fn the_identity_of_a_container_comes_from_its_environment() {
    let pod_token = ContainerToken::File("/var/run/pod-token".into());
    let pod = container("http://169.254.170.23/v1/credentials", Some(pod_token));
    let ecs = container("http://169.254.170.2/v2/credentials/1", None);
    for (variables, typed, expected) in [
        (IRSA, "type: web_identity", irsa(ROLE)),
        (POD_IDENTITY, "type: container", pod),
        (ECS, "type: container", ecs),
    ] {
        assert_eq!(provider(typed, variables).unwrap(), expected);
        let implied = store("bucket: abc, from_env: true", variables).unwrap();
        assert_eq!(implied.credential_provider, expected);
    }
    let other = "arn:aws:iam::123456789012:role/other";
    assert_eq!(provider(&format!("type: web_identity, role_arn: '{other}'"), IRSA).unwrap(), irsa(other));
    let keys = [("AWS_ACCESS_KEY_ID", "ENVID"), ("AWS_SECRET_ACCESS_KEY", "secret")];
    let both = store("bucket: abc, from_env: true", &[IRSA, &keys[..]].concat()).unwrap();
    assert_eq!(both.credential_provider, ProviderSettings::Env, "keys come first, as in boto3");
}

#[test]
fn a_role_per_tenant_takes_four_lines() {
    let text = format!(
        "type: assume_role, role_arn: '{ROLE}', external_id: acme-1, duration: 2h, \
         session_tags: {{tenant: '{{tenant}}', store: 's3/{{store}}'}}, source: {{type: container}}"
    );
    let found = provider(&text, ECS).unwrap();
    let ProviderSettings::AssumeRole(found) = found else { panic!("{found:?}") };
    let AssumeRoleSettings { role_arn, external_id, duration, session_tags, source, .. } = *found;
    assert_eq!(role_arn, ROLE);
    assert_eq!(external_id.as_deref(), Some("acme-1"));
    assert_eq!(duration, Some(Duration::from_hours(2)));
    assert_eq!(source, container("http://169.254.170.2/v2/credentials/1", None));
    let tags: Vec<_> = session_tags.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert!(tags.iter().all(|(_, value)| !value.contains('{')), "{tags:?}");
    assert_eq!(tags.len(), 2);
}

#[test]
fn other_types_have_their_own_settings() {
    for (text, expected) in [
        ("type: file, path: /secrets/s3", ProviderSettings::File("/secrets/s3".into())),
        (
            "type: process, command: 'get-keys --for \"team a\" $HOME'",
            ProviderSettings::Process(["get-keys", "--for", "team a", "$HOME"].map(str::to_owned).into()),
        ),
        (
            "type: process, command: [get-keys, a b]",
            ProviderSettings::Process(["get-keys", "a b"].map(str::to_owned).into()),
        ),
        (
            "type: imds",
            ProviderSettings::Imds(ImdsSettings {
                endpoint: "http://169.254.169.254".to_owned(),
                v1_fallback: false,
                timeout: Duration::from_secs(1),
                attempts: 1,
            }),
        ),
        (
            "type: chain, sources: [{type: file, path: /a}, {type: imds, endpoint: 'http://[fd00:ec2::254]/', \
             imdsv1_fallback: true, metadata_service_timeout: 3s, metadata_service_num_attempts: 4}]",
            ProviderSettings::Chain(vec![
                ProviderSettings::File("/a".into()),
                ProviderSettings::Imds(ImdsSettings {
                    endpoint: "http://[fd00:ec2::254]".to_owned(),
                    v1_fallback: true,
                    timeout: Duration::from_secs(3),
                    attempts: 4,
                }),
            ]),
        ),
    ] {
        assert_eq!(provider(text, &[]).unwrap(), expected, "{text}");
    }
}

fn grpc(endpoint: &str) -> GrpcSettings {
    GrpcSettings {
        refuse_local: false,
        endpoint: endpoint.to_owned(),
        tenant: "t".to_owned(),
        store: "s".to_owned(),
        ca_file: None,
        token_file: None,
        client_certificate: None,
        timeout: Duration::from_secs(5),
    }
}

#[test]
fn static_keys_may_expire() {
    let keys = "type: static, access_key_id: AKID, secret_access_key: hush";
    let found = provider(&format!("{keys}, expires_at: 2030-01-02T03:04:05Z"), &[]).unwrap();
    let ProviderSettings::Static(found) = found else { panic!("{found:?}") };
    let seconds = found.expires_at().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(seconds, 1_893_553_445);
    let wrong = provider(&format!("{keys}, expires_at: tomorrow"), &[]).unwrap_err();
    let expected =
        "S.credential_provider.expires_at: expected a time such as 2030-01-02T03:04:05Z, found `tomorrow`";
    assert_eq!(wrong, [expected]);
}

#[test]
fn a_service_gets_the_names_of_the_tenant_and_the_store() {
    for endpoint in
        ["https://keys.example:8443", "http://127.0.0.1:50060", "http://[::1]:50060", "http://localhost:1"]
    {
        let found = provider(&format!("type: grpc, endpoint: '{endpoint}/'"), &[]).unwrap();
        assert_eq!(found, ProviderSettings::Grpc(grpc(endpoint)));
    }
    let text = "type: grpc, endpoint: 'https://keys.example', ca_file: /ca, cert_file: /cert, key_file: /key, \
                token_file: /token, timeout: 18s";
    let expected = ProviderSettings::Grpc(GrpcSettings {
        ca_file: Some("/ca".into()),
        token_file: Some("/token".into()),
        client_certificate: Some(("/cert".into(), "/key".into())),
        timeout: Duration::from_secs(18),
        ..grpc("https://keys.example")
    });
    assert_eq!(provider(text, &[]).unwrap(), expected);
    let chain = provider(&format!("type: chain, sources: [{{{text}}}]"), &[]).unwrap();
    assert_eq!(chain, ProviderSettings::Chain(vec![expected]));
}

#[test]
fn every_problem_of_a_service_names_its_key() {
    let url = "S.credential_provider.endpoint: must be https://HOST:PORT; http://HOST:PORT is allowed for this host only";
    let tls = "needs an `endpoint` with https://: remove it, or change `endpoint`";
    for (text, expected) in [
        ("", &["S.credential_provider: has `type: grpc` but no `endpoint`: set it"][..]),
        ("endpoint: keys.example:8443", &[url]),
        ("endpoint: 'http://keys.example:8443'", &[url]),
        ("endpoint: 'https://keys.example/path'", &[url]),
        ("endpoint: 'https://me:secret@keys.example'", &[url]),
        ("endpoint: 'dns:///keys.example:8443'", &[url]),
        ("endpoint: 'unix:/run/keys.sock'", &[url]),
        (
            "endpoint: 'https://keys.example', timeout: 19s",
            &["S.credential_provider.timeout: must be at most 18s"],
        ),
        (
            "endpoint: 'https://keys.example', cert_file: /a",
            &["S.credential_provider.cert_file: needs `key_file`: set both, or neither"],
        ),
        (
            "endpoint: 'https://keys.example', key_file: /a",
            &["S.credential_provider.key_file: needs `cert_file`: set both, or neither"],
        ),
        (
            "endpoint: 'http://localhost:1', ca_file: /a, cert_file: /b, key_file: /c",
            &[
                &*format!("S.credential_provider.ca_file: {tls}"),
                &*format!("S.credential_provider.cert_file: {tls}"),
                &*format!("S.credential_provider.key_file: {tls}"),
            ],
        ),
        (
            "endpoint: 'https://keys.example', role_arn: 'arn:aws:iam::1:role/r'",
            &[
                "S.credential_provider.role_arn: is only valid with `type: assume_role` or `type: web_identity`: remove it, or change the type",
            ],
        ),
    ] {
        let mut found = provider(&format!("type: grpc, {text}"), &[]).unwrap_err();
        found.sort();
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn every_problem_of_a_provider_names_its_key() {
    let role = format!("role_arn: '{ROLE}'");
    for (text, expected) in [
        ("type: file".to_owned(), &["S.credential_provider: has `type: file` but no `path`: set it"][..]),
        (
            "type: file, path: /a, command: x".into(),
            &[
                "S.credential_provider.command: is only valid with `type: process`: remove it, or change the type",
            ],
        ),
        (
            "type: env, token_file: /a".into(),
            &[
                "S.credential_provider.token_file: is only valid with `type: web_identity` or `type: container` or `type: grpc`: remove it, or change the type",
                "S.credential_provider: takes its credentials from the environment, which lacks AWS_ACCESS_KEY_ID or AWS_SECRET_ACCESS_KEY: set both",
            ],
        ),
        (
            "type: web_identity".into(),
            &[
                "S.credential_provider: has no `role_arn`, and AWS_ROLE_ARN is not set: set one of the two",
                "S.credential_provider: has no `token_file`, and AWS_WEB_IDENTITY_TOKEN_FILE is not set: set one of the two",
            ],
        ),
        (
            "type: container".into(),
            &[
                "S.credential_provider: has no `endpoint`, and neither AWS_CONTAINER_CREDENTIALS_FULL_URI nor AWS_CONTAINER_CREDENTIALS_RELATIVE_URI is set: set one of them",
            ],
        ),
        (
            "type: container, endpoint: 'http://evil.example/x'".into(),
            &[
                "S.credential_provider.endpoint: must be an https:// URL, or an http:// URL whose host is loopback, 169.254.170.2, 169.254.170.23 or [fd00:ec2::23]",
            ],
        ),
        (
            format!("type: assume_role, {role}"),
            &["S.credential_provider: has `type: assume_role` but no `source`: set it"],
        ),
        (
            format!("type: assume_role, {role}, source: {{type: anonymous}}"),
            &[
                "S.credential_provider.source: has `type: anonymous`, which has no credentials: use another type",
            ],
        ),
        (
            format!("type: assume_role, {role}, duration: 13h, source: {{type: file, path: /a}}"),
            &["S.credential_provider.duration: must be at most 12 hours, which is STS's limit"],
        ),
        (
            "type: assume_role, role_arn: 'arn:aws:s3:::b', source: {type: file}".into(),
            &[
                "S.credential_provider.role_arn: expected the ARN of a role, such as arn:aws:iam::123456789012:role/NAME, found `arn:aws:s3:::b`",
                "S.credential_provider.source: has `type: file` but no `path`: set it",
            ],
        ),
        (
            "type: chain, sources: []".into(),
            &["S.credential_provider: has `type: chain` but no `sources`: set it"],
        ),
        (
            "type: chain, sources: [{type: file, path: /a}, {type: fiel}]".into(),
            &["S.credential_provider.sources[1].type: `fiel` is not a known value; did you mean `file`?"],
        ),
        (
            "type: process, command: 'a \"b'".into(),
            &["S.credential_provider.command: has a quote without an end: add it"],
        ),
        (
            "type: imds, endpoint: 169.254.169.254".into(),
            &[
                "S.credential_provider.endpoint: must be an http:// or https:// URL without a path, such as http://169.254.169.254",
            ],
        ),
    ] {
        let mut found = provider(&text, &[]).unwrap_err();
        found.sort();
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn invalid_variables_of_a_profile_are_reported() {
    let variables = [
        ("AWS_METADATA_SERVICE_TIMEOUT", "soon"),
        ("AWS_METADATA_SERVICE_NUM_ATTEMPTS", "11"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "169.254.169.254"),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://evil.example/x"),
        ("AWS_ENDPOINT_URL_SSO", "http://evil.example"),
        ("AWS_ENDPOINT_URL_STS", "sts.example"),
        ("AWS_CONFIG_FILE", "/none"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/none"),
    ];
    for kind in ["profile", "default"] {
        let found = provider(&format!("type: {kind}"), &variables).unwrap_err();
        assert_eq!(found.len(), 6, "{found:?}");
        for (name, _) in &variables[..6] {
            let uses = format!("S.credential_provider: uses {name}, which is invalid: ");
            assert!(found.iter().any(|problem| problem.starts_with(&uses)), "{name}: {found:?}");
        }
    }
}

#[test]
fn the_environment_names_the_profile_and_its_files_as_for_botocore() {
    let variables = [
        ("AWS_PROFILE", "a"),
        ("AWS_DEFAULT_PROFILE", "b"),
        ("HOME", "/home/x"),
        ("TEAM", "t"),
        ("AWS_CONFIG_FILE", "$HOME/${TEAM}/$NONE/config"),
        ("AWS_SHARED_CREDENTIALS_FILE", "~/keys"),
        ("AWS_EC2_METADATA_DISABLED", "TRUE"),
    ];
    let ProviderSettings::Profile(found) = provider("type: profile", &variables).unwrap() else { panic!() };
    assert_eq!(found.name, "b");
    assert_eq!(found.config_file, std::path::PathBuf::from("/home/x/t/$NONE/config"));
    assert_eq!(found.credentials_file, std::path::PathBuf::from("/home/x/keys"));
    assert_eq!(found.sso_cache, std::path::PathBuf::from("/home/x/.aws/sso/cache"));
    assert_eq!(found.imds, None);
}
