//! Settings that are written as a single scalar, in a file or in a variable.

use std::{fmt, marker::PhantomData, net::SocketAddr, time::Duration};

use bytesize::ByteSize;
use serde::de::{self, Deserializer, Visitor};

use super::path::quoted;

/// A setting written as one scalar. By default, a type accepts strings only.
pub(super) trait Scalar: Sized {
    /// A description of the valid values, as it follows "expected" in a message.
    fn expected() -> String;

    fn from_text(text: &str) -> Result<Self, String>;

    fn from_integer(_number: i64) -> Result<Self, String> {
        Err(format!("expected {}, found a number", Self::expected()))
    }

    fn from_fraction(_number: f64) -> Result<Self, String> {
        Err(format!("expected {}, found a number", Self::expected()))
    }

    fn from_flag(_flag: bool) -> Result<Self, String> {
        Err(format!("expected {}, found a boolean", Self::expected()))
    }
}

struct ScalarVisitor<T>(PhantomData<T>);

impl<T: Scalar> Visitor<'_> for ScalarVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&T::expected())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        T::from_text(text).map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        T::from_integer(number).map_err(E::custom)
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        T::from_fraction(number).map_err(E::custom)
    }

    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<T, E> {
        T::from_flag(flag).map_err(E::custom)
    }
}

pub(super) fn deserialize_scalar<'de, T: Scalar, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    from.deserialize_any(ScalarVisitor(PhantomData))
}

/// Implements `Deserialize` for `Scalar` types, and `Layer`, by which one value overrides another as a whole.
macro_rules! scalars {
    ($($type:ty $(where [$($generics:tt)*])?,)*) => {$(
        impl<'de, $($($generics)*)?> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::config::values::deserialize_scalar(deserializer)
            }
        }

        impl<$($($generics)*)?> $crate::config::field::Layer for $type {}
    )*};
}
pub(super) use scalars;

scalars! {
    Flag,
    Number<MIN, MAX> where [const MIN: u32, const MAX: u32],
    Size<MIN, MAX> where [const MIN: u64, const MAX: u64],
    Factor,
    Period,
    Timeout,
    Limit,
    Text,
    Address,
}

/// A boolean, or one of the strings that object_store accepts for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flag(pub(super) bool);

impl Scalar for Flag {
    fn expected() -> String {
        "true or false".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "on" | "yes" | "y" => Ok(Self(true)),
            "false" | "0" | "off" | "no" | "n" => Ok(Self(false)),
            _ => Err(format!("expected true or false, found {}", quoted(text))),
        }
    }

    fn from_flag(flag: bool) -> Result<Self, String> {
        Ok(Self(flag))
    }
}

/// A whole number within bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number<const MIN: u32, const MAX: u32>(pub(super) u32);

impl<const MIN: u32, const MAX: u32> Scalar for Number<MIN, MAX> {
    fn expected() -> String {
        format!("a whole number from {MIN} to {MAX}")
    }

    fn from_text(text: &str) -> Result<Self, String> {
        match text.parse::<i64>() {
            Ok(number) => Self::from_integer(number),
            Err(_) => Err(format!("expected {}, found {}", Self::expected(), quoted(text))),
        }
    }

    fn from_integer(number: i64) -> Result<Self, String> {
        match u32::try_from(number) {
            Ok(inside) if (MIN..=MAX).contains(&inside) => Ok(Self(inside)),
            _ => Err(format!("expected {}, found {number}", Self::expected())),
        }
    }
}

/// A number of bytes within bounds, with or without a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size<const MIN: u64, const MAX: u64>(pub(super) u64);

impl<const MIN: u64, const MAX: u64> Size<MIN, MAX> {
    fn within(size: u64) -> Result<Self, String> {
        if (MIN..=MAX).contains(&size) {
            return Ok(Self(size));
        }
        Err(format!("expected a size from {} to {}, found {size} bytes", ByteSize(MIN), ByteSize(MAX)))
    }
}

impl<const MIN: u64, const MAX: u64> Scalar for Size<MIN, MAX> {
    fn expected() -> String {
        "a size such as 8MiB, or a number of bytes".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        match text.trim().parse::<ByteSize>() {
            Ok(size) => Self::within(size.0),
            Err(_) => Err(format!("expected {}, found {}", Self::expected(), quoted(text))),
        }
    }

    fn from_integer(number: i64) -> Result<Self, String> {
        match u64::try_from(number) {
            Ok(size) => Self::within(size),
            Err(_) => Err(format!("expected {}, found {number}", Self::expected())),
        }
    }
}

/// The factor by which backoff grows: finite and at least 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Factor(pub(super) f64);

impl Scalar for Factor {
    fn expected() -> String {
        "a number of at least 1".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_or_else(
            |_| Err(format!("expected {}, found {}", Self::expected(), quoted(text))),
            Self::from_fraction,
        )
    }

    fn from_integer(number: i64) -> Result<Self, String> {
        match u32::try_from(number) {
            Ok(number) => Self::from_fraction(number.into()),
            Err(_) => Err(format!("expected {}, found {number}", Self::expected())),
        }
    }

    fn from_fraction(number: f64) -> Result<Self, String> {
        if number.is_finite() && number >= 1.0 {
            return Ok(Self(number));
        }
        Err(format!("expected {}, found {number}", Self::expected()))
    }
}

/// A duration with a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Period(pub(super) Duration);

impl Scalar for Period {
    fn expected() -> String {
        "a duration such as 5s, 500ms or 1m 30s".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        if text.trim().parse::<f64>().is_ok() {
            return Err(NO_UNIT.to_owned());
        }
        humantime::parse_duration(text)
            .map(Self)
            .map_err(|_| format!("expected {}, found {}", Self::expected(), quoted(text)))
    }

    fn from_integer(_number: i64) -> Result<Self, String> {
        Err(NO_UNIT.to_owned())
    }

    fn from_fraction(_number: f64) -> Result<Self, String> {
        Err(NO_UNIT.to_owned())
    }
}

/// A duration with a unit, longer than zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Timeout(pub(super) Duration);

impl Scalar for Timeout {
    fn expected() -> String {
        "a duration such as 5s, 500ms or 1m 30s".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        match Period::from_text(text)? {
            Period(Duration::ZERO) => Err(format!("must be longer than zero: expected {}", Self::expected())),
            Period(time) => Ok(Self(time)),
        }
    }

    fn from_integer(number: i64) -> Result<Self, String> {
        Period::from_integer(number).map(|Period(time)| Self(time))
    }

    fn from_fraction(number: f64) -> Result<Self, String> {
        Period::from_fraction(number).map(|Period(time)| Self(time))
    }
}

/// A duration with a unit, longer than zero, or `unlimited`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limit(pub(super) Option<Duration>);

impl Scalar for Limit {
    fn expected() -> String {
        "a duration such as 5s, 500ms or 1m 30s, or unlimited".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("unlimited") {
            return Ok(Self(None));
        }
        let wrong = || format!("expected {}, found {}", Self::expected(), quoted(text));
        match Period::from_text(text) {
            Ok(Period(Duration::ZERO)) => {
                Err(format!("must be longer than zero: expected {}", Self::expected()))
            }
            Ok(Period(time)) => Ok(Self(Some(time))),
            Err(why) if why == NO_UNIT => Err(why),
            Err(_) => Err(wrong()),
        }
    }

    fn from_integer(number: i64) -> Result<Self, String> {
        Period::from_integer(number).map(|Period(time)| Self(Some(time)))
    }

    fn from_fraction(number: f64) -> Result<Self, String> {
        Period::from_fraction(number).map(|Period(time)| Self(Some(time)))
    }
}

const NO_UNIT: &str = "is a duration without a unit: add one, as in 5s or 500ms";

/// A string that is neither empty nor contains control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text(pub(super) String);

impl Scalar for Text {
    fn expected() -> String {
        "a string".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("is empty: set a value or remove the key".to_owned());
        }
        if text.chars().any(char::is_control) {
            return Err("contains a control character: remove it".to_owned());
        }
        Ok(Self(text.to_owned()))
    }

    // The YAML parser has already converted the number: the original spelling of `007` or `1e3` is lost.
    fn from_integer(_number: i64) -> Result<Self, String> {
        Err("expected a string, found a number: put the value in quotes".to_owned())
    }

    fn from_fraction(_number: f64) -> Result<Self, String> {
        Err("expected a string, found a number: put the value in quotes".to_owned())
    }

    fn from_flag(_flag: bool) -> Result<Self, String> {
        Err("expected a string, found a boolean: put the value in quotes".to_owned())
    }
}

/// An address to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Address(pub(super) SocketAddr);

impl Scalar for Address {
    fn expected() -> String {
        "an IP address and a port, such as 127.0.0.1:50051 or [::]:50051".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| format!("expected {}, found {}", Self::expected(), quoted(text)))
    }
}
