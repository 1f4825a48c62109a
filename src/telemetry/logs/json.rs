//! A log line as one JSON object. Every call has one, so it is put together in one buffer and written at once.

use std::{
    cell::RefCell,
    fmt::{self, Debug},
    io::{self, Write as _},
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

/// Most lines are shorter, in bytes.
const USUAL: usize = 512;

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
        line: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        // Lines of the `log` crate have their target and level in fields.
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        let mut members = Members::beginning_with("{");
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

/// The fields of a span, ready to be put into an object.
impl<'w> FormatFields<'w> for Json {
    fn format_fields<R: RecordFields>(&self, line: Writer<'w>, fields: R) -> fmt::Result {
        let mut members = Members::beginning_with("");
        fields.record(&mut members);
        members.write(line, "")
    }

    fn add_fields(
        &self,
        current: &'w mut FormattedFields<Self>,
        fields: &tracing::span::Record<'_>,
    ) -> fmt::Result {
        let mut members = Members::beginning_with("");
        members.first = current.is_empty();
        fields.record(&mut members);
        members.write(current.as_writer(), "")
    }
}

/// Members of an object, one after another.
struct Members {
    json: Vec<u8>,
    /// No comma stands before the next.
    first: bool,
    /// A value's own formatting failed.
    failed: bool,
}

impl Members {
    fn beginning_with(text: &str) -> Self {
        let mut json = Vec::with_capacity(USUAL);
        json.extend_from_slice(text.as_bytes());
        Self { json, first: true, failed: false }
    }

    fn add(&mut self, name: &str, value: impl Serialize) {
        self.name(name);
        self.failed |= serde_json::to_writer(&mut self.json, &value).is_err();
    }

    /// A field; not one in which the `log` crate says where its line was written, of which `target` and `level` tell enough.
    fn add_field(&mut self, field: &Field, value: impl Serialize) {
        if !field.name().starts_with("log.") {
            self.add(field.name(), value);
        }
    }

    fn add_now(&mut self, name: &str) {
        self.name(name);
        self.json.push(b'"');
        self.failed |= write_now(&mut self.json).is_err();
        self.json.push(b'"');
    }

    fn add_object(&mut self, name: &str, members: impl FnOnce(&mut Self)) {
        self.name(name);
        self.json.push(b'{');
        self.first = true;
        members(self);
        self.json.push(b'}');
    }

    /// Members that [`Json`] has formatted before.
    fn add_formatted(&mut self, members: &str) {
        if !members.is_empty() {
            self.separate();
            self.json.extend_from_slice(members.as_bytes());
        }
    }

    fn name(&mut self, name: &str) {
        self.separate();
        self.failed |= serde_json::to_writer(&mut self.json, name).is_err();
        self.json.push(b':');
    }

    fn separate(&mut self) {
        if !mem::take(&mut self.first) {
            self.json.push(b',');
        }
    }

    fn write(mut self, mut line: Writer<'_>, end: &str) -> fmt::Result {
        self.json.extend_from_slice(end.as_bytes());
        match str::from_utf8(&self.json) {
            Ok(text) if !self.failed => line.write_str(text),
            _ => Err(fmt::Error),
        }
    }
}

impl Visit for Members {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add_field(field, value);
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

    /// Infinity and NaN, which JSON does not have, become null.
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add_field(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add_field(field, format_args!("{value:?}"));
    }
}

/// Now, in UTC and to the microsecond (RFC 3339). The second is the same for many lines.
fn write_now(json: &mut Vec<u8>) -> io::Result<()> {
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
        write!(json, "{text}.{:06}Z", now.subsec_micros())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn now_is_what_others_read_as_now() {
        let mut written = Vec::new();
        write_now(&mut written).unwrap();
        let read: Timestamp = str::from_utf8(&written).unwrap().parse().unwrap();
        assert!(Timestamp::now().duration_since(read).as_secs().abs() <= 2, "{written:?}");
    }
}
