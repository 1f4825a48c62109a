//! Longshore as it is shipped: the release binary, with the features that an operator would enable.

use std::{
    fmt::Write as _,
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use sha2::{Digest, Sha256};

use crate::{Outcome, child::Child, tls::Files};

pub(crate) const TOKEN: &str = "a-token-of-the-gateway-bench";
/// The token of the second tenant, `quiet`.
pub(crate) const QUIET_TOKEN: &str = "a-token-of-a-quiet-tenant";
/// The token of the tenant `noisy`, which may have [`NOISY_IN_FLIGHT`] calls in flight.
pub(crate) const NOISY_TOKEN: &str = "a-token-of-a-noisy-tenant";
pub(crate) const NOISY_IN_FLIGHT: u64 = 8;
/// The token of the tenant `hanging`, whose S3 server never responds.
pub(crate) const HANGING_TOKEN: &str = "a-token-of-a-hanging-tenant";
pub(crate) const ACCESS_KEY_ID: &str = "AKIAIOSFODNN7EXAMPLE";
pub(crate) const SECRET_ACCESS_KEY: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

/// The stores: name, bucket, and what differs in `config` and in `transfer`.
const STORES: &[(&str, &str, &str, &str)] = &[
    ("default", "bench", "unsigned_payload: true, checksum_algorithm: crc64nvme", ""),
    ("signed", "bench", "unsigned_payload: false, checksum_algorithm: crc64nvme", ""),
    ("plain", "plain", "unsigned_payload: true", ""),
    ("silent", "silent", "unsigned_payload: true", ""),
    ("throttled", "throttled", "unsigned_payload: true, checksum_algorithm: crc64nvme", ""),
    (
        "throttled-1",
        "throttled",
        "unsigned_payload: true, checksum_algorithm: crc64nvme",
        "max_concurrency: 1",
    ),
    (
        "throttled-8",
        "throttled",
        "unsigned_payload: true, checksum_algorithm: crc64nvme",
        "max_concurrency: 8",
    ),
    ("shaped", "shaped", "unsigned_payload: true, checksum_algorithm: crc64nvme", ""),
    ("shaped-tree", "shaped-tree", "unsigned_payload: true, checksum_algorithm: crc64nvme", ""),
    ("shaped-1", "shaped", "unsigned_payload: true, checksum_algorithm: crc64nvme", "max_concurrency: 1"),
];

/// The bucket of a store.
pub(crate) fn bucket(store: &str) -> &'static str {
    STORES.iter().find(|(name, ..)| *name == store).map_or("bench", |(_, bucket, ..)| bucket)
}

/// The binary and the settings to start it with.
#[derive(Debug, Clone)]
pub(crate) struct Shipped {
    pub(crate) binary: PathBuf,
    tenants_file: PathBuf,
    /// A tenants file without the tenant `quiet`. If there are several tenants, each gets at most half of the memory.
    single_tenant_file: PathBuf,
    neighbours_file: PathBuf,
    access_log: PathBuf,
    tenants: String,
    tls: Option<Files>,
    /// Extra settings of a single row.
    extra: Vec<(&'static str, String)>,
}

impl Shipped {
    /// Writes the tenants files to `folder`.
    pub(crate) fn prepare(binary: &Path, folder: &Path, backend: &str, tls: Option<&Files>) -> Outcome<Self> {
        let tenants = tenants(backend);
        let tenants_file = folder.join("tenants.yaml");
        fs::write(&tenants_file, &tenants)?;
        let single_tenant_file = folder.join("tenant.yaml");
        fs::write(&single_tenant_file, single_tenant(backend))?;
        let neighbours_file = folder.join("neighbours.yaml");
        fs::write(&neighbours_file, neighbours(backend))?;
        Ok(Self {
            binary: binary.to_owned(),
            tenants_file,
            single_tenant_file,
            neighbours_file,
            access_log: folder.join("longshore.log"),
            tenants,
            tls: tls.cloned(),
            extra: Vec::new(),
        })
    }

    /// The same with the tenant `bench` alone.
    pub(crate) fn for_single_tenant(&self) -> Self {
        Self { tenants_file: self.single_tenant_file.clone(), ..self.clone() }
    }

    /// The same with the tenants `quiet`, `noisy` and `hanging`.
    pub(crate) fn for_neighbours(&self) -> Self {
        Self { tenants_file: self.neighbours_file.clone(), ..self.clone() }
    }

    /// Adds settings. An older build that does not know one of them runs without it.
    pub(crate) fn with(&self, settings: &[(&'static str, &str)]) -> Outcome<Self> {
        let mut with = self.clone();
        for (name, value) in settings {
            if self.knows(name, value)? {
                with.extra.push((name, (*value).to_owned()));
            } else {
                eprintln!("  skipped {name}: this build does not have this setting");
            }
        }
        Ok(with)
    }

    fn knows(&self, name: &str, value: &str) -> Outcome<bool> {
        let mut command = Command::new(&self.binary);
        command.arg("check").env_clear().env(name, value).env("LONGSHORE_TENANTS_FILE", &self.tenants_file);
        let output = command.env("BENCH_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        Ok(!said.contains(&format!("{name}: unknown variable")))
    }

    /// Starts the server with gRPC on the first address, and health and metrics on the second.
    pub(crate) fn start(&self, [grpc, health]: [SocketAddr; 2]) -> Outcome<Child> {
        let mut command = Command::new(&self.binary);
        command.arg("serve").env_clear().stderr(File::create(&self.access_log)?);
        for (name, value) in self.environment(&grpc.to_string(), &health.to_string()) {
            command.env(name, value);
        }
        command.env("BENCH_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY);
        Child::other(&mut command, grpc)
    }

    /// All settings of the server, without secrets.
    pub(crate) fn settings(&self) -> String {
        let mut text = String::new();
        for (name, value) in self.environment("127.0.0.1:PORT", "127.0.0.1:PORT") {
            let value = Path::new(&value).file_name().unwrap_or_default().to_string_lossy();
            // Writing to a String does not fail.
            let _ = writeln!(text, "{name}={value}");
        }
        let _ = write!(text, "\n# tenants.yaml\n{}", self.tenants);
        text
    }

    fn environment(&self, grpc: &str, health: &str) -> Vec<(&'static str, String)> {
        let file = |path: &Path| path.display().to_string();
        let mut environment = vec![
            ("LONGSHORE_LISTEN_ADDR", grpc.to_owned()),
            ("LONGSHORE_HEALTH_ADDR", health.to_owned()),
            ("LONGSHORE_TENANTS_FILE", file(&self.tenants_file)),
            ("LONGSHORE_AUTH", "required".to_owned()),
            ("LONGSHORE_LOG", "info".to_owned()),
        ];
        if let Some(tls) = &self.tls {
            environment.push(("LONGSHORE_TLS_CERT", file(&tls.cert)));
            environment.push(("LONGSHORE_TLS_KEY", file(&tls.key)));
            environment.push(("SSL_CERT_FILE", file(&tls.authority)));
        }
        environment.extend(self.extra.iter().cloned());
        environment
    }
}

/// The tenants file: the tenant `bench` with all stores and the tenant `quiet` with one.
fn tenants(backend: &str) -> String {
    let mut text = single_tenant(backend);
    tenant(&mut text, "quiet", QUIET_TOKEN, backend, &STORES[..1]);
    text
}

fn single_tenant(backend: &str) -> String {
    let mut text = String::from("tenants:\n");
    tenant(&mut text, "bench", TOKEN, backend, STORES);
    text
}

/// The tenants file of the row with noisy tenants.
fn neighbours(backend: &str) -> String {
    let mut text = String::from("tenants:\n");
    tenant(&mut text, "quiet", QUIET_TOKEN, backend, &STORES[..1]);
    tenant(&mut text, "noisy", NOISY_TOKEN, backend, &STORES[..1]);
    // Writing to a String does not fail.
    let _ = writeln!(text, "    limits: {{max_in_flight: {NOISY_IN_FLIGHT}, max_wait: 500ms}}");
    tenant(&mut text, "hanging", HANGING_TOKEN, backend, &[("default", "silent", "", "")]);
    text
}

fn tenant(text: &mut String, name: &str, token: &str, backend: &str, stores: &[(&str, &str, &str, &str)]) {
    let digest = Sha256::digest(token).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    // Writing to a String does not fail.
    let _ = write!(
        text,
        "  {name}:\n    client_options: {{allow_http: true}}\n    callers:\n      \
         - {{name: {name}, token_sha256: \"{digest}\", access: [read, write, delete, list]}}\n    stores:\n"
    );
    for (name, bucket, config, transfer) in stores {
        let _ = writeln!(text, "      {name}:\n        url: s3://{bucket}\n        config:");
        let _ = write!(text, "          {{endpoint: \"{backend}\", access_key_id: {ACCESS_KEY_ID}, ");
        let _ = writeln!(text, "secret_access_key: {{env: BENCH_SECRET_ACCESS_KEY}}, {config}}}");
        if !transfer.is_empty() {
            let _ = writeln!(text, "        transfer: {{{transfer}}}");
        }
    }
}
