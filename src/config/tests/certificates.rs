//! CA certificates: `root_certificates`, `ca_bundle` and `AWS_CA_BUNDLE`.

use std::{fs, path::PathBuf};

use crate::transport::ClientOptions;

use super::*;

/// Two files with a certificate each, and one without any.
struct Files {
    _folder: tempfile::TempDir,
    first: PathBuf,
    second: PathBuf,
    empty: PathBuf,
}

fn certificate(name: &str) -> String {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
}

fn files() -> Files {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let (first, second) = (write("first.pem", &certificate("a")), write("second.pem", &certificate("b")));
    let empty = write("empty.pem", "no certificate");
    Files { _folder: folder, first, second, empty }
}

/// The options of a store with these settings.
fn options(text: &str, variables: &[(&str, &str)]) -> Result<ClientOptions, Vec<String>> {
    let keys = "credential_provider: {type: anonymous}";
    store(&format!("bucket: abc, {keys}, {text}"), variables).map(|store| store.client_options)
}

/// Which file's certificates are trusted, and whether those of the system are too.
fn trusted(options: &ClientOptions) -> (Option<PathBuf>, bool) {
    let path = options.root_certificates.as_ref().map(|found| found.path().to_owned());
    (path, !options.disable_system_certificates)
}

#[test]
fn certificates_are_added_to_those_of_the_system_or_replace_them() {
    let files = files();
    let [first, second] = [&files.first, &files.second].map(|path| path.display().to_string());
    let env = [("AWS_CA_BUNDLE", second.as_str())];
    for (text, variables, expected) in [
        (String::new(), &[][..], (None, true)),
        (format!("client_options: {{root_certificates: {first}}}"), &[], (Some(&files.first), true)),
        (
            format!("client_options: {{root_certificates: {first}, disable_system_certificates: true}}"),
            &[],
            (Some(&files.first), false),
        ),
        (format!("config: {{ca_bundle: {first}}}"), &[], (Some(&files.first), false)),
        ("from_env: true".to_owned(), &env, (Some(&files.second), false)),
        (String::new(), &env, (None, true)),
        (format!("from_env: true, config: {{ca_bundle: {first}}}"), &env, (Some(&files.first), false)),
        (
            format!("from_env: true, client_options: {{root_certificates: {first}}}"),
            &env,
            (Some(&files.first), true),
        ),
    ] {
        let found = options(&text, variables).unwrap();
        assert_eq!(trusted(&found), (expected.0.cloned(), expected.1), "{text}");
    }
}

#[test]
fn a_file_without_certificates_and_contradictions_are_problems() {
    let files = files();
    let [first, empty] = [&files.first, &files.empty].map(|path| path.display().to_string());
    for (text, expected) in [
        (
            "client_options: {root_certificates: /nowhere}".to_owned(),
            "client_options.root_certificates: cannot read /nowhere: No such file or directory (os error 2)".to_owned(),
        ),
        (
            format!("client_options: {{root_certificates: {empty}}}"),
            format!("client_options.root_certificates: {empty} contains no certificate: expected certificates in PEM"),
        ),
        (
            "client_options: {disable_system_certificates: true}".to_owned(),
            "client_options.disable_system_certificates: leaves no certificates to trust: set `root_certificates` too"
                .to_owned(),
        ),
        (
            format!("config: {{ca_bundle: {first}}}, client_options: {{root_certificates: {first}}}"),
            "config.ca_bundle: conflicts with `root_certificates` in `client_options`: remove one of the two".to_owned(),
        ),
    ] {
        assert_eq!(options(&text, &[]).unwrap_err(), [format!("S.{expected}")], "{text}");
    }
}

#[test]
fn a_changed_file_changes_the_settings() {
    let files = files();
    let text = format!("client_options: {{root_certificates: {}}}", files.first.display());
    let before = options(&text, &[]).unwrap();
    fs::copy(&files.second, &files.first).unwrap();
    assert_ne!(options(&text, &[]).unwrap(), before);
}
