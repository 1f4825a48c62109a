//! Which grants each method of the API needs: the table that explanations use. The services check the same grants where
//! they open a store; `tests/python/test_access.py` calls every method with every kind of grant to prove it.

use super::Access;

/// A method of the services for callers, and what it needs of the caller's grants.
#[derive(Debug, PartialEq, Eq)]
pub struct Method {
    /// The service's name, without the package, such as `ObjectService`.
    pub service: &'static str,
    /// The method's name, such as `Get`.
    pub name: &'static str,
    /// What every call of the method needs.
    pub needs: Needs,
    /// What a call needs in addition if a field of the request is set: the field, and the grants.
    pub option: Option<(&'static str, &'static [Requirement])>,
    /// What a call needs in addition, depending on the value of a field that it must set: each value, and the grants.
    pub choices: &'static [(&'static str, &'static [Requirement])],
}

/// What a call needs of the caller's grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: the response contains only what the caller's grants cover.
    Nothing,
    /// Any grant that covers the store.
    AnyGrant,
    /// Each of these.
    Each(&'static [Requirement]),
}

/// One access that a call needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requirement {
    /// The kind of access.
    pub access: Access,
    /// What it is needed for.
    pub target: Target,
}

/// What an access is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The key of the call; of Copy and Rename, the destination's.
    Key,
    /// The source's key of Copy and Rename.
    SourceKey,
    /// Every key with the prefix of the call; of CopyPrefix, the destination's.
    Prefix,
    /// Every key with the source's prefix of CopyPrefix.
    SourcePrefix,
    /// Every key of the store.
    AllKeys,
}

const fn each(service: &'static str, name: &'static str, requirements: &'static [Requirement]) -> Method {
    Method { service, name, needs: Needs::Each(requirements), option: None, choices: &[] }
}

const fn on(target: Target, access: Access) -> Requirement {
    Requirement { access, target }
}

const OBJECTS: &str = "ObjectService";
const BUCKETS: &str = "BucketService";
const STORES: &str = "StoreService";
const UPLOADS: &str = "UploadService";

const READ: &[Requirement] = &[on(Target::Key, Access::Read)];
const WRITE: &[Requirement] = &[on(Target::Key, Access::Write)];
const DELETE: &[Requirement] = &[on(Target::Key, Access::Delete)];
const LIST: &[Requirement] = &[on(Target::Prefix, Access::List)];
const SIGN: &[Requirement] = &[on(Target::Key, Access::Sign)];
const SIGN_WRITE: &[Requirement] = &[on(Target::Key, Access::Sign), on(Target::Key, Access::Write)];
const SIGN_METHODS: &[(&str, &[Requirement])] =
    &[("method: GET", READ), ("method: HEAD", READ), ("method: PUT", WRITE), ("method: DELETE", DELETE)];
const COPY: &[Requirement] = &[on(Target::Key, Access::Write), on(Target::SourceKey, Access::Read)];
const RENAME: &[Requirement] = &[
    on(Target::Key, Access::Write),
    on(Target::SourceKey, Access::Read),
    on(Target::SourceKey, Access::Delete),
];
const BUCKET_ADMIN: &[Requirement] = &[on(Target::AllKeys, Access::BucketAdmin)];
const COPY_PREFIX: &[Requirement] = &[
    on(Target::Prefix, Access::Write),
    on(Target::SourcePrefix, Access::Read),
    on(Target::SourcePrefix, Access::List),
];
const DELETE_PREFIX: &[Requirement] = &[on(Target::Prefix, Access::List), on(Target::Prefix, Access::Delete)];
const PROBE: &[Requirement] = &[on(Target::AllKeys, Access::Write), on(Target::AllKeys, Access::Delete)];

/// Every method of the services for callers.
pub const METHODS: &[Method] = &[
    each(OBJECTS, "Head", READ),
    each(OBJECTS, "Get", READ),
    each(OBJECTS, "GetRanges", READ),
    each(OBJECTS, "Put", WRITE),
    each(OBJECTS, "Upload", WRITE),
    each(OBJECTS, "List", LIST),
    each(OBJECTS, "Walk", LIST),
    each(OBJECTS, "ListVersions", LIST),
    each(OBJECTS, "WalkVersions", LIST),
    each(OBJECTS, "Restore", WRITE),
    each(OBJECTS, "Copy", COPY),
    each(OBJECTS, "Rename", RENAME),
    each(OBJECTS, "CopyWithProgress", COPY),
    each(OBJECTS, "RenameWithProgress", RENAME),
    each(OBJECTS, "CopyPrefix", COPY_PREFIX),
    each(OBJECTS, "DeletePrefix", DELETE_PREFIX),
    each(OBJECTS, "Delete", DELETE),
    // Each key is checked, and the key is in the error if its deletion is not granted.
    each(OBJECTS, "DeleteMany", DELETE),
    // Each key is checked before any URL is made.
    Method { choices: SIGN_METHODS, ..each(OBJECTS, "Sign", SIGN) },
    // With a key prefix, the access is needed for all keys with the prefix.
    each(OBJECTS, "SignPost", SIGN_WRITE),
    each(OBJECTS, "GetTags", READ),
    each(OBJECTS, "PutTags", WRITE),
    each(OBJECTS, "DeleteTags", WRITE),
    each(BUCKETS, "GetBucket", BUCKET_ADMIN),
    Method { needs: Needs::Nothing, ..each(BUCKETS, "ListBuckets", &[]) },
    each(BUCKETS, "GetBucketCors", BUCKET_ADMIN),
    each(BUCKETS, "PutBucketCors", BUCKET_ADMIN),
    each(BUCKETS, "DeleteBucketCors", BUCKET_ADMIN),
    Method { needs: Needs::Nothing, ..each(STORES, "ListStores", &[]) },
    Method { needs: Needs::AnyGrant, ..each(STORES, "GetStore", &[]) },
    Method {
        needs: Needs::AnyGrant,
        option: Some(("probe_writes", PROBE)),
        ..each(STORES, "CheckStore", &[])
    },
    each(UPLOADS, "StartUpload", WRITE),
    each(UPLOADS, "WriteUpload", WRITE),
    each(UPLOADS, "WriteUploadWithProgress", WRITE),
    each(UPLOADS, "QueryUpload", WRITE),
    each(UPLOADS, "SignParts", SIGN_WRITE),
    each(UPLOADS, "FinishUpload", WRITE),
    each(UPLOADS, "FinishUploadWithProgress", WRITE),
    each(UPLOADS, "CancelUpload", WRITE),
    each(UPLOADS, "ListUploads", LIST),
];

impl Method {
    /// The method with this name: `Get`, `ObjectService/Get` or `longshore.v1.ObjectService/Get`.
    pub fn named(name: &str) -> Option<&'static Self> {
        let name = name.strip_prefix('/').unwrap_or(name);
        let name = name.strip_prefix("longshore.v1.").unwrap_or(name);
        METHODS.iter().find(|method| match name.split_once('/') {
            Some((service, name)) => method.service == service && method.name == name,
            None => method.name == name,
        })
    }

    /// Whether a call has a source besides its key.
    pub fn has_source(&self) -> bool {
        let Needs::Each(requirements) = self.needs else { return false };
        requirements
            .iter()
            .any(|requirement| matches!(requirement.target, Target::SourceKey | Target::SourcePrefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_found_by_its_short_and_its_full_name() {
        for name in
            ["Get", "ObjectService/Get", "longshore.v1.ObjectService/Get", "/longshore.v1.ObjectService/Get"]
        {
            assert_eq!(Method::named(name).unwrap().name, "Get", "{name}");
        }
        for name in ["get", "StoreService/Get", "longshore.v2.ObjectService/Get", "", "/"] {
            assert_eq!(Method::named(name), None, "{name}");
        }
    }

    #[test]
    fn names_are_unique_without_the_service() {
        let mut names: Vec<_> = METHODS.iter().map(|method| method.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), METHODS.len());
    }
}
