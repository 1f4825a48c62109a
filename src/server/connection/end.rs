//! Why a connection ended.

/// Why a connection ended, where it did not end because its caller closed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server) enum End {
    /// There were as many connections as allowed.
    Limit,
    /// TLS, the preface or the first SETTINGS were not there in time.
    Handshake,
    /// A header block was not complete in time.
    HeaderBlock,
    /// A frame was not complete in time.
    Frame,
    /// The caller did not answer a PING.
    Keepalive,
    /// The caller read nothing for too long, while the process had many bytes to send.
    ReadIdle,
    /// It had no call for too long.
    Idle,
    /// It was too old.
    Age,
    /// It was too old, and its calls did not finish in time.
    AgeGrace,
    /// The caller sent too many frames that carry nothing, or reset too many streams.
    Flood,
    /// The caller violated HTTP/2.
    Protocol,
    /// The process shuts down.
    Shutdown,
}

impl End {
    /// The label's value in `longshore_connections_ended_total`.
    pub(in crate::server) fn name(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Handshake => "handshake",
            Self::HeaderBlock => "header_block",
            Self::Frame => "frame",
            Self::Keepalive => "keepalive",
            Self::ReadIdle => "read_idle",
            Self::Idle => "idle",
            Self::Age => "age",
            Self::AgeGrace => "age_grace",
            Self::Flood => "flood",
            Self::Protocol => "protocol",
            Self::Shutdown => "shutdown",
        }
    }
}
