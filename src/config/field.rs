//! Optional settings with their places, and how layers of them are merged.

use std::{fmt, marker::PhantomData};

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::problem::PlaceId;

/// The newtype name by which a `Field` asks the deserializer for the value's place as well.
pub(super) const FIELD: &str = "longshore::config::Field";

/// A setting and its place. It may be missing, or given with an invalid value, for which a problem has been recorded.
///
/// Reading a field never fails, so that the rest of its mapping is read and every problem in it is found.
pub(super) struct Field<T> {
    value: Option<T>,
    place_id: Option<PlaceId>,
}

impl<T> Field<T> {
    /// A value derived from another setting, at the place of that setting.
    pub(super) fn derived(value: T, place_id: Option<PlaceId>) -> Self {
        Self { value: Some(value), place_id }
    }

    /// Whether the setting is given, with a valid or an invalid value.
    pub(super) fn is_given(&self) -> bool {
        self.place_id.is_some()
    }

    /// Where the setting is given.
    pub(super) fn place_id(&self) -> Option<PlaceId> {
        self.place_id
    }

    pub(super) fn get(&self) -> Option<&T> {
        self.value.as_ref()
    }

    /// The value with its place.
    pub(super) fn placed(&self) -> Option<(&T, PlaceId)> {
        self.value.as_ref().zip(self.place_id)
    }

    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Field<U> {
        Field { value: self.value.map(change), place_id: self.place_id }
    }

    pub(super) fn into_value(self) -> Option<T> {
        self.value
    }
}

impl<T> Default for Field<T> {
    fn default() -> Self {
        Self { value: None, place_id: None }
    }
}

impl<T: Clone> Clone for Field<T> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), place_id: self.place_id }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(FIELD, FieldVisitor(PhantomData))
    }
}

struct FieldVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for FieldVisitor<T> {
    type Value = Field<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a setting")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Field<T>, A::Error> {
        let number = seq.next_element::<u64>()?.and_then(|number| usize::try_from(number).ok());
        // An error has already been recorded at its place.
        let value = seq.next_element::<T>().unwrap_or_default();
        Ok(Field { value, place_id: number.map(PlaceId::from_number) })
    }
}

/// Settings that can be merged: a store's override its tenant's, which override the file's defaults.
pub(super) trait Layer: Clone {
    /// These settings, with missing ones taken from `base`.
    fn over(self, _base: &Self) -> Self {
        self
    }
}

impl<T: Layer> Layer for Field<T> {
    fn over(self, base: &Self) -> Self {
        match (self, base) {
            (Field { value: Some(own), place_id }, Field { value: Some(base), .. }) => {
                Field { value: Some(own.over(base)), place_id }
            }
            (own, _) if own.is_given() => own,
            _ => base.clone(),
        }
    }
}

/// Declares a mapping of optional settings, and implements reading and merging for it.
macro_rules! sparse {
    ($(#[$meta:meta])* $name:ident, $kind:literal { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Default, serde::Deserialize)]
        #[serde(default, deny_unknown_fields, rename = $kind)]
        pub(super) struct $name {
            $($(#[$field_meta])* pub(super) $field: $crate::config::field::Field<$type>,)*
        }

        impl $crate::config::field::Layer for $name {
            fn over(self, base: &Self) -> Self {
                Self { $($field: $crate::config::field::Layer::over(self.$field, &base.$field),)* }
            }
        }
    };
}
pub(super) use sparse;

/// A mapping with arbitrary names as keys, in the order of the file.
pub(super) struct Entries<T>(pub(super) Vec<(String, Field<T>)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor(PhantomData))
    }
}

struct EntriesVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for EntriesVisitor<T> {
    type Value = Entries<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<T>, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Entries(entries))
    }
}
