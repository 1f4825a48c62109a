//! Names of request fields in errors.

use std::borrow::Cow;

use crate::store::Field;

/// Where a method's request has its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Layout {
    /// In the message itself.
    #[default]
    Message,
    /// In the `spec` of the stream's first message, and in the messages after it.
    Spec,
    /// In the `write` of a request for presigned URLs.
    Write,
}

/// The path of a field in the request, such as `range.bounded.end`.
pub(crate) fn path(field: Field, layout: Layout) -> Cow<'static, str> {
    let path = match (field, layout) {
        (Field::Chunk, _) => "chunk",
        (Field::End, _) => "end",
        (Field::FinalSize, Layout::Message | Layout::Write) => "size",
        (Field::FinalSize, Layout::Spec) => "finish.size",
        (Field::FinalCrc32c, Layout::Message | Layout::Write) => "crc32c",
        (Field::FinalCrc32c, Layout::Spec) => "finish.crc32c",
        (Field::Setting(name), _) => name,
        (field, Layout::Message) => in_message(field),
        (field, Layout::Spec) => return Cow::Owned(format!("spec.{}", in_message(field))),
        (field, Layout::Write) => return Cow::Owned(format!("write.{}", in_message(field))),
    };
    Cow::Borrowed(path)
}

fn in_message(field: Field) -> &'static str {
    match field {
        Field::Key => "key",
        Field::KeyPrefix => "key_prefix",
        Field::Source => "source.key",
        Field::Destination => "destination.key",
        Field::UploadId => "upload_id",
        Field::PageToken => "page_token",
        Field::IfMatch => "conditions.if_match",
        Field::IfNoneMatch => "conditions.if_none_match",
        Field::IfModifiedSince => "conditions.if_modified_since",
        Field::IfUnmodifiedSince => "conditions.if_unmodified_since",
        Field::ReplacedEtag => "mode.update.etag",
        Field::Attributes => "attributes",
        Field::ContentType => "attributes.content_type",
        Field::ContentEncoding => "attributes.content_encoding",
        Field::ContentLanguage => "attributes.content_language",
        Field::ContentDisposition => "attributes.content_disposition",
        Field::CacheControl => "attributes.cache_control",
        Field::Expires => "attributes.expires",
        Field::StorageClass => "attributes.storage_class",
        Field::Metadata => "attributes.metadata",
        Field::Tags => "tags",
        Field::Size | Field::FinalSize => "size",
        Field::PartSize => "part_size",
        Field::PartNumber => "part_number",
        Field::PartChecksum => "checksum",
        Field::FinalCrc32c => "crc32c",
        Field::Chunk => "chunk",
        Field::End => "end",
        Field::Setting(name) => name,
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::{Field::*, *};
    use crate::pb::DESCRIPTOR_SET;

    /// Whether the message has the field that `path` leads to.
    fn has(message: &str, path: &str) -> bool {
        let set = FileDescriptorSet::decode(DESCRIPTOR_SET).unwrap();
        let top: Vec<_> = set.file.iter().flat_map(|file| &file.message_type).collect();
        let nested: Vec<_> = top.iter().flat_map(|message| &message.nested_type).collect();
        let all = [top, nested].concat();
        let mut name = message.to_owned();
        path.split('.').all(|part| {
            let message = all.iter().find(|message| message.name() == name).unwrap();
            let field = message.field.iter().find(|field| field.name() == part);
            name = field.map_or("", |field| field.type_name()).rsplit('.').next().unwrap().to_owned();
            field.is_some()
        })
    }

    #[test]
    fn every_path_leads_to_a_field_of_the_request() {
        let attributes = [
            Attributes,
            ContentType,
            ContentEncoding,
            ContentLanguage,
            ContentDisposition,
            CacheControl,
            Expires,
            StorageClass,
            Metadata,
        ];
        let write: Vec<_> = attributes.into_iter().chain([Key, Tags, ReplacedEtag]).collect();
        let conditions = [IfMatch, IfNoneMatch, IfModifiedSince, IfUnmodifiedSince];
        let upload = [&write[..], &[Size, PartSize, Chunk, FinalSize, FinalCrc32c]].concat();
        let requests: [(&str, Layout, &[Field]); 17] = [
            ("PartToSign", Layout::Message, &[PartNumber, PartChecksum]),
            ("SignPostRequest", Layout::Message, &[&attributes[..], &[Key, KeyPrefix, Tags]].concat()),
            ("SignRequest", Layout::Write, &[&attributes[..], &[Tags, ReplacedEtag]].concat()),
            ("PutRequest", Layout::Message, &write),
            ("UploadRequest", Layout::Spec, &upload),
            ("WriteUploadRequest", Layout::Spec, &[UploadId, Chunk, End]),
            ("StartUploadRequest", Layout::Message, &[Key, Size, PartSize, ContentType, Tags]),
            ("FinishUploadRequest", Layout::Message, &[UploadId, FinalSize, FinalCrc32c]),
            ("GetRequest", Layout::Message, &[Key]),
            ("HeadRequest", Layout::Message, &conditions),
            ("CopyRequest", Layout::Message, &[Source, Destination, Attributes, StorageClass, Tags]),
            ("ListRequest", Layout::Message, &[PageToken]),
            ("ObjectId", Layout::Message, &[Key]),
            ("RenameRequest", Layout::Message, &[Source, Destination]),
            ("CancelUploadRequest", Layout::Message, &[UploadId]),
            ("QueryUploadRequest", Layout::Message, &[UploadId]),
            ("ListUploadsRequest", Layout::Message, &[PageToken]),
        ];
        for (message, layout, fields) in requests {
            for field in fields {
                let path = path(*field, layout);
                assert!(has(message, &path), "{message} has no {path}");
            }
        }
    }
}
