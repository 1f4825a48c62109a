//! The settings of the audit log.

use std::{path::PathBuf, time::Duration};

use crate::settings::{Optional, Scalar, Size, Timeout, quoted, settings};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

settings! {
    /// Settings of the audit log.
    pub struct AuditSettings(AuditLayer), variables "LONGSHORE_" {
        /// Where the audit log is written: `stdout`, or the absolute path of a file or a named pipe. Lines are appended,
        /// and a new file has mode 0600. SIGHUP opens the file again, after it has been renamed. If it cannot be opened
        /// at startup, the server does not start.
        log = "audit_log": Option<AuditTarget> as Optional<AuditTarget> = None => "no audit log",
        /// How long a call waits while the audit log has no room; then it fails with AUDIT_UNAVAILABLE.
        wait = "audit_wait": Duration as Timeout = Duration::from_secs(5),
        /// Room for lines that wait to be written, and for those of calls in flight (1 KiB each): it limits how many
        /// calls can be in flight.
        buffer = "audit_buffer": u64 as Size<{ 64 * KIB }, GIB> = 32 * MIB,
    }
}

/// Where the audit log is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditTarget {
    /// Standard output, to which nothing else is written.
    Stdout,
    /// A file, or a named pipe that another process reads.
    File(PathBuf),
}

impl Scalar for AuditTarget {
    type Value = Self;

    fn expected() -> String {
        "`stdout`, or an absolute path".to_owned()
    }

    fn form() -> String {
        "`stdout` or path".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "stdout" => Ok(Self::Stdout),
            path if path.starts_with('/') && !path.ends_with('/') => Ok(Self::File(PathBuf::from(path))),
            _ => Err(format!("expected {}, found {}", Self::expected(), quoted(text))),
        }
    }

    fn show(value: &Self) -> Option<String> {
        match value {
            Self::Stdout => Some("stdout".to_owned()),
            Self::File(path) => Some(path.display().to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_stdout_or_an_absolute_path() {
        assert_eq!(AuditTarget::from_text("stdout"), Ok(AuditTarget::Stdout));
        assert_eq!(AuditTarget::from_text("/var/a.log"), Ok(AuditTarget::File("/var/a.log".into())));
        for wrong in ["", "stdou", "a.log", "./a.log", "/var/", "STDOUT"] {
            let error = AuditTarget::from_text(wrong).unwrap_err();
            assert!(error.starts_with("expected `stdout`, or an absolute path, found"), "{error}");
        }
    }
}
