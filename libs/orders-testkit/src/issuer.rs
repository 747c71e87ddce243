//! A real OpenID issuer on loopback, whose tokens a test makes as it likes.

mod key;
mod server;
mod token;

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::{net::TcpListener, task::AbortHandle};

use self::server::{Server, State};
pub use self::{key::SigningKey, server::Behaviour, token::Token};

/// An issuer with a discovery document and a key set, until it is dropped.
///
/// ```ignore
/// let issuer = Issuer::start().await;
/// let token = issuer.token().tenant("t-1").scopes("orders:read").sign();
/// ```
#[derive(Debug)]
pub struct Issuer {
    url: String,
    server: Arc<Server>,
    task: AbortHandle,
}

impl Issuer {
    /// Starts one with an ES256 key, called `key-1`.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let url = format!("http://{address}");
        let server = Arc::new(Server::new(url.clone(), SigningKey::es256("key-1")));
        let task = tokio::spawn(Arc::clone(&server).serve(listener)).abort_handle();
        Self { url, server, task }
    }

    /// Its `iss`, and where it is.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// The URL of its key set.
    pub fn keys_url(&self) -> String {
        format!("{}/keys", self.url)
    }

    /// An access token (RFC 9068) for `orders-api`, subject `u1` and client `test`, without a tenant or scopes, that
    /// ends in five minutes.
    pub fn token(&self) -> Token {
        Token::access(&self.url, self.key())
    }

    /// An ID token for the client `client_id`, in answer to `nonce`.
    pub fn id_token(&self, client_id: &str, nonce: &str) -> Token {
        self.token()
            .header("typ", "JWT")
            .without("client_id")
            .claim("aud", client_id)
            .claim("nonce", nonce)
    }

    /// A logout token (OpenID Connect Back-Channel Logout) for the client `client_id`.
    pub fn logout_token(&self, client_id: &str) -> Token {
        let event = "http://schemas.openid.net/event/backchannel-logout";
        self.token()
            .header("typ", "logout+jwt")
            .without("client_id")
            .claim("aud", client_id)
            .claim("events", json!({ event: {} }))
    }

    /// The key that signs now.
    pub fn key(&self) -> Arc<SigningKey> {
        self.read(|state| Arc::clone(&state.signing))
    }

    /// Signs with a new ES256 key called `id` from now on, and publishes it alone.
    pub fn rotate(&self, id: &str) {
        self.sign_with(SigningKey::es256(id));
    }

    /// Signs with `key` from now on, and publishes it alone.
    pub fn sign_with(&self, key: SigningKey) {
        let jwk = key.jwk();
        self.read(|state| {
            state.signing = Arc::new(key);
            state.published = vec![jwk];
        });
    }

    /// Publishes these keys (JWK) and no others, whatever signs.
    pub fn publish(&self, keys: Vec<Value>) {
        self.read(|state| state.published = keys);
    }

    /// Answers like this from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        self.read(|state| state.behaviour = behaviour);
    }

    /// How often its key set was asked for.
    pub fn key_fetches(&self) -> usize {
        self.read(|state| state.key_fetches)
    }

    fn read<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        self.server.state(look)
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
