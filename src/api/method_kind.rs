//! What the limits have to know about each method.

use crate::{
    pb::{object_service_server, upload_service_server},
    telemetry::Direction::{Download, Upload},
    tenants::CallKind,
};

/// The kind of the method at this path.
pub(super) fn kind(path: &str) -> CallKind {
    let (is_stream, transfers) = match path.strip_prefix('/').and_then(|path| path.split_once('/')) {
        Some((object_service_server::SERVICE_NAME, method)) => match method {
            "Get" | "GetRanges" => (true, Some(Download)),
            "Upload" => (true, Some(Upload)),
            "Put" => (false, Some(Upload)),
            "Walk" | "WalkVersions" | "DeleteMany" | "DeletePrefix" | "CopyPrefix" | "CopyWithProgress"
            | "RenameWithProgress" => (true, None),
            _ => (false, None),
        },
        Some((upload_service_server::SERVICE_NAME, "WriteUpload" | "WriteUploadWithProgress")) => {
            (true, Some(Upload))
        }
        Some((upload_service_server::SERVICE_NAME, "FinishUploadWithProgress")) => (true, None),
        _ => (false, None),
    };
    CallKind { is_stream, transfers }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::pb::DESCRIPTOR_SET;

    /// Whether a message has a field for an object's bytes, possibly in another message.
    fn carries_bytes(set: &prost_types::FileDescriptorSet, message: &str) -> bool {
        let name = message.rsplit('.').next().unwrap();
        let found = set.file.iter().flat_map(|file| &file.message_type).find(|found| found.name() == name);
        found.is_some_and(|found| {
            found.field.iter().any(|field| {
                field.r#type() == prost_types::field_descriptor_proto::Type::Bytes
                    || field.type_name().ends_with(".Chunk")
            })
        })
    }

    #[test]
    fn the_kinds_are_those_of_the_proto() {
        let set = prost_types::FileDescriptorSet::decode(DESCRIPTOR_SET).unwrap();
        let mut seen = 0;
        for file in set.file.iter().filter(|file| file.package() == "longshore.v1") {
            for (service, method) in file
                .service
                .iter()
                .flat_map(|service| service.method.iter().map(move |method| (service, method)))
            {
                if service.name() == "CredentialProviderService" {
                    continue;
                }
                let transfers = if carries_bytes(&set, method.input_type()) {
                    Some(Upload)
                } else if carries_bytes(&set, method.output_type()) {
                    Some(Download)
                } else {
                    None
                };
                let is_stream = method.client_streaming() || method.server_streaming();
                let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                assert_eq!(kind(&path), CallKind { is_stream, transfers }, "{path}");
                seen += 1;
            }
        }
        assert!(seen > 20);
        assert_eq!(kind("/grpc.health.v1.Health/Watch"), CallKind::default());
    }
}
