//! `LONGSHORE_*` variables.

use std::{fs, time::Duration};

use crate::{
    auth::AuthMode,
    server::{ConnectionSettings, MemorySettings},
    telemetry::LogFormat,
};

use super::*;

#[test]
fn unset_variables_have_defaults_and_set_ones_override_them() {
    let text = format!("tenants: {{t: {{stores: {{s: {{bucket: abc, {ANONYMOUS}}}}}}}}}");
    let Settings { server, log, reload_interval } = load_text(&text, &[]).unwrap().settings;
    assert_eq!(reload_interval, Some(Duration::from_secs(10)));
    assert_eq!(
        (server.listen_addr.to_string(), server.health_addr.to_string()),
        ("127.0.0.1:50051".into(), "127.0.0.1:9090".into())
    );
    assert_eq!((server.auth, server.reflection, server.tls), (AuthMode::Required, true, None));
    assert_eq!((server.max_message_bytes, server.connections.max_concurrent_streams), (4 << 20, 1_000));
    assert_eq!((server.connections, server.memory), Default::default());
    assert_eq!((server.shutdown_delay.as_secs(), server.shutdown_grace.as_secs()), (0, 30));
    assert_eq!(server.store_idle_timeout, Some(Duration::from_mins(10)));
    assert_eq!((log.filter.as_str(), log.format), ("info", None));

    let variables = [
        ("LONGSHORE_LISTEN_ADDR", "0.0.0.0:1"),
        ("LONGSHORE_AUTH", "none"),
        ("LONGSHORE_ALLOW_INSECURE", "true"),
        ("LONGSHORE_REFLECTION", "false"),
        ("LONGSHORE_MAX_MESSAGE_BYTES", "16MiB"),
        ("LONGSHORE_MAX_CONCURRENT_STREAMS", "7"),
        ("LONGSHORE_MAX_CONNECTIONS", "9"),
        ("LONGSHORE_MAX_CONNECTION_AGE", "unlimited"),
        ("LONGSHORE_MAX_CONNECTION_AGE_GRACE", "8s"),
        ("LONGSHORE_MAX_CONNECTION_IDLE", "3m"),
        ("LONGSHORE_STORE_IDLE_TIMEOUT", "unlimited"),
        ("LONGSHORE_KEEPALIVE_INTERVAL", "11s"),
        ("LONGSHORE_KEEPALIVE_TIMEOUT", "12s"),
        ("LONGSHORE_HANDSHAKE_TIMEOUT", "1300ms"),
        ("LONGSHORE_MESSAGE_TIMEOUT", "5s"),
        ("LONGSHORE_MEMORY_BUDGET", "16MiB"),
        ("LONGSHORE_MEMORY_WAIT", "10m"),
        ("LONGSHORE_UPLOAD_IDLE_TIMEOUT", "14s"),
        ("LONGSHORE_SHUTDOWN_DELAY", "5s"),
        ("LONGSHORE_SHUTDOWN_GRACE", "1m"),
        ("LONGSHORE_LOG", "longshore=debug,info"),
        ("LONGSHORE_LOG_FORMAT", "json"),
        ("LONGSHORE_RELOAD_INTERVAL", "unlimited"),
        ("LONGSHORE_PORT", "tcp://10.0.0.1:50051"),
        ("LONGSHORE_PORT_50051_TCP_ADDR", "10.0.0.1"),
        ("LONGSHORE_SERVICE_HOST", "10.0.0.1"),
        ("LONGSHORE_HEALTH_PORT", "tcp://10.0.0.1:9090"),
        ("LONGSHORE_HEADLESS_SERVICE_PORT_GRPC", "50051"),
    ];
    let Settings { server, log, reload_interval } = load_text(&text, &variables).unwrap().settings;
    assert_eq!(reload_interval, None);
    assert_eq!(server.store_idle_timeout, None);
    assert_eq!((server.auth, server.reflection), (AuthMode::None, false));
    assert_eq!((server.max_message_bytes, server.message_timeout), (16 << 20, Duration::from_secs(5)));
    let connections = ConnectionSettings {
        max_connections: Some(9),
        max_concurrent_streams: 7,
        max_age: None,
        max_age_grace: Some(Duration::from_secs(8)),
        max_idle: Some(Duration::from_mins(3)),
        keepalive_interval: Duration::from_secs(11),
        keepalive_timeout: Duration::from_secs(12),
        handshake_timeout: Duration::from_millis(1300),
    };
    assert_eq!(server.connections, connections);
    let memory = MemorySettings {
        budget: 16 << 20,
        wait: Duration::from_mins(10),
        idle_timeout: Duration::from_secs(14),
    };
    assert_eq!(server.memory, memory);
    assert_eq!((server.shutdown_delay.as_secs(), server.shutdown_grace.as_secs()), (5, 60));
    assert_eq!((log.filter.as_str(), log.format), ("longshore=debug,info", Some(LogFormat::Json)));
}

#[test]
fn every_problem_in_the_environment_is_reported() {
    let found = load(pairs(&[
        ("LONGSHORE_LISTEN_ADDR", "0.0.0.0:9090"),
        ("LONGSHORE_HEALTH_ADDR", "localhost:9090"),
        ("LONGSHORE_AUTH", "none"),
        ("LONGSHORE_REFLECTION", "perhaps"),
        ("LONGSHORE_MAX_MESSAGE_BYTES", "1KiB"),
        ("LONGSHORE_MAX_CONCURRENT_STREAMS", "0"),
        ("LONGSHORE_MAX_CONNECTION_AGE", "0s"),
        ("LONGSHORE_MAX_CONNECTION_IDLE", "60"),
        ("LONGSHORE_MAX_CONNECTION_AGE_GRACE", "never"),
        ("LONGSHORE_MESSAGE_TIMEOUT", "0s"),
        ("LONGSHORE_SHUTDOWN_DELAY", "5"),
        ("LONGSHORE_SHUTDOWN_GRACE", "soon"),
        ("LONGSHORE_STORE_IDLE_TIMEOUT", "999ms"),
        ("LONGSHORE_TLS_CERT", "/nowhere/cert.pem"),
        ("LONGSHORE_LOG", "longshore=loud"),
        ("LONGSHORE_LOG_FORMAT", "xml"),
        ("LONGSHORE_LISTEN_ADR", "x"),
        ("LONGSHORE_JWT_ISSUR", "x"),
        ("LONGSHORE_ADMIN_ADDR", "x"),
        ("LONGSHORE_ADMIN_TOKEN", "short"),
        ("LONGSHORE_ALLOW_INSECURE", ""),
        ("LONGSHORE_AUDIT_WAIT", "1s"),
        ("OTHER", "x"),
    ]))
    .unwrap_err()
    .to_string();
    assert_eq!(
        found.lines().collect::<Vec<_>>(),
        [
            "LONGSHORE_ADMIN_ADDR: expected an IP address and a port, such as 127.0.0.1:50051 or [::]:50051, found `x`",
            "LONGSHORE_ADMIN_TOKEN: expected at least 16 visible ASCII characters, as printed by `longshore token`",
            "LONGSHORE_ALLOW_INSECURE: is empty: set a value or unset the variable",
            "LONGSHORE_AUDIT_WAIT: has no effect: set LONGSHORE_AUDIT_LOG, or remove it",
            "LONGSHORE_AUTH: `none` lets every client that can connect to 0.0.0.0:9090 access all tenants: set LONGSHORE_AUTH=required, listen on a loopback address, or set LONGSHORE_ALLOW_INSECURE=true",
            "LONGSHORE_HEALTH_ADDR: expected an IP address and a port, such as 127.0.0.1:50051 or [::]:50051, found `localhost:9090`",
            "LONGSHORE_JWT_ISSUR: unknown variable; did you mean `LONGSHORE_JWT_ISSUER`?",
            "LONGSHORE_LISTEN_ADR: unknown variable; did you mean `LONGSHORE_LISTEN_ADDR`?",
            "LONGSHORE_LOG: the log filter \"longshore=loud\" is invalid: error parsing level filter: expected one of \"off\", \"error\", \"warn\", \"info\", \"debug\", \"trace\", or a number 0-5",
            "LONGSHORE_LOG_FORMAT: `xml` is not a known value; expected one of: text, json",
            "LONGSHORE_MAX_CONCURRENT_STREAMS: expected a whole number from 1 to 1000000, found 0",
            "LONGSHORE_MAX_CONNECTION_AGE: must be longer than zero: expected a duration such as 5s, 500ms or 1m 30s, or unlimited",
            "LONGSHORE_MAX_CONNECTION_AGE_GRACE: expected a duration such as 5s, 500ms or 1m 30s, or unlimited, found `never`",
            "LONGSHORE_MAX_CONNECTION_IDLE: is a duration without a unit: add one, as in 5s or 500ms",
            "LONGSHORE_MAX_MESSAGE_BYTES: expected a size from 64.0 KiB to 1.0 GiB, found 1024 bytes",
            "LONGSHORE_MESSAGE_TIMEOUT: must be longer than zero: expected a duration such as 5s, 500ms or 1m 30s",
            "LONGSHORE_REFLECTION: expected true or false, found `perhaps`",
            "LONGSHORE_SHUTDOWN_DELAY: is a duration without a unit: add one, as in 5s or 500ms",
            "LONGSHORE_SHUTDOWN_GRACE: expected a duration such as 5s, 500ms or 1m 30s, found `soon`",
            "LONGSHORE_STORE_IDLE_TIMEOUT: must be 1s or longer, found 999ms",
            "LONGSHORE_TENANTS_FILE: is not set: set it to the path of a tenants file, or of a folder of tenants files",
            "LONGSHORE_TLS_CERT: cannot read /nowhere/cert.pem: No such file or directory (os error 2)",
            "LONGSHORE_TLS_KEY: is not set: set both LONGSHORE_TLS_CERT and LONGSHORE_TLS_KEY, or neither",
        ]
    );
}

#[cfg(unix)]
#[test]
fn variables_that_are_not_utf8_are_reported_by_name() {
    use std::os::unix::ffi::OsStringExt;

    let strange = || OsString::from_vec(b"\xff".to_vec());
    let mut variables = vec![
        ("LONGSHORE_LISTEN_ADDR".into(), strange()),
        ("LONGSHORE_TENANTS_FILE".into(), strange()),
        ("UNRELATED".into(), strange()),
        (OsString::from_vec(b"LONGSHORE_\xff".to_vec()), "x".into()),
    ];
    let found = load(variables.clone()).unwrap_err().to_string();
    let lines: Vec<_> = found.lines().collect();
    assert_eq!(
        lines[..2],
        [
            "LONGSHORE_LISTEN_ADDR: is not valid UTF-8: set it to text in UTF-8",
            "LONGSHORE_TENANTS_FILE: is not valid UTF-8: set it to text in UTF-8"
        ]
    );
    assert!(lines[2].starts_with("LONGSHORE_\u{fffd}: unknown variable; "), "{found}");

    let file =
        "tenants: {t: {stores: {s: {bucket: abc, from_env: true, config: {access_key_id: {env: ID}}}}}}";
    let path = tempfile::NamedTempFile::new().unwrap();
    fs::write(path.path(), file).unwrap();
    variables = vec![
        ("LONGSHORE_TENANTS_FILE".into(), path.path().into()),
        ("AWS_REGION".into(), strange()),
        ("ID".into(), strange()),
    ];
    let found = named(&load(variables).unwrap_err().problems, path.path());
    assert!(
        found.contains(
            "AWS_REGION: tenants.t.stores.s.config.region: is not valid UTF-8: set it to text in UTF-8"
        ),
        "{found}"
    );
    assert!(
        found.contains("access_key_id: the variable `ID` is not valid UTF-8: set it to text in UTF-8"),
        "{found}"
    );
}

#[test]
fn an_admin_listener_beyond_loopback_needs_a_token_or_the_names_of_operators() {
    let found = |variables: &[(&str, &str)]| {
        let address = [("LONGSHORE_ADMIN_ADDR", "0.0.0.0:9091"), ("LONGSHORE_LISTEN_ADDR", "x")];
        let found = load(pairs(&[&address, variables].concat())).unwrap_err().to_string();
        found
            .lines()
            .filter(|line| line.starts_with("LONGSHORE_ADMIN"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let (ca, sans) = (("LONGSHORE_TLS_CLIENT_CA", "/ca.crt"), ("LONGSHORE_ADMIN_SANS", "ops.internal"));
    let [open] = &found(&[ca])[..] else { panic!("one problem") };
    assert!(open.starts_with("LONGSHORE_ADMIN_TOKEN: is not set, but every client"), "{open}");
    assert_eq!(found(&[ca, sans]), [""; 0]);
    assert_eq!(found(&[("LONGSHORE_ADMIN_TOKEN", "0123456789abcdef")]), [""; 0]);
    assert_eq!(
        found(&[sans]),
        [
            "LONGSHORE_ADMIN_SANS: needs LONGSHORE_TLS_CLIENT_CA, with which operators' certificates are verified"
        ]
    );
    let [wildcard] = &found(&[ca, ("LONGSHORE_ADMIN_SANS", "ops.internal,*.internal")])[..] else {
        panic!("one problem")
    };
    assert!(wildcard.contains("`*.internal` has a wildcard"), "{wildcard}");
}
