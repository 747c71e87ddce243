//! The sockets that the HTTP server listens on: systemd's, or its own.

use std::{
    io, iter,
    net::{self, IpAddr, Ipv4Addr, Ipv6Addr},
};

use listenfd::ListenFd;
use tokio::net::TcpListener;
use tracing::info;

use crate::{BoxError, config::Auth};

/// The sockets that whoever started this process passed to it by `LISTEN_FDS` and `LISTEN_PID`, as systemd does. They
/// outlive the process, so nobody is refused while it is started again.
///
/// To be called before the first thread starts, because it removes the variables.
pub(crate) fn passed() -> io::Result<Vec<net::TcpListener>> {
    let mut passed = ListenFd::from_env();
    (0..passed.len())
        .filter_map(|index| passed.take_tcp_listener(index).transpose())
        .collect()
}

/// Listens on the sockets that were `passed`, if there are any, else on `port` of `host`.
pub(crate) async fn listen(
    passed: io::Result<Vec<net::TcpListener>>,
    auth: Auth,
    host: IpAddr,
    port: u16,
) -> Result<Vec<TcpListener>, BoxError> {
    let passed =
        passed.map_err(|error| format!("cannot use the sockets of LISTEN_FDS: {error}"))?;
    if passed.is_empty() {
        let bound = bind(host, port).await;
        return bound
            .map_err(|error| format!("cannot listen on port {port} of {host}: {error}").into());
    }
    let adopt = |listener: net::TcpListener| -> Result<_, BoxError> {
        let address = listener.local_addr()?;
        if let Some(reason) = auth.forbids(address.ip()) {
            return Err(format!("cannot use the socket {address} of LISTEN_FDS: {reason}").into());
        }
        info!("LISTEN_FDS has the socket {address}, so PORT and ORDERS_HOST do not count");
        listener.set_nonblocking(true)?;
        Ok(TcpListener::from_std(listener)?)
    };
    passed.into_iter().map(adopt).collect()
}

/// Listens on `port` of `host`. If that is `0.0.0.0`, every IPv6 address counts too, and with `127.0.0.1` `::1`, so that
/// `localhost` works whichever it resolves to. A machine without IPv6 has the IPv4 addresses alone.
async fn bind(host: IpAddr, port: u16) -> io::Result<Vec<TcpListener>> {
    if host == Ipv4Addr::UNSPECIFIED
        && let Some(all) = bind_v6(Ipv6Addr::UNSPECIFIED, port).await?
    {
        return Ok(vec![all]);
    }
    let first = TcpListener::bind((host, port)).await?;
    let second = match host == Ipv4Addr::LOCALHOST {
        true => bind_v6(Ipv6Addr::LOCALHOST, first.local_addr()?.port()).await?,
        false => None,
    };
    Ok(iter::once(first).chain(second).collect())
}

/// Listens on an IPv6 address, if this machine has IPv6.
async fn bind_v6(address: Ipv6Addr, port: u16) -> io::Result<Option<TcpListener>> {
    match TcpListener::bind((address, port)).await {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => Ok(None),
        result => result.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AuthMode;

    #[tokio::test]
    async fn a_passed_socket_counts_instead_of_the_port_but_not_one_that_may_not_be_open() {
        let passed = |host: &str| Ok(vec![net::TcpListener::bind((host, 0)).unwrap()]);
        let mode = |mode| Auth {
            mode,
            allow_off: false,
        };
        let host = Ipv4Addr::LOCALHOST.into();
        let own = passed("127.0.0.1");
        let address = own.as_ref().unwrap()[0].local_addr().unwrap();
        // The port is not even looked at: it is taken.
        let listeners = listen(own, mode(AuthMode::Off), host, address.port());
        let listeners = listeners.await.unwrap();
        assert_eq!(listeners.len(), 1);
        assert_eq!(listeners[0].local_addr().unwrap(), address);

        let open = listen(passed("0.0.0.0"), mode(AuthMode::Off), host, 0).await;
        let error = open.unwrap_err().to_string();
        assert!(error.contains("ORDERS_AUTH__ALLOW_OFF"), "{error}");
        let open = listen(passed("0.0.0.0"), mode(AuthMode::Jwt), host, 0).await;
        assert!(open.is_ok());
    }
}
