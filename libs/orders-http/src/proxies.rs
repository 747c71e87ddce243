use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub(crate) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(crate) const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The setting for no proxy at all.
const NONE: &str = "none";

/// The addresses and networks of the proxies that are believed; in text, separated by commas, or `none`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TrustedProxies(Vec<IpNet>);

impl Default for TrustedProxies {
    /// Whoever runs on this machine.
    fn default() -> Self {
        let loopback = "127.0.0.0/8,::1";
        Self::try_from(loopback.to_owned()).expect("addresses")
    }
}

impl TryFrom<String> for TrustedProxies {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.trim() == NONE {
            return Ok(Self(Vec::new()));
        }
        let network = |part: &str| {
            let part = part.trim();
            let address = part
                .parse::<IpAddr>()
                .map(|address| address.to_canonical().into());
            address.or_else(|_| part.parse::<IpNet>()).map_err(|_| {
                format!(
                    "{part:?} is neither an address nor a network: write 10.0.0.7 or 10.0.0.0/8, or {NONE}"
                )
            })
        };
        text.split(',')
            .map(network)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl From<TrustedProxies> for String {
    fn from(TrustedProxies(networks): TrustedProxies) -> Self {
        if networks.is_empty() {
            return NONE.to_owned();
        }
        let texts: Vec<_> = networks.iter().map(IpNet::to_string).collect();
        texts.join(",")
    }
}

/// Where a request comes from, as far as those who tell it are trusted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sender {
    /// The address of the client, or of the first proxy that is not trusted.
    pub(crate) client: IpAddr,
    /// The host and the scheme that it used, if a proxy tells.
    pub(crate) host: Option<String>,
    pub(crate) proto: Option<String>,
}

impl TrustedProxies {
    pub(crate) fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Finds the sender of a request that came from `peer`, behind any number of trusted proxies.
    ///
    /// Each proxy adds the address that it was called from; what an address adds that is not trusted does not count.
    pub(crate) fn sender(&self, headers: &HeaderMap, peer: IpAddr) -> Sender {
        let mut sender = Sender {
            client: peer,
            host: None,
            proto: None,
        };
        if !self.contain(peer) {
            return sender;
        }
        for hop in hops(headers).into_iter().rev() {
            sender.host = hop.host.or(sender.host);
            sender.proto = hop.proto.or(sender.proto);
            let Some(address) = hop.address else { break };
            sender.client = address;
            if !self.contain(address) {
                break;
            }
        }
        sender
    }
}

/// What one proxy tells of whoever called it.
#[derive(Default)]
struct Hop {
    address: Option<IpAddr>,
    host: Option<String>,
    proto: Option<String>,
}

/// What the proxies tell, in their order.
///
/// A proxy passes on the headers that it does not know, a client's `Forwarded` among them. More proxies know
/// `X-Forwarded-*`, so `Forwarded` counts only without these.
fn hops(headers: &HeaderMap) -> Vec<Hop> {
    let names = [FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PROTO];
    let [addresses, hosts, protos] = names.map(|name| list(headers, name));
    let count = addresses.len().max(hosts.len()).max(protos.len());
    if count == 0 {
        return list(headers, header::FORWARDED)
            .into_iter()
            .map(element)
            .collect();
    }
    // The lists end together, because each proxy appends to them, or writes them anew.
    let of = |values: &[&str], place: usize| {
        let place = (place + values.len()).checked_sub(count)?;
        values.get(place).map(|value| (*value).to_owned())
    };
    let hop = |place| Hop {
        address: of(&addresses, place).and_then(|text| address(&text)),
        host: of(&hosts, place),
        proto: of(&protos, place),
    };
    (0..count).map(hop).collect()
}

/// The values of a header, which may come in several lines.
fn list(headers: &HeaderMap, name: HeaderName) -> Vec<&str> {
    let lines = headers
        .get_all(name)
        .into_iter()
        .filter_map(|line| line.to_str().ok());
    lines
        .flat_map(|line| split(line, ','))
        .map(str::trim)
        .filter(|value| !value.is_empty())
        .collect()
}

/// One element of `Forwarded` (RFC 7239 section 4).
fn element(text: &str) -> Hop {
    let mut hop = Hop::default();
    for pair in split(text, ';') {
        let Some((name, value)) = pair.split_once('=') else {
            continue;
        };
        let value = value.trim();
        let quoted = value
            .strip_prefix('"')
            .and_then(|value| value.strip_suffix('"'));
        let value = quoted.map_or_else(|| value.to_owned(), |value| value.replace('\\', ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "for" => hop.address = address(&value),
            "host" => hop.host = Some(value),
            "proto" => hop.proto = Some(value),
            _ => {}
        }
    }
    hop
}

/// Splits at `separator` outside quotes.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(move |c| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match c {
            '\\' if is_quoted && !was_escaped => is_escaped = true,
            '"' if !was_escaped => is_quoted = !is_quoted,
            _ => return c == separator && !is_quoted,
        }
        false
    })
}

/// Some proxies add a port, and IPv6 addresses may be in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let address = text.parse().ok().or_else(bare);
    let address = address.or_else(|| text.parse().ok().map(|address: SocketAddr| address.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn sender(peer: &str, headers: &[(HeaderName, &'static str)]) -> [String; 3] {
        let proxies = TrustedProxies::try_from("127.0.0.0/8,::1,10.0.0.0/8".to_owned()).unwrap();
        let headers = headers
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        let sender = proxies.sender(&headers.collect(), peer.parse().unwrap());
        let text = Option::unwrap_or_default;
        [
            sender.client.to_string(),
            text(sender.host),
            text(sender.proto),
        ]
    }

    #[test]
    fn the_rightmost_address_that_is_not_trusted_is_the_client() {
        for (peer, addresses, client) in [
            ("192.0.2.9", "203.0.113.5", "192.0.2.9"),
            ("127.0.0.1", "203.0.113.5", "203.0.113.5"),
            (
                "10.0.0.1",
                "198.51.100.1, 203.0.113.5, 10.9.9.9",
                "203.0.113.5",
            ),
            ("::1", "203.0.113.5:41802", "203.0.113.5"),
            ("::1", "[2001:db8::1]:41802", "2001:db8::1"),
            ("::1", "[2001:db8::1]", "2001:db8::1"),
            ("::1", "2001:db8::1", "2001:db8::1"),
            ("::1", "::ffff:203.0.113.5", "203.0.113.5"),
            ("127.0.0.1", "10.1.1.1,10.2.2.2", "10.1.1.1"),
            ("127.0.0.1", "198.51.100.1, unknown", "127.0.0.1"),
            ("127.0.0.1", "198.51.100.1, unknown, 10.2.2.2", "10.2.2.2"),
            ("127.0.0.1", "", "127.0.0.1"),
        ] {
            assert_eq!(
                sender(peer, &[(FORWARDED_FOR, addresses)])[0],
                client,
                "{addresses}"
            );
        }
    }

    #[test]
    fn host_and_scheme_are_those_that_the_client_used() {
        let told = |peer, addresses, hosts, protos| {
            let headers = [
                (FORWARDED_FOR, addresses),
                (FORWARDED_HOST, hosts),
                (FORWARDED_PROTO, protos),
            ];
            let [_, host, proto] = sender(peer, &headers);
            format!("{proto}://{host}")
        };
        assert_eq!(
            told("127.0.0.1", "203.0.113.5", "shop.example", "https"),
            "https://shop.example"
        );
        assert_eq!(
            told("127.0.0.1", "", "shop.example", "https"),
            "https://shop.example"
        );
        // One proxy writes the host anew, or each appends its own; a client's own entry comes before.
        assert_eq!(
            told("127.0.0.1", "203.0.113.5,10.1.1.1", "shop.example", ""),
            "://shop.example"
        );
        let three = "evil.example, shop.example, inner";
        assert_eq!(
            told("127.0.0.1", "6.6.6.6,203.0.113.5,10.1.1.1", three, ""),
            "://shop.example"
        );
        assert_eq!(
            told("192.0.2.9", "203.0.113.5", "evil.example", "https"),
            "://"
        );
    }

    #[test]
    fn forwarded_says_the_same() {
        let told = |text| sender("127.0.0.1", &[(header::FORWARDED, text)]);
        let of = |client: &str, host: &str, proto: &str| [client, host, proto].map(str::to_owned);
        assert_eq!(
            told("For=\"[2001:db8:cafe::17]:4711\";Proto=https;host=\"shop.example:8443\""),
            of("2001:db8:cafe::17", "shop.example:8443", "https")
        );
        assert_eq!(
            told(
                "for=6.6.6.6;host=evil.example, for=192.0.2.43;by=10.0.0.2, for=10.0.0.3;host=inner"
            ),
            of("192.0.2.43", "inner", "")
        );
        assert_eq!(
            told("for=\"_a,b\\\";c\";host=h, for=unknown"),
            of("127.0.0.1", "", "")
        );
        assert_eq!(told("nonsense"), of("127.0.0.1", "", ""));
        let both = [
            (header::FORWARDED, "for=6.6.6.6"),
            (FORWARDED_FOR, "203.0.113.5"),
        ];
        assert_eq!(sender("127.0.0.1", &both)[0], "203.0.113.5");
    }

    #[test]
    fn proxies_are_addresses_and_networks() {
        let read = |text: &str| TrustedProxies::try_from(text.to_owned()).map(String::from);
        assert_eq!(
            read("10.0.0.7, fd00::/8"),
            Ok("10.0.0.7/32,fd00::/8".to_owned())
        );
        assert_eq!(read("none"), Ok("none".to_owned()));
        for bad in ["", "proxy.example", "10.0.0.0/33", "10.0.0.7,"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_told_the_client_is_the_peer_or_comes_after_trusted_ones(text in "\\PC*", name in 0..4_usize) {
            let name = [FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PROTO, header::FORWARDED][name].clone();
            let Ok(value) = HeaderValue::try_from(text) else { return Ok(()) };
            let headers = HeaderMap::from_iter([(name, value)]);
            let proxies = TrustedProxies::default();
            let stranger: IpAddr = "192.0.2.9".parse().unwrap();
            let nothing = Sender { client: stranger, host: None, proto: None };
            prop_assert_eq!(proxies.sender(&headers, stranger), nothing);
            proxies.sender(&headers, "::1".parse().unwrap());
        }
    }
}
