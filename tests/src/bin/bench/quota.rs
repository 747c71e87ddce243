//! A share of a processor for one process, by a control group of its own. Only root may make one.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};

/// The kernel gives each share anew after so long, so a process waits for no longer. It takes no share below 1 ms.
const PERIOD: Duration = Duration::from_millis(50);
/// Where the groups are: those for the processor alone, and those for everything.
const VERSION_1: &str = "/sys/fs/cgroup/cpu";
const VERSION_2: &str = "/sys/fs/cgroup";

/// The limit of a process; the group goes when the process has gone and this is dropped.
pub(crate) struct Quota(PathBuf);

impl Quota {
    /// Lets a process have `share` of a processor, and no more.
    pub(crate) fn limit(process: u32, share: f64) -> Result<Self> {
        let period = PERIOD.as_micros();
        let quota = PERIOD.mul_f64(share).as_micros();
        let is_first = Path::new(VERSION_1).join("cgroup.procs").exists();
        let root = if is_first { VERSION_1 } else { VERSION_2 };
        let group = Self(Path::new(root).join(format!("orders-bench-{process}")));
        fs::create_dir(&group.0).context("making a control group")?;
        if is_first {
            group.set("cpu.cfs_period_us", &period.to_string())?;
            group.set("cpu.cfs_quota_us", &quota.to_string())?;
        } else {
            group.set("cpu.max", &format!("{quota} {period}"))?;
        }
        group.set("cgroup.procs", &process.to_string())?;
        Ok(group)
    }

    fn set(&self, file: &str, value: &str) -> Result<()> {
        fs::write(self.0.join(file), value)
            .with_context(|| format!("setting {file} of a control group"))
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        // One that is left behind is empty and limits nobody.
        let _ = fs::remove_dir(&self.0);
    }
}
