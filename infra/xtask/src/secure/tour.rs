//! What `up --secure` tells the developer.

use super::{
    Secure,
    provider::{TENANTS, User},
};
use crate::up::line;

impl Secure {
    /// Prints where the servers are.
    pub(crate) fn introduce(&self) {
        let provider = "the OpenID provider, where users log in";
        line("provider", &self.provider.issuer, provider);
        let place = format!("localhost:{}", self.ports.mongo);
        line("NATS", &self.bus.url(), "by creds");
        line("MongoDB", &place, "by password, over TLS");
        line(
            "keys, data, logs",
            &self.data.display().to_string(),
            "kept; `cargo xtask reset` removes them",
        );
    }

    /// Prints who can log in, and requests to try.
    pub(crate) fn print_examples(&self) {
        let (edge, web) = (self.ports.edge, self.ports.web);
        println!("\n  http://localhost:{web}/orders   in a browser, as one of:\n");
        for user in &self.provider.users {
            println!("    {:6} {}   {}", user.name, user.password, rights(user));
        }
        let issuer = &self.provider.issuer;
        if let Some(machine) = self.provider.machines.first() {
            let (tenant, secret) = (machine.tenant, &machine.secret);
            println!(
                r#"
  TOKEN=$(curl -s {issuer}/token -u {tenant}:{secret} -d grant_type=client_credentials \
    -d 'scope=orders:read orders:create orders:cancel uploads:create' | jq -r .access_token)
  curl -i http://localhost:{edge}/api/orders -H "authorization: Bearer $TOKEN" -H 'content-type: application/json' \
    -d '{{"requestId":"r1","tenantId":"{tenant}","buyer":{{"email":"alice@example.com","name":"Alice"}},"items":[{{"sku":"SKU-1","qty":2,"price":49.99}}]}}'
  curl 'http://localhost:{edge}/api/orders?tenantId={tenant}' -H "authorization: Bearer $TOKEN"
"#
            );
        }
        println!(
            "  . {} && {} doctor   as an operator\n",
            self.operator_file().display(),
            self.bus.orderctl.display()
        );
    }

    /// Prints how each tenant hears of its own orders.
    pub(crate) fn print_taps(&self, nats: &str) {
        let (server, ca) = (self.bus.url(), self.certificates.ca.display());
        for tenant in TENANTS {
            let creds = self.bus.tap_creds(tenant);
            println!(
                "  {nats} --server {server} --tlsca {ca} --creds {} sub 'orders.evt.{tenant}.>'   hears of {tenant} alone",
                creds.display()
            );
        }
        println!();
    }
}

fn rights(user: &User) -> String {
    match (user.is_operator, user.tenants) {
        (true, _) => "an operator, who may look at every tenant".to_owned(),
        (false, tenants) => tenants.join(" and "),
    }
}
