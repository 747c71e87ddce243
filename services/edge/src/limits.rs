//! Limits of what somebody may ask for in a second. `rate` counts; this says who is counted, what a request costs, and
//! what answers tell of it.

use std::{
    fmt::Write as _,
    hash::{BuildHasher, RandomState},
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts},
    middleware::Next,
    response::Response,
};
use orders_contracts::TenantId;
use orders_service::metrics::{REQUESTS_LIMITED, counter};
use tokio::time::{Instant, sleep};

use crate::{
    body::JSON_LIMIT,
    config::LimitSettings,
    deadlines::REFUSAL,
    guard::Caller,
    problem::Problem,
    rate::{Left, Rate, Table},
    state::AppState,
};

pub(crate) const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub(crate) const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Where the front puts the address of the client.
const CLIENT: HeaderName = HeaderName::from_static("x-forwarded-for");
/// So many bytes of a body cost as much as a request.
const BYTES: u64 = 16 << 10;
const SECOND: u64 = 1_000_000_000;

/// Who is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Key<'a> {
    Tenant(&'a TenantId),
    /// Whoever has credentials: the issuer and the subject.
    Subject(&'a str, &'a str),
    /// Whoever has none: an address, or of IPv6 the network that one customer has.
    Peer(IpAddr),
}

impl Key<'_> {
    /// The name of its limit, for clients.
    const fn policy(self) -> &'static str {
        match self {
            Self::Tenant(_) => "tenant",
            Self::Subject(..) => "subject",
            Self::Peer(_) => "peer",
        }
    }

    /// Its rate, where a tenant has this one.
    const fn rate(self, of_tenant: Rate) -> Rate {
        match self {
            Self::Tenant(_) | Self::Peer(_) => of_tenant,
            Self::Subject(..) => of_tenant.quarter(),
        }
    }

    /// The peer that a request with `headers` came from.
    fn peer(headers: &HeaderMap) -> Self {
        let client = headers.get(CLIENT).and_then(|client| client.to_str().ok());
        let client = client.and_then(|client| client.parse::<IpAddr>().ok());
        Self::Peer(match client {
            Some(IpAddr::V6(address)) => network(address),
            Some(address) => address,
            None => Ipv6Addr::UNSPECIFIED.into(),
        })
    }
}

/// The /64 of `address`.
fn network(address: Ipv6Addr) -> IpAddr {
    let bits = address.to_bits() >> 64 << 64;
    Ipv6Addr::from_bits(bits).into()
}

/// Counts requests.
pub(crate) struct Limits {
    of_tenant: Option<Rate>,
    tells: bool,
    /// Makes keys that nobody can foresee.
    secret: RandomState,
    table: Mutex<Table>,
    began: Instant,
}

impl Limits {
    /// With `by_default` there are limits unless others are set; else only those that are set.
    pub(crate) fn new(settings: &LimitSettings, by_default: bool) -> Self {
        Self {
            of_tenant: settings.tenant(by_default),
            tells: settings.headers.unwrap_or(by_default),
            secret: RandomState::new(),
            table: Mutex::new(Table::new()),
            began: Instant::now(),
        }
    }

    /// Takes what a request with so many bytes costs from all of `keys`, or from none and refuses it. `told` learns what
    /// is left.
    pub(crate) async fn take(
        &self,
        keys: &[Key<'_>],
        bytes: u64,
        told: &Told,
    ) -> Result<(), Problem> {
        match self.try_take(keys, bytes, told) {
            Ok(()) => Ok(()),
            Err((policy, wait)) => Err(refuse(policy, wait).await),
        }
    }

    /// Refuses a request of a peer that had valid credentials too rarely: before anything else, so that nobody can guess
    /// credentials, or make us verify them, without end.
    pub(crate) async fn may_try(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(of_tenant) = self.of_tenant else {
            return Ok(());
        };
        let peer = Key::peer(headers);
        let hash = self.secret.hash_one(peer);
        let wait = self.table().wait(hash, peer.rate(of_tenant), self.now());
        match wait {
            None => Ok(()),
            Some(wait) => Err(refuse(peer.policy(), wait).await),
        }
    }

    /// Counts a request without valid credentials for its peer.
    pub(crate) fn note_failure(&self, headers: &HeaderMap) {
        // It has been refused already, so it is counted as far as there is room.
        let _ = self.try_take(&[Key::peer(headers)], 0, &Told::default());
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The limit that refuses, and the nanoseconds to wait.
    fn try_take(
        &self,
        keys: &[Key<'_>],
        bytes: u64,
        told: &Told,
    ) -> Result<(), (&'static str, u64)> {
        let Some(of_tenant) = self.of_tenant else {
            return Ok(());
        };
        let counted = |key: &Key<'_>| (self.secret.hash_one(key), key.rate(of_tenant));
        let counted: Vec<(u64, Rate)> = keys.iter().map(counted).collect();
        let cost = u32::try_from(1 + bytes / BYTES).unwrap_or(u32::MAX);
        let now = self.now();
        let mut table = self.table();
        let taken = table.take(&counted, now, cost);
        if self.tells {
            let lefts = keys.iter().zip(&counted);
            told.add(
                lefts.map(|(key, (hash, rate))| {
                    (key.policy(), *rate, table.left(*hash, *rate, now))
                }),
            );
        }
        taken.map_err(|(place, wait)| (keys[place].policy(), wait))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn refuse(policy: &'static str, wait: u64) -> Problem {
    counter!(REQUESTS_LIMITED, "policy" => policy).increment(1);
    // A client that tries again at once would take the processors from all others.
    sleep(REFUSAL).await;
    Problem::too_much(
        policy,
        wait.div_ceil(SECOND).max(1),
        "Too many requests at once; this one was not accepted, try again later",
    )
}

/// What the answer to a request tells of its limits: in its extensions while it is handled.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told(Arc<Mutex<Vec<Limit>>>);

/// The name of a limit, its rate, and what is left of it.
type Limit = (&'static str, Rate, Left);

impl Told {
    fn add(&self, lefts: impl Iterator<Item = Limit>) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.extend(lefts);
    }

    /// The headers of draft-ietf-httpapi-ratelimit-headers-11.
    fn write(&self, headers: &mut HeaderMap) {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_empty() {
            return;
        }
        let (mut policies, mut limits) = (String::new(), String::new());
        for (n, (name, rate, left)) in told.iter().enumerate() {
            let comma = if n > 0 { ", " } else { "" };
            let (quota, window) = (rate.burst, rate.window());
            let (now, whole_in) = (left.units, left.whole_in.div_ceil(SECOND));
            let _ = write!(policies, "{comma}\"{name}\";q={quota};w={window}");
            let _ = write!(limits, "{comma}\"{name}\";r={now};t={whole_in}");
        }
        for (name, text) in [(RATE_LIMIT_POLICY, policies), (RATE_LIMIT, limits)] {
            if let Ok(text) = HeaderValue::try_from(text) {
                headers.insert(name, text);
            }
        }
    }
}

/// The middleware that lets answers tell what is left.
pub(crate) async fn tell(
    State(edge): State<Arc<AppState>>,
    mut request: Request,
    next: Next,
) -> Response {
    if !edge.limits.tells {
        return next.run(request).await;
    }
    let told = Told::default();
    request.extensions_mut().insert(told.clone());
    let mut response = next.run(request).await;
    told.write(response.headers_mut());
    response
}

/// What a request costs. Of a known caller it is charged before the body is read, as far as it is known whose it is; the
/// handlers, which alone know that of all, charge the rest.
pub(crate) struct Cost {
    bytes: u64,
    told: Told,
    /// The tenant that is charged already.
    charged: Option<TenantId>,
}

impl FromRequestParts<Arc<AppState>> for Cost {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, edge: &Arc<AppState>) -> Result<Self, Problem> {
        let told = parts.extensions.get::<Told>().cloned();
        let mut cost = Self {
            bytes: announced(&parts.headers),
            told: told.unwrap_or_default(),
            charged: None,
        };
        let caller = parts.extensions.get::<Caller>();
        if let Some((caller, identity)) = caller.and_then(|it| Some((it, it.identity()?))) {
            let tenant = caller.only_tenant();
            let subject = Key::Subject(&identity.issuer, &identity.subject);
            let keys = [Some(subject), tenant.map(Key::Tenant)];
            let keys: Vec<_> = keys.into_iter().flatten().collect();
            edge.limits.take(&keys, cost.bytes, &cost.told).await?;
            cost.charged = tenant.cloned();
        }
        Ok(cost)
    }
}

impl Cost {
    /// Charges it to `tenant`, or refuses the request.
    pub(crate) async fn charge(self, edge: &AppState, tenant: &TenantId) -> Result<(), Problem> {
        if self.charged.as_ref() == Some(tenant) {
            return Ok(());
        }
        let keys = [Key::Tenant(tenant)];
        edge.limits.take(&keys, self.bytes, &self.told).await
    }
}

/// The bytes of a request's body; the most that it may have, if it does not say.
fn announced(headers: &HeaderMap) -> u64 {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return JSON_LIMIT as u64;
    }
    let length = headers.get(header::CONTENT_LENGTH);
    length
        .and_then(|length| length.to_str().ok()?.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(tenant_rate: u32, headers: bool) -> Limits {
        Limits::new(
            &LimitSettings {
                tenant_rate: Some(tenant_rate),
                headers: Some(headers),
                ..LimitSettings::default()
            },
            false,
        )
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_may_fail_so_often_and_others_do_not_notice() {
        let limits = limits(2, false);
        let from = |address: &str| HeaderMap::from_iter([(CLIENT, address.parse().unwrap())]);
        let (one, neighbour) = (from("2001:db8::1"), from("2001:db8::ffff:2"));
        for _ in 0..4 {
            assert_eq!(limits.may_try(&one).await, Ok(()));
            limits.note_failure(&neighbour);
        }
        let detail = "Too many requests at once; this one was not accepted, try again later";
        let refused = Err(Problem::too_much("peer", 1, detail));
        assert_eq!(limits.may_try(&one).await, refused);
        for other in ["2001:db8:0:1::1", "192.0.2.1", "192.0.2.2"] {
            assert_eq!(limits.may_try(&from(other)).await, Ok(()), "{other}");
        }
        // The refusal took the time in which one comes.
        assert_eq!(limits.may_try(&one).await, Ok(()));
        limits.note_failure(&one);
        assert_ne!(limits.may_try(&neighbour).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_subject_has_a_quarter_of_its_tenants_rate() {
        let limits = limits(8, true);
        let tenant: TenantId = "t-1".parse().unwrap();
        let take = async |subject: &str| {
            let told = Told::default();
            let keys = [Key::Subject("https://i", subject), Key::Tenant(&tenant)];
            let taken = limits.take(&keys, 0, &told).await;
            let mut headers = HeaderMap::new();
            told.write(&mut headers);
            (taken, headers[RATE_LIMIT].to_str().unwrap().to_owned())
        };
        for left in [3, 2, 1, 0] {
            let told = format!("\"subject\";r={left};");
            let (taken, said) = take("busy").await;
            assert_eq!(taken, Ok(()));
            assert!(said.starts_with(&told), "{said}");
        }
        let detail = "Too many requests at once; this one was not accepted, try again later";
        let (refused, said) = take("busy").await;
        assert_eq!(refused, Err(Problem::too_much("subject", 1, detail)));
        assert_eq!(said, "\"subject\";r=0;t=2, \"tenant\";r=12;t=1");
        // Not of the same issuer, so somebody else.
        assert_eq!(take("quiet").await.0, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_tenant_has_its_rate_and_others_have_theirs() {
        let limits = limits(10, true);
        let [busy, quiet]: [TenantId; 2] = ["busy", "quiet"].map(|name| name.parse().unwrap());
        let take = async |tenant: &TenantId, bytes: u64| {
            let told = Told::default();
            let taken = limits.take(&[Key::Tenant(tenant)], bytes, &told).await;
            let mut headers = HeaderMap::new();
            told.write(&mut headers);
            let text = |name| headers[name].to_str().unwrap().to_owned();
            assert_eq!(text(RATE_LIMIT_POLICY), "\"tenant\";q=20;w=2");
            (taken, text(RATE_LIMIT))
        };
        assert_eq!(take(&busy, 0).await, (Ok(()), "\"tenant\";r=19;t=1".into()));
        let large = 18 * BYTES + 1;
        assert_eq!(
            take(&busy, large).await,
            (Ok(()), "\"tenant\";r=0;t=2".into())
        );
        let (refused, told) = take(&busy, large).await;
        let detail = "Too many requests at once; this one was not accepted, try again later";
        assert_eq!(refused, Err(Problem::too_much("tenant", 2, detail)));
        assert_eq!(told, "\"tenant\";r=0;t=2");
        assert_eq!(take(&quiet, 0).await.0, Ok(()));
        // The refusal took half a second, in which five came.
        assert_eq!(take(&busy, 0).await, (Ok(()), "\"tenant\";r=4;t=2".into()));
    }

    #[test]
    fn a_body_that_does_not_say_its_length_costs_the_most() {
        let announced = |name: HeaderName, value: &str| {
            announced(&HeaderMap::from_iter([(name, value.parse().unwrap())]))
        };
        assert_eq!(announced(header::CONTENT_LENGTH, "70000"), 70_000);
        assert_eq!(announced(header::CONTENT_LENGTH, "x"), 0);
        let most = JSON_LIMIT as u64;
        assert_eq!(announced(header::TRANSFER_ENCODING, "chunked"), most);
    }
}
