//! Ports: free ones for private stacks, and who holds a fixed one.

use std::{
    collections::HashSet,
    fs, io,
    net::{Ipv4Addr, Ipv6Addr, TcpListener},
    path::Path,
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result, bail};

/// Free ports are looked for from here on, beside those of the tests. All are below those that the kernel takes for
/// outgoing connections: one of these could be taken before its daemon listens.
const FIRST: u32 = 28_000;
const COUNT: u32 = 4_000;

/// Ports that nobody used a moment ago, all different, also from those of other calls.
pub(crate) fn free<const N: usize>() -> Result<[u16; N]> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Processes that run at the same time start at different places.
    let start = process::id() * 97 % COUNT;
    let mut candidates = (0..COUNT)
        .map(|_| FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT)
        .filter_map(|port| u16::try_from(port).ok())
        .filter(|port| is_free(*port).is_ok());
    let mut ports = [0; N];
    for port in &mut ports {
        *port = candidates.next().context("no port is free")?;
    }
    Ok(ports)
}

fn is_free(port: u16) -> io::Result<()> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).map(drop)
}

/// Refuses a port that is in use, naming it and, if that can be seen, its holder.
pub(crate) fn require_free(name: &str, port: u16, remedy: &str) -> Result<()> {
    let six = is_free(port).and_then(|()| match TcpListener::bind((Ipv6Addr::LOCALHOST, port)) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
        _ => Ok(()), // no IPv6 on this machine
    });
    if let Err(error) = six {
        let holder = holder(port).unwrap_or_else(|| error.to_string());
        bail!("port {port} ({name}) is taken: {holder}; {remedy}");
    }
    Ok(())
}

/// The process that listens on a port, as "program, pid N".
fn holder(port: u16) -> Option<String> {
    let sockets: HashSet<_> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening(&table, port))
        .collect();
    fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
        let path = process.path();
        let holds = fs::read_dir(path.join("fd")).ok()?.flatten().any(|file| {
            fs::read_link(file.path()).is_ok_and(|link| sockets.contains(&*link.to_string_lossy()))
        });
        holds.then(|| describe(&path)).flatten()
    })
}

/// The sockets of a `/proc/net/tcp` table that listen on a port.
fn listening(table: &str, port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    let suffix = format!(":{port:04X}");
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            let hit = fields.get(1)?.ends_with(&suffix) && *fields.get(3)? == LISTEN;
            hit.then(|| format!("socket:[{}]", fields.get(9).unwrap_or(&"")))
        })
        .collect()
}

fn describe(process: &Path) -> Option<String> {
    let name = fs::read_to_string(process.join("comm")).ok()?;
    Some(format!(
        "{}, pid {}",
        name.trim(),
        process.file_name()?.to_string_lossy()
    ))
}
