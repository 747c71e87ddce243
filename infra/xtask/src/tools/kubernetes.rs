//! What the tests check the Helm chart with.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use tokio::process::Command;

use super::{GoTools, ensure};
use crate::{
    progress,
    workspace::{Workspace, short_hash},
};

/// What renders the chart, and checks it by schemas.
pub(super) const HELM: GoTools = GoTools {
    name: "go-helm",
    what: "helm and kubeconform",
    module: "infra/tools/helm",
    packages: &[
        "helm.sh/helm/v4/cmd/helm",
        "github.com/yannh/kubeconform/cmd/kubeconform",
    ],
};
/// What checks it by experience.
pub(super) const KUBE_SCORE: GoTools = GoTools {
    name: "go-kube-score",
    what: "kube-score",
    module: "infra/tools/kube-score",
    packages: &["github.com/zegl/kube-score/cmd/kube-score"],
};

/// The folder with the schemas of what Kubernetes and two of its operators take, made by the environment `python`.
pub(crate) async fn kubernetes_schemas(workspace: &Workspace, python: &Path) -> Result<PathBuf> {
    let tools = workspace.root().join("infra/tools");
    let recipe = tools.join("helm/schemas.py");
    let inputs = [
        &recipe,
        &tools.join("helm/requirements.txt"),
        &tools.join("crds/go.mod"),
    ];
    let texts =
        inputs.map(|file| fs::read(file).with_context(|| format!("reading {}", file.display())));
    let texts: Vec<_> = texts.into_iter().collect::<Result<_>>()?;
    ensure("kubernetes-schemas", &short_hash(texts), async |folder| {
        let mut make = Command::new(python.join("bin/python"));
        make.arg(&recipe).arg(folder);
        progress::run(
            "fetching the schemas of Kubernetes (first time only)",
            &mut make,
        )
        .await
    })
    .await
}
