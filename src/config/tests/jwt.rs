//! A caller's `jwt`.

use std::fs;

use crate::{
    auth::{CallerJwt, Jwks, JwtSettings},
    config::jwt::{Jwks as JwksSection, Jwt},
    settings::Section,
};

use super::*;

const JWKS: &str =
    r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// A tenants file whose only caller has `jwt` with these keys.
fn file(jwt: &str) -> String {
    let caller = format!("{{name: pods, jwt: {{{jwt}}}, access: [read]}}");
    format!("tenants: {{t: {{stores: {{s: {{bucket: abc, {ANONYMOUS}}}}}, callers: [{caller}]}}}}")
}

fn of_tenant(loaded: &Loaded) -> JwtSettings {
    match loaded.settings.server.tenants[0].callers[0].identities.jwt.clone() {
        Some(CallerJwt::Own(settings)) => settings,
        other => panic!("{other:?}"),
    }
}

fn settings(jwt: &str, variables: &[(&str, &str)]) -> Result<JwtSettings, Vec<String>> {
    match load_text(&file(jwt), variables) {
        Ok(loaded) if loaded.problems_of_rejected.is_empty() => Ok(of_tenant(&loaded)),
        _ => Err(problems(&file(jwt), variables)
            .into_iter()
            .map(|line| line.replace("FILE:1: ", "").replace("tenants.t.callers[0].jwt", "J"))
            .collect()),
    }
}

const REST: &str = "issuer: 'https://i.example', audience: longshore, claims: {/sub: a}";

#[test]
fn a_caller_needs_a_token_or_a_jwt_and_may_have_both() {
    let found = settings(
        "issuer: 'https://i.example', audience: longshore, leeway: 5m, jwks: {url: 'https://i.example/keys'}, \
         claims: {/kubernetes.io/namespace: billing, /a~1b: c}",
        &[],
    );
    let found = found.unwrap();
    assert_eq!((found.issuer.as_str(), found.audience.as_str()), ("https://i.example", "longshore"));
    let claims = [("/kubernetes.io/namespace", "billing"), ("/a~1b", "c")];
    assert_eq!(found.claims, claims.map(|(pointer, value)| (pointer.to_owned(), value.to_owned())));
    assert_eq!(found.leeway, Duration::from_mins(5));
    let Jwks::Url(url) = found.jwks else { panic!("a URL") };
    assert_eq!((url.url.as_str(), url.refuse_local), ("https://i.example/keys", false));
    let found = settings(&format!("{REST}, jwks: {{url: 'https://i.example'}}"), &[]).unwrap();
    assert_eq!(found.leeway, Duration::from_secs(30));
    let token = format!("token_sha256: '{}', jwt: {{{REST}", "ab".repeat(32));
    let both = file("X, jwks: {url: 'https://i.example'}").replace("jwt: {X", &token);
    let loaded = load_text(&both, &[]).unwrap();
    let caller = &loaded.settings.server.tenants[0].callers[0];
    assert!(!caller.identities.tokens.is_empty() && caller.identities.jwt.is_some());
}

#[test]
fn incomplete_and_invalid_settings_are_reported() {
    let url = "jwks: {url: 'https://i.example/keys'}";
    for (text, expected) in [
        (
            String::new(),
            vec![
                "J: has no `issuer`: set it to the issuer of the tokens, as in their claim `iss`",
                "J: has no `audience`: set it to what the claim `aud` of the tokens contains",
                "J: has no `jwks`: set it to {url: …} or {file: …}",
                "J: has no `claims`: set it to at least one claim, such as {/sub: NAME}",
            ],
        ),
        (format!("{REST}, jwks: {{}}"), vec!["J.jwks: expected either `url` or `file`"]),
        (
            format!("{REST}, jwks: {{url: 'http://i.example/keys'}}"),
            vec![
                "J.jwks.url: must be an https:// URL without a user name; http:// is allowed for this host only",
            ],
        ),
        (format!("{REST}, {url}, leeway: 6m"), vec!["J.leeway: must be at most 5m"]),
        (
            format!("issuer: i, audience: a, {url}, claims: {{}}"),
            vec!["J.claims: has 0 claims: expected 1 to 16"],
        ),
        (
            format!("issuer: i, audience: a, {url}, claims: {{sub: a, /x: 5, /y: [a], /z~: a}}"),
            vec![
                "J.claims.sub: its key must be a JSON pointer, such as /sub or /kubernetes.io/namespace",
                "J.claims.`/x`: expected a string, found a number: put the value in quotes",
                "J.claims.`/y`: expected a string, found a list",
                "J.claims.`/z~`: its key must be a JSON pointer, in which `~` is written as ~0, and `/` within a name as ~1",
            ],
        ),
        (
            format!("{REST}, {url}, algorithms: [none]"),
            vec![
                "J.algorithms: unknown key; expected one of: issuer, audience, jwks, claims, leeway, server",
            ],
        ),
    ] {
        let found = settings(&text, &[]).unwrap_err();
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn keys_in_a_file_are_read_with_the_settings() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    fs::write(&path, JWKS).unwrap();
    let shown = path.display();
    let text = |more: &str| format!("{REST}, jwks: {{file: '{shown}'{more}}}");
    assert!(matches!(settings(&text(""), &[]).unwrap().jwks, Jwks::File(_)));
    assert_eq!(
        settings(&text(", url: 'https://i.example'"), &[]).unwrap_err(),
        ["J.jwks: expected either `url` or `file`"]
    );
    assert_eq!(
        settings(&text(&format!(", bearer_token_file: '{shown}'")), &[]).unwrap_err(),
        ["J.jwks.bearer_token_file: has no effect without `url`: remove it"]
    );
    for (jwks, why) in [
        (r#"{"keys": []}"#, "the JWKS has no key for signatures"),
        (r#"{"keys": [{"kty": "oct", "k": "AAAA"}]}"#, "the JWKS has no key for signatures"),
        ("", "the JWKS is not JSON"),
    ] {
        fs::write(&path, jwks).unwrap();
        let found = settings(&text(""), &[]).unwrap_err();
        assert!(found[0].starts_with(&format!("J.jwks.file: cannot use {shown}: {why}")), "{found:?}");
    }
    fs::remove_file(&path).unwrap();
    assert!(settings(&text(""), &[]).unwrap_err()[0].starts_with("J.jwks.file: cannot read "));
    // In CI, the file is missing.
    let sources = Sources { tenants_file: Some(folder.path().join("tenants.yaml")), secrets: Secrets::Skip };
    fs::write(folder.path().join("tenants.yaml"), file(&text(""))).unwrap();
    assert!(load_from(pairs(&[]), sources).is_ok());
}

#[test]
fn an_untrusted_author_can_name_own_files_and_other_machines_only() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("tenants")).unwrap();
    let own = folder.path().join("tenants/jwks.json");
    fs::write(&own, JWKS).unwrap();
    let own = own.display();
    let load = |jwks: &str| {
        let path = folder.path().join("tenants.yaml");
        fs::write(&path, file(&format!("{REST}, jwks: {{{jwks}}}"))).unwrap();
        let mut variables = pairs(&[("LONGSHORE_TENANTS_TRUSTED", "false")]);
        variables.push(("LONGSHORE_TENANTS_FILE".into(), path.into()));
        load(variables).map(|loaded| of_tenant(&loaded))
    };
    assert!(load(&format!("file: '{own}'")).is_ok());
    let found = load(&format!("url: 'https://i.example', bearer_token_file: '{own}'")).unwrap();
    let Jwks::Url(url) = found.jwks else { panic!("a URL") };
    assert!(url.refuse_local && url.bearer_token_file.as_ref().unwrap().is_confined());
    for (jwks, key) in [
        ("file: /etc/hostname", "file"),
        ("url: 'https://i.example', bearer_token_file: /var/run/secrets/token", "bearer_token_file"),
        ("url: 'https://i.example', ca_file: /etc/ssl/certs/ca-certificates.crt", "ca_file"),
        ("url: 'http://127.0.0.1:80/keys'", "url"),
        ("url: 'https://localhost/keys'", "url"),
        ("url: 'https://169.254.169.254/keys'", "url"),
    ] {
        let found = load(jwks).unwrap_err().problems.to_string();
        let place = format!("tenants.t.callers[0].jwt.jwks.{key}: ");
        assert!(found.contains(&place), "{jwks}: {found}");
        assert!(found.contains("which LONGSHORE_TENANTS_TRUSTED=false does not allow"), "{jwks}: {found}");
    }
    // Nothing else in `jwt` names a file, a secret or a URL.
    let forms = [Jwt::settings(), JwksSection::settings()].concat();
    let others =
        forms.iter().filter(|one| !["file", "bearer_token_file", "ca_file", "url"].contains(&one.name));
    let mut forms = others.map(|setting| (setting.form)());
    assert!(forms.all(|form| !["path", "secret", "URL"].iter().any(|word| form.contains(word))));
}

#[test]
fn a_tenant_may_use_at_most_eight_sources_of_keys() {
    let with = |count: usize| {
        let caller = |(place, number): (usize, usize)| {
            let url = format!("jwks: {{url: 'https://i.example/{number}'}}");
            format!("{{name: c{place}, jwt: {{{REST}, {url}}}, access: [read]}}")
        };
        let callers: Vec<_> = (0..count).chain(0..count).enumerate().map(caller).collect();
        let callers = callers.join(", ");
        format!("tenants: {{t: {{stores: {{s: {{bucket: abc, {ANONYMOUS}}}}}, callers: [{callers}]}}}}")
    };
    assert_eq!(problems(&with(8), &[]), [""; 0]);
    assert_eq!(
        problems(&with(9), &[]),
        [
            "FILE:1: tenants.t: has more than 8 different `jwks`: at most 8 are allowed, because each may have to \
             verify a token"
        ]
    );
}

const SERVER: &[(&str, &str)] = &[
    ("LONGSHORE_JWT_ISSUER", "https://i.example"),
    ("LONGSHORE_JWT_AUDIENCE", "longshore"),
    ("LONGSHORE_JWT_TENANT_CLAIM", "/tenant"),
    ("LONGSHORE_JWT_JWKS_URL", "https://i.example/keys"),
    ("LONGSHORE_JWT_LEEWAY", "1m"),
];

#[test]
fn callers_can_have_tokens_of_the_servers_issuer() {
    for trusted in ["true", "false"] {
        let variables = [SERVER, &[("LONGSHORE_TENANTS_TRUSTED", trusted)]].concat();
        let loaded = load_text(&file("server: true, claims: {/sub: a}"), &variables).unwrap();
        let server = loaded.settings.server.jwt.unwrap();
        assert_eq!((server.issuer.as_str(), server.tenant_claim.as_str()), ("https://i.example", "/tenant"));
        assert_eq!(
            (server.leeway, server.jwks.url.as_str()),
            (Duration::from_mins(1), "https://i.example/keys")
        );
        let claims = vec![("/sub".to_owned(), "a".to_owned())];
        assert_eq!(
            loaded.settings.server.tenants[0].callers[0].identities.jwt,
            Some(CallerJwt::Server(claims))
        );
    }
    assert_eq!(
        settings("server: true, audience: a, leeway: 1s", &[]).unwrap_err(),
        [
            "J.audience: conflicts with `server: true`: remove one of the two",
            "J.leeway: conflicts with `server: true`: remove one of the two",
            "J.server: needs LONGSHORE_JWT_ISSUER, which is not set",
        ]
    );
}

#[test]
fn the_servers_issuer_is_complete_or_absent() {
    let found = load_text(
        &file("server: true"),
        &[
            ("LONGSHORE_JWT_ISSUER", "https://i.example"),
            ("LONGSHORE_JWT_TENANT_CLAIM", "tenant"),
            ("LONGSHORE_JWT_JWKS_URL", "http://i.example/keys"),
            ("LONGSHORE_JWT_JWKS_CA_FILE", "/nowhere/ca.crt"),
            ("LONGSHORE_JWT_LEEWAY", "1h"),
        ],
    );
    let all =
        "LONGSHORE_JWT_ISSUER, LONGSHORE_JWT_AUDIENCE, LONGSHORE_JWT_TENANT_CLAIM, LONGSHORE_JWT_JWKS_URL";
    assert_eq!(
        found.unwrap_err().lines().collect::<Vec<_>>(),
        [
            format!("LONGSHORE_JWT_AUDIENCE: is not set: set {all}, or no variable of them").as_str(),
            "LONGSHORE_JWT_JWKS_CA_FILE: cannot read /nowhere/ca.crt: No such file or directory (os error 2)",
            "LONGSHORE_JWT_JWKS_URL: must be an https:// URL without a user name; http:// is allowed for this host only",
            "LONGSHORE_JWT_LEEWAY: must be at most 5m",
            "LONGSHORE_JWT_TENANT_CLAIM: must be a JSON pointer, such as /sub or /kubernetes.io/namespace",
        ]
    );
}

#[test]
fn files_with_keys_are_read_once_and_not_beyond_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("0"), JWKS).unwrap();
    let tenant = |name: &str, files: &[&str]| {
        let caller = |(number, file): (usize, &&str)| {
            format!("{{name: c{number}, jwt: {{{REST}, jwks: {{file: '{}'}}}}, access: [read]}}", path(file))
        };
        let callers: Vec<_> = files.iter().enumerate().map(caller).collect();
        format!("{name}: {{stores: {{s: {{bucket: abc, {ANONYMOUS}}}}}, callers: [{}]}}", callers.join(", "))
    };
    let both = format!("tenants: {{{}, {}}}", tenant("a", &["0", "0"]), tenant("b", &["0"]));
    let loaded = load_text(&both, &[]).unwrap();
    let callers = loaded.settings.server.tenants.iter().flat_map(|tenant| &tenant.callers);
    let keys = callers.map(|caller| match &caller.identities.jwt {
        Some(CallerJwt::Own(JwtSettings { jwks: Jwks::File(keys), .. })) => keys,
        other => panic!("{other:?}"),
    });
    let keys: Vec<_> = keys.collect();
    assert!(keys.len() == 3 && keys.iter().all(|set| std::sync::Arc::ptr_eq(set, keys[0])));
    // Of ten files that do not exist, the last two are not even looked for.
    let names = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"];
    let found = problems(&format!("tenants: {{{}}}", tenant("a", &names)), &[]);
    let unreadable = found.iter().filter(|line| line.contains("cannot read")).count();
    assert!(unreadable == 8 && found.len() == 9, "{found:?}");
}

#[test]
fn certificates_for_keys_are_not_read_beyond_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let caller = |number: usize| {
        let file = folder.path().join(number.to_string()).display().to_string();
        let jwks = format!("jwks: {{url: 'https://i.example/', ca_file: '{file}'}}");
        format!("{{name: c{number}, jwt: {{{REST}, {jwks}}}, access: [read]}}")
    };
    let callers = (1..=10).map(caller).collect::<Vec<_>>().join(", ");
    let found = problems(
        &format!("tenants: {{t: {{stores: {{s: {{bucket: abc, {ANONYMOUS}}}}}, callers: [{callers}]}}}}"),
        &[],
    );
    let unreadable = found.iter().filter(|line| line.contains("ca_file: cannot read")).count();
    assert!(unreadable == 8 && found.len() == 9, "{found:?}");
}
