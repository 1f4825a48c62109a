//! The macro that declares settings.

use super::{Cursor, Field, Form};

/// Declares the settings of one mapping, once for all uses of them. For
///
/// ```ignore
/// settings! {
///     /// How something is done.
///     pub struct Options(OptionsLayer), variables "AWS_" {
///         /// How long it may take.
///         timeout ["time_limit"]: Duration as Timeout = Duration::from_secs(5),
///     }
/// }
/// ```
///
/// it generates `struct Options { pub timeout: Duration }` with `Default`; `OptionsLayer`, what one source (a store, a
/// tenant, the variables) sets: the same fields, each optional; and `impl Section for Options`. The doc comment of a
/// field is its meaning in the reference and in the JSON Schema.
///
/// After the field's name:
/// - `= "key"`, if the key differs from the field's name.
/// - `["alias"]`: other names of the key.
/// - `{"VARIABLE"}`: the variables of this key, in the order in which they are tried, instead of those that `variables`
///   gives it.
///
/// `=> "text"` after a default describes it, if the value does not.
///
/// After the names of the struct and its layer:
/// - `variables "AWS_"`: the variable of a key, or of an alias, is this prefix and the name in capitals.
/// - `keys "aws_"`: each key may also be written with this prefix.
///
/// After the fields:
/// - `include { field: Section }`: the keys of another section belong to this mapping too.
/// - `besides { field: Type = default }`: fields that are not settings.
/// - `reject { "key" => "why" }`: keys that are known, but not supported.
macro_rules! settings {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident($layer:ident)
        $(, variables $prefix:literal)? $(, keys $key_prefix:literal)? {
            $(
                $(#[doc = $doc:expr])*
                $field:ident $(= $key:literal)? $([$($alias:literal),*])? $({$($variable:literal),*})?:
                    $type:ty as $form:ty = $default:expr $(=> $shown:literal)?,
            )*
        }
        $(include { $($(#[$included_meta:meta])* $included:ident: $included_type:ident,)* })?
        $(besides { $($(#[$other_meta:meta])* $other:ident: $other_type:ty = $other_default:expr,)* })?
        $(reject { $($rejected:literal => $why:expr,)* })?
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        $vis struct $name {
            $(
                $(#[doc = $doc])*
                #[doc = concat!("\n\nDefault: `", stringify!($default), "`.")]
                $vis $field: $type,
            )*
            $($($(#[$included_meta])* $vis $included: $included_type,)*)?
            $($($(#[$other_meta])* $vis $other: $other_type,)*)?
        }

        impl Default for $name {
            fn default() -> Self {
                <Self as $crate::settings::Section>::resolved(&Default::default())
            }
        }

        /// The settings of one source, each of which may be missing.
        #[derive(Clone, Default)]
        pub(crate) struct $layer {
            $(pub(crate) $field: $crate::settings::Field<$form>,)*
            $($(pub(crate) $included: <$included_type as $crate::settings::Section>::Layer,)*)?
        }

        impl $crate::settings::Section for $name {
            type Layer = $layer;

            const KEY_PREFIX: &'static str = concat!($($key_prefix)?);
            const VARIABLE_PREFIX: &'static str = concat!($($prefix)?);

            fn settings() -> Vec<$crate::settings::Setting> {
                let mut settings = Vec::new();
                $({
                    let name = $crate::settings::declare::key!($field $($key)?);
                    let aliases = vec![$($($alias),*)?];
                    settings.push($crate::settings::Setting {
                        name,
                        variables: $crate::settings::declare::variables!(
                            [Self::VARIABLE_PREFIX, name, &aliases] $({$($variable),*})?
                        ),
                        aliases,
                        meaning: concat!($($doc, "\n"),*),
                        form: <$form as $crate::settings::Form>::form,
                        default: $crate::settings::declare::default_text!(
                            [<$form as $crate::settings::Form>::show(&$default)] $($shown)?
                        ),
                        schema: <$form as $crate::settings::Form>::schema,
                    });
                })*
                $($(settings.extend(<$included_type as $crate::settings::Section>::settings());)*)?
                settings
            }

            fn read_key(layer: &mut $layer, key: &str, cursor: $crate::settings::Cursor<'_>) -> bool {
                let bare = key.strip_prefix(Self::KEY_PREFIX).unwrap_or(key);
                $(
                    let name = $crate::settings::declare::key!($field $($key)?);
                    if bare == name $($(|| bare == $alias)*)? {
                        $crate::settings::declare::read_field(&mut layer.$field, name, cursor);
                        return true;
                    }
                )*
                $($(
                    if <$included_type as $crate::settings::Section>::read_key(
                        &mut layer.$included,
                        key,
                        cursor,
                    ) {
                        return true;
                    }
                )*)?
                false
            }

            fn rejected() -> Vec<(&'static str, &'static str)> {
                let rejected = vec![$($(($rejected, $why),)*)?];
                $($(
                    let included = <$included_type as $crate::settings::Section>::rejected();
                    let rejected = [rejected, included].concat();
                )*)?
                rejected
            }

            fn merged(upper: $layer, lower: &$layer) -> $layer {
                $layer {
                    $($field: upper.$field.over(&lower.$field),)*
                    $($($included: <$included_type as $crate::settings::Section>::merged(
                        upper.$included,
                        &lower.$included,
                    ),)*)?
                }
            }

            fn resolved(layer: &$layer) -> Self {
                Self {
                    $($field: layer.$field.value().unwrap_or_else(|| $default),)*
                    $($($included: <$included_type as $crate::settings::Section>::resolved(
                        &layer.$included,
                    ),)*)?
                    $($($other: $other_default,)*)?
                }
            }

            fn shown(&self) -> Vec<(&'static str, String)> {
                let mut shown = Vec::new();
                $(
                    let text = <$form as $crate::settings::Form>::show(&self.$field);
                    shown.extend(text.map(|text| ($crate::settings::declare::key!($field $($key)?), text)));
                )*
                $($(shown.extend($crate::settings::Section::shown(&self.$included));)*)?
                shown
            }
        }

        impl $crate::settings::Form for $name {
            type Layer = $layer;
            type Value = Self;

            fn read(cursor: $crate::settings::Cursor<'_>) -> Option<$layer> {
                $crate::settings::read_section::<Self>(cursor)
            }

            fn over(upper: $layer, lower: &$layer) -> $layer {
                <Self as $crate::settings::Section>::merged(upper, lower)
            }

            fn resolve(layer: &$layer) -> Self {
                <Self as $crate::settings::Section>::resolved(layer)
            }

            fn form() -> String {
                "mapping".to_owned()
            }

            fn schema() -> serde_json::Value {
                $crate::settings::object::<Self>()
            }
        }
    };
}
pub(crate) use settings;

/// The name of a key: its own, or that of its field.
macro_rules! key {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $key:literal) => {
        $key
    };
}
pub(crate) use key;

/// The variables of a key: the given ones, or those that follow from the section's prefix.
macro_rules! variables {
    ([$prefix:expr, $name:expr, $aliases:expr] {$($variable:literal),*}) => {
        {
            let names: &[&str] = &[$($variable),*];
            names.iter().map(ToString::to_string).collect()
        }
    };
    ([$prefix:expr, $name:expr, $aliases:expr]) => {
        $crate::settings::declare::with_prefix($prefix, $name, $aliases)
    };
}
pub(crate) use variables;

/// The description of a default: the given one, or the value's own.
macro_rules! default_text {
    ([$value:expr] $text:literal) => {
        Some($text.to_owned())
    };
    ([$value:expr]) => {
        $value.map(|value| format!("`{value}`"))
    };
}
pub(crate) use default_text;

/// The environment variables of a key and its aliases. The one named after the key comes first. Empty if `prefix` is
/// empty: then the setting has no variables.
pub(crate) fn with_prefix(prefix: &str, name: &str, aliases: &[&str]) -> Vec<String> {
    if prefix.is_empty() {
        return Vec::new();
    }
    let names = std::iter::once(name).chain(aliases.iter().copied());
    names.map(|name| format!("{prefix}{}", name.to_ascii_uppercase())).collect()
}

/// Reads a field. Records a problem if another name of the same key was read before.
pub(crate) fn read_field<F: Form>(field: &mut Field<F>, name: &str, cursor: Cursor<'_>) {
    if field.is_given() {
        cursor.note(format!("sets `{name}` a second time under another name: remove one of the two keys"));
    } else {
        *field = Field::read(cursor);
    }
}
