//! The names of the served methods, as they appear in metrics and logs.

use std::{collections::HashSet, sync::Arc};

use prost::Message;
use prost_types::FileDescriptorSet;

/// The name for every path that is not a served method. Callers choose paths, and a metric keeps each label value
/// forever.
const UNKNOWN: &str = "unknown";

/// Known methods, looked up by path. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Methods {
    names: Arc<HashSet<Arc<str>>>,
    unknown: Arc<str>,
}

impl Methods {
    /// Every method of our own services, health and reflection.
    pub(super) fn served() -> Self {
        Self::of(&[
            crate::pb::DESCRIPTOR_SET,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ])
    }

    /// Every method of the admin listener.
    pub(super) fn admin() -> Self {
        let callers = Self::of(&[crate::pb::DESCRIPTOR_SET]);
        let all = Self::of(&[
            crate::pb::ADMIN_DESCRIPTOR_SET,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ]);
        let names = all.names.difference(&callers.names).cloned().collect();
        Self { names: Arc::new(names), unknown: all.unknown }
    }

    fn of(descriptor_sets: &[&[u8]]) -> Self {
        let names = descriptor_sets
            .iter()
            // The sets are compiled in, and reflection fails to start if one cannot be decoded.
            .filter_map(|set| FileDescriptorSet::decode(*set).ok())
            .flat_map(|set| names(&set))
            .collect();
        Self { names: Arc::new(names), unknown: Arc::from(UNKNOWN) }
    }

    /// `package.Service/Method` for the path `/package.Service/Method` of a known method, `unknown` for any other path.
    pub(super) fn label(&self, path: &str) -> Arc<str> {
        let name = path.strip_prefix('/').and_then(|name| self.names.get(name));
        Arc::clone(name.unwrap_or(&self.unknown))
    }
}

fn names(set: &FileDescriptorSet) -> Vec<Arc<str>> {
    let mut names = Vec::new();
    for file in &set.file {
        for service in &file.service {
            for method in &service.method {
                names.push(Arc::from(format!("{}.{}/{}", file.package(), service.name(), method.name())));
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_served_methods_have_a_label_of_their_own() {
        let methods = Methods::served();
        assert_eq!(&*methods.label("/longshore.v1.ObjectService/Get"), "longshore.v1.ObjectService/Get");
        assert_eq!(&*methods.label("/grpc.health.v1.Health/Watch"), "grpc.health.v1.Health/Watch");
        assert_eq!(&*methods.label("/longshore.v1.ObjectService/Got"), "unknown");
        assert_eq!(&*methods.label("longshore.v1.ObjectService/Get"), "unknown");
        assert_eq!(&*methods.label("/"), "unknown");
        let called = "/longshore.v1.CredentialProviderService/GetCredentials";
        assert_eq!(&*methods.label(called), "unknown", "Longshore calls it, but does not serve it");
        assert_eq!(&*methods.label("/longshore.v1.AdminService/GetPool"), "unknown");
        let admin = Methods::admin();
        assert_eq!(&*admin.label("/longshore.v1.AdminService/GetPool"), "longshore.v1.AdminService/GetPool");
        assert_eq!(&*admin.label("/longshore.v1.ObjectService/Get"), "unknown");
    }
}
