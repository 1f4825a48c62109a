//! The program: an allocator, a runtime, a command. Everything else is in the library.

use std::{process::ExitCode, time::Duration};

use longshore::{cli, telemetry};

/// Costs less CPU per byte moved than the system's allocator, for some memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long blocking work (looking up names, writing files) may hold up the process's end.
const LAST_WORK: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let command = match cli::parse(std::env::args_os()) {
        Ok(command) => command,
        Err(code) => return code,
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return cli::cannot_start(&error),
    };
    let code = runtime.block_on(cli::run(command));
    runtime.shutdown_timeout(LAST_WORK);
    telemetry::flush_logs();
    code
}
