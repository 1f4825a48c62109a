//! `credential_provider.type`.

use crate::settings::Keywords;

/// `credential_provider.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Static,
    Env,
    Anonymous,
    File,
    Process,
    Container,
    Imds,
    Grpc,
    WebIdentity,
    AssumeRole,
    Profile,
    Default,
    Chain,
}

impl Keywords for Kind {
    const KEYWORDS: &'static [(&'static str, Self)] = &[
        ("static", Self::Static),
        ("env", Self::Env),
        ("anonymous", Self::Anonymous),
        ("file", Self::File),
        ("process", Self::Process),
        ("container", Self::Container),
        ("imds", Self::Imds),
        ("grpc", Self::Grpc),
        ("web_identity", Self::WebIdentity),
        ("assume_role", Self::AssumeRole),
        ("profile", Self::Profile),
        ("default", Self::Default),
        ("chain", Self::Chain),
    ];
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        Self::KEYWORDS.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// What this type always uses of the server's own identity, files and variables. The other types can be set up
    /// without that.
    pub(super) fn server_resource(self) -> Option<&'static str> {
        match self {
            Self::Env => Some("the server's variables"),
            Self::Process => Some("a command, which runs with the server's permissions and variables"),
            Self::Imds => Some("the identity of the server's machine"),
            Self::Profile | Self::Default => {
                Some("profiles, which can run commands and use the server's identity")
            }
            Self::Static
            | Self::Anonymous
            | Self::File
            | Self::Container
            | Self::Grpc
            | Self::WebIdentity
            | Self::AssumeRole
            | Self::Chain => None,
        }
    }
}
