//! Structured logs on standard error.

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people. The default on a terminal.
    Text,
    /// One JSON object a line. The default elsewhere.
    Json,
}

/// What to log and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// A filter as `RUST_LOG` has it. Default: `info`.
    pub filter: String,
    /// `None`: text on a terminal, JSON otherwise.
    pub format: Option<LogFormat>,
}

/// The filter cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct LogSettingsError(String);

/// Starts logging for the whole process.
pub fn init(_settings: &LogSettings) -> Result<(), LogSettingsError> {
    todo!()
}
