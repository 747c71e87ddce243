//! What the kernel knows of this process. It is read when somebody asks: a recorder has only whole numbers for what rises.

use std::{
    fmt::{Display, Write as _},
    fs,
};

use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::{Resource, getrlimit},
};

use super::{ALL, OPEN_FILES, OPEN_FILES_LIMIT, PROCESSOR_TIME, RESIDENT_MEMORY};

/// Whether the metric is one of these.
pub(super) fn has(name: &str) -> bool {
    [
        PROCESSOR_TIME,
        RESIDENT_MEMORY,
        OPEN_FILES,
        OPEN_FILES_LIMIT,
    ]
    .contains(&name)
}

/// Adds them to `text`, as far as the kernel tells them.
pub(super) fn write(text: &mut String, daemon: &str) {
    add(text, daemon, PROCESSOR_TIME, processor_time());
    add(text, daemon, RESIDENT_MEMORY, resident_memory());
    add(text, daemon, OPEN_FILES, open_files());
    let limit = getrlimit(Resource::Nofile).current;
    add(text, daemon, OPEN_FILES_LIMIT, limit);
}

fn add(text: &mut String, daemon: &str, name: &str, value: Option<impl Display>) {
    let row = ALL.iter().find(|row| row.name == name);
    if let (Some(row), Some(value)) = (row, value) {
        let (kind, help) = (row.kind.as_str(), row.help());
        let _ = writeln!(
            text,
            "# HELP {name} {help}\n# TYPE {name} {kind}\n{name}{{daemon=\"{daemon}\"}} {value}\n"
        );
    }
}

/// In seconds, of all threads.
fn processor_time() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the name of the program in parentheses, which may hold anything; `utime` is the 14th.
    let (_, rest) = status.rsplit_once(')')?;
    let mut times = rest.split_ascii_whitespace().skip(11);
    let mut ticks = || times.next()?.parse::<u64>().ok();
    let (user, system) = (ticks()?, ticks()?);
    Some((user + system) as f64 / clock_ticks_per_second() as f64)
}

/// In bytes.
fn resident_memory() -> Option<u64> {
    let sizes = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = sizes.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * page_size() as u64)
}

fn open_files() -> Option<u64> {
    let folder = "/proc/self/fd";
    // Since Linux 6.2 its size is their number. Before, it is 0, and there may be a file for each of many sockets.
    match fs::metadata(folder).ok()?.len() {
        0 => Some(fs::read_dir(folder).ok()?.count() as u64),
        files => Some(files),
    }
}
