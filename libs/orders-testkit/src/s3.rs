use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    time::SystemTime,
};

use serde_json::json;
use tokio::process::{Child, Command};

use crate::{Setup, environment, eventually, free_port, tool};

/// Who may do everything, and the edge, each with a secret.
const ROOT: (&str, &str) = ("root", "secret-of-root");
const EDGE: (&str, &str) = ("edge", "secret-of-edge");
const REGION: &str = "eu-test-1";

/// A real S3 server, versitygw, with a bucket that is ready for uploads. The edge may do no more than it needs. It keeps its
/// metadata in extended attributes, so the file system of temporary files must have them.
#[derive(Debug)]
pub struct S3Server {
    folder: PathBuf,
    port: u16,
    has_versions: bool,
    process: Child,
}

impl S3Server {
    /// The bucket.
    pub const BUCKET: &'static str = "orders";

    /// Starts one with its files below `folder`, in whose bucket pages of `origin` may store files.
    pub async fn start(folder: &Path, origin: &str) -> Self {
        Self::start_with(folder, origin, true).await
    }

    /// Starts one that can keep no versions.
    pub async fn start_without_versions(folder: &Path, origin: &str) -> Self {
        Self::start_with(folder, origin, false).await
    }

    async fn start_with(folder: &Path, origin: &str, has_versions: bool) -> Self {
        let folder = folder.join("s3");
        for name in ["objects", "versions", "iam"] {
            fs::create_dir_all(folder.join(name)).expect("a folder can be made");
        }
        write_key(&folder, ROOT.0, ROOT.1);
        write_user(&folder, EDGE.1);
        let port = free_port();
        let server = Self {
            process: spawn(&folder, port, has_versions),
            folder,
            port,
            has_versions,
        };
        server.wait().await;
        server.prepare(origin);
        server
    }

    /// Its URL, as browsers have it too.
    pub fn url(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    /// The settings of an edge that stores uploads here.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        self.settings_of(EDGE.0)
    }

    /// The settings of whoever may remove and tag uploads.
    pub fn operator(&self) -> Vec<(&'static str, String)> {
        self.settings_of(ROOT.0)
    }

    fn settings_of(&self, user: &str) -> Vec<(&'static str, String)> {
        let key = self.folder.join(user);
        vec![
            ("ORDERS_UPLOADS__MODE", "s3".to_owned()),
            ("ORDERS_UPLOADS__ENDPOINT", self.url()),
            ("ORDERS_UPLOADS__BUCKET", Self::BUCKET.to_owned()),
            ("ORDERS_UPLOADS__REGION", REGION.to_owned()),
            ("ORDERS_UPLOADS__ACCESS_KEY_FILE", key.display().to_string()),
        ]
    }

    /// An edge with uploads here.
    #[must_use]
    pub fn used_by(&self, edge: Setup) -> Setup {
        let settings = self.settings().into_iter();
        settings.fold(edge, |edge, (name, value)| edge.env(name, &value))
    }

    /// Where the file of a key is, to be looked at or made older.
    pub fn file(&self, key: &str) -> PathBuf {
        self.folder.join("objects").join(Self::BUCKET).join(key)
    }

    /// The files below its folder that have `text` in them: versions that it keeps are files of their own.
    pub fn files_with(&self, text: &str) -> Vec<PathBuf> {
        let mut found = files(&self.folder);
        found.retain(|file| {
            let content = fs::read(file).unwrap_or_default();
            content
                .windows(text.len())
                .any(|part| part == text.as_bytes())
        });
        found
    }

    /// Makes every version of every upload as old as `at`.
    pub fn age_everything(&self, at: SystemTime) {
        for below in ["objects", "versions"] {
            for file in files(&self.folder.join(below)) {
                let file = File::open(file).expect("a file of the server");
                file.set_modified(at).expect("its time can be set");
            }
        }
    }

    /// Ends it as a crash would.
    pub async fn kill(&mut self) {
        self.process.kill().await.expect("it can be killed");
    }

    /// Starts it again, with what it had.
    pub async fn restart(&mut self) {
        self.process = spawn(&self.folder, self.port, self.has_versions);
        self.wait().await;
    }

    /// Gives the edge another key. The server has to be started again for it.
    pub async fn change_the_edges_key(&mut self) {
        self.kill().await;
        write_user(&self.folder, "another-secret");
        self.restart().await;
    }

    async fn wait(&self) {
        let health = format!("{}/health", self.url());
        eventually("versitygw answers", async || {
            let answer = reqwest::get(&health).await;
            let answer = answer.and_then(reqwest::Response::error_for_status);
            answer.map(drop).map_err(|error| error.to_string())
        })
        .await;
    }

    /// Makes the bucket, as whoever installs it would.
    fn prepare(&self, origin: &str) {
        let orderctl = Path::new(&environment("ORDERS_TEST_BIN_DIR")).join("orderctl");
        let output = std::process::Command::new(orderctl)
            .args(["uploads", "init", "--origin", origin, "--edge", EDGE.0])
            .envs(self.operator())
            .output()
            .expect("orderctl runs");
        // 1 says that something is missing, such as versions.
        let code = i32::from(!self.has_versions);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
    }
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).map(Iterator::flatten);
    let entries = entries.into_iter().flatten().map(|entry| entry.path());
    let below = |path: PathBuf| match path.is_dir() {
        true => files(&path),
        false => vec![path],
    };
    entries.flat_map(below).collect()
}

fn write_key(folder: &Path, user: &str, secret: &str) {
    fs::write(folder.join(user), format!("{user}:{secret}")).expect("a writable folder");
}

/// Writes the edge's account and its key.
fn write_user(folder: &Path, secret: &str) {
    let edge = EDGE.0;
    let account = json!({ "access": edge, "secret": secret, "role": "user" });
    let users = json!({ "accessAccounts": { edge: account } });
    fs::write(folder.join("iam/users.json"), users.to_string()).expect("a writable folder");
    write_key(folder, edge, secret);
}

fn spawn(folder: &Path, port: u16, has_versions: bool) -> Child {
    let log = File::options()
        .create(true)
        .append(true)
        .open(folder.join("versitygw.log"))
        .expect("the log can be written");
    let (root, secret) = ROOT;
    let versions = has_versions.then(|| ("VGW_VERSIONING_DIR", folder.join("versions")));
    Command::new(tool("versitygw"))
        .arg("posix")
        .arg(folder.join("objects"))
        .env("ROOT_ACCESS_KEY", root)
        .env("ROOT_SECRET_KEY", secret)
        .env("VGW_PORT", format!("127.0.0.1:{port}"))
        .env("VGW_REGION", REGION)
        .env("VGW_HEALTH", "/health")
        .env("VGW_IAM_DIR", folder.join("iam"))
        .envs(versions)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a file"))
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .expect("versitygw starts")
}
