//! Forms that consist of other forms.

use std::marker::PhantomData;

use serde_json::{Value, json};

use super::{Content, Cursor, Field, Form};

/// A setting without a default: `None` if it is not given.
pub(crate) struct Optional<F>(PhantomData<F>);

impl<F: Form> Form for Optional<F> {
    type Layer = F::Layer;
    type Value = Option<F::Value>;
    const IS_SECRET: bool = F::IS_SECRET;

    fn read(cursor: Cursor<'_>) -> Option<F::Layer> {
        F::read(cursor)
    }

    fn over(upper: F::Layer, lower: &F::Layer) -> F::Layer {
        F::over(upper, lower)
    }

    fn resolve(layer: &F::Layer) -> Option<F::Value> {
        Some(F::resolve(layer))
    }

    fn show(value: &Option<F::Value>) -> Option<String> {
        value.as_ref().and_then(F::show)
    }

    fn form() -> String {
        F::form()
    }

    fn schema() -> Value {
        F::schema()
    }
}

/// A list, which the JSON Schema requires to have at least `MIN` items.
pub(crate) struct List<F, const MIN: usize = 0, const MAX: usize = { usize::MAX }>(PhantomData<F>);

impl<F: Form, const MIN: usize, const MAX: usize> Form for List<F, MIN, MAX> {
    type Layer = Vec<Field<F>>;
    type Value = Vec<F::Value>;

    fn read(cursor: Cursor<'_>) -> Option<Vec<Field<F>>> {
        if let Content::List(items) = cursor.content()
            && items.len() > MAX
        {
            cursor.note(format!("has {} items: at most {MAX} are allowed", items.len()));
            return None;
        }
        let mut items = Vec::new();
        cursor.each_item(|item| items.push(Field::read(item)))?;
        Some(items)
    }

    fn resolve(layer: &Vec<Field<F>>) -> Vec<F::Value> {
        layer.iter().filter_map(Field::value).collect()
    }

    fn form() -> String {
        format!("list: {}", F::form())
    }

    fn schema() -> Value {
        let mut schema = json!({"type": "array", "items": F::schema(), "minItems": MIN});
        if MAX < usize::MAX {
            schema["maxItems"] = MAX.into();
        }
        schema
    }
}

/// A mapping with the names of tenants or stores as keys, in the order of the file.
pub(crate) struct Entries<F>(PhantomData<F>);

/// The entries of a mapping with their names.
pub(crate) type Named<F> = Vec<(String, Field<F>)>;

impl<F: Form> Form for Entries<F> {
    type Layer = Named<F>;
    type Value = Vec<(String, F::Value)>;

    fn read(cursor: Cursor<'_>) -> Option<Named<F>> {
        let mut entries = Vec::new();
        cursor.each_key(|name, value| entries.push((name.to_owned(), Field::read(value))))?;
        Some(entries)
    }

    fn resolve(layer: &Named<F>) -> Vec<(String, F::Value)> {
        layer.iter().filter_map(|(name, field)| Some((name.clone(), field.value()?))).collect()
    }

    fn form() -> String {
        "mapping".to_owned()
    }

    fn schema() -> Value {
        json!({
            "type": "object",
            "additionalProperties": F::schema(),
            "minProperties": 1,
            "propertyNames": {"pattern": "^[a-z0-9_-][a-z0-9._-]{0,63}$"},
        })
    }
}
