//! What Linux says of a process.

use std::{fs, path::Path};

use crate::Outcome;

/// Linux counts processor time for user space in hundredths of a second (`USER_HZ`).
const TICK: f64 = 0.01;

/// User and system time of a process so far, in seconds.
pub(crate) fn cpu(process: u32) -> Outcome<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The second field is a name, and may have anything in it but its own end.
    let (_, fields) = stat.rsplit_once(')').ok_or("no stat")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    // utime and stime, of which proc(5) says that they are the 14th and 15th field.
    let ticks: u32 = fields[11..13].iter().map(|field| field.parse::<u32>()).sum::<Result<_, _>>()?;
    Ok(TICK * f64::from(ticks))
}

/// From here on, the peak is counted anew.
pub(crate) fn forget_peak(process: u32) -> Outcome<()> {
    Ok(fs::write(format!("/proc/{process}/clear_refs"), "5")?)
}

/// The most memory that was resident, in bytes.
pub(crate) fn peak(process: u32) -> Outcome<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes * 1024)
}

/// Processes that ran or waited to, in the last minute.
pub(crate) fn load() -> f64 {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().next().and_then(|load| load.parse().ok()).unwrap_or_default()
}

/// The machine in a line.
pub(crate) fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models: Vec<&str> =
        cpus.lines().filter_map(|line| Some(line.strip_prefix("model name")?.split_once(": ")?.1)).collect();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kibibytes: u64 = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or_default();
    let kernel = fs::read_to_string(Path::new("/proc/sys/kernel/osrelease")).unwrap_or_default();
    let kernel = kernel.split('-').next().unwrap_or_default().trim();
    let model = models.first().copied().unwrap_or("unknown");
    format!("{} cores of {model}, {} GiB, Linux {kernel}", models.len(), (kibibytes + 524_288) / 1_048_576)
}
