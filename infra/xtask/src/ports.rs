//! Ports: free ones for private stacks, and who holds a fixed one.

use std::{
    collections::HashSet,
    fs, io,
    net::{Ipv4Addr, Ipv6Addr, TcpListener},
    path::Path,
};

use anyhow::{Context, Result, bail};

/// Ports that nobody used a moment ago, all different.
pub(crate) fn free<const N: usize>() -> Result<[u16; N]> {
    let listeners: Vec<_> = (0..N)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<io::Result<_>>()
        .context("looking for free ports")?;
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

/// Refuses a port that is in use, naming it and, if that can be seen, its holder.
pub(crate) fn require_free(name: &str, port: u16, remedy: &str) -> Result<()> {
    let local = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map(drop);
    let any = local.and_then(|()| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).map(drop));
    let six = any.and_then(|()| match TcpListener::bind((Ipv6Addr::LOCALHOST, port)) {
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
