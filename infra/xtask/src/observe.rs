//! `up --observe`: VictoriaMetrics, which keeps the daemons' metrics and shows them, and the dashboards for it and for
//! Grafana, which are written from one list of panels.

mod grafana;
mod panels;
mod scrape;
mod vmui;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use self::scrape::Target;
use crate::{
    procfile,
    stack::Site,
    supervisor::Supervisor,
    tools,
    up::{EDGE_PORT, line},
    workspace::{Settings, Workspace},
};

/// The folder of the dashboards for VictoriaMetrics' own pages.
const DASHBOARDS: &str = "infra/vmui";

/// The running VictoriaMetrics.
pub(crate) struct Observe {
    folder: PathBuf,
    port: u16,
}

impl Observe {
    /// Makes its folder below `data`, with the list of the daemons to ask: each with its name and port.
    pub(crate) fn new<'a>(
        data: &Path,
        port: u16,
        daemons: impl Iterator<Item = (&'a str, u16)>,
    ) -> Result<Self> {
        let folder = data.join("observe");
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let targets: Vec<_> = daemons
            .map(|(name, port)| Target::new(name, port))
            .collect();
        fs::write(folder.join("scrape.yml"), scrape::config(5, None, &targets))
            .context("the list of the daemons to observe")?;
        Ok(Self { folder, port })
    }

    pub(crate) async fn start(&self, workspace: &Workspace, site: &Site) -> Result<Supervisor> {
        const NAME: &str = "victoria-metrics";
        let program = tools::victoria_metrics(workspace).await?;
        let dashboards = workspace.root().join(DASHBOARDS);
        let launch = site.server(NAME, program)?.args([
            format!("-httpListenAddr=127.0.0.1:{}", self.port),
            format!("-storageDataPath={}", self.folder.join("data").display()),
            "-retentionPeriod=30d".to_owned(),
            format!(
                "-promscrape.config={}",
                self.folder.join("scrape.yml").display()
            ),
            format!("-vmui.customDashboardsPath={}", dashboards.display()),
            // Otherwise the last half minute is not shown.
            "-search.latencyOffset=1s".to_owned(),
        ]);
        let mut server = launch.start()?;
        site.accepts(NAME, self.port, &mut server).await?;
        let mut supervisor = Supervisor::new(site.console);
        supervisor.keep(launch, server);
        Ok(supervisor)
    }

    /// The settings of a daemon: whoever observes wants to see every trace, if there is a place for them.
    pub(crate) fn settings(given: &Settings) -> Option<(String, String)> {
        const RATIO: &str = "OTEL_TRACES_SAMPLER_ARG";
        let is_given = given.get(RATIO).is_some();
        (!is_given).then(|| (RATIO.to_owned(), "1".to_owned()))
    }

    /// Prints where it is.
    pub(crate) fn introduce(&self) {
        let place = format!("http://localhost:{}/vmui/#/dashboards", self.port);
        line("dashboards", &place, "VictoriaMetrics");
    }
}

/// What is generated: a path in the checkout, and the content.
fn generated(workspace: &Workspace) -> Result<Vec<(&'static str, String)>> {
    let daemons = procfile::read(workspace)?;
    let scrape = |target: fn(&str, u16) -> Target| -> Result<String> {
        let targets = daemons.iter().map(|daemon| {
            let port = daemon.port(EDGE_PORT, |_| None)?;
            Ok(target(&daemon.name, port))
        });
        let targets: Vec<_> = targets.collect::<Result<_>>()?;
        Ok(scrape::config(15, Some("orders.rules.yml"), &targets))
    };
    Ok(vec![
        ("infra/vmui/orders.json", vmui::dashboard()),
        ("infra/grafana/orders.json", grafana::dashboard()),
        ("infra/prometheus/prometheus.yml", scrape(Target::new)?),
        (
            "infra/prometheus/compose.yml",
            scrape(Target::in_container)?,
        ),
        // Helm takes only what is in the folder of the chart.
        (
            "infra/helm/orders/files/orders.rules.yml",
            fs::read_to_string(workspace.root().join("infra/prometheus/orders.rules.yml"))
                .context("reading the alerts")?,
        ),
    ])
}

/// Writes the dashboards, and what Prometheus needs: an example, and that of infra/docker-compose.yml.
pub(crate) fn write(workspace: &Workspace) -> Result<()> {
    for (name, content) in generated(workspace)? {
        let path = workspace.root().join(name);
        if fs::read_to_string(&path).is_ok_and(|old| old == content) {
            continue;
        }
        fs::create_dir_all(path.parent().context("a folder")?)?;
        fs::write(&path, content).with_context(|| format!("writing {name}"))?;
        eprintln!("wrote {name}");
    }
    Ok(())
}

/// Fails, naming the files, if they differ from what the code generates.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let is_old = |(name, content): &(&str, String)| {
        let found = fs::read_to_string(workspace.root().join(name));
        !found.is_ok_and(|found| found == *content)
    };
    let generated = generated(workspace)?.into_iter();
    let old: Vec<_> = generated.filter(is_old).map(|(name, _)| name).collect();
    if !old.is_empty() {
        bail!(
            "out of date: {}; run `cargo xtask schemas` and commit the result",
            old.join(", ")
        );
    }
    Ok(())
}
