//! `LONGSHORE_TENANT_LIMITS`: the limits of all tenants, which an operator sets although tenants write their own files.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    config::{
        defaults::{Terms, level},
        files::yaml,
    },
    settings::{Content, Cursor, Form as _, Node, Notes, Origin, Path, Place, Problems, Scalar, Variables},
    tenants::{Limits, LimitsLayer},
};

use super::{Environment, PREFIX, place};

const NAME: &str = "TENANT_LIMITS";

/// More values than all limits together have.
const MAX_VALUES: usize = 100;

/// A mapping in YAML.
pub(crate) struct Mapping;

impl Scalar for Mapping {
    type Value = String;

    fn expected() -> String {
        "a mapping in YAML or JSON, such as {max_in_flight: 200}".to_owned()
    }

    fn form() -> String {
        "mapping".to_owned()
    }

    fn from_text(text: &str) -> Result<String, String> {
        Ok(text.to_owned())
    }

    fn show(value: &String) -> Option<String> {
        Some(value.clone())
    }

    fn schema() -> Value {
        json!({"type": "string"})
    }
}

/// What applies to all tenants files.
pub(crate) fn terms(environment: &Environment, variables: &Arc<Variables>, problems: &mut Problems) -> Terms {
    let is_set = |name: &str| variables.text(&format!("{PREFIX}{name}")).is_ok_and(|text| text.is_some());
    // A check without secrets runs where the server's variables are not known.
    let has_replicas = is_set("REPLICAS") || variables.skip_secrets();
    let mut tenant_limits = LimitsLayer::default();
    if let Some(text) = &environment.tenant_limits {
        let notes = Notes::new("", variables);
        tenant_limits = level(read(text, &notes), has_replicas, &notes);
        problems.append(notes.take(&place(NAME)));
    }
    Terms { is_trusted: environment.tenants_trusted, has_replicas, tenant_limits }
}

fn read(text: &str, notes: &Notes) -> LimitsLayer {
    let name = format!("{PREFIX}{NAME}");
    match yaml::parse(text, MAX_VALUES) {
        Ok(root) => {
            let root = in_variable(root, &name);
            Limits::read(Cursor::new(&root, &Path::Start(""), notes)).unwrap_or_default()
        }
        Err(malformed) => {
            notes.problem_at(Place::variable(name), malformed.text);
            LimitsLayer::default()
        }
    }
}

/// The same tree, with the variable as the place of every value.
fn in_variable(node: Node, name: &str) -> Node {
    let content = match node.content {
        Content::List(items) => {
            Content::List(items.into_iter().map(|item| in_variable(item, name)).collect())
        }
        Content::Mapping(pairs) => {
            let pairs = pairs.into_iter();
            Content::Mapping(
                pairs.map(|(key, value)| (in_variable(key, name), in_variable(value, name))).collect(),
            )
        }
        other => other,
    };
    Node { origin: Origin::Variable(name.to_owned()), content }
}
