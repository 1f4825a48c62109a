//! The reasons for which the server ends a connection.

/// Why the server ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server) enum End {
    /// The connection limit was reached.
    Limit,
    /// TLS, the preface or the first SETTINGS did not complete in time, or the caller did not acknowledge the server's
    /// SETTINGS in time.
    Handshake,
    /// A header block did not complete in time.
    HeaderBlock,
    /// A frame did not complete in time.
    Frame,
    /// The caller did not answer a PING.
    Keepalive,
    /// The caller read nothing for too long, while the process had many bytes to send.
    ReadIdle,
    /// The connection had no calls for too long.
    Idle,
    /// The connection reached its maximum age.
    Age,
    /// The connection reached its maximum age, and its calls did not finish in time.
    AgeGrace,
    /// The caller sent too many frames without content, or reset too many streams.
    Flood,
    /// The caller violated HTTP/2.
    Protocol,
    /// The caller's certificate does not verify, or no longer.
    Certificate,
    /// The process is shutting down.
    Shutdown,
}

impl End {
    /// The value of the label `reason` in `longshore_connections_ended_total`.
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
            Self::Certificate => "certificate",
            Self::Shutdown => "shutdown",
        }
    }
}
