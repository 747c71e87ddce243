//! `up --s3`: a bucket for uploads on this machine, in an S3 server. Its files and keys are below .orders/uploads.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use rustix::fs::XattrFlags;
use serde_json::json;
use tokio::process::Command;

use crate::{
    progress,
    secure::keys::{self, Folder},
    stack::Site,
    supervisor::Supervisor,
    tools,
    up::line,
    workspace::Workspace,
};

const BUCKET: &str = "orders";
const REGION: &str = "us-east-1";
/// Who may do everything, and the edge, which may do no more than it needs.
const ROOT: &str = "root";
const EDGE: &str = "edge";

/// The S3 server and its bucket.
pub(crate) struct Uploads {
    folder: PathBuf,
    keys: Folder,
    orderctl: PathBuf,
    port: u16,
    /// The port of the pages, which send files.
    web: u16,
}

impl Uploads {
    /// Makes the keys, unless an earlier run has. Everything is below `data`.
    pub(crate) fn new(
        workspace: &Workspace,
        profile: &str,
        data: &Path,
        port: u16,
        web: u16,
    ) -> Result<Self> {
        let folder = data.join("uploads");
        let uploads = Self {
            keys: Folder::make(folder.join("keys"))?,
            folder,
            orderctl: workspace.binaries(profile).join("orderctl"),
            port,
            web,
        };
        for name in ["objects", "sidecar", "versions", "users"] {
            let folder = uploads.folder.join(name);
            fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        }
        for user in [ROOT, EDGE] {
            let key = || Ok(format!("{user}:{}", keys::password()?));
            uploads.keys.read_or(user, key)?;
        }
        Ok(uploads)
    }

    fn url(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    fn secret(&self, user: &str) -> Result<String> {
        let key = self.keys.read_or(user, || Ok(String::new()))?;
        let (_, secret) = key.split_once(':').context("a key is ID:SECRET")?;
        Ok(secret.to_owned())
    }

    /// Starts the server, and makes the bucket as whoever installs one would.
    pub(crate) async fn start(&self, workspace: &Workspace, site: &Site) -> Result<Supervisor> {
        let account = json!({ "access": EDGE, "secret": self.secret(EDGE)?, "role": "user" });
        let users = json!({ "accessAccounts": { EDGE: account } });
        let file = self.folder.join("users/users.json");
        fs::write(&file, users.to_string()).context("the users of the S3 server")?;

        let program = tools::s3_server(workspace).await?;
        let args = ["posix".into(), self.folder.join("objects")];
        let mut launch = site.server("versitygw", program)?.args(args);
        let below = |name| self.folder.join(name).display().to_string();
        let mut settings = vec![
            ("ROOT_ACCESS_KEY", ROOT.to_owned()),
            ("ROOT_SECRET_KEY", self.secret(ROOT)?),
            ("VGW_PORT", format!("127.0.0.1:{}", self.port)),
            ("VGW_REGION", REGION.to_owned()),
            ("VGW_IAM_DIR", below("users")),
            ("VGW_VERSIONING_DIR", below("versions")),
        ];
        if !has_attributes(&self.folder) {
            // The second choice: there a file that is overwritten keeps its tags (v1.8.0).
            settings.push(("VGW_META_SIDECAR", below("sidecar")));
        }
        let settings = settings.into_iter();
        let settings = settings.map(|(name, value)| (name.to_owned(), value));
        launch.env.extend(settings);
        let mut server = launch.start()?;
        site.accepts("versitygw", self.port, &mut server).await?;

        let mut init = Command::new(&self.orderctl);
        init.args(["uploads", "init", "--edge", EDGE]);
        for host in ["localhost", "127.0.0.1"] {
            init.args(["--origin", &format!("http://{host}:{}", self.web)]);
        }
        init.envs(self.settings_of_user(ROOT));
        progress::run("orderctl uploads init", &mut init).await?;
        let operator = self.settings_of_user(ROOT).into_iter();
        let operator = operator.map(|(name, value)| format!("export {name}='{value}'\n"));
        self.keys
            .write("operator.env", &operator.collect::<String>())?;

        let mut supervisor = Supervisor::new(site.console);
        supervisor.keep(launch, server);
        Ok(supervisor)
    }

    /// The settings of a daemon, as far as uploads concern it.
    pub(crate) fn settings_of(&self, daemon: &str) -> Vec<(String, String)> {
        match daemon {
            "edge" => self.settings_of_user(EDGE),
            "web" => vec![("ORDERS_UPLOAD_ORIGIN".to_owned(), self.url())],
            _ => Vec::new(),
        }
    }

    /// The settings of whoever may remove and tag uploads.
    pub(crate) fn settings_of_operator(&self) -> Vec<(String, String)> {
        self.settings_of_user(ROOT)
    }

    fn settings_of_user(&self, user: &str) -> Vec<(String, String)> {
        let key = self.keys.file(user).display().to_string();
        let settings = [
            ("MODE", "s3".to_owned()),
            ("ENDPOINT", self.url()),
            ("BUCKET", BUCKET.to_owned()),
            ("REGION", REGION.to_owned()),
            ("ACCESS_KEY_FILE", key),
        ];
        let named = settings.map(|(name, value)| (format!("ORDERS_UPLOADS__{name}"), value));
        named.into()
    }

    /// Prints where it is.
    pub(crate) fn introduce(&self) {
        line("uploads", &self.url(), "an S3 server with the bucket");
    }

    /// Prints how a shell may remove what nobody ordered.
    pub(crate) fn print_example(&self) {
        let (file, orderctl) = (self.keys.file("operator.env"), self.orderctl.display());
        let file = file.display();
        println!("  . {file} && {orderctl} uploads sweep   removes files that no order names\n");
    }
}

/// Whether the file system keeps extended attributes, in which the server has its metadata.
fn has_attributes(folder: &Path) -> bool {
    let probe = folder.join("probe");
    fs::write(&probe, "").is_ok()
        && rustix::fs::setxattr(&probe, "user.orders", b"1", XattrFlags::empty()).is_ok()
}
