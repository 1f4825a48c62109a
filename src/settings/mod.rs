//! How settings are declared, read and shown.
//!
//! A module declares each of its settings once, with [`settings!`](declare): the key, its other names, its form, its
//! default and its meaning. Everything else follows from the declaration: the struct that the program uses, the
//! environment variables, the values that the tenants file accepts, the hint for a misspelt key, the keys of
//! `config` and `client_options` that GetStore shows, the JSON Schema and the tables of docs/CONFIG-REFERENCE.md.
//!
//! `form` defines how a value is written; `scalars`, `durations`, `keywords`, `collections` and `secret`
//! are the forms. `tree` holds what was
//! read from a file or from variables, `cursor` a position in it, and `field` one setting with its place. A problem is
//! recorded with its place (`problem`), and reading continues, so that all of them are found in one run.

mod collections;
mod cursor;
pub(crate) mod declare;
mod durations;
mod field;
mod form;
mod keywords;
mod local_path;
mod or_unlimited;
mod path;
mod problem;
mod read_files;
mod scalars;
mod schema;
mod secret;
mod section;
mod suggest;
mod tree;
mod variables;

pub(crate) use collections::{Entries, List, Optional};
pub(crate) use cursor::Cursor;
pub(crate) use declare::settings;
pub(crate) use durations::{AtLeast, Period, TimeLimit, TimeLimitFrom, Timeout};
pub(crate) use field::Field;
pub(crate) use form::{Form, Scalar};
pub(crate) use keywords::{Keyword, Keywords};
pub(crate) use local_path::Folder;
pub use local_path::LocalPath;
pub(crate) use or_unlimited::OrUnlimited;
pub(crate) use path::{Path, quoted, shown_key};
pub(crate) use problem::{Notes, PlaceId};
pub use problem::{Place, Problem, Problems};
pub(crate) use read_files::ReadFiles;
pub(crate) use scalars::{Address, Count, Factor, FilePath, Flag, Number, Size, Text, VariableName};
pub(crate) use schema::{case_insensitive, object};
pub(crate) use secret::Secret;
pub use secret::SecretValue;
pub(crate) use section::{Section, Setting, read_section};
pub(crate) use suggest::suggestion;
pub(crate) use tree::{Content, Node, Origin};
pub use variables::Secrets;
pub(crate) use variables::{NotText, Variables};

/// The message for a setting that only later versions will support.
pub(crate) const UNSUPPORTED: &str = "is not supported by this version: remove it";

/// Why a file whose author is not trusted cannot use something of the server's.
pub(crate) const UNTRUSTED: &str = "which LONGSHORE_TENANTS_TRUSTED=false does not allow";
