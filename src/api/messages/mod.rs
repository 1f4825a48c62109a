//! Request messages before they are decoded: limits on their length, their compression, the time they take to arrive,
//! the memory they use and their contents.

mod body;
mod clock;
mod layer;
mod memory;
mod reader;
mod scan;
mod segments;
mod shape;
#[cfg(test)]
mod tests;
mod toll;
mod unpack;

pub use layer::{MessagesFuture, MessagesLayer, MessagesService};
pub(crate) use reader::{CHUNK_HEAD, Messages, Read};
pub(crate) use segments::{PREFIX, Segments, put_prefix};

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, request::Parts};

use self::{
    memory::{Held, Unreserved},
    shape::Shape,
};
use super::{CallContext, CallFacts, Limits, failure::Failure, gate::Admitted, payload};
use crate::{telemetry::Direction, tenants::Tenant};

/// The metadata key for the compression of a call's messages.
pub(crate) const ENCODING: &str = "grpc-encoding";

/// The message encodings that the server supports, for `grpc-accept-encoding`.
pub const ENCODINGS: &str = "identity,gzip";

/// The largest message of a call without a tenant that is not an operator's, which is a call of the health or reflection
/// service, in bytes.
const LARGEST_WITHOUT_TENANT: usize = 4 * 1024;

/// Marks, in a request's extensions, a call of `AdminService` whose token was accepted.
#[derive(Debug, Clone, Copy)]
pub struct OperatorsCall;

/// How the messages of one call are read.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    /// The largest message, in bytes.
    limit: usize,
    /// How long a message may take to arrive.
    timeout: Duration,
    gzip: bool,
    /// Whether the method accepts any number of messages.
    streaming: bool,
    shape: Option<&'static Shape>,
    /// The tenant whose memory budget the messages count against.
    tenant: Option<Tenant>,
    /// The call, if a limit on bytes per second applies to whole messages.
    paced: Option<Arc<CallFacts>>,
    held: Held,
    unreserved: Unreserved,
}

impl Policy {
    /// The policy of a call without a tenant that did not come through [`MessagesLayer`].
    pub(crate) fn new(path: &str, headers: &HeaderMap, limits: Limits) -> Self {
        Self::with(path, headers, limits, Unreserved::default())
    }

    /// The policy of a call with or without a tenant. All calls share `unreserved`.
    fn of(head: &Parts, limits: Limits, unreserved: &Unreserved) -> Self {
        let policy = Self::with(head.uri.path(), &head.headers, limits, unreserved.clone());
        let tenant = head.extensions.get::<Admitted>().map(|admitted| admitted.tenant().clone());
        let is_known = tenant.is_some() || head.extensions.get::<OperatorsCall>().is_some();
        let limit = if is_known { policy.limit } else { policy.limit.min(LARGEST_WITHOUT_TENANT) };
        let paced = head.extensions.get::<CallContext>().map(|context| &context.facts);
        let is_limited =
            |facts: &&Arc<CallFacts>| facts.permit().is_some_and(|permit| permit.paces(Direction::Upload));
        // The services that read chunks wait for the limits themselves.
        let paced = paced.filter(|_| !payload::reads_messages(head.uri.path())).filter(is_limited).cloned();
        Self { limit, tenant, paced, ..policy }
    }

    fn with(path: &str, headers: &HeaderMap, limits: Limits, unreserved: Unreserved) -> Self {
        let shape = shape::shape(path);
        Self {
            limit: limits.max_message_bytes,
            timeout: limits.message_timeout,
            gzip: headers.get(ENCODING).is_some_and(|encoding| encoding == "gzip"),
            // Of the methods of other services, only reflection accepts any number of messages.
            streaming: shape.map_or_else(|| !path.starts_with("/grpc.health."), |shape| shape.streaming),
            shape,
            tenant: None,
            paced: None,
            held: Held::default(),
            unreserved,
        }
    }

    /// Validates the contents of a complete message. `packed` is its compressed length, if it was compressed.
    fn check(&self, message: &Segments, packed: Option<usize>) -> Result<(), Failure> {
        scan::check(message, self.shape, packed)
    }
}

/// Whether the server supports this message encoding.
pub fn is_known_encoding(name: &[u8]) -> bool {
    matches!(name, b"identity" | b"gzip")
}
