//! The `LONGSHORE_*` variables: settings of the server itself.

use std::{collections::BTreeMap, fs::File, io::Read, net::SocketAddr, path::PathBuf};

use serde::de::DeserializeOwned;

use crate::{
    auth::AuthMode,
    server::{ConnectionSettings, MemorySettings, ServerSettings, TlsFiles, UploadKeys, UploadSettings},
    telemetry::{self, LogFormat, LogSettings},
};

use super::{
    keywords::{Keyword, Keywords},
    problem::{Place, Problems},
    service_links::is_service_link,
    suggest::suggestion,
    values::{Address, Flag, Limit, Number, Period, Scalar, Size, Text, Timeout, scalars},
    variables::{NotText, Variables},
};

const PREFIX: &str = "LONGSHORE_";

const KNOWN: &[&str] = &[
    "LISTEN_ADDR",
    "HEALTH_ADDR",
    "TENANTS_FILE",
    "TLS_CERT",
    "TLS_KEY",
    "AUTH",
    "ALLOW_INSECURE",
    "REFLECTION",
    "MAX_MESSAGE_BYTES",
    "MAX_CONCURRENT_STREAMS",
    "MAX_CONNECTIONS",
    "MAX_CONNECTION_AGE",
    "MAX_CONNECTION_AGE_GRACE",
    "MAX_CONNECTION_IDLE",
    "KEEPALIVE_INTERVAL",
    "KEEPALIVE_TIMEOUT",
    "HANDSHAKE_TIMEOUT",
    "MESSAGE_TIMEOUT",
    "MEMORY_BUDGET",
    "MEMORY_WAIT",
    "UPLOAD_IDLE_TIMEOUT",
    "UPLOAD_KEY",
    "REPLICAS",
    "SHUTDOWN_DELAY",
    "SHUTDOWN_GRACE",
    "LOG",
    "LOG_FORMAT",
];

/// Variables that are planned but not supported by this version.
const UNSUPPORTED: &[&str] = &["ADMIN_ADDR", "ADMIN_TOKEN", "RELOAD_INTERVAL", "TLS_CLIENT_CA"];
const UNSUPPORTED_PREFIXES: &[&str] = &["JWT_"];

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * 1024 * 1024;

impl Keywords for AuthMode {
    const KEYWORDS: &'static [(&'static str, Self)] = &[("required", Self::Required), ("none", Self::None)];
}

impl Keywords for LogFormat {
    const KEYWORDS: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}

scalars! {
    Keys,
}

/// The keys that seal upload ids.
#[derive(Clone)]
struct Keys(UploadKeys);

impl Scalar for Keys {
    fn expected() -> String {
        "32 random bytes in base64, as printed by `openssl rand -base64 32`".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map(Self)
    }
}

/// The settings from the variables.
pub(super) struct Environment {
    /// The server's settings, without tenants.
    pub(super) server: ServerSettings,
    pub(super) log: LogSettings,
    pub(super) tenants_file: Option<PathBuf>,
}

/// The place of the variable `LONGSHORE_` + `name`.
pub(super) fn place(name: &str) -> Place {
    Place::variable(format!("{PREFIX}{name}"))
}

/// Reads each variable separately, so that every problem is found. An invalid variable gets its default.
pub(super) fn read(variables: &Variables, problems: &mut Problems) -> Environment {
    refuse_unknown(variables, problems);
    let mut reader = VariableReader { variables, problems };
    let allow_insecure = reader.read::<Flag>("ALLOW_INSECURE").is_some_and(|flag| flag.0);
    let default = ServerSettings::default();
    let listen_addr = reader.read("LISTEN_ADDR").map_or(default.listen_addr, |Address(at)| at);
    let health_addr = reader.read("HEALTH_ADDR").map_or(default.health_addr, |Address(at)| at);
    if listen_addr == health_addr && listen_addr.port() != 0 {
        reader
            .problems
            .add(place("HEALTH_ADDR"), "is the same address as LONGSHORE_LISTEN_ADDR: use another port");
    }
    let server = ServerSettings {
        listen_addr,
        health_addr,
        tls: tls(&mut reader),
        auth: auth(&mut reader, listen_addr, allow_insecure),
        reflection: reader.read::<Flag>("REFLECTION").map_or(default.reflection, |flag| flag.0),
        max_message_bytes: reader
            .read("MAX_MESSAGE_BYTES")
            .map_or(default.max_message_bytes, |size: Size<{ 64 * KIB }, GIB>| {
                usize::try_from(size.0).unwrap_or(usize::MAX)
            }),
        message_timeout: reader.read("MESSAGE_TIMEOUT").map_or(default.message_timeout, |Timeout(time)| time),
        connections: connections(&mut reader, &default.connections),
        memory: memory(&mut reader, default.memory),
        uploads: UploadSettings {
            keys: reader.read("UPLOAD_KEY").map(|Keys(keys)| keys),
            replicas: reader
                .read("REPLICAS")
                .map_or(default.uploads.replicas, |number: Number<1, 10_000>| number.0),
        },
        shutdown_delay: reader.read("SHUTDOWN_DELAY").map_or(default.shutdown_delay, |Period(time)| time),
        shutdown_grace: reader.read("SHUTDOWN_GRACE").map_or(default.shutdown_grace, |Period(time)| time),
        tenants: Vec::new(),
        rejected_tenants: Vec::new(),
    };
    let log = LogSettings {
        filter: filter(&mut reader),
        format: reader.read("LOG_FORMAT").map(|Keyword(format)| format),
    };
    let tenants_file = reader.read::<Text>("TENANTS_FILE").map(|path| PathBuf::from(path.0));
    if variables.text(&format!("{PREFIX}TENANTS_FILE")).is_ok_and(|text| text.is_none()) {
        problems.add(
            place("TENANTS_FILE"),
            "is not set: set it to the path of a tenants file, or of a folder of tenants files",
        );
    }
    Environment { server, log, tenants_file }
}

/// Reads single variables and records their problems.
struct VariableReader<'a> {
    variables: &'a Variables,
    problems: &'a mut Problems,
}

impl VariableReader<'_> {
    fn read<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        let variable = format!("{PREFIX}{name}");
        let text = match self.variables.text(&variable) {
            Ok(Some("")) => Err("is empty: set a value or unset the variable".to_owned()),
            Ok(Some(text)) => Ok(text.to_owned()),
            Ok(None) => return None,
            Err(NotText) => Err(NotText::TEXT.to_owned()),
        };
        let read = text.and_then(|text| {
            envy::prefixed(PREFIX)
                .from_iter::<_, BTreeMap<String, T>>([(variable, text)])
                .map_err(|error| error.to_string())
        });
        match read {
            Ok(only) => only.into_values().next(),
            Err(why) => {
                self.problems.add(place(name), why);
                None
            }
        }
    }
}

fn refuse_unknown(variables: &Variables, problems: &mut Problems) {
    for variable in variables.names(PREFIX) {
        let name = &variable[PREFIX.len()..];
        if KNOWN.contains(&name) || is_service_link(variable, variables) {
            continue;
        }
        let later =
            UNSUPPORTED.contains(&name) || UNSUPPORTED_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        let why = if later {
            "is not supported by this version: unset it".to_owned()
        } else {
            let known: Vec<_> = KNOWN.iter().map(|name| format!("{PREFIX}{name}")).collect();
            format!("unknown variable; {}", suggestion(variable, known.iter().map(String::as_str)))
        };
        problems.add(Place::variable(variable), why);
    }
}

fn connections(reader: &mut VariableReader<'_>, default: &ConnectionSettings) -> ConnectionSettings {
    ConnectionSettings {
        max_connections: reader.read("MAX_CONNECTIONS").map(|number: Number<1, 1_000_000>| number.0),
        max_concurrent_streams: reader
            .read("MAX_CONCURRENT_STREAMS")
            .map_or(default.max_concurrent_streams, |number: Number<1, 1_000_000>| number.0),
        max_age: reader.read("MAX_CONNECTION_AGE").map_or(default.max_age, |Limit(time)| time),
        max_age_grace: reader
            .read("MAX_CONNECTION_AGE_GRACE")
            .map_or(default.max_age_grace, |Limit(time)| time),
        max_idle: reader.read("MAX_CONNECTION_IDLE").map_or(default.max_idle, |Limit(time)| time),
        keepalive_interval: reader
            .read("KEEPALIVE_INTERVAL")
            .map_or(default.keepalive_interval, |Timeout(time)| time),
        keepalive_timeout: reader
            .read("KEEPALIVE_TIMEOUT")
            .map_or(default.keepalive_timeout, |Timeout(time)| time),
        handshake_timeout: reader
            .read("HANDSHAKE_TIMEOUT")
            .map_or(default.handshake_timeout, |Timeout(time)| time),
    }
}

fn memory(reader: &mut VariableReader<'_>, default: MemorySettings) -> MemorySettings {
    MemorySettings {
        budget: reader
            .read("MEMORY_BUDGET")
            .map_or(default.budget, |size: Size<{ 16 * MIB }, { 1024 * GIB }>| size.0),
        wait: reader.read("MEMORY_WAIT").map_or(default.wait, |Timeout(time)| time),
        idle_timeout: reader.read("UPLOAD_IDLE_TIMEOUT").map_or(default.idle_timeout, |Timeout(time)| time),
    }
}

fn tls(reader: &mut VariableReader<'_>) -> Option<TlsFiles> {
    let [cert, key] = ["TLS_CERT", "TLS_KEY"].map(|name| {
        let given = reader.variables.text(&format!("{PREFIX}{name}")).is_ok_and(|text| text.is_some());
        let path = reader.read::<Text>(name).map(|path| PathBuf::from(path.0));
        if let Some(path) = &path
            && let Err(error) = File::open(path).and_then(|mut file| file.read(&mut [0]))
        {
            reader.problems.add(place(name), format!("cannot read {}: {error}", path.display()));
        }
        (given, path)
    });
    for (given, other, name) in [(cert.0, key.0, "TLS_CERT"), (key.0, cert.0, "TLS_KEY")] {
        if !given && other {
            reader.problems.add(
                place(name),
                "is not set: set both LONGSHORE_TLS_CERT and LONGSHORE_TLS_KEY, or neither",
            );
        }
    }
    Some(TlsFiles { cert: cert.1?, key: key.1? })
}

fn auth(reader: &mut VariableReader<'_>, listen_addr: SocketAddr, allow_insecure: bool) -> AuthMode {
    let auth = reader.read("AUTH").map_or(AuthMode::Required, |Keyword(mode)| mode);
    if auth == AuthMode::None && !listen_addr.ip().to_canonical().is_loopback() && !allow_insecure {
        reader.problems.add(
            place("AUTH"),
            format!(
                "`none` lets every client that can connect to {listen_addr} access all tenants: set \
                 LONGSHORE_AUTH=required, listen on a loopback address, or set LONGSHORE_ALLOW_INSECURE=true"
            ),
        );
    }
    auth
}

fn filter(reader: &mut VariableReader<'_>) -> String {
    let filter = reader.read("LOG").map_or_else(|| "info".to_owned(), |Text(filter)| filter);
    if let Err(error) = telemetry::check_filter(&filter) {
        reader.problems.add(place("LOG"), error.to_string());
    }
    filter
}
