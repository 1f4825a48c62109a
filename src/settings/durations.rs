//! Settings that are durations. A duration without a unit is rejected.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Scalar, quoted, schema::case_insensitive};

const EXPECTED: &str = "a duration such as 5s, 500ms or 1m 30s";

const NO_UNIT: &str = "is a duration without a unit: add one, as in 5s or 500ms";

/// Which durations a setting allows.
pub(crate) trait DurationForm {
    /// The value that the program uses.
    type Value: Clone;

    /// A word that may be written instead of a duration, and its value.
    const WORD: Option<(&'static str, Self::Value)> = None;

    /// The name of the form in docs/CONFIG-REFERENCE.md ("Forms of values"), with its bound if it has one.
    fn form() -> String;

    /// The value of a duration that is written as `text`. The error says what is wrong and what would be right.
    fn accept(time: Duration, text: &str) -> Result<Self::Value, String>;

    /// The duration of a value. `None`: the value is that of the word.
    fn duration(value: &Self::Value) -> Option<Duration>;
}

/// Any duration.
pub(crate) struct Period;

/// A duration longer than zero.
pub(crate) struct Timeout;

/// A duration of at least `MILLIS` milliseconds.
pub(crate) struct AtLeast<const MILLIS: u64>;

/// A duration longer than zero, or `unlimited`.
pub(crate) struct TimeLimit;

/// A duration of at least `MILLIS` milliseconds, or `unlimited`.
pub(crate) struct TimeLimitFrom<const MILLIS: u64>;

impl DurationForm for Period {
    type Value = Duration;

    fn form() -> String {
        "duration".to_owned()
    }

    fn accept(time: Duration, _text: &str) -> Result<Duration, String> {
        Ok(time)
    }

    fn duration(value: &Duration) -> Option<Duration> {
        Some(*value)
    }
}

impl DurationForm for Timeout {
    type Value = Duration;

    fn form() -> String {
        "timeout".to_owned()
    }

    fn accept(time: Duration, _text: &str) -> Result<Duration, String> {
        positive::<Self>(time)
    }

    fn duration(value: &Duration) -> Option<Duration> {
        Some(*value)
    }
}

impl<const MILLIS: u64> DurationForm for AtLeast<MILLIS> {
    type Value = Duration;

    fn form() -> String {
        format!("duration, at least {}", shown(Duration::from_millis(MILLIS)))
    }

    fn accept(time: Duration, text: &str) -> Result<Duration, String> {
        let least = Duration::from_millis(MILLIS);
        if time < least {
            return Err(format!("must be {} or longer, found {text}", shown(least)));
        }
        Ok(time)
    }

    fn duration(value: &Duration) -> Option<Duration> {
        Some(*value)
    }
}

impl DurationForm for TimeLimit {
    type Value = Option<Duration>;

    const WORD: Option<(&'static str, Option<Duration>)> = Some(("unlimited", None));

    fn form() -> String {
        "limit".to_owned()
    }

    fn accept(time: Duration, _text: &str) -> Result<Option<Duration>, String> {
        positive::<Self>(time).map(Some)
    }

    fn duration(value: &Option<Duration>) -> Option<Duration> {
        *value
    }
}

impl<const MILLIS: u64> DurationForm for TimeLimitFrom<MILLIS> {
    type Value = Option<Duration>;

    const WORD: Option<(&'static str, Option<Duration>)> = TimeLimit::WORD;

    fn form() -> String {
        format!("limit, at least {}", shown(Duration::from_millis(MILLIS)))
    }

    fn accept(time: Duration, text: &str) -> Result<Option<Duration>, String> {
        AtLeast::<MILLIS>::accept(time, text).map(Some)
    }

    fn duration(value: &Option<Duration>) -> Option<Duration> {
        *value
    }
}

impl<D: DurationForm> Scalar for D {
    type Value = D::Value;

    fn expected() -> String {
        D::WORD.map_or_else(|| EXPECTED.to_owned(), |(word, _)| format!("{EXPECTED}, or {word}"))
    }

    fn form() -> String {
        D::form()
    }

    fn from_text(text: &str) -> Result<D::Value, String> {
        if let Some((word, value)) = D::WORD
            && text.eq_ignore_ascii_case(word)
        {
            return Ok(value);
        }
        if text.trim().parse::<f64>().is_ok() {
            return Err(NO_UNIT.to_owned());
        }
        match humantime::parse_duration(text) {
            Ok(time) => D::accept(time, text),
            Err(_) => Err(format!("expected {}, found {}", Self::expected(), quoted(text))),
        }
    }

    fn from_integer(_number: i64) -> Result<D::Value, String> {
        Err(NO_UNIT.to_owned())
    }

    fn from_fraction(_number: f64) -> Result<D::Value, String> {
        Err(NO_UNIT.to_owned())
    }

    fn show(value: &D::Value) -> Option<String> {
        D::duration(value).map(shown).or_else(|| D::WORD.map(|(word, _)| word.to_owned()))
    }

    fn schema() -> Value {
        let duration = json!({"type": "string", "pattern": "^ *[0-9]+ *[a-zA-Z]"});
        match D::WORD {
            Some((word, _)) => json!({"anyOf": [duration, case_insensitive(&[word])]}),
            None => duration,
        }
    }
}

fn positive<D: DurationForm>(time: Duration) -> Result<Duration, String> {
    if time.is_zero() {
        return Err(format!("must be longer than zero: expected {}", <D as Scalar>::expected()));
    }
    Ok(time)
}

/// A duration as it is written in settings.
pub(crate) fn shown(time: Duration) -> String {
    humantime::format_duration(time).to_string()
}
