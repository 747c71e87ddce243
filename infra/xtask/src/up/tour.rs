//! What `up` tells the developer: where everything listens, and what to try.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use super::{Plan, Stack, plan::MONITOR_PORT};
use crate::{
    observe::Observe,
    secure::Secure,
    stack::{all_ready, redacted},
    tools,
    uploads::Uploads,
    workspace::Workspace,
};

impl Stack {
    /// Waits until all are ready, then prints examples to try.
    pub(super) async fn announce(&self, workspace: &Workspace) {
        all_ready(&self.plan.ports).await;
        self.console.notice("up", "every daemon is ready; try:");
        match &self.secure {
            Some(secure) => secure.print_examples(),
            None => self.print_examples(),
        }
        // With logins, the operator's file has it.
        if let (Some(uploads), None) = (&self.uploads, &self.secure) {
            uploads.print_example();
        }
        // Nothing waits for it, so it is built last.
        match tools::nats_cli(workspace).await {
            Ok(nats) => {
                let nats = nats.display();
                let server = redacted(&self.plan.nats_url());
                match &self.secure {
                    Some(secure) => secure.print_taps(&nats.to_string()),
                    None => println!(
                        "  {nats} --server {server} sub 'orders.evt.>'   watches the events\n"
                    ),
                }
            }
            Err(error) => self
                .console
                .notice("up", &format!("no nats CLI: {error:#}")),
        }
    }

    fn print_examples(&self) {
        let (edge, web) = (self.plan.url("edge"), self.plan.url("web"));
        println!(
            r#"
  {web}/orders   in a browser

  curl -i {edge}/api/orders -H 'content-type: application/json' \
    -d '{{"requestId":"r1","tenantId":"t-123","buyer":{{"email":"alice@example.com","name":"Alice"}},"items":[{{"sku":"SKU-1","qty":2,"price":49.99}}]}}'
  curl '{edge}/api/orders?tenantId=t-123'
"#
        );
    }
}

impl Plan {
    /// Prints where everything listens.
    pub(super) fn introduce(
        &self,
        secure: Option<&Secure>,
        uploads: Option<&Uploads>,
        observe: Option<&Observe>,
        host: Option<&str>,
    ) {
        println!();
        let is_reachable = host.is_some_and(|host| {
            host.parse()
                .is_ok_and(|host: IpAddr| !host.to_canonical().is_loopback())
        });
        // A login leads back to this machine by the name it has for itself.
        if let Some(address) = address().filter(|_| is_reachable && secure.is_none()) {
            let place = format!("http://{address}:{}/orders", self.port("web"));
            line(
                "for other machines",
                &place,
                "pages and uploads, by this machine's address",
            );
        }
        for (daemon, port) in self.listeners() {
            let note = match daemon.name.as_str() {
                "edge" => "the API; its docs at /docs",
                "web" => "the pages, at /orders",
                _ => "health, metrics",
            };
            line(&daemon.name, &format!("http://localhost:{port}"), note);
        }
        match secure {
            Some(secure) => secure.introduce(),
            None => self.introduce_servers(),
        }
        if let Some(uploads) = uploads {
            uploads.introduce();
        }
        if let Some(observe) = observe {
            observe.introduce();
        }
        println!();
    }

    fn introduce_servers(&self) {
        let monitoring = format!("monitoring http://127.0.0.1:{MONITOR_PORT}");
        line(
            "NATS",
            &redacted(&self.nats_url()),
            if self.nats_port().is_some() {
                &monitoring
            } else {
                "yours"
            },
        );
        line(
            "MongoDB",
            &redacted(&self.mongo_url()),
            if self.mongo_port().is_some() {
                ""
            } else {
                "yours"
            },
        );
        line(
            "data, server logs",
            ".orders/, .orders/log/",
            "kept; `cargo xtask reset` removes them",
        );
    }
}

/// Prints what something is called, where it is, and a note.
pub(crate) fn line(name: &str, place: &str, note: &str) {
    println!("  {name:18} {place:40} {note}");
}

/// The address by which other machines of the network reach this one, if it is in one.
fn address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // Nothing is sent: the kernel only chooses from which address it would be, and this one is for documents (RFC 5737).
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback()).then_some(address)
}
