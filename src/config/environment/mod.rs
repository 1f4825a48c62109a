//! The `LONGSHORE_*` variables: settings of the server itself.

use std::{collections::BTreeMap, io::Read, path::PathBuf, sync::Arc, time::Duration};

use crate::{
    auth::AuthMode,
    server::{ServerSettings, TlsFiles},
    settings::{
        Cursor, Field, FilePath, Flag, LocalPath, Node, NotText, Notes, Optional, Path, Place, Problems,
        Section, TimeLimit, Variables, quoted, settings, suggestion,
    },
    telemetry::LogSettings,
    tenants::TenantSettings,
};

mod jwt;
mod service_links;
mod tenant_limits;

use jwt::JwtVariables;
use service_links::is_service_link;
use tenant_limits::Mapping;
pub(super) use tenant_limits::terms;

const PREFIX: &str = "LONGSHORE_";

const UNSUPPORTED: &str = "is not supported by this version: unset it";

settings! {
    /// The settings of the process.
    pub(super) struct Environment(EnvironmentSection), variables "LONGSHORE_" {
        /// The tenants file, or a folder of tenants files.
        tenants_file: Option<LocalPath> as Optional<FilePath> = None => "required",
        /// How often the tenants files, the secrets in files, and the files for TLS are checked for changes. SIGHUP
        /// reads them at once.
        reload_interval: Option<Duration> as TimeLimit = Some(Duration::from_secs(10)),
        /// Whether the authors of the tenants files may use the server's own identity, variables and files, and make it
        /// run commands. `false` if a tenant's team writes them: see [Untrusted files](#untrusted-files).
        tenants_trusted: bool as Flag = true,
        /// `limits` of every tenant that its file does not set, as a YAML or JSON mapping such as
        /// `{max_in_flight: 200}`. With untrusted tenants files, this is the only place for them.
        tenant_limits: Option<String> as Optional<Mapping> = None => "none",
        /// Certificate chain of the gRPC listener, in PEM, the leaf first. See [TLS](#tls).
        tls_cert: Option<LocalPath> as Optional<FilePath> = None => "none: plaintext",
        /// Private key of the certificate, in PEM.
        tls_key: Option<LocalPath> as Optional<FilePath> = None => "none",
        /// Certificates of the CAs that issue client certificates, in PEM. The server then asks callers for a
        /// certificate, which identifies them by `san`; callers with a token need none.
        tls_client_ca: Option<LocalPath> as Optional<FilePath> = None => "none",
        /// Revocation lists of these CAs, in PEM, or a single one in DER. If it is set, every CA in a caller's chain
        /// needs one.
        tls_client_crl: Option<LocalPath> as Optional<FilePath> = None => "none",
        /// Allows `LONGSHORE_AUTH=none` on an address that is not loopback.
        allow_insecure: bool as Flag = false,
    }
    include {
        /// The server's settings, without tenants.
        server: ServerSettings,
        /// An issuer whose tokens name their tenant.
        jwt: JwtVariables,
        /// Logging.
        log: LogSettings,
    }
}

/// The place of the variable `LONGSHORE_` + `name`.
pub(super) fn place(name: &str) -> Place {
    Place::variable(format!("{PREFIX}{name}"))
}

/// Reads each variable separately, so that every problem is found. An invalid variable gets its default. Records a
/// problem if `needs_file` and no variable names the tenants file.
pub(super) fn read(variables: &Arc<Variables>, needs_file: bool, problems: &mut Problems) -> Environment {
    let notes = Notes::new("", variables);
    let mut section = EnvironmentSection::default();
    // envy turns the names of variables into keys.
    let values: BTreeMap<String, String> =
        envy::prefixed(PREFIX).from_iter(known(&notes)).unwrap_or_else(|error| {
            notes.problem_at(Place::variable(PREFIX), error.to_string());
            BTreeMap::new()
        });
    for (key, value) in &values {
        let node = Node::variable(&format!("{PREFIX}{}", key.to_ascii_uppercase()), value);
        Environment::read_key(&mut section, key, Cursor::new(&node, &Path::Start(""), &notes));
    }
    let mut environment = Environment::resolved(&section);
    environment.server.tls = tls(&section, &notes);
    environment.server.jwt = environment.jwt.clone().settle(&notes);
    check_addresses(&environment, &notes);
    check_auth(&environment, &notes);
    check_admin(&environment, &notes);
    check_audit(&notes);
    if needs_file && variables.text(&format!("{PREFIX}TENANTS_FILE")).is_ok_and(|text| text.is_none()) {
        notes.problem_at(
            place("TENANTS_FILE"),
            "is not set: set it to the path of a tenants file, or of a folder of tenants files",
        );
    }
    problems.append(notes.take(&Place::variable(PREFIX)));
    environment
}

/// The variables that belong to a setting. Records a problem for each other variable that begins with the prefix,
/// except for service links.
fn known(notes: &Notes) -> Vec<(String, String)> {
    let variables = notes.variables();
    let settings = Environment::settings();
    let names: Vec<&str> =
        settings.iter().flat_map(|setting| &setting.variables).map(String::as_str).collect();
    let mut known = Vec::new();
    for name in variables.names(PREFIX) {
        if !names.contains(&name) {
            if !is_service_link(name, variables) {
                notes.problem_at(Place::variable(name), unknown(name, &names));
            }
            continue;
        }
        match variables.text(name) {
            Ok(Some("")) => {
                notes.problem_at(Place::variable(name), "is empty: set a value or unset the variable");
            }
            Ok(Some(text)) => known.push((name.to_owned(), text.to_owned())),
            Ok(None) => {}
            Err(NotText) => notes.problem_at(Place::variable(name), NotText::TEXT),
        }
    }
    known
}

fn unknown(name: &str, names: &[&str]) -> String {
    let key = name[PREFIX.len()..].to_ascii_lowercase();
    let rejected = Environment::rejected().iter().any(|(rejected, _)| *rejected == key);
    if rejected {
        return UNSUPPORTED.to_owned();
    }
    format!("unknown variable; {}", suggestion(name, names, &[]))
}

fn check_addresses(environment: &Environment, notes: &Notes) {
    let ServerSettings { listen_addr, health_addr, .. } = environment.server;
    if listen_addr == health_addr && listen_addr.port() != 0 {
        notes.problem_at(
            place("HEALTH_ADDR"),
            "is the same address as LONGSHORE_LISTEN_ADDR: use another port",
        );
    }
}

fn check_admin(environment: &Environment, notes: &Notes) {
    let ServerSettings { listen_addr, health_addr, admin, .. } = &environment.server;
    // A variable that cannot be used has its own problem.
    let is_set = |name| !matches!(notes.variables().text(&format!("{PREFIX}{name}")), Ok(None));
    if is_set("ADMIN_SANS") && !is_set("TLS_CLIENT_CA") {
        notes.problem_at(
            place("ADMIN_SANS"),
            "needs LONGSHORE_TLS_CLIENT_CA, with which operators' certificates are verified",
        );
    }
    let Some(addr) = admin.addr else { return };
    for (other, name) in [(listen_addr, "LISTEN_ADDR"), (health_addr, "HEALTH_ADDR")] {
        if addr == *other && addr.port() != 0 {
            notes.problem_at(
                place("ADMIN_ADDR"),
                format!("is the same address as {PREFIX}{name}: use another port"),
            );
        }
    }
    let is_open = !is_set("ADMIN_TOKEN") && !is_set("ADMIN_SANS");
    if is_open && !addr.ip().to_canonical().is_loopback() {
        notes.problem_at(
            place("ADMIN_TOKEN"),
            format!(
                "is not set, but every client that can connect to {addr} could reload tenants and read settings: set \
                 it to a token, as printed by `longshore token`, set LONGSHORE_ADMIN_SANS to the names in operators' \
                 certificates, or set LONGSHORE_ADMIN_ADDR to a loopback address"
            ),
        );
    }
}

/// A setting of the audit log has no effect without the log.
fn check_audit(notes: &Notes) {
    let is_set = |name| !matches!(notes.variables().text(&format!("{PREFIX}{name}")), Ok(None));
    for name in ["AUDIT_WAIT", "AUDIT_BUFFER"] {
        if is_set(name) && !is_set("AUDIT_LOG") {
            notes.problem_at(place(name), "has no effect: set LONGSHORE_AUDIT_LOG, or remove it");
        }
    }
}

fn check_auth(environment: &Environment, notes: &Notes) {
    let ServerSettings { auth, listen_addr, .. } = environment.server;
    let open = !listen_addr.ip().to_canonical().is_loopback() && !environment.allow_insecure;
    if auth == AuthMode::None && open {
        notes.problem_at(
            place("AUTH"),
            format!(
                "`none` lets every client that can connect to {listen_addr} access all tenants: set \
                 LONGSHORE_AUTH=required, listen on a loopback address, or set LONGSHORE_ALLOW_INSECURE=true"
            ),
        );
    }
}

/// Adds a warning if callers are identified by names in client certificates, for which callers are not asked.
pub(super) fn warn_of_unused_names(
    variables: &Variables,
    tenants: &[Arc<TenantSettings>],
    warnings: &mut Problems,
) {
    if !matches!(variables.text(&format!("{PREFIX}TLS_CLIENT_CA")), Ok(None)) {
        return;
    }
    let mut named = tenants.iter().filter_map(|tenant| {
        let caller = tenant.callers.iter().find(|caller| !caller.identities.names.is_empty())?;
        Some((&tenant.name, &caller.name))
    });
    if let Some((tenant, caller)) = named.next() {
        let text = format!(
            "is not set, so no caller is identified by its client certificate, although tenants have callers with `san`, \
             such as {} in the tenant {}",
            quoted(caller),
            quoted(tenant)
        );
        warnings.add(place("TLS_CLIENT_CA"), text);
    }
}

fn tls(section: &EnvironmentSection, notes: &Notes) -> Option<TlsFiles> {
    let before = notes.problem_count();
    let [cert, key, client_ca, client_crl] = [
        (&section.tls_cert, "TLS_CERT"),
        (&section.tls_key, "TLS_KEY"),
        (&section.tls_client_ca, "TLS_CLIENT_CA"),
        (&section.tls_client_crl, "TLS_CLIENT_CRL"),
    ]
    .map(|(file, name)| tls_file(file, name, notes));
    let is_given = |name| notes.variables().text(&format!("{PREFIX}{name}")).is_ok_and(|text| text.is_some());
    for (name, needed_by, advice) in [
        ("TLS_CERT", "TLS_KEY", "set both LONGSHORE_TLS_CERT and LONGSHORE_TLS_KEY, or neither"),
        ("TLS_KEY", "TLS_CERT", "set both LONGSHORE_TLS_CERT and LONGSHORE_TLS_KEY, or neither"),
        (
            "TLS_CERT",
            "TLS_CLIENT_CA",
            "LONGSHORE_TLS_CLIENT_CA requires TLS, so set it and LONGSHORE_TLS_KEY",
        ),
        ("TLS_CLIENT_CA", "TLS_CLIENT_CRL", "LONGSHORE_TLS_CLIENT_CRL requires it"),
    ] {
        if is_given(needed_by) && !is_given(name) {
            notes.problem_at(place(name), format!("is not set: {advice}"));
        }
    }
    let files = TlsFiles { cert: cert?, key: key?, client_ca, client_crl };
    if !notes.variables().skip_secrets() && notes.problem_count() == before {
        for (file, problem) in files.problems() {
            notes.problem_at(place(&format!("TLS_{}", file.to_ascii_uppercase())), problem);
        }
    }
    Some(files)
}

/// The path of a TLS file. Records a problem if the file cannot be read.
fn tls_file(file: &Field<Optional<FilePath>>, name: &str, notes: &Notes) -> Option<PathBuf> {
    let path: Option<LocalPath> = file.get().cloned();
    if let Some(path) = &path
        && !notes.variables().skip_secrets()
        && let Err(error) = path.open().and_then(|mut file| file.read(&mut [0]))
    {
        notes.problem_at(place(name), format!("cannot read {}: {error}", path.path().display()));
    }
    path.and_then(LocalPath::unconfined)
}
