//! Structured logs on standard error.

mod json;
mod limited;
mod output;
mod panics;
mod queue;

use std::io::{IsTerminal, stderr};

use tracing::{Metadata, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterExt, filter_fn},
    fmt::MakeWriter,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use self::{json::Json, limited::Limited};
use crate::settings::{Keyword, Keywords, Optional, Scalar, Text, settings};

pub(super) use json::now;
pub(super) use output::dropped;
pub use output::{flush, write_error};

/// The most verbose level of these targets, whatever the filter says. At more verbose levels they log secrets
/// (canonical requests, raw headers, signatures), or a line for every frame or every 404.
const CAPS: [(&str, LevelFilter); 12] = [
    ("aws_sigv4", LevelFilter::OFF),
    ("aws_smithy_runtime", LevelFilter::WARN),
    ("aws_smithy_runtime_api", LevelFilter::WARN),
    ("aws_runtime", LevelFilter::WARN),
    ("aws_sdk_sts", LevelFilter::WARN),
    ("aws_sdk_sso", LevelFilter::WARN),
    ("aws_sdk_ssooidc", LevelFilter::WARN),
    ("s3s", LevelFilter::OFF),
    ("h2", LevelFilter::WARN),
    ("hyper", LevelFilter::WARN),
    ("hyper_util", LevelFilter::WARN),
    ("rustls", LevelFilter::WARN),
];

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people. The default on a terminal.
    Text,
    /// One JSON object per line. The default elsewhere.
    Json,
}

impl Keywords for LogFormat {
    const KEYWORDS: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}

settings! {
    /// What to log and how.
    pub struct LogSettings(LogLayer), variables "LONGSHORE_" {
        /// Log filter, in the syntax of `RUST_LOG`.
        filter = "log": String as LogFilter = "info".to_owned(),
        /// Format of the log lines on standard error.
        format = "log_format": Option<LogFormat> as Optional<Keyword<LogFormat>> =
            None => "`text` on a terminal, otherwise `json`",
    }
}

/// A filter in the syntax of `RUST_LOG`.
pub(crate) struct LogFilter;

impl Scalar for LogFilter {
    type Value = String;

    fn expected() -> String {
        "a log filter such as info or longshore=debug,info".to_owned()
    }

    fn form() -> String {
        "filter".to_owned()
    }

    fn from_text(text: &str) -> Result<String, String> {
        let filter = Text::from_text(text)?;
        parse(&filter).map_err(|error| error.to_string())?;
        Ok(filter)
    }

    fn show(value: &String) -> Option<String> {
        Some(value.clone())
    }
}

/// The filter is invalid, or logging cannot be started.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct LogSettingsError(String);

/// Starts logging for the whole process. Lines are written with a short delay: call [`flush`] before the process ends.
pub fn init(settings: &LogSettings) -> Result<(), LogSettingsError> {
    let terminal = stderr().is_terminal();
    let format = settings.format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
    let lines = lines(&settings.filter, format, terminal, output::Queued)?;
    output::start().map_err(|error| LogSettingsError(format!("cannot start the log thread: {error}")))?;
    tracing_subscriber::registry()
        .with(lines)
        .try_init()
        .map_err(|_| LogSettingsError("logging has already been started in this process".to_owned()))?;
    panics::log();
    Ok(())
}

/// The layer that writes lines to `writer`.
fn lines<W>(
    filter: &str,
    format: LogFormat,
    colours: bool,
    writer: W,
) -> Result<Box<dyn Layer<Registry> + Send + Sync>, LogSettingsError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = parse(filter)?.and(filter_fn(within_cap));
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    Ok(match format {
        LogFormat::Text => {
            let layer = layer.with_ansi(colours).map_event_format(|text| Limited::new(text, format));
            layer.with_filter(filter).boxed()
        }
        LogFormat::Json => {
            layer.fmt_fields(Json).event_format(Limited::new(Json, format)).with_filter(filter).boxed()
        }
    })
}

fn parse(filter: &str) -> Result<EnvFilter, LogSettingsError> {
    EnvFilter::builder()
        .parse(filter)
        .map_err(|error| LogSettingsError(format!("the log filter {filter:?} is invalid: {error}")))
}

/// Whether the cap of the target allows the level. tracing evaluates this once per callsite, and caches the result.
fn within_cap(metadata: &Metadata<'_>) -> bool {
    cap(metadata.target()).is_none_or(|cap| cap >= *metadata.level())
}

fn cap(target: &str) -> Option<LevelFilter> {
    let of =
        |name: &str| target.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    CAPS.iter().find(|(name, _)| of(name)).map(|(_, cap)| *cap)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::json;

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn capture(filter: &str, format: LogFormat, log: impl FnOnce()) -> String {
        let captured = Captured::default();
        let writer = captured.clone();
        let layer = lines(filter, format, false, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let bytes = captured.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn no_filter_uncaps_targets_that_log_secrets_or_floods() {
        let text = capture("trace", LogFormat::Text, || {
            tracing::error!(target: "aws_sigv4::http_request::sign", "a signature");
            tracing::error!(target: "s3s::ops", "a 404");
            tracing::info!(target: "h2::codec", "a frame");
            tracing::info!(target: "hyper::proto", "a flush");
            tracing::debug!(target: "rustls::client", "a handshake");
        });
        assert_eq!(text, "");
    }

    #[test]
    fn capped_targets_still_warn_and_others_are_not_capped() {
        let text = capture("trace", LogFormat::Text, || {
            tracing::warn!(target: "hyper_util::server", "warned");
            tracing::error!(target: "hyper::proto", "failed");
            tracing::trace!(target: "h2o", "another crate whose name begins alike");
            tracing::trace!(target: "longshore::store", "traced");
        });
        assert_eq!(text.lines().count(), 4, "{text}");
    }

    #[test]
    fn a_flood_of_another_crates_lines_is_limited_and_our_own_lines_are_not() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let text = capture("info", format, || {
                for _ in 0..1_000 {
                    tracing::warn!(target: "h2::proto::ping_pong", "recv PING ack that we never sent");
                    tracing::info!(target: "longshore::access", "a call");
                }
            });
            let of = |what| text.lines().filter(|line| line.contains(what)).count();
            // A slow machine may take some seconds, and each second admits one more line.
            assert!((10..100).contains(&of("PING")), "{}", of("PING"));
            assert_eq!(of("a call"), 1_000);
        }
    }

    #[test]
    fn json_lines_have_their_fields_at_the_top_level() {
        let text = capture("info", LogFormat::Json, || {
            tracing::info!(target: "longshore::access", code = "OK", bytes_out = 3, "call");
            tracing::debug!("not at info");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains(r#""code":"OK","bytes_out":3"#), "{text}");
    }

    /// The one line that `log` writes, without its timestamp.
    fn json_line(log: impl FnOnce()) -> serde_json::Value {
        let text = capture("info", LogFormat::Json, log);
        let mut line: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
        assert!(line.as_object_mut().unwrap().remove("timestamp").is_some(), "{text}");
        line
    }

    #[test]
    fn a_json_line_is_json_with_its_span_and_any_text() {
        let line = json_line(|| {
            let span = tracing::info_span!("call", method = "a/\"Get\"", request_id = 7);
            span.in_scope(|| {
                tracing::warn!(target: "longshore::store", odd = "\n\u{1}\\", rate = f64::NAN, some = ?Some("x"), "it {}", "failed");
            });
        });
        let expected = json!({
            "level": "WARN", "message": "it failed", "odd": "\n\u{1}\\", "rate": null, "some": "Some(\"x\")",
            "target": "longshore::store", "span": {"name": "call", "method": "a/\"Get\"", "request_id": 7},
        });
        assert_eq!(line, expected);
    }

    #[test]
    fn every_kind_of_value_is_valid_json() {
        let line = json_line(|| {
            tracing::info!(
                target: "t", whole = 5.0, part = -0.25, negative = -7, large = u64::MAX, flag = true,
                text = %format_args!("\"{}\u{7}{}", "ü\u{2028}", '\\'), none = Option::<&str>::None,
            );
        });
        let expected = json!({
            "level": "INFO", "whole": 5.0, "part": -0.25, "negative": -7, "large": u64::MAX, "flag": true,
            "text": "\"ü\u{2028}\u{7}\\", "target": "t",
        });
        assert_eq!(line, expected);
        assert_eq!(
            json_line(|| tracing::info!(target: "t", flag = false)),
            json!({"level": "INFO", "flag": false, "target": "t"})
        );
    }

    #[test]
    fn source_locations_from_the_log_crate_are_left_out() {
        let line = json_line(|| tracing::info!(target: "t", n = 1, log.file = "f", log.line = 2, m = 3));
        assert_eq!(line, json!({"level": "INFO", "n": 1, "m": 3, "target": "t"}));
    }

    #[test]
    fn a_spans_fields_may_be_recorded_late_or_not_at_all() {
        let spans = [
            (json_line(|| tracing::info_span!("s").in_scope(|| tracing::info!("m"))), json!({"name": "s"})),
            (
                json_line(|| {
                    let span = tracing::info_span!("s", late = tracing::field::Empty);
                    span.record("late", 1);
                    span.in_scope(|| tracing::info!("m"));
                }),
                json!({"name": "s", "late": 1}),
            ),
            (
                json_line(|| {
                    let span = tracing::info_span!("s", early = "e", late = tracing::field::Empty);
                    span.record("late", true);
                    span.in_scope(|| tracing::info!("m"));
                }),
                json!({"name": "s", "early": "e", "late": true}),
            ),
        ];
        for (line, span) in spans {
            assert_eq!(line["span"], span);
        }
    }

    #[test]
    fn a_value_that_fails_to_format_does_not_drop_its_line() {
        struct Broken;
        impl std::fmt::Debug for Broken {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("so far")?;
                Err(std::fmt::Error)
            }
        }
        let line = json_line(|| {
            tracing::info_span!("s", of_span = ?Broken, n = 1)
                .in_scope(|| tracing::info!(target: "t", of_line = ?Broken, n = 2));
        });
        let expected = json!({
            "level": "INFO", "of_line": "so far…", "n": 2, "target": "t", "span": {"name": "s", "of_span": "so far…", "n": 1},
        });
        assert_eq!(line, expected);
    }

    #[test]
    fn the_error_for_an_invalid_filter_names_it() {
        let error = LogFilter::from_text("longshore=loud").unwrap_err();
        assert!(error.starts_with(r#"the log filter "longshore=loud" is invalid: "#), "{error}");
    }
}
