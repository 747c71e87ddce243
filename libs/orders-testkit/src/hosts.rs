use std::{
    ffi::OsStr,
    fs::File,
    io::{Error, Result},
    net::Ipv4Addr,
    os::fd::AsFd,
    panic::resume_unwind,
    path::Path,
    process::{Command as Run, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use rustix::{
    process::{Pid, Signal, geteuid, kill_process},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};
use tokio::process::Command;

/// The names of all our network namespaces begin so; the process that made one comes next.
const PREFIX: &str = "orders-test-";
/// The bridge, and the network namespace it is in.
const SWITCH: &str = "switch";
/// The one network interface of a host.
const INTERFACE: &str = "eth0";

/// Some machines on a network of their own: each is a network namespace, with a cable to a bridge in one more. The network
/// of the machine that they are on is not touched. All that runs there ends with this value.
#[derive(Debug)]
pub struct Hosts {
    switch: String,
    hosts: Vec<Host>,
}

/// One of some [`Hosts`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    name: &'static str,
    namespace: String,
    /// The namespace of the bridge.
    switch: String,
    address: Ipv4Addr,
}

impl Hosts {
    /// Why this process cannot have any, if it cannot.
    pub fn refused() -> Option<String> {
        if !geteuid().is_root() {
            return Some("only root may make network namespaces".to_owned());
        }
        Self::start(&["a"]).err().map(|error| error.to_string())
    }

    /// Makes hosts with these names, and removes what is left of any whose process has ended.
    pub fn start(names: &[&'static str]) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        remove_orphans()?;
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("{PREFIX}{}-{count}-", std::process::id());
        let mut made = Self {
            switch: format!("{prefix}{SWITCH}"),
            hosts: Vec::with_capacity(names.len()),
        };
        ip(&["netns", "add", &made.switch])?;
        made.at_switch(&["link", "add", "name", SWITCH, "type", "bridge"])?;
        made.at_switch(&["link", "set", SWITCH, "up"])?;
        for (name, last) in names.iter().zip(1..) {
            made.add(Host {
                name,
                namespace: format!("{prefix}{name}"),
                switch: made.switch.clone(),
                address: Ipv4Addr::new(10, 77, 0, last),
            })?;
        }
        Ok(made)
    }

    fn add(&mut self, host: Host) -> Result<()> {
        ip(&["netns", "add", &host.namespace])?;
        // From now on it is removed with the others.
        self.hosts.push(host.clone());
        let (port, address) = (host.port(), format!("{}/24", host.address));
        let cable = ["link", "add", "name", &port, "type", "veth", "peer"];
        self.at_switch(&[&cable[..], &["name", INTERFACE, "netns", &host.namespace]].concat())?;
        self.at_switch(&["link", "set", &port, "master", SWITCH, "up"])?;
        host.ip(&["link", "set", "lo", "up"])?;
        host.ip(&["address", "add", &address, "dev", INTERFACE])?;
        host.ip(&["link", "set", INTERFACE, "up"])?;
        // Rules that drop what arrives have to come before the one that lets the host take what is for it.
        host.ip(&["rule", "add", "pref", "100", "lookup", "local"])?;
        host.ip(&["rule", "delete", "pref", "0"])
    }

    /// The host of that name.
    pub fn host(&self, name: &str) -> &Host {
        let host = self.hosts.iter().find(|host| host.name == name);
        host.unwrap_or_else(|| panic!("no host {name}"))
    }

    fn at_switch(&self, arguments: &[&str]) -> Result<()> {
        ip(&[&["-netns", &self.switch][..], arguments].concat())
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for host in &self.hosts {
            remove(&host.namespace);
        }
        remove(&self.switch);
    }
}

impl Host {
    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Its address, at which the others reach it.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// A program as it runs there.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        // It becomes the program, so the process is the program's.
        command
            .args(["netns", "exec", &self.namespace])
            .arg(program);
        command
    }

    /// Does `work` there, with all threads and processes that it starts.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let there = || {
            let namespace = File::open(Path::new("/run/netns").join(&self.namespace))?;
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok(work())
        };
        // A thread that has moved is of no use to others.
        let done = thread::scope(|scope| scope.spawn(there).join());
        done.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Pulls its cable.
    pub fn unplug(&self) -> Result<()> {
        self.at_switch(&["link", "set", &self.port(), "down"])
    }

    /// Plugs its cable in again.
    pub fn plug(&self) -> Result<()> {
        self.at_switch(&["link", "set", &self.port(), "up"])
    }

    /// Loses what `other` sends, while `other` goes on receiving.
    pub fn lose_from(&self, other: &Self) -> Result<()> {
        self.rule("add", &["pref", "1", "from", &other.address.to_string()])
    }

    /// Ends what [`lose_from`](Self::lose_from) began.
    pub fn receive_from(&self, other: &Self) -> Result<()> {
        self.rule("delete", &["pref", "1", "from", &other.address.to_string()])
    }

    /// Loses all that goes to or comes from a port over TCP, here or elsewhere.
    pub fn close_port(&self, port: u16) -> Result<()> {
        self.rules_of_port("add", port)
    }

    /// Ends what [`close_port`](Self::close_port) began.
    pub fn open_port(&self, port: u16) -> Result<()> {
        self.rules_of_port("delete", port)
    }

    fn rules_of_port(&self, verb: &str, port: u16) -> Result<()> {
        let port = port.to_string();
        self.rule(verb, &["pref", "2", "ipproto", "tcp", "dport", &port])?;
        self.rule(verb, &["pref", "3", "ipproto", "tcp", "sport", &port])
    }

    /// Lets no more than `rate`, as tc writes it, through its cable, either way. What has to wait for long is lost.
    pub fn narrow(&self, rate: &str) -> Result<()> {
        let shape = [
            "root", "tbf", "rate", rate, "burst", "32kb", "latency", "400ms",
        ];
        self.queues("replace", &shape)
    }

    /// Ends what [`narrow`](Self::narrow) began.
    pub fn widen(&self) -> Result<()> {
        self.queues("delete", &["root"])
    }

    fn queues(&self, verb: &str, arguments: &[&str]) -> Result<()> {
        let port = self.port();
        let ends = [
            (self.namespace.as_str(), INTERFACE),
            (self.switch.as_str(), port.as_str()),
        ];
        ends.into_iter().try_for_each(|(namespace, interface)| {
            let at = ["-netns", namespace, "qdisc", verb, "dev", interface];
            run("tc", &[&at[..], arguments].concat()).map(drop)
        })
    }

    /// Kills every process there, as a power failure would.
    pub fn kill_all(&self) {
        kill_all(&self.namespace);
    }

    /// The end of its cable at the bridge.
    fn port(&self) -> String {
        format!("to-{}", self.name)
    }

    fn rule(&self, verb: &str, selector: &[&str]) -> Result<()> {
        self.ip(&[&["rule", verb], selector, &["blackhole"]].concat())
    }

    fn ip(&self, arguments: &[&str]) -> Result<()> {
        ip(&[&["-netns", &self.namespace][..], arguments].concat())
    }

    fn at_switch(&self, arguments: &[&str]) -> Result<()> {
        ip(&[&["-netns", &self.switch][..], arguments].concat())
    }
}

/// Removes the namespaces that a process which was killed has left.
fn remove_orphans() -> Result<()> {
    for line in run("ip", &["netns", "list"])?.lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        let process = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('-').next());
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            remove(name);
        }
    }
    Ok(())
}

/// Another process may be removing the same.
fn remove(namespace: &str) {
    kill_all(namespace);
    let _ = ip(&["netns", "delete", namespace]);
}

fn kill_all(namespace: &str) {
    let processes = run("ip", &["netns", "pids", namespace]).unwrap_or_default();
    for process in processes.lines().filter_map(|id| id.trim().parse().ok()) {
        if let Some(process) = Pid::from_raw(process) {
            let _ = kill_process(process, Signal::KILL);
        }
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    run("ip", arguments).map(drop)
}

fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Run::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = format!("{program} {}: {}", arguments.join(" "), said.trim());
    Err(Error::other(said))
}
