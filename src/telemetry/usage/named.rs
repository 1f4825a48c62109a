//! The tenants that have metrics of their own.

use std::collections::BTreeSet;

use super::MAX_NAMED;
use crate::settings::Scalar;

/// The tenants whose usage is exported one by one. That of the others is summed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetricsTenants {
    /// These.
    Listed(BTreeSet<String>),
    /// All, up to a limit.
    All,
}

impl Default for MetricsTenants {
    fn default() -> Self {
        Self::Listed(BTreeSet::new())
    }
}

impl Scalar for MetricsTenants {
    type Value = Self;

    fn expected() -> String {
        format!("`*`, or up to {MAX_NAMED} names of tenants, separated by commas")
    }

    fn form() -> String {
        "names".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        if text.trim() == "*" {
            return Ok(Self::All);
        }
        let is_name = |name: &str| {
            let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
            (1..=64).contains(&name.len()) && name.bytes().all(is_plain) && !name.starts_with('.')
        };
        let names: BTreeSet<_> = text.split(',').map(|name| name.trim().to_owned()).collect();
        match names.iter().find(|name| !is_name(name)) {
            Some(wrong) => {
                Err(format!("expected {}, found `{}`", Self::expected(), crate::telemetry::cut(wrong, 64)))
            }
            None if names.len() > MAX_NAMED => {
                Err(format!("expected {}, found {} names", Self::expected(), names.len()))
            }
            None => Ok(Self::Listed(names)),
        }
    }

    fn show(value: &Self) -> Option<String> {
        match value {
            Self::Listed(names) => Some(names.iter().map(String::as_str).collect::<Vec<_>>().join(",")),
            Self::All => Some("*".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_separated_by_commas_and_an_asterisk_means_all() {
        let listed = |names: &[&str]| {
            Ok(MetricsTenants::Listed(names.iter().map(|name| (*name).to_owned()).collect()))
        };
        assert_eq!(MetricsTenants::from_text("acme"), listed(&["acme"]));
        assert_eq!(MetricsTenants::from_text("zeta, acme"), listed(&["acme", "zeta"]));
        assert_eq!(MetricsTenants::from_text("*"), Ok(MetricsTenants::All));
        for wrong in ["", "acme,", "Acme", "acme;zeta", "*,acme", ".acme"] {
            assert!(MetricsTenants::from_text(wrong).unwrap_err().starts_with("expected `*`, or"), "{wrong}");
        }
        let many = (0..=MAX_NAMED).map(|number| format!("t{number}")).collect::<Vec<_>>().join(",");
        assert!(MetricsTenants::from_text(&many).unwrap_err().ends_with("found 501 names"));
    }
}
