//! The members of a JWKS that Longshore uses. The parser drops all others, because a hostile JWKS of a megabyte with
//! many small values would take a hundred megabytes in memory.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// The largest number of keys in a JWKS.
pub(super) const MAX_KEYS: usize = 100;

/// The list `keys`.
#[derive(Default)]
pub(super) enum Keys {
    /// The JWKS has no list `keys`.
    #[default]
    Missing,
    /// It has more than [`MAX_KEYS`] items.
    TooMany,
    /// Its items. Those that are not objects have no members.
    Listed(Vec<Jwk>),
}

/// The members of a key that are used.
#[derive(Default)]
pub(super) struct Jwk(BTreeMap<Name, Member>);

/// The names of these members. Others are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
pub(super) enum Name {
    Kty,
    Use,
    KeyOps,
    Alg,
    Kid,
    Crv,
    N,
    E,
    X,
    Y,
    #[serde(other)]
    Other,
}

/// A member's value.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Member {
    Text(String),
    /// A list, and whether it contains `verify`.
    List {
        has_verify: bool,
    },
    #[default]
    Other,
}

/// Reads `keys`. Fails if it is not JSON, or if the name of a member that is used occurs twice in an object.
pub(super) fn parse(jwks: &[u8]) -> serde_json::Result<Keys> {
    serde_json::from_slice::<Any<Set>>(jwks).map(|Any(Set(keys))| keys)
}

impl Jwk {
    pub(super) fn get(&self, name: Name) -> Option<&Member> {
        self.0.get(&name)
    }

    /// The member, if it is a string.
    pub(super) fn text(&self, name: Name) -> Option<&str> {
        match self.get(name)? {
            Member::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// A type that is read from a value of any kind, without the parts that it has no use for.
trait Lenient: Default {
    fn of_text(_text: &str) -> Self {
        Self::default()
    }

    fn of_list<'de, A: SeqAccess<'de>>(mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Self::default())
    }

    fn of_object<'de, A: MapAccess<'de>>(mut members: A) -> Result<Self, A::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Self::default())
    }
}

/// The JWKS itself.
#[derive(Default)]
struct Set(Keys);

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum SetName {
    Keys,
    #[serde(other)]
    Other,
}

impl Lenient for Set {
    fn of_object<'de, A: MapAccess<'de>>(mut members: A) -> Result<Self, A::Error> {
        let mut keys = None;
        while let Some(name) = members.next_key()? {
            match name {
                SetName::Other => drop(members.next_value::<IgnoredAny>()?),
                SetName::Keys if keys.is_some() => return Err(A::Error::custom("`keys` occurs twice")),
                SetName::Keys => keys = Some(members.next_value::<Any<Keys>>()?.0),
            }
        }
        Ok(Self(keys.unwrap_or_default()))
    }
}

impl Lenient for Keys {
    fn of_list<'de, A: SeqAccess<'de>>(mut items: A) -> Result<Self, A::Error> {
        let mut keys = Vec::new();
        while keys.len() < MAX_KEYS
            && let Some(Any(key)) = items.next_element()?
        {
            keys.push(key);
        }
        let mut is_longer = false;
        while keys.len() == MAX_KEYS && items.next_element::<IgnoredAny>()?.is_some() {
            is_longer = true;
        }
        Ok(if is_longer { Self::TooMany } else { Self::Listed(keys) })
    }
}

impl Lenient for Jwk {
    fn of_object<'de, A: MapAccess<'de>>(mut members: A) -> Result<Self, A::Error> {
        let mut known = BTreeMap::new();
        while let Some(name) = members.next_key()? {
            if name == Name::Other {
                members.next_value::<IgnoredAny>()?;
            } else if known.insert(name, members.next_value::<Any<Member>>()?.0).is_some() {
                return Err(A::Error::custom("a name occurs twice"));
            }
        }
        Ok(Self(known))
    }
}

impl Lenient for Member {
    fn of_text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    fn of_list<'de, A: SeqAccess<'de>>(mut items: A) -> Result<Self, A::Error> {
        let mut has_verify = false;
        while let Some(Any(IsVerify(found))) = items.next_element()? {
            has_verify |= found;
        }
        Ok(Self::List { has_verify })
    }
}

#[derive(Default)]
struct IsVerify(bool);

impl Lenient for IsVerify {
    fn of_text(text: &str) -> Self {
        Self(text == "verify")
    }
}

/// Reads a value of any kind.
struct Any<T>(T);

impl<'de, T: Lenient> Deserialize<'de> for Any<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyVisitor(PhantomData)).map(Self)
    }
}

struct AnyVisitor<T>(PhantomData<T>);

impl<'de, T: Lenient> Visitor<'de> for AnyVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_str<E>(self, text: &str) -> Result<T, E> {
        Ok(T::of_text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<T, A::Error> {
        T::of_list(items)
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
        T::of_object(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(jwks: &str) -> Vec<Jwk> {
        match parse(jwks.as_bytes()) {
            Ok(Keys::Listed(keys)) => keys,
            _ => panic!("{jwks}"),
        }
    }

    #[test]
    fn only_the_members_that_are_used_are_kept() {
        let found = keys(
            r#"{"x": [{}], "keys": [{"kid": "a", "x5c": ["b"], "key_ops": [1, "verify"], "d": {"d": 1}, "n": null}, 1, [[]]]}"#,
        );
        assert_eq!(found.len(), 3);
        assert_eq!((found[0].0.len(), found[1].0.len(), found[2].0.len()), (3, 0, 0));
        assert_eq!(found[0].text(Name::Kid), Some("a"));
        assert_eq!(found[0].get(Name::KeyOps), Some(&Member::List { has_verify: true }));
        assert_eq!(found[0].get(Name::N), Some(&Member::Other));
    }

    #[test]
    fn names_that_are_used_occur_once_however_they_are_written_and_others_do_not_matter() {
        for twice in [
            r#"{"keys": [], "keys": []}"#,
            r#"{"keys": [], "\u006beys": []}"#,
            r#"{"keys": [{"n": "a", "n": "a"}]}"#,
            r#"{"keys": [{"key_ops": 1, "key\u005fops": []}]}"#,
            r#"{"keys": []} {"keys": []}"#,
        ] {
            assert!(parse(twice.as_bytes()).is_err(), "{twice}");
        }
        assert_eq!(keys(r#"{"a": 1, "a": 2, "keys": [{"": 0, "": 0, "x5t": 1, "x5t": 2}]}"#).len(), 1);
    }

    #[test]
    fn what_is_not_used_takes_no_memory() {
        let many = vec![r#"{"":0}"#; 100_000].join(",");
        let found = keys(&format!(
            r#"{{"a": [{many}], "keys": [{{"a": [{many}], "key_ops": [{many}], "kid": {{"a": [{many}]}}}}]}}"#
        ));
        assert_eq!(found[0].0.len(), 2);
        assert!(matches!(parse(format!(r#"{{"keys": [{many}]}}"#).as_bytes()), Ok(Keys::TooMany)));
        let hundred = vec!["{}"; MAX_KEYS].join(",");
        assert_eq!(keys(&format!(r#"{{"keys": [{hundred}]}}"#)).len(), MAX_KEYS);
        assert!(matches!(parse(format!(r#"{{"keys": [{hundred}, 0]}}"#).as_bytes()), Ok(Keys::TooMany)));
    }

    #[test]
    fn deep_nesting_is_no_problem_and_malformed_json_is() {
        let deep = format!(r#"{{"keys": [{{"a": {}{}}}]}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(keys(&deep).len(), 1);
        for malformed in ["", "{", r#"{"keys": [}"#, r#"{"keys": []"#, r#"{"keys": [{"a": tru}]}"#] {
            assert!(parse(malformed.as_bytes()).is_err(), "{malformed}");
        }
        assert!(matches!(parse(b"[]"), Ok(Keys::Missing)));
        assert!(matches!(parse(br#"{"keys": {"a": 1}}"#), Ok(Keys::Missing)));
    }
}
