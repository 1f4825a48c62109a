//! The fields that the request of each method may contain, derived from the protos, and their limits.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use prost::Message as _;
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};

/// The maximum number of entries and of bytes of repeated fields, by the field's name. The limits are higher than S3's
/// (10 tags, 2 KiB of user metadata, 1,000 keys or ranges), so that S3 or the field's own check rejects a request that
/// is slightly too large.
const LISTS: &[(&str, u32, usize)] = &[
    ("metadata", 1_024, 16 * 1024),
    ("tags", 64, 64 * 1024),
    ("objects", 10_240, usize::MAX),
    ("rules", 128, 128 * 1024),
    ("part_etags", 10_240, 2 * 1024 * 1024),
    ("", 1_024, 4 * 1024 * 1024),
];

/// How many additional times a field that is not repeated may occur. A later value replaces an earlier one.
const MAX_REPLACEMENTS: u32 = 16;

/// The maximum nesting depth of messages that is scanned. No request type is that deep.
const DEEPEST: usize = 8;

/// The request of one method.
#[derive(Debug)]
pub(crate) struct Shape {
    /// The fields of the request.
    pub(super) fields: Vec<Field>,
    /// The number of fields at all depths. Every [`Field::id`] is below it.
    pub(super) ids: usize,
    /// Whether the method accepts any number of messages.
    pub(super) streaming: bool,
}

/// A field of a message.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) number: u32,
    /// The field's index among all fields of the request at all depths.
    pub(super) id: usize,
    /// The field's path from the request, such as `spec.attributes.metadata`.
    pub(super) path: Arc<str>,
    pub(super) kind: Kind,
    /// How often the field may occur in a request in total.
    pub(super) most: u32,
    /// How many bytes the field may have in a request in total. `None`: its bytes count towards the limit for all other
    /// fields.
    pub(super) most_bytes: Option<usize>,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// A number or a text.
    Plain,
    /// Bytes of an object. Only the limit of the message applies to them.
    Payload,
    /// A message with these fields.
    Message(Vec<Field>),
}

/// The shape of the requests to this path. `None` for methods of other services.
pub(crate) fn shape(path: &str) -> Option<&'static Shape> {
    static SHAPES: LazyLock<HashMap<String, Shape>> = LazyLock::new(|| {
        // The descriptor set is compiled in, and reflection does not start if it cannot be decoded.
        FileDescriptorSet::decode(crate::pb::DESCRIPTOR_SET).map(|set| shapes(&set)).unwrap_or_default()
    });
    SHAPES.get(path)
}

fn shapes(set: &FileDescriptorSet) -> HashMap<String, Shape> {
    let mut types = HashMap::new();
    for file in &set.file {
        add_types(&format!(".{}", file.package()), &file.message_type, &mut types);
    }
    let mut shapes = HashMap::new();
    for file in &set.file {
        for service in &file.service {
            for method in &service.method {
                let mut builder = Builder { types: &types, ids: 0 };
                let fields = builder.fields(method.input_type(), "", 1, None, 0);
                let shape = Shape { fields, ids: builder.ids, streaming: method.client_streaming() };
                shapes.insert(format!("/{}.{}/{}", file.package(), service.name(), method.name()), shape);
            }
        }
    }
    shapes
}

fn add_types<'a>(
    scope: &str,
    messages: &'a [DescriptorProto],
    types: &mut HashMap<String, &'a DescriptorProto>,
) {
    for message in messages {
        let name = format!("{scope}.{}", message.name());
        add_types(&name, &message.nested_type, types);
        types.insert(name, message);
    }
}

struct Builder<'a> {
    types: &'a HashMap<String, &'a DescriptorProto>,
    ids: usize,
}

impl Builder<'_> {
    /// The fields of a message that may occur `times` times in the request.
    fn fields(
        &mut self,
        name: &str,
        parent: &str,
        times: u32,
        bytes: Option<usize>,
        depth: usize,
    ) -> Vec<Field> {
        let Some(message) = self.types.get(name).filter(|_| depth < DEEPEST) else { return Vec::new() };
        message.field.iter().map(|field| self.field(field, parent, times, bytes, depth)).collect()
    }

    fn field(
        &mut self,
        field: &FieldDescriptorProto,
        parent: &str,
        times: u32,
        bytes: Option<usize>,
        depth: usize,
    ) -> Field {
        let path =
            if parent.is_empty() { field.name().to_owned() } else { format!("{parent}.{}", field.name()) };
        let list = LISTS.iter().find(|(name, ..)| name.is_empty() || *name == field.name());
        let (times, most_bytes) = match list.filter(|_| field.label() == Label::Repeated) {
            Some((_, entries, most_bytes)) => (times.saturating_mul(*entries), Some(*most_bytes)),
            None => (times, bytes),
        };
        let most =
            if field.label() == Label::Repeated { times } else { times.saturating_add(MAX_REPLACEMENTS) };
        let id = self.ids;
        self.ids += 1;
        let kind = match field.r#type() {
            Type::Bytes => Kind::Payload,
            Type::Message => {
                Kind::Message(self.fields(field.type_name(), &path, times, most_bytes, depth + 1))
            }
            _ => Kind::Plain,
        };
        let number = u32::try_from(field.number()).unwrap_or_default();
        Field { number, id, path: path.into(), kind, most, most_bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(fields: &[Field]) -> Vec<&Field> {
        let mut found = Vec::new();
        for field in fields {
            found.push(field);
            if let Kind::Message(fields) = &field.kind {
                found.extend(all(fields));
            }
        }
        found
    }

    #[test]
    fn every_method_has_a_shape_with_its_limits() {
        let most = |method: &str, path: &str| {
            let shape = shape(&format!("/longshore.v1.{method}")).unwrap();
            all(&shape.fields).iter().find(|field| &*field.path == path).unwrap().most
        };
        assert_eq!(most("ObjectService/Put", "tags"), 64);
        assert_eq!(most("ObjectService/Put", "attributes.metadata"), 1_024);
        assert_eq!(most("ObjectService/GetRanges", "ranges"), 1_024);
        assert_eq!(most("ObjectService/Sign", "keys"), 1_024);
        assert_eq!(most("ObjectService/DeleteMany", "objects"), 10_240);
        assert_eq!(most("BucketService/PutBucketCors", "rules"), 128);
        assert!(shape("/longshore.v1.ObjectService/DeleteMany").unwrap().streaming);
        assert!(!shape("/longshore.v1.ObjectService/Get").unwrap().streaming);
        assert!(shape("/grpc.health.v1.Health/Check").is_none());
    }

    #[test]
    fn object_bytes_are_payload_wherever_they_are() {
        for (method, path) in [("Put", "data"), ("Upload", "chunk.data")] {
            let shape = shape(&format!("/longshore.v1.ObjectService/{method}")).unwrap();
            let fields = all(&shape.fields);
            assert!(fields.iter().any(|field| &*field.path == path && matches!(field.kind, Kind::Payload)));
            assert_eq!(fields.len(), shape.ids);
        }
    }
}
