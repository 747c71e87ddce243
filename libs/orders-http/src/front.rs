use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, header, uri::Authority},
    middleware::Next,
    response::Response,
};
use rustix::system::uname;
use tracing::warn;

use crate::{
    Access, TrustedProxies,
    origin::plain,
    prefix::{FORWARDED_PREFIX, is_prefix, prefix},
    proxies::{FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PROTO, Sender},
};

/// The headers by which proxies tell of the client.
const TOLD_BY_PROXIES: [HeaderName; 7] = [
    FORWARDED_FOR,
    FORWARDED_HOST,
    FORWARDED_PROTO,
    FORWARDED_PREFIX,
    header::FORWARDED,
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-server"),
];

/// Domains that public DNS does not have (RFC 6761, RFC 6762, RFC 8375, ICANN for `internal`), so nobody's page comes
/// from there.
const PRIVATE_DOMAINS: [&str; 6] = [
    "localhost",
    "local",
    "internal",
    "home.arpa",
    "test",
    "invalid",
];

/// Finds out what is true of each request before it is handled: it puts the host that the client asked for into `Host`,
/// in lower case and without a default port, its scheme into `X-Forwarded-Proto`, the client's address into
/// `X-Forwarded-For`, and leaves the path in `X-Forwarded-Prefix`. Of what is told of them, only a trusted proxy's word
/// counts.
///
/// **DNS rebinding.** The page of another site can call a daemon in its visitor's network as if it were the daemon's own
/// page, by making the name of that site an address in that network. Such a request comes directly, so its `Host` has the
/// daemon's own port, and it has a name that public DNS has. Such a `Host` is removed, and the request is [`Misdirected`],
/// unless the name is the machine's own or that of a configured URL.
#[derive(Debug, Clone)]
pub struct Front(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    port: u16,
    proxies: TrustedProxies,
    /// The names that are ours although public DNS may have them.
    names: Vec<String>,
    has_warned: AtomicBool,
}

/// In the extensions of a request that names a host which is not ours: that host.
#[derive(Debug, Clone)]
pub struct Misdirected(pub String);

impl Front {
    /// The front of a daemon that listens on `port`.
    #[must_use]
    pub fn new(access: &Access, port: u16) -> Self {
        let origins = access
            .cors_origin
            .iter()
            .map(|origin| origin.authority().to_owned());
        let public = access.public_url.as_ref();
        let public = public.map(|url| url.authority().to_owned());
        let configured = origins
            .chain(public)
            .filter_map(|authority| name(&authority));
        Self(Arc::new(Inner {
            port,
            proxies: access.trusted_proxies.clone(),
            names: own_names().into_iter().chain(configured).collect(),
            has_warned: AtomicBool::new(false),
        }))
    }

    /// The middleware, which comes before all that looks at those headers.
    pub async fn receive(
        State(Self(front)): State<Self>,
        mut request: Request,
        next: Next,
    ) -> Response {
        front.correct(&mut request);
        next.run(request).await
    }
}

impl Inner {
    fn correct(&self, request: &mut Request) {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let peer = peer.map(|ConnectInfo(peer)| peer.ip().to_canonical());
        let peer = peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let Sender {
            client,
            host,
            proto,
        } = self.proxies.sender(request.headers(), peer);
        self.warn_of_untrusted(peer, request.headers());
        let named = named_host(request);
        let misdirected = named.clone().filter(|host| !self.may_be_ours(peer, host));
        let host = match misdirected {
            Some(_) => None,
            None => host.as_deref().and_then(plain).or_else(|| plain(&named?)),
        };

        let is_told = |prefix: &&HeaderValue| self.proxies.contain(peer) && is_prefix(prefix);
        let prefix = request
            .headers()
            .get(FORWARDED_PREFIX)
            .filter(is_told)
            .cloned();
        let headers = request.headers_mut();
        for name in TOLD_BY_PROXIES {
            headers.remove(name);
        }
        let is_tls = proto.is_some_and(|proto| {
            ["https", "wss"]
                .iter()
                .any(|tls| proto.eq_ignore_ascii_case(tls))
        });
        headers.insert(
            FORWARDED_PROTO,
            HeaderValue::from_static(if is_tls { "https" } else { "http" }),
        );
        if let Ok(client) = HeaderValue::try_from(client.to_string()) {
            headers.insert(FORWARDED_FOR, client);
        }
        if let Some(prefix) = prefix {
            headers.insert(FORWARDED_PREFIX, prefix);
        }
        match host.and_then(|host| HeaderValue::try_from(host).ok()) {
            Some(host) => _ = headers.insert(header::HOST, host),
            None => _ = headers.remove(header::HOST),
        }
        if let Some(host) = misdirected {
            request.extensions_mut().insert(Misdirected(host));
        }
    }

    /// Whether a request of `peer` that names `host` may be meant for us: it came through a proxy, or nobody else can have
    /// the name. The browser of a visitor may run on this machine, as proxies may, but on no other proxy's.
    fn may_be_ours(&self, peer: IpAddr, host: &str) -> bool {
        let Ok(authority) = host.parse::<Authority>() else {
            return false;
        };
        let is_of_proxy = self.proxies.contain(peer) && !peer.is_loopback();
        let is_direct = authority.port_u16().unwrap_or(80) == self.port;
        is_of_proxy
            || !is_direct
            || name(host).is_some_and(|name| is_private(&name) || self.names.contains(&name))
    }

    /// An operator learns why a proxy is not believed.
    fn warn_of_untrusted(&self, peer: IpAddr, headers: &HeaderMap) {
        let is_proxy_like = match peer {
            IpAddr::V4(peer) => peer.is_private() || peer.is_loopback(),
            IpAddr::V6(peer) => peer.is_unique_local() || peer.is_loopback(),
        };
        let is_told = || {
            TOLD_BY_PROXIES
                .iter()
                .any(|name| headers.contains_key(name))
        };
        if is_proxy_like
            && !self.proxies.contain(peer)
            && is_told()
            && !self.has_warned.swap(true, Ordering::Relaxed)
        {
            warn!(
                "{peer} sends X-Forwarded-* or Forwarded, which are ignored: it is not in ORDERS_TRUSTED_PROXIES"
            );
        }
    }
}

/// The host that a request names: in its target or, as nearly always, in `Host`.
fn named_host(request: &Request) -> Option<String> {
    let target = request.uri().authority().map(Authority::as_str);
    let host = || request.headers().get(header::HOST)?.to_str().ok();
    target
        .or_else(host)
        .filter(|host| !host.is_empty())
        .map(str::to_owned)
}

/// The name or the address in `host`, without its port and the dot that may end a name.
fn name(host: &str) -> Option<String> {
    let authority: Authority = host.parse().ok()?;
    let host = authority
        .host()
        .trim_matches(['[', ']'])
        .trim_end_matches('.');
    Some(host.to_ascii_lowercase())
}

/// Whether nobody can own `name` in public DNS: it is an address, has no dot, or is in a private domain.
fn is_private(name: &str) -> bool {
    let is_in = |domain: &&str| {
        name.strip_suffix(*domain)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    !name.contains('.') || name.parse::<IpAddr>().is_ok() || PRIVATE_DOMAINS.iter().any(is_in)
}

/// The names of this machine: its own, also in each domain that it looks names up in.
fn own_names() -> Vec<String> {
    let own = uname().nodename().to_string_lossy().to_ascii_lowercase();
    let resolver = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let domains = resolver.lines().filter_map(|line| {
        let line = line.trim();
        line.strip_prefix("search ")
            .or_else(|| line.strip_prefix("domain "))
    });
    let domains = domains.flat_map(str::split_whitespace);
    let full =
        domains.map(|domain| format!("{own}.{}", domain.trim_matches('.').to_ascii_lowercase()));
    full.chain([own.clone()]).collect()
}

/// The URL at which a client reached the daemon, without a slash at its end, if the request of `headers` names a host.
#[must_use]
pub fn reached(headers: &HeaderMap) -> Option<String> {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok();
    let scheme = text(FORWARDED_PROTO).unwrap_or("http");
    let (host, prefix) = (text(header::HOST)?, prefix(headers));
    Some(format!("{scheme}://{host}{prefix}"))
}

/// Whether the request of `headers` came by TLS.
#[must_use]
pub fn is_secure(headers: &HeaderMap) -> bool {
    headers
        .get(FORWARDED_PROTO)
        .is_some_and(|scheme| scheme == "https")
}

/// Whether the host that the request of `headers` names is this machine, for whoever names it.
#[must_use]
pub fn is_local(headers: &HeaderMap) -> bool {
    let host = headers
        .get(header::HOST)
        .and_then(|host| name(host.to_str().ok()?));
    host.is_some_and(|name| {
        name == "localhost"
            || name
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    })
}

#[cfg(test)]
mod tests;
