//! What Longshore tells of itself: logs, metrics, and the tasks that it still has to finish.

mod logs;
mod metrics;
mod tasks;

pub use logs::{
    LogFormat, LogSettings, LogSettingsError, check_filter, flush as flush_logs, init as init_logs,
};
pub use metrics::{Direction, InFlight, Metrics, Waiting};
pub use tasks::Tasks;
