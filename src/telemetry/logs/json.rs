//! A log line as one JSON object. Every call has one, so it is written into the line's buffer without a detour.

use std::{
    cell::RefCell,
    fmt::{self, Write},
    time::{SystemTime, UNIX_EPOCH},
};

use jiff::Timestamp;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_log::NormalizeEvent as _;
use tracing_subscriber::{
    field::RecordFields,
    fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields, format::Writer},
    registry::LookupSpan,
};

/// Writes `timestamp`, `level`, the event's fields, `target`, and the fields of the span that it is in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Json;

impl<S> FormatEvent<S, Json> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, Json>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        // Lines of the `log` crate have their target and level in fields.
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        line.write_str("{\"timestamp\":\"")?;
        write_now(&mut line)?;
        write!(line, "\",\"level\":\"{}\"", metadata.level().as_str())?;
        let mut fields = Fields { line: &mut line, written: 1, outcome: Ok(()) };
        event.record(&mut fields);
        fields.outcome?;
        line.write_str(",\"target\":\"")?;
        write_escaped(&mut line, metadata.target())?;
        line.write_char('"')?;
        if let Some(span) = context.parent_span() {
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<Json>>().map_or("", |fields| fields.as_str());
            line.write_str(",\"span\":{\"name\":\"")?;
            write_escaped(&mut line, span.name())?;
            line.write_char('"')?;
            if !fields.is_empty() {
                write!(line, ",{fields}")?;
            }
            line.write_char('}')?;
        }
        line.write_str("}\n")
    }
}

/// The fields of a span, ready to be put into an object.
impl<'w> FormatFields<'w> for Json {
    fn format_fields<R: RecordFields>(&self, mut line: Writer<'w>, fields: R) -> fmt::Result {
        let mut visitor = Fields { line: &mut line, written: 0, outcome: Ok(()) };
        fields.record(&mut visitor);
        visitor.outcome
    }

    fn add_fields(
        &self,
        current: &'w mut FormattedFields<Self>,
        fields: &tracing::span::Record<'_>,
    ) -> fmt::Result {
        let written = usize::from(!current.is_empty());
        let mut line = current.as_writer();
        let mut visitor = Fields { line: &mut line, written, outcome: Ok(()) };
        fields.record(&mut visitor);
        visitor.outcome
    }
}

/// Writes fields as members of an object.
struct Fields<'a, 'w> {
    line: &'a mut Writer<'w>,
    /// How many members stand before the next.
    written: usize,
    outcome: fmt::Result,
}

impl Fields<'_, '_> {
    fn member(&mut self, field: &Field, value: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        if self.outcome.is_ok() && !field.name().starts_with("log.") {
            self.outcome = self.try_member(field, value);
        }
    }

    fn try_member(
        &mut self,
        field: &Field,
        value: impl FnOnce(&mut Writer<'_>) -> fmt::Result,
    ) -> fmt::Result {
        if self.written > 0 {
            self.line.write_char(',')?;
        }
        self.written += 1;
        self.line.write_char('"')?;
        write_escaped(self.line, field.name())?;
        self.line.write_str("\":")?;
        value(self.line)
    }
}

impl Visit for Fields<'_, '_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.member(field, |line| {
            line.write_char('"')?;
            write_escaped(line, value)?;
            line.write_char('"')
        });
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field, |line| write!(line, "{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field, |line| write!(line, "{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field, |line| write!(line, "{value}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has neither infinity nor NaN.
        self.member(
            field,
            |line| {
                if value.is_finite() { write!(line, "{value}") } else { line.write_str("null") }
            },
        );
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.member(field, |line| {
            line.write_char('"')?;
            write!(Escaped(line), "{value:?}")?;
            line.write_char('"')
        });
    }
}

/// Escapes what is written to it.
struct Escaped<'a, 'w>(&'a mut Writer<'w>);

impl Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write_escaped(self.0, text)
    }
}

/// The text within the quotation marks of a JSON string (RFC 8259, section 7).
fn write_escaped(line: &mut Writer<'_>, text: &str) -> fmt::Result {
    let needs_escape = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
    // Without an early end, which lets the compiler look at many bytes at once.
    if !text.bytes().fold(false, |found, byte| found | needs_escape(byte)) {
        return line.write_str(text);
    }
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        if !needs_escape(byte) {
            continue;
        }
        line.write_str(&text[plain..at])?;
        match byte {
            b'"' => line.write_str("\\\"")?,
            b'\\' => line.write_str("\\\\")?,
            b'\n' => line.write_str("\\n")?,
            control => write!(line, "\\u{control:04x}")?,
        }
        plain = at + 1;
    }
    line.write_str(&text[plain..])
}

/// Now, in UTC and to the microsecond (RFC 3339). The second is the same for many lines.
fn write_now(line: &mut Writer<'_>) -> fmt::Result {
    thread_local! {
        static SECOND: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    SECOND.with_borrow_mut(|(second, text)| {
        if *second != now.as_secs() || text.is_empty() {
            let instant = i64::try_from(now.as_secs()).ok().and_then(|at| Timestamp::from_second(at).ok());
            *text = instant.unwrap_or_default().strftime("%Y-%m-%dT%H:%M:%S").to_string();
            *second = now.as_secs();
        }
        write!(line, "{text}.{:06}Z", now.subsec_micros())
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(text: &str) -> String {
        let mut written = String::new();
        write_escaped(&mut Writer::new(&mut written), text).unwrap();
        format!("\"{written}\"")
    }

    #[test]
    fn now_is_what_others_read_as_now() {
        let mut written = String::new();
        write_now(&mut Writer::new(&mut written)).unwrap();
        let read: Timestamp = written.parse().unwrap();
        assert!(Timestamp::now().duration_since(read).as_secs().abs() <= 2, "{written}");
    }

    proptest! {
        #[test]
        fn any_text_is_read_back_as_it_was(text in "\\PC*|[\\x00-\\x7f]*") {
            prop_assert_eq!(serde_json::from_str::<String>(&escaped(&text)).unwrap(), text);
        }
    }
}
