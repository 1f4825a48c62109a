//! Formats a log line as one JSON object. Every call logs a line, so this is fast: serde_json writes into a byte buffer
//! instead of passing each piece through `fmt`, and the subscriber gets the line as a whole.

use std::{
    cell::RefCell,
    fmt::{self, Debug, Display, Write as _},
    io::Write as _,
    mem,
    time::{SystemTime, UNIX_EPOCH},
};

use jiff::Timestamp;
use serde::Serialize;
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

use crate::telemetry::text::truncate;

/// The initial capacity for a line, in bytes. Most lines fit.
const INITIAL_CAPACITY: usize = 512;

/// The maximum number of bytes of one value. This is a last resort: text from callers and servers is truncated where it
/// enters.
const MAX_VALUE: usize = 16 * 1024;

/// Writes `timestamp`, `level`, the event's fields, `target`, and the fields of the enclosing span.
#[derive(Debug, Clone, Copy)]
pub(super) struct Json;

impl<S> FormatEvent<S, Json> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, Json>,
        line: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        // Lines of the `log` crate carry their target and level in fields.
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        let mut members = Members::after("{");
        members.add_now("timestamp");
        members.add("level", metadata.level().as_str());
        event.record(&mut members);
        members.add("target", metadata.target());
        if let Some(span) = context.parent_span() {
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<Json>>().map_or("", |fields| fields.as_str());
            members.add_object("span", |of_span| {
                of_span.add("name", span.name());
                of_span.add_formatted(fields);
            });
        }
        members.write(line, "}\n")
    }
}

/// Formats the fields of a span as members of an object.
impl<'w> FormatFields<'w> for Json {
    fn format_fields<R: RecordFields>(&self, line: Writer<'w>, fields: R) -> fmt::Result {
        let mut members = Members::after("");
        fields.record(&mut members);
        members.write(line, "")
    }

    fn add_fields(
        &self,
        current: &'w mut FormattedFields<Self>,
        fields: &tracing::span::Record<'_>,
    ) -> fmt::Result {
        let mut members = Members { first: current.is_empty(), ..Members::after("") };
        fields.record(&mut members);
        members.write(current.as_writer(), "")
    }
}

/// The members of a JSON object, while they are being written.
struct Members {
    json: Vec<u8>,
    /// Whether the next member needs no comma before it.
    first: bool,
}

impl Members {
    fn after(start: &str) -> Self {
        let mut json = Vec::with_capacity(INITIAL_CAPACITY);
        json.extend_from_slice(start.as_bytes());
        Self { json, first: true }
    }

    fn add(&mut self, name: &str, value: impl Serialize) {
        self.name(name);
        self.value(value);
    }

    /// Leaves out the `log.*` fields of the `log` crate's lines: `target` is enough to tell where they come from.
    fn add_field(&mut self, field: &Field, value: impl Serialize) {
        if !field.name().starts_with("log.") {
            self.add(field.name(), value);
        }
    }

    fn add_now(&mut self, name: &str) {
        self.name(name);
        self.json.push(b'"');
        write_now(&mut self.json);
        self.json.push(b'"');
    }

    fn add_object(&mut self, name: &str, members: impl FnOnce(&mut Self)) {
        self.name(name);
        self.json.push(b'{');
        self.first = true;
        members(self);
        self.json.push(b'}');
        self.first = false;
    }

    /// Adds members that [`Json`] has already formatted.
    fn add_formatted(&mut self, members: &str) {
        if !members.is_empty() {
            self.separate();
            self.json.extend_from_slice(members.as_bytes());
        }
    }

    fn name(&mut self, name: &str) {
        self.separate();
        self.value(name);
        self.json.push(b':');
    }

    fn value(&mut self, value: impl Serialize) {
        // Cannot fail: a buffer accepts every write, and every text and number has a JSON form.
        let _ = serde_json::to_writer(&mut self.json, &value);
    }

    fn separate(&mut self) {
        if !mem::take(&mut self.first) {
            self.json.push(b',');
        }
    }

    fn write(mut self, mut line: Writer<'_>, end: &str) -> fmt::Result {
        self.json.extend_from_slice(end.as_bytes());
        line.write_str(str::from_utf8(&self.json).map_err(|_| fmt::Error)?)
    }
}

impl Visit for Members {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add_field(field, truncate(value, MAX_VALUE));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add_field(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add_field(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add_field(field, value);
    }

    /// Writes infinity and NaN, which JSON does not have, as null.
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add_field(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add_field(field, format_args!("{}", Shown(value)));
    }
}

/// The text of a value, up to [`MAX_VALUE`] bytes. If the value fails to format, its text ends there. The failure is
/// not passed on, because serde_json would panic: its own writer has not failed.
struct Shown<'a>(&'a dyn Debug);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(AtMost { out: f, left: MAX_VALUE }, "{:?}", self.0).or_else(|_| f.write_str("…"))
    }
}

/// Passes on `left` bytes, and then fails.
struct AtMost<'a, 'f> {
    out: &'a mut fmt::Formatter<'f>,
    left: usize,
}

impl fmt::Write for AtMost<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let passed = text.floor_char_boundary(self.left);
        self.out.write_str(&text[..passed])?;
        self.left -= passed;
        if passed < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

/// The current time as in log lines.
pub(in crate::telemetry) fn now() -> String {
    let mut json = Vec::with_capacity(32);
    write_now(&mut json);
    String::from_utf8(json).unwrap_or_default()
}

/// Writes the current time in UTC, to the microsecond (RFC 3339). The text of the second is cached, since many lines
/// share it.
fn write_now(json: &mut Vec<u8>) {
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
        let _ = write!(json, "{text}.{:06}Z", now.subsec_micros());
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_value_is_truncated() {
        let shown = |value: &str| Shown(&format_args!("{value}")).to_string();
        assert_eq!(shown("short"), "short");
        let most = "ü".repeat(MAX_VALUE / 2);
        assert_eq!(shown(&most), most);
        let more = "ü".repeat(MAX_VALUE);
        assert_eq!(shown(&more), format!("{most}…"));
    }

    #[test]
    fn the_timestamp_is_the_current_time() {
        let mut written = Vec::new();
        write_now(&mut written);
        let written = str::from_utf8(&written).unwrap();
        let read: Timestamp = written.parse().unwrap();
        assert!(Timestamp::now().duration_since(read).as_secs().abs() <= 2, "{written}");
    }
}
