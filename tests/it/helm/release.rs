//! The daemons, run as the rendered chart says.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
};

use orders_testkit::{Lifetimes, OidcProvider, Stack, eventually, free_port};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use super::{
    rendered::{Pod, Rendered, field},
    template,
};
use crate::{pipeline::order, web::localhost};

/// Where the chart puts the files of secrets.
const SECRETS: &str = "/run/secrets/orders";

/// A daemon that runs with the environment of its pod. Only addresses and folders differ: pods have theirs to themselves.
struct Run {
    name: String,
    admin: u16,
    /// The path that says whether it is ready.
    readyz: String,
    log: PathBuf,
    _process: Child,
}

impl Run {
    async fn get(&self, path: &str) -> Result<(StatusCode, String), String> {
        let url = format!("http://127.0.0.1:{}{path}", self.admin);
        let answer = reqwest::get(url).await.map_err(|error| error.to_string())?;
        Ok((answer.status(), answer.text().await.unwrap_or_default()))
    }

    /// Waits until the kubelet would hear this status.
    async fn until(&self, path: &str, expected: StatusCode) -> String {
        let what = format!("{} answers {path} with {expected}", self.name);
        eventually(&what, async || {
            let (status, text) = self.get(path).await?;
            match status == expected {
                true => Ok(text),
                false => Err(format!(
                    "{status}: {text}{}",
                    fs::read_to_string(&self.log).unwrap_or_default()
                )),
            }
        })
        .await
    }
}

/// A release of the chart, on this machine.
struct Release {
    stack: Stack,
    provider: OidcProvider,
    rendered: Rendered,
    /// The content of each key of each Secret.
    secrets: BTreeMap<(String, String), String>,
    /// The port of each daemon that has a Service for clients.
    ports: BTreeMap<&'static str, u16>,
}

impl Release {
    /// Renders the chart for servers with a login for each daemon.
    async fn new() -> Self {
        let stack = Stack::guarded("").await;
        let ports = ["edge", "realtime", "web"].map(|name| (name, free_port()));
        let ports = BTreeMap::from(ports);
        let home = localhost(&format!("http://127.0.0.1:{}", ports["web"]));
        let provider = OidcProvider::start(stack.folder(), &home, Lifetimes::default()).await;

        let mut secrets = BTreeMap::new();
        let (mut settings, mut files) = (json!({}), json!({}));
        for (name, value) in provider.login(&home) {
            if name.ends_with("_FILE") {
                let content = fs::read_to_string(value).unwrap();
                secrets.insert(("pages".to_owned(), name.to_owned()), content);
                files[name] = json!({ "secret": "pages", "key": name });
            } else if name != "ORDERS_OIDC__ISSUER" {
                settings[name] = json!(value);
            }
        }
        let guard = stack.guard.as_ref().unwrap();
        for role in [
            "edge",
            "writer",
            "projector",
            "payment-simulator",
            "realtime",
            "web",
            "migrator",
        ] {
            let creds = fs::read_to_string(guard.creds(role)).unwrap();
            secrets.insert(("nats".to_owned(), format!("{role}.creds")), creds);
            secrets.insert(
                ("mongo".to_owned(), role.to_owned()),
                stack.mongo_url.clone(),
            );
        }
        let values = json!({
            "image": { "repository": "registry.example/orders" },
            "nats": { "url": stack.nats.url(), "credsSecret": "nats" },
            "mongo": { "urlSecret": "mongo" },
            "auth": { "issuer": provider.issuer() },
            "settings": { "ORDERS_STREAMS__REPLICAS": 1 },
            "daemons": {
                // Other than what the streams were declared for: the Job has something to do.
                "payment-simulator": { "settings": { "ORDERS_PAYMENT__DELAY": "100ms" } },
                "web": { "settings": settings, "secretFiles": files },
            },
        });
        let file = stack.folder().join("values.json");
        fs::write(&file, values.to_string()).unwrap();
        let (fine, text) = template(file.to_str().unwrap()).await;
        assert!(fine, "{text}");
        Self {
            rendered: Rendered::of(&text),
            stack,
            provider,
            secrets,
            ports,
        }
    }

    /// The environment of a pod, with this machine's addresses and folders in place of the cluster's.
    fn environment(&self, pod: &Pod<'_>, admin: u16) -> BTreeMap<String, String> {
        let folder = self.stack.folder().join("secrets").join(pod.name);
        fs::create_dir_all(&folder).unwrap();
        for (path, secret, key) in pod.secrets() {
            let content = &self.secrets[&(secret.to_owned(), key.to_owned())];
            fs::write(folder.join(path), content).unwrap();
        }
        let mut environment = pod.environment();
        for value in environment.values_mut() {
            *value = value.replace(SECRETS, folder.to_str().unwrap());
            for (name, port) in &self.ports {
                if *value == format!("http://orders-{name}") {
                    self.leads(name);
                    *value = format!("http://127.0.0.1:{port}");
                }
            }
        }
        if environment.contains_key("PORT") {
            let own = [
                ("ORDERS_ADMIN_ADDR", format!("127.0.0.1:{admin}")),
                ("ORDERS_HOST", "127.0.0.1".to_owned()),
                (
                    "PORT",
                    self.ports
                        .get(pod.name)
                        .map_or_else(free_port, |port| *port)
                        .to_string(),
                ),
            ];
            let set = |(name, value): (&str, String)| (name.to_owned(), value);
            environment.extend(own.map(set));
        }
        environment
    }

    /// Checks that the Service of a daemon leads from port 80 to the port at which it listens.
    fn leads(&self, name: &str) {
        let services = self.rendered.of_kind("Service");
        let is_it = |service: &&&Value| service["metadata"]["name"] == format!("orders-{name}");
        let service = services.iter().find(is_it).expect("a Service");
        let pods = self.rendered.pods();
        let pod = pods
            .iter()
            .find(|pod| pod.name == name)
            .expect("a Deployment");
        let ports = service["spec"]["ports"].as_array().unwrap();
        let port = ports
            .iter()
            .find(|port| port["port"] == 80)
            .expect("port 80");
        let listens = port_of(pod, field(port, "/targetPort"));
        assert_eq!(listens.to_string(), pod.environment()["PORT"]);
    }

    /// Starts the program of a pod.
    fn start(&self, pod: &Pod<'_>, admin: u16) -> (Child, PathBuf) {
        let command = pod.container()["command"].as_array().unwrap().iter();
        let command: Vec<_> = command.map(|word| word.as_str().unwrap()).collect();
        let binaries = std::env::var("ORDERS_TEST_BIN_DIR").expect("run `cargo xtask test`");
        let path = self.stack.folder().join(format!("{}.log", pod.name));
        let log = File::create(&path).unwrap();
        let process = Command::new(Path::new(&binaries).join(command[0]))
            .args(&command[1..])
            .env_clear()
            .envs(self.environment(pod, admin))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        (process, path)
    }

    /// Runs the Job to its end.
    async fn migrate(&self) {
        let pods = self.rendered.pods();
        let pod = pods
            .iter()
            .find(|pod| pod.name == "migrator")
            .expect("a Job");
        let (mut process, log) = self.start(pod, 0);
        let status = process.wait().await.unwrap();
        let log = fs::read_to_string(log).unwrap();
        assert!(
            status.success() && log.contains("payment-simulator"),
            "{log}"
        );
    }

    /// Runs all daemons, and waits until every probe is content.
    async fn run(&self) -> BTreeMap<String, Run> {
        let mut runs = BTreeMap::new();
        let pods = self.rendered.pods();
        for pod in pods.iter().filter(|pod| pod.name != "migrator") {
            let admin = free_port();
            let (process, log) = self.start(pod, admin);
            let readyz = field(pod.container(), "/readinessProbe/httpGet/path").to_owned();
            let run = Run {
                name: pod.name.to_owned(),
                admin,
                readyz,
                log,
                _process: process,
            };
            runs.insert(pod.name.to_owned(), run);
        }
        for pod in pods.iter().filter(|pod| pod.name != "migrator") {
            for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
                let probe = &pod.container()[probe]["httpGet"];
                let listens = port_of(pod, field(probe, "/port"));
                assert_eq!(
                    pod.environment()["ORDERS_ADMIN_ADDR"],
                    format!("0.0.0.0:{listens}")
                );
                runs[pod.name]
                    .until(field(probe, "/path"), StatusCode::OK)
                    .await;
            }
        }
        runs
    }

    /// A call of the edge, with a token.
    async fn call(&self, body: Option<&Value>) -> Response {
        let url = format!("http://127.0.0.1:{}/api/orders", self.ports["edge"]);
        let http = reqwest::Client::new();
        let request = match body {
            Some(body) => http.post(url).json(body),
            None => http.get(url).query(&[("tenantId", "t-123")]),
        };
        let token = self.provider.machine_token().await;
        request.bearer_auth(token).send().await.unwrap()
    }
}

/// The number of a port of a pod.
fn port_of(pod: &Pod<'_>, name: &str) -> u64 {
    let ports = pod.container()["ports"].as_array().unwrap();
    let port = ports.iter().find(|port| port["name"] == name);
    port.unwrap_or_else(|| panic!("{} has no port {name}", pod.name))["containerPort"]
        .as_u64()
        .unwrap()
}

/// The Job's command lets the daemons start; their probes are paths that there are and exclude checks that there are.
/// Without NATS, edge and web stay in service: a create gets an answer, and so does a list.
#[tokio::test]
async fn daemons_run_as_it_says_and_answer_without_nats() {
    let mut release = Release::new().await;
    release.migrate().await;
    let runs = release.run().await;
    for run in runs.values() {
        let verbose = match run.readyz.contains('?') {
            true => format!("{}&verbose", run.readyz),
            false => format!("{}?verbose", run.readyz),
        };
        let told = run.until(&verbose, StatusCode::OK).await;
        assert!(!told.contains("warn:"), "{}: {told}", run.name);
    }
    let created = release.call(Some(&order("t-123", "r1"))).await;
    assert_eq!(
        created.status(),
        StatusCode::CREATED,
        "{}",
        created.text().await.unwrap()
    );

    release.stack.nats.kill().await;
    for run in runs.values() {
        run.until("/readyz", StatusCode::SERVICE_UNAVAILABLE).await;
        let (status, told) = run.get(&run.readyz).await.unwrap();
        let stays = ["edge", "web"].contains(&run.name.as_str());
        assert_eq!(status.is_success(), stays, "{}: {told}", run.name);
    }
    // Longer than they take to notice that nothing tells them of revocations any more.
    let revocations = "/readyz?exclude=nats&exclude=streams";
    for name in ["edge", "web"] {
        let run = &runs[name];
        let told = run
            .until(revocations, StatusCode::SERVICE_UNAVAILABLE)
            .await;
        assert!(told.contains("[-]revocations"), "{told}");
        run.until(&run.readyz, StatusCode::OK).await;
    }
    let refused = release.call(Some(&order("t-123", "r2"))).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    let list: Value = release.call(None).await.json().await.unwrap();
    assert_eq!(list["total"], 1);
    release.stack.clean_up().await;
}
