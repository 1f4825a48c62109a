//! How the settings write names in certificates.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::SubjectAltName;
use crate::settings::{Scalar, quoted};

/// A name in the subjectAltName extension of a certificate: a URI if it contains `://`, otherwise a DNS name.
pub(crate) struct AltName;

/// The longest DNS name, and the longest SPIFFE id.
const MAX_DNS: usize = 253;
const MAX_URI: usize = 2048;

impl Scalar for AltName {
    type Value = SubjectAltName;

    fn expected() -> String {
        "a DNS name such as billing.internal, or a URI such as spiffe://example.org/ns/billing/sa/default"
            .to_owned()
    }

    fn from_text(text: &str) -> Result<SubjectAltName, String> {
        let refused = |why: &str| Err(format!("{} {why}: expected {}", quoted(text), Self::expected()));
        if text.contains('*') {
            return refused("has a wildcard, and names are compared exactly");
        }
        if text.parse::<IpAddr>().is_ok() {
            return refused("is an IP address, by which callers are not identified");
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            let plain = text.bytes().all(|byte| byte.is_ascii_graphic()) && text.len() <= MAX_URI;
            let is_uri = plain && !rest.is_empty() && scheme.starts_with(|c: char| c.is_ascii_alphabetic());
            return if is_uri { Ok(SubjectAltName::Uri(text.into())) } else { refused("is not a URI") };
        }
        if is_dns_name(text) { Ok(SubjectAltName::Dns(text.into())) } else { refused("is not a DNS name") }
    }

    fn show(value: &SubjectAltName) -> Option<String> {
        Some(value.as_str().to_owned())
    }

    fn form() -> String {
        "name".to_owned()
    }

    fn schema() -> Value {
        json!({"type": "string", "minLength": 1, "not": {"pattern": "[*\\s]"}})
    }
}

fn is_dns_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(plain)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= MAX_DNS && text.split('.').all(is_label)
}

/// Names in certificates, separated by commas.
pub(crate) struct AltNames;

impl Scalar for AltNames {
    type Value = Vec<SubjectAltName>;

    fn expected() -> String {
        "DNS names or URIs, separated by commas".to_owned()
    }

    fn form() -> String {
        "names".to_owned()
    }

    fn from_text(text: &str) -> Result<Vec<SubjectAltName>, String> {
        text.split(',').map(|name| AltName::from_text(name.trim())).collect()
    }

    fn show(names: &Vec<SubjectAltName>) -> Option<String> {
        Some(names.iter().map(SubjectAltName::as_str).collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_separated_by_commas_and_each_is_checked() {
        let found = AltNames::from_text("ops.internal, spiffe://td/ops").unwrap();
        assert_eq!(
            found,
            [SubjectAltName::Dns("ops.internal".into()), SubjectAltName::Uri("spiffe://td/ops".into())]
        );
        for wrong in ["", "ops.internal,", "*.internal", "10.0.0.1", "a b"] {
            assert!(AltNames::from_text(wrong).is_err(), "{wrong}");
        }
    }
}
