//! `from_env: true`: `AWS_*` variables for the keys that a store does not set.

use crate::{
    s3::BucketSettings,
    settings::{Cursor, Node, NotText, Notes, Path, Place, Section},
    transport::ClientOptions,
};

/// The settings of the section `name` from the variables, for the store at `path`. Of the variables of one setting, the
/// first that is set and not empty is used.
pub(super) fn section<S: Section>(path: &str, name: &str, notes: &Notes) -> S::Layer {
    let mut layer = S::Layer::default();
    let start = Path::Start(path);
    let section = Path::Key(&start, name);
    for setting in S::settings() {
        let path = Path::Key(&section, setting.name);
        let set = setting.variables.iter().find_map(|name| match notes.variables().text(name) {
            Ok(Some("") | None) => None,
            Ok(Some(text)) => Some(Node::variable(name, text)),
            Err(NotText) => {
                notes.problem_at(Place::variable(name).at(path.to_string()), NotText::TEXT);
                None
            }
        });
        if let Some(node) = set {
            S::read_key(&mut layer, setting.name, Cursor::new(&node, &path, notes));
        }
    }
    layer
}

/// Records a problem for each variable that is set, and that would change the requests to S3 if this version supported
/// it. Variables of credential sources are ignored instead: the store's credentials come from its own keys, from its
/// `credential_provider`, or from the variables of an access key.
pub(super) fn refuse_unsupported(path: &str, notes: &Notes) {
    for (key, _) in [BucketSettings::rejected(), ClientOptions::rejected()].concat() {
        let name = format!("AWS_{}", key.to_ascii_uppercase());
        let off = |text: &str| text.is_empty() || matches!(text.to_ascii_lowercase().as_str(), "false" | "0");
        if notes.variables().text(&name).is_ok_and(|text| text.is_none_or(off)) {
            continue;
        }
        notes.problem_at(
            Place::variable(name).at(path),
            "is not supported by this version: unset it, or remove `from_env` from the store",
        );
    }
}
