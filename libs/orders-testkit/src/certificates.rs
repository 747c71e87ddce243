use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// An authority of the test's own, and what it signed: a certificate for servers on this machine and one for clients.
/// All are PEM files.
#[derive(Debug)]
pub struct Certificates {
    /// The certificate of the authority.
    pub ca: PathBuf,
    /// The certificate of the servers.
    pub server: PathBuf,
    /// Its key.
    pub server_key: PathBuf,
    /// The certificate of the clients.
    pub client: PathBuf,
    /// Its key.
    pub client_key: PathBuf,
}

impl Certificates {
    /// Makes them in `folder`.
    pub fn new(folder: &Path) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let authority = params.self_signed(&key).expect("a certificate");
        let issuer = Issuer::new(params, key);
        let write = |name: &str, pem: String| {
            let path = folder.join(name);
            std::fs::write(&path, pem).expect("a writable folder");
            path
        };
        let sign = |name: &str, hosts: &[&str]| {
            let key = KeyPair::generate().expect("a key");
            let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
            let params = CertificateParams::new(hosts).expect("hosts");
            let signed = params.signed_by(&key, &issuer).expect("a certificate");
            (
                write(&format!("{name}.pem"), signed.pem()),
                write(&format!("{name}-key.pem"), key.serialize_pem()),
            )
        };
        let (server, server_key) = sign("server", &["localhost", "127.0.0.1", "::1"]);
        let (client, client_key) = sign("client", &["client"]);
        Self {
            ca: write("ca.pem", authority.pem()),
            server,
            server_key,
            client,
            client_key,
        }
    }
}
