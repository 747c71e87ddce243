//! An authority for development and tests, and the certificates it signs for servers and clients on this machine.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// The names that a server's certificate is good for: this machine, as it sees itself.
const HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// What a new authority signed, as PEM files: a certificate for the servers of this machine and one for their clients.
///
/// The authority's own key is written nowhere, so it never signs anything else.
#[derive(Debug, Clone)]
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
    /// Makes them in `folder`, in place of those of an earlier authority. Only their owner can read the keys.
    pub fn make(folder: &Path) -> io::Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params
            .distinguished_name
            .push(DnType::CommonName, "orders development authority");
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let authority = params.self_signed(&key).map_err(io::Error::other)?;
        let issuer = Issuer::new(params, key);

        let sign = |name: &str, hosts: &[&str], usages: &[ExtendedKeyUsagePurpose]| {
            let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
            let mut params = CertificateParams::new(hosts).map_err(io::Error::other)?;
            params.distinguished_name.push(DnType::CommonName, name);
            params.extended_key_usages = usages.to_vec();
            let key = KeyPair::generate().map_err(io::Error::other)?;
            let signed = params.signed_by(&key, &issuer).map_err(io::Error::other)?;
            let secret = key.serialize_pem();
            let certificate = write(folder, &format!("{name}.pem"), 0o644, &signed.pem())?;
            let key = write(folder, &format!("{name}-key.pem"), 0o600, &secret)?;
            Ok::<_, io::Error>((certificate, key))
        };
        fs::create_dir_all(folder)?;
        let [serves, calls] = [
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        // The servers of a cluster call each other.
        let (server, server_key) = sign("server", &HOSTS, &[serves, calls.clone()])?;
        let (client, client_key) = sign("client", &["client"], &[calls])?;
        Ok(Self {
            ca: write(folder, "ca.pem", 0o644, &authority.pem())?,
            server,
            server_key,
            client,
            client_key,
        })
    }
}

/// Writes a file that has its mode from the beginning.
fn write(folder: &Path, name: &str, mode: u32, text: &str) -> io::Result<PathBuf> {
    let path = folder.join(name);
    // An old file would keep its own mode.
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = File::options();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&path)?;
    file.write_all(text.as_bytes())?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn keys_are_for_their_owner_and_that_of_the_authority_for_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let text = |path: &Path| fs::read_to_string(path).unwrap();
        let first = Certificates::make(folder.path()).unwrap();
        let old = text(&first.server_key);
        // As an older version or a careless user may have left it.
        fs::set_permissions(&first.server_key, fs::Permissions::from_mode(0o644)).unwrap();
        let made = Certificates::make(folder.path()).unwrap();

        assert_ne!(text(&made.server_key), old);
        for key in [&made.server_key, &made.client_key] {
            assert_eq!(mode(key), 0o600);
        }
        for certificate in [&made.ca, &made.server, &made.client] {
            assert_eq!(mode(certificate), 0o644);
            assert!(text(certificate).starts_with("-----BEGIN CERTIFICATE-----"));
        }
        let files = fs::read_dir(folder.path()).unwrap();
        let keys = files.filter(|file| {
            let text = text(&file.as_ref().unwrap().path());
            text.contains("PRIVATE KEY")
        });
        assert_eq!(keys.count(), 2);
    }
}
