//! `LONGSHORE_TENANTS_TRUSTED=false`: what a tenants file must not use if its author is not trusted.

use std::{fs, os::unix::fs::symlink};

use crate::{
    config::{
        store::{Config, Provider, ProviderKind, Store},
        tenant::{Caller, Tenant},
    },
    credentials::ProviderSettings,
    settings::{Keywords, Section, Setting},
    tenants::Limits,
    transport::{Backoff, CircuitBreaker, ClientOptions, RetryPolicy},
};

use super::*;

const REASON: &str = "which LONGSHORE_TENANTS_TRUSTED=false does not allow";
const ROLE: &str = "arn:aws:iam::123456789012:role/r";

/// The identity and the variables that the server has, and that an untrusted file must not get.
const SERVER: &[(&str, &str)] = &[
    ("LONGSHORE_TENANTS_TRUSTED", "false"),
    ("AWS_ACCESS_KEY_ID", "SERVERID"),
    ("AWS_SECRET_ACCESS_KEY", "server-secret"),
    ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/server"),
    ("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/server-token"),
    ("AWS_ROLE_SESSION_NAME", "server-session"),
    ("AWS_ENDPOINT_URL_STS", "https://sts.server.example"),
    ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/v1/credentials"),
    ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/var/run/server-pod-token"),
    ("AWS_PROFILE", "server"),
];

/// A tenants file, or a folder of them, whose authors are not trusted.
struct Untrusted(tempfile::TempDir);

impl Untrusted {
    /// The folder of `tenants.yaml`, with the file `key`.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("tenants")).unwrap();
        fs::write(folder.path().join("tenants/key"), "from-own-file").unwrap();
        Self(folder)
    }

    fn path(&self, below: &str) -> String {
        self.0.path().join(below).display().to_string()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).unwrap();
    }

    /// Loads the file `name`, or the folder if it is empty. In problems, DIR stands for the folder.
    fn load(&self, name: &str) -> Result<Loaded, String> {
        let mut variables = pairs(SERVER);
        variables.push(("LONGSHORE_TENANTS_FILE".into(), self.0.path().join(name).into()));
        load(variables).map_err(|invalid| self.named(&invalid.problems))
    }

    fn named(&self, problems: &Problems) -> String {
        problems.to_string().replace(self.0.path().to_str().unwrap(), "DIR")
    }

    /// The provider of the store `s` of the tenant `t`, whose keys besides the bucket are `text`.
    fn provider(&self, text: &str) -> Result<ProviderSettings, Vec<String>> {
        self.write("tenants.yaml", &format!("tenants: {{t: {{stores: {{s: {{bucket: abc, {text}}}}}}}}}"));
        let loaded = self.load("tenants.yaml").map_err(|text| {
            let line =
                |line: &str| line.replace("DIR/tenants.yaml:1: ", "").replace("tenants.t.stores.s", "S");
            text.lines().map(line).collect::<Vec<_>>()
        })?;
        assert!(loaded.problems_of_rejected.is_empty());
        Ok(loaded.settings.server.tenants[0].stores["s"].credential_provider.clone())
    }

    /// Asserts that there is a problem at `place`, and that every problem has this reason.
    fn refuses(&self, text: &str, place: &str) {
        let found = self.provider(text).expect_err(text);
        assert!(found.iter().any(|line| line.starts_with(&format!("{place}: "))), "{text}: {found:?}");
        assert!(found.iter().all(|line| line.contains(REASON)), "{text}: {found:?}");
        assert!(!found.join("\n").contains("server-"), "{found:?}");
    }
}

/// For each type: the settings that an untrusted file may use, if there are any, and those that it must not use, with the
/// key that the problem names. A new type does not compile without its row.
fn cases(kind: ProviderKind, own: &str) -> (Option<String>, Vec<(String, &'static str)>) {
    let outside = "/etc/hostname";
    let here = "http://127.0.0.1:80";
    let of_server = |text: &str| vec![(text.to_owned(), "type")];
    match kind {
        ProviderKind::Static => (
            Some(format!("access_key_id: a, secret_access_key: {{file: {own}}}")),
            vec![
                (
                    format!("access_key_id: a, secret_access_key: {{file: {outside}}}"),
                    "secret_access_key.file",
                ),
                ("access_key_id: {env: AWS_PROFILE}, secret_access_key: a".to_owned(), "access_key_id.env"),
            ],
        ),
        ProviderKind::Anonymous => (Some("type: anonymous".to_owned()), Vec::new()),
        ProviderKind::Env => (None, of_server("type: env")),
        ProviderKind::File => (Some(format!("path: {own}")), vec![(format!("path: {outside}"), "path")]),
        ProviderKind::Process => (
            None,
            vec![("command: get-keys".to_owned(), "type"), ("command: [get, keys]".to_owned(), "command")],
        ),
        ProviderKind::Container => (
            Some(format!("endpoint: 'https://keys.example/t', token_file: {own}")),
            vec![
                ("type: container".to_owned(), ""),
                (format!("token_file: {own}"), ""),
                (format!("endpoint: 'https://keys.example/t', token_file: {outside}"), "token_file"),
                ("endpoint: 'http://169.254.170.23/v1/credentials'".to_owned(), "endpoint"),
                (format!("endpoint: '{here}/'"), "endpoint"),
            ],
        ),
        ProviderKind::Grpc => (
            Some(format!(
                "endpoint: 'https://keys.example:443', ca_file: {own}, token_file: {own}, cert_file: {own}, key_file: {own}"
            )),
            vec![
                (format!("endpoint: '{here}'"), "endpoint"),
                ("endpoint: 'https://169.254.169.254:443'".to_owned(), "endpoint"),
                (format!("endpoint: 'https://keys.example:443', ca_file: {outside}"), "ca_file"),
                (format!("endpoint: 'https://keys.example:443', token_file: {outside}"), "token_file"),
                (
                    format!("endpoint: 'https://keys.example:443', cert_file: {outside}, key_file: {own}"),
                    "cert_file",
                ),
                (
                    format!("endpoint: 'https://keys.example:443', cert_file: {own}, key_file: {outside}"),
                    "key_file",
                ),
            ],
        ),
        ProviderKind::Imds => {
            (None, vec![("type: imds".to_owned(), "type"), (format!("endpoint: '{here}'"), "endpoint")])
        }
        ProviderKind::WebIdentity => (
            Some(format!("role_arn: '{ROLE}', token_file: {own}")),
            vec![
                ("type: web_identity".to_owned(), ""),
                (format!("role_arn: '{ROLE}'"), ""),
                (format!("token_file: {own}"), ""),
                (format!("role_arn: '{ROLE}', token_file: {outside}"), "token_file"),
                (format!("role_arn: '{ROLE}', token_file: {own}, endpoint: '{here}'"), "endpoint"),
            ],
        ),
        ProviderKind::AssumeRole => (
            Some(format!("role_arn: '{ROLE}', source: {{type: file, path: {own}}}")),
            vec![
                (format!("role_arn: '{ROLE}', source: {{type: env}}"), "source.type"),
                (format!("role_arn: '{ROLE}', source: {{type: file, path: {outside}}}"), "source.path"),
                (
                    format!(
                        "role_arn: '{ROLE}', endpoint: 'https://[::1]', source: {{type: file, path: {own}}}"
                    ),
                    "endpoint",
                ),
            ],
        ),
        ProviderKind::Profile => (
            None,
            vec![
                ("type: profile".to_owned(), "type"),
                (format!("config_file: {own}, shared_credentials_file: {own}"), "type"),
                (format!("config_file: {outside}"), "config_file"),
                (format!("shared_credentials_file: {outside}"), "shared_credentials_file"),
            ],
        ),
        ProviderKind::Default => (None, of_server("type: default")),
        ProviderKind::Chain => (
            Some(format!("sources: [{{type: file, path: {own}}}]")),
            vec![
                (format!("sources: [{{type: file, path: {own}}}, {{type: imds}}]"), "sources[1].type"),
                (
                    format!(
                        "sources: [{{type: assume_role, role_arn: '{ROLE}', source: {{type: container}}}}]"
                    ),
                    "sources[0].source",
                ),
            ],
        ),
    }
}

#[test]
fn no_type_of_provider_gets_the_identity_or_the_files_of_the_server() {
    let untrusted = Untrusted::new();
    for (name, kind) in ProviderKind::KEYWORDS {
        let (allowed, refused) = cases(*kind, &untrusted.path("tenants/key"));
        let typed = |text: &str| match text.strip_prefix("type: ") {
            Some(_) => format!("credential_provider: {{{text}}}"),
            None => format!("credential_provider: {{type: {name}, {text}}}"),
        };
        if let Some(text) = allowed {
            let found = untrusted.provider(&typed(&text)).unwrap_or_else(|found| panic!("{text}: {found:?}"));
            assert_eq!(found.kind(), *name);
            assert!(!found.uses_server() && !format!("{found:?}").contains("server"), "{found:?}");
        }
        for (text, key) in refused {
            let place = format!("S.credential_provider.{key}");
            untrusted.refuses(&typed(&text), place.trim_end_matches('.'));
        }
    }
}

/// Each section that a tenants file can have, with the keys around it.
fn sections() -> Vec<(&'static str, Vec<Setting>)> {
    vec![
        ("credential_provider", Provider::settings()),
        ("config", Config::settings()),
        ("client_options", ClientOptions::settings()),
        ("retry_config", RetryPolicy::settings()),
        ("retry_config.backoff", Backoff::settings()),
        ("retry_config.circuit_breaker", CircuitBreaker::settings()),
        ("", Store::settings()),
    ]
}

#[test]
fn no_setting_with_a_path_a_secret_or_a_url_reaches_what_is_the_servers() {
    let untrusted = Untrusted::new();
    let mut tried = 0;
    for (section, settings) in sections() {
        for setting in settings {
            let values = match (setting.form)().as_str() {
                "path" => &[("/etc/hostname", "")][..],
                "secret" => &[("{file: /etc/hostname}", ".file"), ("{env: AWS_PROFILE}", ".env")],
                "URL" => &[("'http://169.254.169.254'", ""), ("'http://localhost:9000'", "")],
                _ => continue,
            };
            for (value, key) in values {
                let place = format!("S.{section}.{}{key}: ", setting.name);
                let found =
                    untrusted.provider(&format!("{section}: {{{}: {value}}}", setting.name)).unwrap_err();
                let is_named = |line: &String| line.starts_with(&place) && line.contains(REASON);
                assert!(found.iter().any(is_named), "{place}{value}: {found:?}");
                tried += 1;
            }
        }
    }
    assert!(tried >= 19, "{tried}");
    // Nowhere else is a path, a secret or a URL expected.
    let others = [Tenant::settings(), Caller::settings(), Limits::settings()].concat();
    let forms = others.iter().map(|setting| (setting.form)());
    assert!(forms.into_iter().all(|form| !["path", "secret", "URL"].iter().any(|word| form.contains(word))));
}

#[test]
fn the_servers_variables_are_not_used() {
    let untrusted = Untrusted::new();
    untrusted.refuses("from_env: true", "S.from_env");
    untrusted.refuses("from_env: true, config: {access_key_id: a, secret_access_key: b}", "S.from_env");
    let own = untrusted.path("tenants/key");
    let text = format!("credential_provider: {{type: web_identity, role_arn: '{ROLE}', token_file: {own}}}");
    let ProviderSettings::WebIdentity(found) = untrusted.provider(&text).unwrap() else { panic!() };
    assert_eq!((found.endpoint, found.session_name.as_str()), (None, "longshore"));
}

#[test]
fn a_store_of_an_untrusted_file_refuses_local_addresses_when_it_connects() {
    let untrusted = Untrusted::new();
    untrusted.provider("config: {skip_signature: true, endpoint: 'https://s3.example'}").unwrap();
    let loaded = untrusted.load("tenants.yaml").unwrap();
    assert!(loaded.settings.server.tenants[0].stores["s"].client_options.refuse_local);
    let trusted = store(&format!("bucket: abc, {ANONYMOUS}"), &[]).unwrap();
    assert!(!trusted.client_options.refuse_local);
}

#[test]
fn paths_stay_in_the_folder_of_their_file() {
    let untrusted = Untrusted::new();
    fs::create_dir(untrusted.path("u")).unwrap();
    untrusted.write("u/key", "of-u");
    // The name of a tenant selects no folder.
    fs::create_dir(untrusted.path("t")).unwrap();
    untrusted.write("t/key", "of-the-server");
    symlink("../u/key", untrusted.path("tenants/link")).unwrap();
    symlink("key", untrusted.path("tenants/other-name")).unwrap();
    let secret = |path: &str| {
        let path = untrusted.path(path);
        untrusted.provider(&format!("config: {{access_key_id: a, secret_access_key: {{file: '{path}'}}}}"))
    };
    for path in ["tenants/key", "tenants/other-name"] {
        let ProviderSettings::Static(found) = secret(path).unwrap() else { panic!() };
        assert_eq!(found.secret_access_key(), "from-own-file");
    }
    let place = "S.config.secret_access_key.file";
    let outside =
        format!("is not in DIR/tenants, the file's own folder, {REASON}: put the file into DIR/tenants");
    for path in ["u/key", "t/key", "tenants/../u/key", "tenants.yaml", "tenants/../tenants/key"] {
        assert_eq!(secret(path).unwrap_err()[0], format!("{place}: {outside}"), "{path}");
    }
    let leads = "DIR/tenants/link leads out of DIR/tenants, the file's own folder";
    assert_eq!(
        secret("tenants/link").unwrap_err()[0],
        format!("{place}: {leads}, {REASON}: put the file into DIR/tenants")
    );
}

const TENANT: &str = "{stores: {s: {bucket: abc, credential_provider: {type: anonymous}}}}";

#[test]
fn in_a_folder_each_file_defines_its_own_tenant_and_harms_no_other() {
    let untrusted = Untrusted::new();
    let tenant = |name: &str| format!("tenants: {{{name}: {TENANT}}}");
    untrusted.write("t.yaml", &tenant("t"));
    untrusted.write("thief.yaml", &tenant("t"));
    untrusted.write("broken.yaml", "tenants: {");
    untrusted.write("defaults.yaml", &format!("defaults: {{limits: 1}}\n{}", tenant("defaults")));
    untrusted.write("binary.yaml", "x");
    fs::write(untrusted.path("binary.yaml"), b"\xff").unwrap();
    symlink("/etc/hostname", untrusted.path("link.yaml")).unwrap();
    let loaded = untrusted.load("").unwrap();
    let names: Vec<_> = loaded.settings.server.tenants.iter().map(|tenant| tenant.name.as_str()).collect();
    assert_eq!(names, ["t"]);
    assert_eq!(loaded.settings.server.rejected_tenants, ["binary", "broken", "defaults", "link", "thief"]);
    let found = untrusted.named(&loaded.problems_of_rejected);
    let thief = format!(
        "DIR/thief.yaml:1: tenants.t: is in a file named after another tenant, {REASON}: in a folder, the file of \
         tenant NAME is NAME.yaml"
    );
    assert!(found.contains(&thief), "{found}");
    assert!(found.contains("DIR/link.yaml: cannot be read: "), "{found}");
    // If the authors are trusted, a file may define any tenants, and a broken one stops the server.
    let variables = [("LONGSHORE_TENANTS_FILE", untrusted.path(""))];
    let found = load(pairs(&variables.each_ref().map(|(name, value)| (*name, value.as_str())))).unwrap_err();
    assert!(found.to_string().contains("broken.yaml"), "{found}");
}

#[test]
fn a_folder_in_a_kubernetes_volume_works() {
    let volume = tempfile::tempdir().unwrap();
    let data = volume.path().join("..2026_11_30");
    fs::create_dir_all(data.join("t")).unwrap();
    fs::write(data.join("t/secret_access_key"), "s").unwrap();
    fs::write(data.join("t/access_key_id"), "a").unwrap();
    symlink("..2026_11_30", volume.path().join("..data")).unwrap();
    for name in ["t", "t.yaml"] {
        symlink(format!("..data/{name}"), volume.path().join(name)).unwrap();
    }
    let own = volume.path().join("t");
    let provider = format!("{{type: file, path: {}}}", own.display());
    fs::write(
        data.join("t.yaml"),
        format!("tenants: {{t: {{stores: {{s: {{bucket: abc, credential_provider: {provider}}}}}}}}}"),
    )
    .unwrap();
    let mut variables = pairs(SERVER);
    variables.push(("LONGSHORE_TENANTS_FILE".into(), volume.path().into()));
    let loaded = load(variables).unwrap_or_else(|invalid| panic!("{invalid}"));
    assert_eq!(loaded.problems_of_rejected.to_string(), "");
    let found = &loaded.settings.server.tenants[0].stores["s"].credential_provider;
    assert!(matches!(found, ProviderSettings::File(path) if path.is_confined()), "{found:?}");
}
