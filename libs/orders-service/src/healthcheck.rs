//! `--healthcheck`: asks a daemon whether it is ready, for images that have no other program to ask with.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use bytes::Bytes;
use http::Uri;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::{runtime::Builder, time::timeout};

use crate::{BoxError, chain, cli, config::Common};

/// A daemon answers within the second that its probes have, unless it is stuck.
const DEADLINE: Duration = Duration::from_secs(3);

/// Where the daemon with these settings says whether it is ready, for whoever is on the same machine.
pub(crate) fn address(common: &Common) -> SocketAddr {
    let own = SocketAddr::new(common.host, common.port);
    let mut address = common.admin_addr.unwrap_or(own);
    match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

/// Prints what the daemon at `address` says; success if it is ready.
pub(crate) fn run(address: SocketAddr) -> ExitCode {
    let answer = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(BoxError::from)
        .and_then(|runtime| runtime.block_on(ask(address)));
    match answer {
        Ok(text) => {
            cli::print(&text);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}", chain(&*error).trim_end());
            ExitCode::FAILURE
        }
    }
}

/// What a ready daemon says; the error is what another one says, or why it says nothing.
async fn ask(address: SocketAddr) -> Result<String, BoxError> {
    let uri: Uri = format!("http://{address}/readyz?verbose").parse()?;
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let exchange = async {
        let answer = client.get(uri).await?;
        let is_ready = answer.status().is_success();
        let body = answer.into_body().collect().await?.to_bytes();
        let text = String::from_utf8_lossy(&body).into_owned();
        if is_ready { Ok(text) } else { Err(text.into()) }
    };
    let silent = |_| format!("{address} does not answer within {DEADLINE:?}");
    timeout(DEADLINE, exchange).await.map_err(silent)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_where_the_daemon_listens() {
        let place = |host: &str, admin: Option<&str>| {
            let common = Common {
                host: host.parse().unwrap(),
                admin_addr: admin.map(|address| address.parse().unwrap()),
                ..Common::new(3000, 1)
            };
            address(&common).to_string()
        };
        assert_eq!(place("127.0.0.1", None), "127.0.0.1:3001");
        assert_eq!(place("0.0.0.0", None), "127.0.0.1:3001");
        assert_eq!(place("::", None), "[::1]:3001");
        assert_eq!(place("192.0.2.1", None), "192.0.2.1:3001");
        let admin = Some("0.0.0.0:9001");
        assert_eq!(place("192.0.2.1", admin), "127.0.0.1:9001");
    }
}
