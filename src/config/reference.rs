//! What the declarations of all settings generate: the JSON Schema of the tenants file, and the tables of
//! docs/CONFIG-REFERENCE.md.

use serde_json::{Value, json};

use crate::settings::object;

use super::files::TenantsFile;

/// The JSON Schema (draft 2020-12) of the tenants file.
pub fn schema() -> Value {
    let mut schema = object::<TenantsFile>();
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("Longshore tenants file");
    schema["patternProperties"] = json!({"^x-": {}});
    schema
}
