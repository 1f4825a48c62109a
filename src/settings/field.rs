//! One setting with its place.

use super::{Content, Cursor, Form, PlaceId};

/// A setting and its place. It may be missing, or given with an invalid value, for which a problem has been recorded.
///
/// Reading a field never fails, so that the rest of its mapping is read and every problem in it is found.
pub(crate) struct Field<F: Form> {
    layer: Option<F::Layer>,
    place_id: Option<PlaceId>,
}

impl<F: Form> Field<F> {
    /// Reads the value that the cursor is at.
    pub(crate) fn read(cursor: Cursor<'_>) -> Self {
        let place_id = Some(cursor.notes().record_place(cursor.place()));
        warn_of_variable(cursor, F::IS_SECRET);
        Self { layer: F::read(cursor), place_id }
    }

    /// A value that follows from another setting, with the place of that setting.
    pub(crate) fn derived(layer: F::Layer, place_id: Option<PlaceId>) -> Self {
        Self { layer: Some(layer), place_id }
    }

    /// Whether the setting is given, with a valid or an invalid value.
    pub(crate) fn is_given(&self) -> bool {
        self.place_id.is_some()
    }

    /// Where the setting is given.
    pub(crate) fn place_id(&self) -> Option<PlaceId> {
        self.place_id
    }

    /// The parsed value, before defaults are applied. `None` if it is missing or invalid.
    pub(crate) fn get(&self) -> Option<&F::Layer> {
        self.layer.as_ref()
    }

    /// The value with its place.
    pub(crate) fn placed(&self) -> Option<(&F::Layer, PlaceId)> {
        self.layer.as_ref().zip(self.place_id)
    }

    /// The parsed value, before defaults are applied.
    pub(crate) fn into_layer(self) -> Option<F::Layer> {
        self.layer
    }

    /// The same setting, as another form that has the same layer.
    pub(crate) fn retyped<G: Form<Layer = F::Layer>>(self) -> Field<G> {
        Field { layer: self.layer, place_id: self.place_id }
    }

    /// The value to use. `None` if it is missing or invalid.
    pub(crate) fn value(&self) -> Option<F::Value> {
        self.layer.as_ref().map(F::resolve)
    }

    /// This setting over `lower`: its own value, merged with that of `lower` where both have one.
    pub(crate) fn over(self, lower: &Self) -> Self {
        match (self, &lower.layer) {
            (Self { layer: Some(upper), place_id }, Some(lower)) => {
                Self { layer: Some(F::over(upper, lower)), place_id }
            }
            (upper, _) if upper.is_given() => upper,
            _ => lower.clone(),
        }
    }
}

impl<F: Form> Default for Field<F> {
    fn default() -> Self {
        Self { layer: None, place_id: None }
    }
}

impl<F: Form> Clone for Field<F> {
    fn clone(&self) -> Self {
        Self { layer: self.layer.clone(), place_id: self.place_id }
    }
}

/// Records a warning if the value is `$NAME` or `${NAME}`, which other programs replace with the variable. The warning
/// does not show the value, which may be a secret after all.
fn warn_of_variable(cursor: Cursor<'_>, is_secret: bool) {
    let Content::Text(text) = cursor.content() else { return };
    let Some(name) = text.strip_prefix('$') else { return };
    let name = name.strip_prefix('{').map_or(name, |name| name.strip_suffix('}').unwrap_or_default());
    let plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    let named = name.bytes().all(plain) && !name.starts_with(|first: char| first.is_ascii_digit());
    if !named || !(1..=64).contains(&name.len()) {
        return;
    }
    let remedy = if is_secret {
        "to read the secret from a variable, write {env: NAME}"
    } else {
        "write the value itself"
    };
    cursor
        .notes()
        .warn(cursor.place(), format!("looks like a variable, which Longshore does not expand: {remedy}"));
}
