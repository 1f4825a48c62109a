//! What identifies callers: tokens, and names in client certificates; and the files for TLS.

use std::{fs, path::Path};

use crate::auth::SubjectAltName;

use super::*;

fn tenant(callers: &str) -> String {
    format!("{{stores: {{s: {{bucket: abc, {ANONYMOUS}}}}}, callers: [{callers}]}}")
}

fn digest(digits: &str) -> String {
    digits.repeat(32)
}

/// The identities of the only caller of the only tenant.
fn identities(text: &str) -> crate::auth::Identities {
    let file = format!("tenants: {{t: {}}}", tenant(&format!("{{name: a, access: [read], {text}}}")));
    load_text(&file, &[]).unwrap().settings.server.tenants[0].callers[0].identities.clone()
}

/// The problems of a caller with these keys.
fn refused(text: &str) -> Vec<String> {
    let found = problems(
        &format!("tenants: {{t: {}}}", tenant(&format!("{{name: a, access: [read], {text}}}"))),
        &[],
    );
    found.into_iter().map(|line| line.replace("FILE:1: tenants.t.callers[0]", "C")).collect()
}

#[test]
fn a_caller_may_have_several_tokens_and_names() {
    let found = identities(&format!(
        "token_sha256: '{}', tokens: [{{sha256: '{}', not_after: 2087-01-31T00:00:00Z}}, {{sha256: '{}'}}], \
         san: [billing.internal, 'spiffe://td/ns/b/sa/c']",
        digest("aa"),
        digest("bb"),
        digest("cc")
    ));
    let tokens: Vec<_> =
        found.tokens.iter().map(|token| (token.sha256[0], token.not_after.is_some())).collect();
    assert_eq!(tokens, [(0xaa, false), (0xbb, true), (0xcc, false)]);
    let names =
        [SubjectAltName::Dns("billing.internal".into()), SubjectAltName::Uri("spiffe://td/ns/b/sa/c".into())];
    assert_eq!(found.names, names);
    assert!(!found.must_name_tenant);
    assert_eq!(identities("san: billing.internal").names, names[..1]);
}

#[test]
fn invalid_tokens_and_names_are_refused() {
    assert_eq!(refused("tokens: []"), ["C.tokens: is empty: list at least one token, or remove the key"]);
    assert_eq!(refused("san: []"), ["C.san: is empty: list at least one name, or remove the key"]);
    assert_eq!(
        refused("tokens: [{not_after: 2087-01-31}, {sha256: nonsense, not_before: x}]"),
        [
            "C.tokens[0].not_after: expected a time such as 2030-01-02T03:04:05Z, found `2087-01-31`",
            "C.tokens[1].sha256: expected 64 hexadecimal digits in quotes, as printed by `longshore token`",
            "C.tokens[1].not_before: unknown key; expected one of: sha256, not_after",
            "C.tokens[0]: has no `sha256`: set it to 64 hexadecimal digits in quotes, as printed by `longshore token`",
        ]
    );
    let expected = "expected a DNS name such as billing.internal, or a URI such as spiffe://example.org/ns/billing/sa/default";
    for (name, why) in [
        ("'*.internal'", "`*.internal` has a wildcard, and names are compared exactly"),
        ("'spiffe://td/*'", "`spiffe://td/*` has a wildcard, and names are compared exactly"),
        ("10.0.0.1", "`10.0.0.1` is an IP address, by which callers are not identified"),
        ("'::1'", "`::1` is an IP address, by which callers are not identified"),
        ("me@example.org", "`me@example.org` is not a DNS name"),
        ("billing.internal.", "`billing.internal.` is not a DNS name"),
        ("'CN=billing'", "`CN=billing` is not a DNS name"),
        ("-a", "`-a` is not a DNS name"),
        ("'spiffe://'", "`spiffe://` is not a URI"),
        ("'spiffe://td/a b'", "`spiffe://td/a b` is not a URI"),
        ("'://td/a'", "`://td/a` is not a URI"),
    ] {
        assert_eq!(refused(&format!("san: {name}")), [format!("C.san: {why}: {expected}")]);
    }
    assert_eq!(refused("san: 5").len(), 1);
}

#[test]
fn the_names_of_callers_are_short_and_never_an_asterisk() {
    let named = |name: &str| {
        let caller = format!("{{name: {name}, access: [read], san: x.internal}}");
        let found = problems(&format!("tenants: {{t: {}}}", tenant(&caller)), &[]);
        let place = "FILE:1: tenants.t.callers[0].name: ";
        found.into_iter().map(|line| line.replace(place, "")).collect::<Vec<_>>()
    };
    assert_eq!(named(&"a".repeat(64)), [""; 0]);
    assert_eq!(named("\"Zahlstelle Ä *\""), [""; 0]);
    assert_eq!(named("'*'"), ["`*` stands for all other callers in the usage: choose another name"]);
    assert_eq!(named("\"a\\nb\""), ["contains a control character: remove it"]);
    assert!(named(&"é".repeat(33))[0].ends_with(" has 66 bytes: shorten it to at most 64"));
    assert!(named("7")[0].ends_with("found a number: put the value in quotes"));
}

#[test]
fn callers_of_a_tenant_cannot_share_a_token_or_a_name() {
    let caller = |name: &str, text: &str| format!("{{name: {name}, access: [read], {text}}}");
    let tokens = format!("tokens: [{{sha256: '{0}'}}, {{sha256: '{0}'}}]", digest("aa"));
    let all = [
        caller("a", &tokens),
        caller("b", &format!("token_sha256: '{}', san: x.internal", digest("aa"))),
        caller("c", "san: [y.internal, x.internal]"),
    ];
    assert_eq!(
        problems(&format!("tenants: {{t: {}}}", tenant(&all.join(", "))), &[]),
        [
            "FILE:1: tenants.t.callers[0]: has the same token twice: remove one of the two",
            "FILE:1: tenants.t.callers[1]: has the same token as the caller `a`: give each caller its own token",
            "FILE:1: tenants.t.callers[2]: has the `san` `x.internal`, which the caller `b` has too: give each caller its own name",
        ]
    );
    let named_alike = [caller("a", "san: x.internal"), caller("a", "san: y.internal")].join(", ");
    assert_eq!(
        problems(&format!("tenants: {{t: {}}}", tenant(&named_alike)), &[]),
        [
            "FILE:1: tenants.t.callers[1]: has the same name as another caller of the tenant, `a`: give each caller its own name (one caller can have several `tokens`, a list as `san`, and `jwt`)"
        ]
    );
    let shared = tenant(&caller("a", "san: x.internal"));
    let loaded = load_text(&format!("tenants: {{t: {shared}, u: {shared}}}"), &[]).unwrap();
    assert_eq!(loaded.settings.server.tenants.len(), 2, "callers of different tenants may");
}

#[test]
fn expired_tokens_and_names_that_have_no_effect_cause_warnings() {
    let callers = format!(
        "{{name: a, access: [read], tokens: [{{sha256: '{}', not_after: 2020-01-31T00:00:00Z}}]}}, \
         {{name: b, access: [read], san: b.internal}}",
        digest("aa")
    );
    let loaded = load_text(&format!("tenants: {{t: {}}}", tenant(&callers)), &[]).unwrap();
    let warnings: Vec<_> =
        loaded.warnings.iter().map(|warning| (warning.place().path(), warning.text())).collect();
    assert_eq!(
        warnings,
        [
            (
                "tenants.t.callers[0].tokens[0]",
                "the token expired at 2020-01-31T00:00:00Z, so calls with it fail: remove it once the caller uses another one"
            ),
            (
                "",
                "is not set, so no caller is identified by its client certificate, although tenants have callers with `san`, such as `b` in the tenant `t`"
            ),
        ]
    );
}

#[test]
fn an_untrusted_file_may_list_names_but_its_callers_have_to_name_their_tenant() {
    let text = format!("tenants: {{t: {}}}", tenant("{name: a, access: [read], san: a.internal}"));
    let loaded = load_text(&text, &[("LONGSHORE_TENANTS_TRUSTED", "false")]).unwrap();
    assert!(loaded.settings.server.tenants[0].callers[0].identities.must_name_tenant);
}

/// The problems of these variables, which name files in `folder`.
fn tls_problems(folder: &Path, variables: &[(&str, &str)]) -> Vec<String> {
    let path = |file: &str| folder.join(file).display().to_string();
    let variables: Vec<_> =
        variables.iter().map(|(name, file)| (format!("LONGSHORE_TLS_{name}"), path(file))).collect();
    let variables: Vec<_> = variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let found = problems(&format!("tenants: {{t: {}}}", tenant("")), &variables);
    found.into_iter().map(|line| line.replace(folder.to_str().unwrap(), "DIR")).collect()
}

#[test]
fn tls_files_are_checked_together() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let pairs = [(); 2].map(|()| rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap());
    for (number, pair) in pairs.iter().enumerate() {
        write(&format!("{number}.crt"), &pair.cert.pem());
        write(&format!("{number}.key"), &pair.signing_key.serialize_pem());
    }
    write("empty", "");
    let check = |variables: &[(&str, &str)]| tls_problems(folder.path(), variables);
    let pair = [("CERT", "0.crt"), ("KEY", "0.key")];
    assert_eq!(check(&pair), [""; 0]);
    assert_eq!(check(&[&pair[..], &[("CLIENT_CA", "1.crt")]].concat()), [""; 0]);
    let found =
        check(&[("CERT", "0.crt"), ("KEY", "1.key"), ("CLIENT_CA", "empty"), ("CLIENT_CRL", "1.crt")]);
    let expected = [
        "LONGSHORE_TLS_CERT: cannot serve TLS with the certificate DIR/0.crt and the key DIR/1.key: ",
        "LONGSHORE_TLS_CLIENT_CA: cannot verify client certificates with DIR/empty: the file contains no certificate",
        "LONGSHORE_TLS_CLIENT_CRL: cannot verify client certificates with DIR/1.crt: the file contains no revocation",
    ];
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (found, start) in found.iter().zip(expected) {
        assert!(found.starts_with(start), "{found}");
    }
    assert_eq!(
        check(&[("CLIENT_CA", "1.crt"), ("CLIENT_CRL", "missing")]),
        [
            "LONGSHORE_TLS_CERT: is not set: LONGSHORE_TLS_CLIENT_CA requires TLS, so set it and LONGSHORE_TLS_KEY",
            "LONGSHORE_TLS_CLIENT_CRL: cannot read DIR/missing: No such file or directory (os error 2)",
        ]
    );
    assert_eq!(
        check(&[&pair[..], &[("CLIENT_CRL", "0.crt")]].concat()),
        ["LONGSHORE_TLS_CLIENT_CA: is not set: LONGSHORE_TLS_CLIENT_CRL requires it"]
    );
}
