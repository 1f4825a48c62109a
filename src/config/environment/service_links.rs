//! Recognizes variables that Kubernetes and Docker add to the environment for other services.
//!
//! The kubelet adds them for every Service of the pod's namespace, and Docker for every link. A Service whose name begins
//! with `longshore-` therefore sets variables that begin with `LONGSHORE_`. The names are those of
//! `pkg/kubelet/envvars/envvars.go` and of Docker's legacy container links.

use crate::settings::Variables;

const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];

/// Whether `variable` is a service link of a Service named `longshore` or `longshore-…`.
///
/// If the name alone could be a misspelt setting, the value decides: `LONGSHORE_HEALTH_PORT=9090` is not a link,
/// `LONGSHORE_HEALTH_PORT=tcp://10.0.0.2:9090` is one.
pub(super) fn is_service_link(variable: &str, variables: &Variables) -> bool {
    let Some(name) = variable.strip_prefix("LONGSHORE") else { return false };
    let written_by_kubelet =
        |character: char| character.is_ascii_uppercase() || character.is_ascii_digit() || character == '_';
    if !name.chars().all(written_by_kubelet) {
        // Docker's `_ENV_` variables end in the name of a variable of the other container, which may be in upper or
        // lower case.
        return name.split_once("_ENV_").is_some_and(|(link, _)| link.chars().all(written_by_kubelet));
    }
    let value = || variables.text(variable).ok().flatten().unwrap_or_default();
    name.ends_with("_SERVICE_HOST")
        || (is_service_port(name) && is_number(value()))
        || (name.ends_with("_PORT") && is_url(value()))
        || is_port_of_protocol(name)
        || (name.ends_with("_NAME") && value().starts_with('/'))
        || name.contains("_ENV_")
}

/// `…_SERVICE_PORT`, or `…_SERVICE_PORT_{NAME}`.
fn is_service_port(name: &str) -> bool {
    name.ends_with("_SERVICE_PORT")
        || name.split_once("_SERVICE_PORT_").is_some_and(|(_, port)| !port.is_empty())
}

/// `…_PORT_{number}_{protocol}`, optionally followed by more words, such as `_PROTO`.
fn is_port_of_protocol(name: &str) -> bool {
    let words: Vec<_> = name.split('_').collect();
    words
        .array_windows()
        .any(|[marker, port, protocol]| *marker == "PORT" && is_number(port) && PROTOCOLS.contains(protocol))
}

/// Whether the value is a URL such as `tcp://10.0.0.2:9090`.
fn is_url(value: &str) -> bool {
    value
        .split_once("://")
        .is_some_and(|(scheme, _)| PROTOCOLS.iter().any(|protocol| protocol.eq_ignore_ascii_case(scheme)))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secrets;

    fn is_link(variable: &str, value: &str) -> bool {
        is_service_link(variable, &Variables::new([(variable.into(), value.into())], Secrets::Read))
    }

    #[test]
    fn service_links_are_recognized() {
        // The last two are the Services `longshore-port` and `longshore-service`.
        let services =
            ["LONGSHORE", "LONGSHORE_HEALTH", "LONGSHORE_HEADLESS_2", "LONGSHORE_PORT", "LONGSHORE_SERVICE"];
        for service in services {
            for (name, value) in [
                ("SERVICE_HOST", "10.0.0.2"),
                ("SERVICE_HOST", "fd00::2"),
                ("SERVICE_PORT", "9090"),
                ("SERVICE_PORT_GRPC", "50051"),
                ("SERVICE_PORT_GRPC_WEB", "50052"),
                ("PORT", "tcp://10.0.0.2:9090"),
                ("PORT", "udp://[fd00::2]:53"),
                ("PORT_9090_TCP", "tcp://10.0.0.2:9090"),
                ("PORT_9090_TCP_PROTO", "tcp"),
                ("PORT_9090_TCP_PORT", "9090"),
                ("PORT_9090_TCP_ADDR", "10.0.0.2"),
                ("PORT_53_UDP_ADDR", "10.0.0.2"),
                ("PORT_7_SCTP", "sctp://10.0.0.2:7"),
                ("NAME", "/gateway/longshore"),
                ("ENV_LISTEN_ADDR", "0.0.0.0:1"),
                ("ENV_http_proxy", ""),
            ] {
                assert!(is_link(&format!("{service}_{name}"), value), "{service}_{name}={value}");
            }
        }
    }

    #[test]
    fn possible_misspelt_settings_are_not_links() {
        for (variable, value) in [
            ("LONGSHORE_PORT", "50051"),
            ("LONGSHORE_HEALTH_PORT", "9090"),
            ("LONGSHORE_SERVICE_PORT", "0.0.0.0:50051"),
            ("LONGSHORE_SERVICE_PORT_", "1"),
            ("LONGSHORE_PORT_TCP", "1"),
            ("LONGSHORE_PORT_X_TCP", "1"),
            ("LONGSHORE_PORT_9090", "1"),
            ("LONGSHORE_LISTEN_ADR", "127.0.0.1:1"),
            ("LONGSHORE_NAME", "gateway"),
            ("LONGSHORE_SERVICE", "x"),
            ("LONGSHORE_SERVICE_NAME", "x"),
            ("LONGSHORE_health_SERVICE_HOST", "10.0.0.2"),
            ("LONGSHORE", "x"),
        ] {
            assert!(!is_link(variable, value), "{variable}={value}");
        }
    }
}
