//! `LONGSHORE_*`: what the server itself is told.

use std::{collections::BTreeMap, fs::File, io::Read, net::SocketAddr, path::PathBuf};

use serde::de::DeserializeOwned;

use crate::{
    auth::AuthMode,
    server::{ConnectionSettings, MemorySettings, ServerSettings, TlsFiles, UploadKeys, UploadSettings},
    telemetry::{self, LogFormat, LogSettings},
};

use super::{
    nearest::suggestion,
    problem::{Place, Problems},
    service_links::is_service_link,
    values::{Address, Flag, Limit, Number, Period, Scalar, Size, Text, Timeout, scalars},
    variables::{NotText, Variables},
    words::{Word, Words},
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

/// Known to the settings' design, not to this version.
const LATER: &[&str] = &["ADMIN_ADDR", "ADMIN_TOKEN", "RELOAD_INTERVAL", "TLS_CLIENT_CA"];
const LATER_PREFIXES: &[&str] = &["JWT_"];

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * 1024 * 1024;

impl Words for AuthMode {
    const WORDS: &'static [(&'static str, Self)] = &[("required", Self::Required), ("none", Self::None)];
}

impl Words for LogFormat {
    const WORDS: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}

scalars! {
    Keys,
}

/// The keys of upload ids.
#[derive(Clone)]
struct Keys(UploadKeys);

impl Scalar for Keys {
    fn expected() -> String {
        "32 random bytes in base64".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map(Self)
    }
}

/// What the variables say.
pub(super) struct Environment {
    /// Without tenants.
    pub(super) server: ServerSettings,
    pub(super) log: LogSettings,
    pub(super) tenants_file: Option<PathBuf>,
}

/// The variable called `name` after the prefix.
pub(super) fn place(name: &str) -> Place {
    Place::variable(format!("{PREFIX}{name}"))
}

/// Reads every variable, each by itself, so that every problem is found. What is wrong has its default.
pub(super) fn read(variables: &Variables, problems: &mut Problems) -> Environment {
    refuse_unknown(variables, problems);
    let mut parts = Parts { variables, problems };
    let allow_insecure = parts.read::<Flag>("ALLOW_INSECURE").is_some_and(|flag| flag.0);
    let default = ServerSettings::default();
    let listen_addr = parts.read("LISTEN_ADDR").map_or(default.listen_addr, |Address(at)| at);
    let health_addr = parts.read("HEALTH_ADDR").map_or(default.health_addr, |Address(at)| at);
    if listen_addr == health_addr && listen_addr.port() != 0 {
        parts.problems.add(place("HEALTH_ADDR"), "is the same as LONGSHORE_LISTEN_ADDR: give another port");
    }
    let server = ServerSettings {
        listen_addr,
        health_addr,
        tls: tls(&mut parts),
        auth: auth(&mut parts, listen_addr, allow_insecure),
        reflection: parts.read::<Flag>("REFLECTION").map_or(default.reflection, |flag| flag.0),
        max_message_bytes: parts
            .read("MAX_MESSAGE_BYTES")
            .map_or(default.max_message_bytes, |size: Size<{ 64 * KIB }, GIB>| {
                usize::try_from(size.0).unwrap_or(usize::MAX)
            }),
        message_timeout: parts.read("MESSAGE_TIMEOUT").map_or(default.message_timeout, |Timeout(time)| time),
        connections: connections(&mut parts, &default.connections),
        memory: memory(&mut parts, default.memory),
        uploads: UploadSettings {
            keys: parts.read("UPLOAD_KEY").map(|Keys(keys)| keys),
            replicas: parts
                .read("REPLICAS")
                .map_or(default.uploads.replicas, |number: Number<1, 10_000>| number.0),
        },
        shutdown_delay: parts.read("SHUTDOWN_DELAY").map_or(default.shutdown_delay, |Period(time)| time),
        shutdown_grace: parts.read("SHUTDOWN_GRACE").map_or(default.shutdown_grace, |Period(time)| time),
        tenants: Vec::new(),
        rejected_tenants: Vec::new(),
    };
    let log = LogSettings {
        filter: filter(&mut parts),
        format: parts.read("LOG_FORMAT").map(|Word(format)| format),
    };
    let tenants_file = parts.read::<Text>("TENANTS_FILE").map(|path| PathBuf::from(path.0));
    if variables.text(&format!("{PREFIX}TENANTS_FILE")).is_ok_and(|text| text.is_none()) {
        problems.add(place("TENANTS_FILE"), "is not set: give the tenants file, or a folder of them");
    }
    Environment { server, log, tenants_file }
}

/// Reads one variable at a time.
struct Parts<'a> {
    variables: &'a Variables,
    problems: &'a mut Problems,
}

impl Parts<'_> {
    fn read<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        let variable = format!("{PREFIX}{name}");
        let text = match self.variables.text(&variable) {
            Ok(Some("")) => Err("is empty: give a value or unset it".to_owned()),
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
        let later = LATER.contains(&name) || LATER_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        let why = if later {
            "is not supported by this version".to_owned()
        } else {
            let known: Vec<_> = KNOWN.iter().map(|name| format!("{PREFIX}{name}")).collect();
            format!("unknown variable; {}", suggestion(variable, known.iter().map(String::as_str)))
        };
        problems.add(Place::variable(variable), why);
    }
}

fn connections(parts: &mut Parts<'_>, default: &ConnectionSettings) -> ConnectionSettings {
    ConnectionSettings {
        max_connections: parts.read("MAX_CONNECTIONS").map(|number: Number<1, 1_000_000>| number.0),
        max_concurrent_streams: parts
            .read("MAX_CONCURRENT_STREAMS")
            .map_or(default.max_concurrent_streams, |number: Number<1, 1_000_000>| number.0),
        max_age: parts.read("MAX_CONNECTION_AGE").map_or(default.max_age, |Limit(time)| time),
        max_age_grace: parts
            .read("MAX_CONNECTION_AGE_GRACE")
            .map_or(default.max_age_grace, |Limit(time)| time),
        max_idle: parts.read("MAX_CONNECTION_IDLE").map_or(default.max_idle, |Limit(time)| time),
        keepalive_interval: parts
            .read("KEEPALIVE_INTERVAL")
            .map_or(default.keepalive_interval, |Timeout(time)| time),
        keepalive_timeout: parts
            .read("KEEPALIVE_TIMEOUT")
            .map_or(default.keepalive_timeout, |Timeout(time)| time),
        handshake_timeout: parts
            .read("HANDSHAKE_TIMEOUT")
            .map_or(default.handshake_timeout, |Timeout(time)| time),
    }
}

fn memory(parts: &mut Parts<'_>, default: MemorySettings) -> MemorySettings {
    MemorySettings {
        budget: parts
            .read("MEMORY_BUDGET")
            .map_or(default.budget, |size: Size<{ 16 * MIB }, { 1024 * GIB }>| size.0),
        wait: parts.read("MEMORY_WAIT").map_or(default.wait, |Timeout(time)| time),
        idle_timeout: parts.read("UPLOAD_IDLE_TIMEOUT").map_or(default.idle_timeout, |Timeout(time)| time),
    }
}

fn tls(parts: &mut Parts<'_>) -> Option<TlsFiles> {
    let [cert, key] = ["TLS_CERT", "TLS_KEY"].map(|name| {
        let given = parts.variables.text(&format!("{PREFIX}{name}")).is_ok_and(|text| text.is_some());
        let path = parts.read::<Text>(name).map(|path| PathBuf::from(path.0));
        if let Some(path) = &path
            && let Err(error) = File::open(path).and_then(|mut file| file.read(&mut [0]))
        {
            parts.problems.add(place(name), format!("cannot read {}: {error}", path.display()));
        }
        (given, path)
    });
    for (given, other, name) in [(cert.0, key.0, "TLS_CERT"), (key.0, cert.0, "TLS_KEY")] {
        if !given && other {
            parts
                .problems
                .add(place(name), "is not set: give LONGSHORE_TLS_CERT and LONGSHORE_TLS_KEY, or neither");
        }
    }
    Some(TlsFiles { cert: cert.1?, key: key.1? })
}

fn auth(parts: &mut Parts<'_>, listen_addr: SocketAddr, allow_insecure: bool) -> AuthMode {
    let auth = parts.read("AUTH").map_or(AuthMode::Required, |Word(mode)| mode);
    if auth == AuthMode::None && !listen_addr.ip().to_canonical().is_loopback() && !allow_insecure {
        parts.problems.add(
            place("AUTH"),
            format!(
                "none would let anyone who reaches {listen_addr} do anything: use required, listen on a loopback \
                 address, or set LONGSHORE_ALLOW_INSECURE=true"
            ),
        );
    }
    auth
}

fn filter(parts: &mut Parts<'_>) -> String {
    let filter = parts.read("LOG").map_or_else(|| "info".to_owned(), |Text(filter)| filter);
    if let Err(error) = telemetry::check_filter(&filter) {
        parts.problems.add(place("LOG"), error.to_string());
    }
    filter
}
