//! Limits on the calls of the process, of a tenant and of a caller: how many may be in flight, how many may begin per
//! second, and how many bytes of objects they may transfer per second.
//!
//! Calls beyond a limit wait in the order in which they came, before their messages are read. Limits of different
//! tenants are independent of each other, except for the limit of the process.

mod admission;
mod bucket;
mod exceeded;
mod limiter;
mod permits;
mod process;
mod rate;
mod settings;

pub(crate) use admission::CallersLimits;
pub use admission::{CallKind, CallPermit};
pub use exceeded::{Exceeded, Holder};
pub(crate) use limiter::Limiter;
pub use process::Process;
pub use settings::{CallLimits, LimitScope, Limits, ProcessLimits};
pub(crate) use settings::{CallLimitsLayer, LimitsLayer};
