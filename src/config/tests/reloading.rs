//! Reading the tenants again while the server runs.

use std::{collections::BTreeMap, fs, os::unix::fs::symlink, sync::Arc};

use crate::tenants::TenantSettings;

use super::*;

/// A folder of tenants files, and the tenants that are served from it.
struct World {
    folder: tempfile::TempDir,
    source: TenantsSource,
    served: BTreeMap<String, Arc<TenantSettings>>,
}

fn tenant(name: &str, bucket: &str) -> String {
    format!(
        "tenants: {{{name}: {{stores: {{s: {{bucket: {bucket}, credential_provider: {{type: anonymous}}}}}}}}}}"
    )
}

fn by_name(tenants: Vec<Arc<TenantSettings>>) -> BTreeMap<String, Arc<TenantSettings>> {
    tenants.into_iter().map(|tenant| (tenant.name.clone(), tenant)).collect()
}

impl World {
    fn new(files: &[(&str, String)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let loaded = load([("LONGSHORE_TENANTS_FILE".into(), folder.path().into())]).unwrap();
        let served = by_name(loaded.settings.server.tenants);
        Self { folder, source: loaded.source.unwrap(), served }
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// Reads the files again, as the server does. Returns the names of stale and of rejected tenants.
    fn reload(&mut self) -> Result<[Vec<String>; 2], String> {
        assert!(self.source.has_changed());
        let reading = self.source.read(|name| self.served.get(name).cloned());
        let accepted = self.source.accept(reading, |name| self.served.get(name).cloned()).unwrap();
        assert!(!self.source.has_changed(), "the same files are not read again");
        let Reloaded { tenants, stale, rejected, unusable, problems, .. } =
            accepted.map_err(|problems| named(&problems, self.folder.path()))?;
        assert_eq!(
            problems.is_empty(),
            stale.is_empty() && rejected.is_empty() && unusable.is_empty(),
            "{problems}"
        );
        self.served = by_name(tenants);
        Ok([stale, rejected])
    }

    /// The bucket of each tenant that is served.
    fn buckets(&self) -> Vec<(&str, &str)> {
        let bucket = |tenant: &TenantSettings| tenant.stores["s"].bucket.bucket.clone();
        self.served.iter().map(|(name, tenant)| (name.as_str(), &*bucket(tenant).leak())).collect()
    }
}

const NOTHING: [Vec<String>; 2] = [Vec::new(), Vec::new()];

#[test]
fn a_changed_a_new_and_a_removed_file_take_effect() {
    let mut world = World::new(&[("a.yaml", tenant("a", "first")), ("b.yaml", tenant("b", "second"))]);
    assert!(!world.source.has_changed());
    world.write("a.yaml", tenant("a", "other"));
    assert_eq!(world.reload().unwrap(), NOTHING);
    assert_eq!(world.buckets(), [("a", "other"), ("b", "second")]);
    world.write("c.yaml", tenant("c", "third"));
    fs::remove_file(world.folder.path().join("b.yaml")).unwrap();
    assert_eq!(world.reload().unwrap(), NOTHING);
    assert_eq!(world.buckets(), [("a", "other"), ("c", "third")]);
    world.write("notes.txt", "no tenants file");
    assert!(!world.source.has_changed());
}

#[test]
fn a_tenant_that_becomes_invalid_keeps_its_last_valid_settings() {
    let mut world = World::new(&[("a.yaml", tenant("a", "first")), ("b.yaml", tenant("b", "second"))]);
    world.write("a.yaml", tenant("a", "'INVALID NAME'"));
    world.write("b.yaml", tenant("b", "other"));
    world.write("c.yaml", tenant("new", "'INVALID NAME'"));
    assert_eq!(world.reload().unwrap(), [vec!["a".to_owned()], vec!["new".to_owned()]]);
    assert_eq!(world.buckets(), [("a", "first"), ("b", "other")]);
    // It is still known where the tenant comes from.
    world.write("a.yaml", "tenants: {a: {");
    assert_eq!(world.reload().unwrap(), [vec!["a".to_owned()], vec!["new".to_owned()]]);
    fs::remove_file(world.folder.path().join("c.yaml")).unwrap();
    world.write("a.yaml", tenant("a", "mended"));
    assert_eq!(world.reload().unwrap(), NOTHING);
    assert_eq!(world.buckets(), [("a", "mended"), ("b", "other")]);
}

#[test]
fn all_tenants_of_a_file_that_cannot_be_used_keep_their_settings() {
    for broken in ["tenants: {a: {", "defaults: {nonsense: 1}\ntenants: {}", "", "tenants: \u{fffd}\u{0}"] {
        let mut world = World::new(&[("a.yaml", tenant("a", "first")), ("b.yaml", tenant("b", "second"))]);
        world.write("a.yaml", broken);
        world.write("b.yaml", tenant("b", "other"));
        assert_eq!(world.reload().unwrap(), [vec!["a".to_owned()], vec![]], "{broken}");
        assert_eq!(world.buckets(), [("a", "first"), ("b", "other")], "{broken}");
    }
}

#[test]
fn a_tenant_that_moves_out_of_a_file_that_cannot_be_used_is_served_from_its_new_file() {
    let mut world = World::new(&[("a.yaml", tenant("a", "first"))]);
    world.write("a.yaml", "tenants: {");
    world.write("b.yaml", tenant("a", "moved"));
    let reading = world.source.read(|name| world.served.get(name).cloned());
    let reloaded = world.source.accept(reading, |name| world.served.get(name).cloned()).unwrap().unwrap();
    assert_eq!((reloaded.tenants.len(), reloaded.stale.len()), (1, 0));
}

#[test]
fn a_tenant_that_moves_to_a_file_that_is_still_changing_keeps_its_settings() {
    let store = "{stores: {s: {bucket: first, credential_provider: {type: anonymous}}}}";
    let two_tenants = format!("tenants: {{a: {store}, b: {store}}}");
    let mut world = World::new(&[("a.yaml", two_tenants), ("c.yaml", tenant("c", "third"))]);
    world.write("a.yaml", tenant("a", "first"));
    world.write("b.yaml", tenant("b", "moved"));
    let reading = world.source.read(|name| world.served.get(name).cloned());
    world.write("b.yaml", format!("{} # more", tenant("b", "moved")));
    let reloaded = world.source.accept(reading, |name| world.served.get(name).cloned()).unwrap().unwrap();
    world.served = by_name(reloaded.tenants);
    assert_eq!(world.buckets(), [("a", "first"), ("b", "first"), ("c", "third")]);
    assert_eq!(world.reload().unwrap(), NOTHING);
    assert_eq!(world.buckets(), [("a", "first"), ("b", "moved"), ("c", "third")]);
}

#[test]
fn if_no_tenant_would_be_left_the_reload_fails_with_every_problem() {
    let mut world = World::new(&[("a.yaml", tenant("a", "first"))]);
    fs::remove_file(world.folder.path().join("a.yaml")).unwrap();
    let text = world.reload().unwrap_err();
    assert!(text.contains("contains no *.yaml"), "{text}");
    assert_eq!(world.buckets(), [("a", "first")]);
    world.write("a.yaml", tenant("a", "second"));
    assert_eq!(world.reload().unwrap(), NOTHING);
    assert_eq!(world.buckets(), [("a", "second")]);
}

#[test]
fn secrets_in_files_are_part_of_the_settings() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    fs::write(secret.path(), "first").unwrap();
    let path = secret.path().display();
    let keys = format!("config: {{access_key_id: AKID, secret_access_key: {{file: {path}}}}}");
    let mut world =
        World::new(&[("a.yaml", format!("tenants: {{a: {{stores: {{s: {{bucket: abc, {keys}}}}}}}}}"))]);
    let before = world.served.clone();
    fs::write(secret.path(), "second").unwrap();
    assert_eq!(world.reload().unwrap(), NOTHING);
    assert_ne!(world.served, before);
    fs::remove_file(secret.path()).unwrap();
    assert_eq!(world.reload().unwrap(), [vec!["a".to_owned()], vec![]]);
    fs::write(secret.path(), "first").unwrap();
    assert_eq!(world.reload().unwrap(), NOTHING);
    assert_eq!(world.served, before);
}

#[test]
fn a_kubernetes_volume_is_replaced_by_its_symbolic_link() {
    let mut world = World::new(&[("placeholder.yaml", tenant("placeholder", "zzz"))]);
    let folder = world.folder.path().to_owned();
    for (generation, bucket) in [("..one", "first"), ("..two", "second")] {
        fs::create_dir(folder.join(generation)).unwrap();
        fs::write(folder.join(generation).join("t.yaml"), tenant("a", bucket)).unwrap();
    }
    symlink("..one", folder.join("..data")).unwrap();
    symlink("..data/t.yaml", folder.join("t.yaml")).unwrap();
    assert_eq!(world.reload().unwrap(), NOTHING);
    assert_eq!(world.buckets()[0], ("a", "first"));
    symlink("..two", folder.join("..new")).unwrap();
    fs::rename(folder.join("..new"), folder.join("..data")).unwrap();
    assert_eq!(world.reload().unwrap(), NOTHING);
    assert_eq!(world.buckets()[0], ("a", "second"));
}

#[test]
fn a_file_that_keeps_changing_keeps_its_tenants_and_the_others_change() {
    let mut world = World::new(&[("a.yaml", tenant("a", "first")), ("b.yaml", tenant("b", "second"))]);
    world.write("a.yaml", tenant("a", "other"));
    fs::remove_file(world.folder.path().join("b.yaml")).unwrap();
    let reading = world.source.read(|name| world.served.get(name).cloned());
    world.write("a.yaml", tenant("a", "third"));
    let reloaded = world.source.accept(reading, |name| world.served.get(name).cloned()).unwrap().unwrap();
    assert_eq!((reloaded.changing, reloaded.stale.len()), (1, 0));
    world.served = by_name(reloaded.tenants);
    assert_eq!(world.buckets(), [("a", "first")]);
    assert_eq!(world.reload().unwrap(), NOTHING);
    assert_eq!(world.buckets(), [("a", "third")]);
}

#[test]
fn a_reading_of_another_set_of_files_does_not_count() {
    let mut world = World::new(&[("a.yaml", tenant("a", "first"))]);
    let reading = world.source.read(|name| world.served.get(name).cloned());
    world.write("b.yaml", tenant("b", "second"));
    assert!(world.source.accept(reading, |_| None).is_none());
    assert_eq!(world.reload().unwrap(), NOTHING);
}

#[test]
fn a_new_file_that_cannot_be_used_is_reported() {
    let mut world = World::new(&[("a.yaml", tenant("a", "first"))]);
    world.write("b.yaml", "tenants: {b: {");
    let reading = world.source.read(|name| world.served.get(name).cloned());
    let reloaded = world.source.accept(reading, |name| world.served.get(name).cloned()).unwrap().unwrap();
    assert_eq!(
        (reloaded.tenants.len(), reloaded.unusable.len(), reloaded.problems.is_empty()),
        (1, 1, false)
    );
}

#[test]
fn a_pipe_among_the_files_does_not_block() {
    let mut world = World::new(&[("a.yaml", tenant("a", "first"))]);
    let pipe = world.folder.path().join("b.yaml");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let reading = world.source.read(|name| world.served.get(name).cloned());
    let reloaded = world.source.accept(reading, |name| world.served.get(name).cloned()).unwrap().unwrap();
    assert_eq!(reloaded.unusable, [pipe.display().to_string()]);
    let text = reloaded.problems.to_string();
    assert!(text.contains("it is not a regular file"), "{text}");
}

#[test]
fn tenants_of_unchanged_files_keep_the_same_settings_in_memory() {
    let warned = "tenants: {w: {stores: {s: {bucket: first, prefix: $PREFIX, \
                  credential_provider: {type: anonymous}}}}}";
    let mut world = World::new(&[
        ("a.yaml", tenant("a", "first")),
        ("b.yaml", tenant("b", "second")),
        ("w.yaml", warned.to_owned()),
    ]);
    let before = world.served.clone();
    world.write("a.yaml", tenant("a", "other"));
    assert_eq!(world.reload().unwrap(), NOTHING);
    let is_same = |name| Arc::ptr_eq(&before[name], &world.served[name]);
    assert!(is_same("b") && !is_same("a"));
    // So that the warning is logged again.
    assert!(!is_same("w"));
}

#[test]
fn a_tenant_of_an_unchanged_file_is_rejected_when_another_file_defines_it_too_and_comes_back_later() {
    let mut world = World::new(&[("a.yaml", tenant("a", "first")), ("b.yaml", tenant("b", "second"))]);
    world.write("c.yaml", tenant("b", "third"));
    assert_eq!(world.reload().unwrap(), [vec!["b".to_owned()], Vec::new()]);
    assert_eq!(world.buckets(), [("a", "first"), ("b", "second")]);
    world.write("b.yaml", tenant("b", "fourth"));
    assert_eq!(world.reload().unwrap(), [vec!["b".to_owned()], Vec::new()]);
    fs::remove_file(world.folder.path().join("c.yaml")).unwrap();
    assert_eq!(world.reload().unwrap(), NOTHING);
    assert_eq!(world.buckets(), [("a", "first"), ("b", "fourth")]);
}

#[test]
fn after_a_reload_without_any_valid_tenant_the_same_files_take_effect() {
    let mut world = World::new(&[("a.yaml", tenant("a", "first"))]);
    world.write("a.yaml", "tenants: {}");
    assert!(world.reload().is_err());
    assert_eq!(world.buckets(), [("a", "first")]);
    world.write("a.yaml", tenant("a", "other"));
    assert_eq!(world.reload().unwrap(), NOTHING);
    assert_eq!(world.buckets(), [("a", "other")]);
}

#[test]
fn a_reload_warns_of_names_for_which_callers_are_not_asked() {
    let mut world = World::new(&[("a.yaml", tenant("a", "first"))]);
    let callers = "callers: [{name: b, access: [read], san: b.internal}], stores";
    world.write("a.yaml", tenant("a", "first").replace("stores", callers));
    let reading = world.source.read(|_| None);
    let reloaded = world.source.accept(reading, |_| None).unwrap().unwrap();
    let warnings = reloaded.warnings.to_string();
    assert!(
        warnings.starts_with("LONGSHORE_TLS_CLIENT_CA: is not set, so no caller is identified"),
        "{warnings}"
    );
}
