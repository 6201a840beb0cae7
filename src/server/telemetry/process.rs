//! What the system says of this process, where it can be asked by reading a file. Names are those that
//! every exporter of Prometheus uses.

use super::exposition::{Kind, Page};

/// Adds what is known.
pub(super) fn write(page: &mut Page, started_unix_nanos: u64) {
    page.single(
        "process_start_time_seconds",
        Kind::Gauge,
        "Start of the process since unix epoch in seconds.",
        std::time::Duration::from_nanos(started_unix_nanos).as_secs_f64(),
    );
    #[cfg(target_os = "linux")]
    {
        if let Some(seconds) = cpu_seconds() {
            page.single(
                "process_cpu_seconds_total",
                Kind::Counter,
                "Total user and system CPU time spent in seconds.",
                seconds,
            );
        }
        if let Some(bytes) = resident_bytes() {
            page.single(
                "process_resident_memory_bytes",
                Kind::Gauge,
                "Resident memory size in bytes.",
                bytes,
            );
        }
        if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
            page.single(
                "process_open_fds",
                Kind::Gauge,
                "Number of open file descriptors.",
                open.count(),
            );
        }
    }
}

#[cfg(target_os = "linux")]
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(target_os = "linux")]
fn cpu_seconds() -> Option<f64> {
    /// What the kernel counts in towards programs, on every architecture.
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name before it may hold anything, blanks and parentheses too.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some((f64::from(user) + f64::from(system)) / TICKS_PER_SECOND)
}
