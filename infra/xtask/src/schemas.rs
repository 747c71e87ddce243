//! `schemas`: the published schemas, made from the code.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use crate::{progress, stack, up, workspace::Workspace};

/// What the generators own; the rest of schemas/ is written by hand.
const GENERATED: [&str; 5] = [
    "asyncapi.json",
    "commands",
    "events",
    "openapi.json",
    "replies",
];

/// Writes schemas/ anew.
pub(crate) async fn write(workspace: &Workspace) -> Result<()> {
    let fresh = stack::temporary()?;
    generate(workspace, fresh.path()).await?;
    let schemas = workspace.root().join("schemas");
    let (new, old) = (files(fresh.path())?, files(&schemas)?);
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        fs::remove_file(schemas.join(name))?;
        eprintln!("removed schemas/{}", name.display());
    }
    for (name, content) in new {
        if old.get(&name) != Some(&content) {
            let path = schemas.join(&name);
            fs::create_dir_all(path.parent().unwrap_or(&schemas))?;
            fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
            eprintln!("wrote schemas/{}", name.display());
        }
    }
    Ok(())
}

/// Fails, naming the files, if schemas/ is not what the code says.
pub(crate) async fn check(workspace: &Workspace) -> Result<()> {
    let fresh = stack::temporary()?;
    generate(workspace, fresh.path()).await?;
    let (new, old) = (
        files(fresh.path())?,
        files(&workspace.root().join("schemas"))?,
    );
    let drifted: Vec<_> = new
        .keys()
        .chain(old.keys().filter(|name| !new.contains_key(*name)))
        .filter(|name| new.get(*name) != old.get(*name))
        .map(|name| format!("schemas/{}", name.display()))
        .collect();
    if !drifted.is_empty() {
        bail!(
            "out of date: {}; run `cargo xtask schemas` and commit the result",
            drifted.join(", ")
        );
    }
    Ok(())
}

async fn generate(workspace: &Workspace, folder: &Path) -> Result<()> {
    let mut build = workspace.cargo();
    build.args(["build", "--quiet", "--workspace", "--all-targets"]);
    progress::step("building the generators", up::built(&mut build)).await?;
    let binaries = workspace.binaries("debug");

    let mut schemas = Command::new(binaries.join("examples/schemas"));
    progress::run("generating the JSON Schemas", schemas.arg(folder)).await?;
    let openapi = Command::new(binaries.join("edge"))
        .arg("--openapi")
        .output()
        .await
        .context("running edge")?;
    if !openapi.status.success() {
        bail!(
            "edge --openapi failed: {}",
            String::from_utf8_lossy(&openapi.stderr).trim()
        );
    }
    fs::write(folder.join("openapi.json"), openapi.stdout)?;
    Ok(())
}

/// The generated files below a folder with their content.
fn files(folder: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    fn walk(root: &Path, path: PathBuf, found: &mut BTreeMap<PathBuf, Vec<u8>>) -> Result<()> {
        if path.is_dir() {
            for entry in fs::read_dir(&path)? {
                walk(root, entry?.path(), found)?;
            }
        } else if path.is_file() {
            found.insert(path.strip_prefix(root)?.to_owned(), fs::read(&path)?);
        }
        Ok(())
    }
    let mut found = BTreeMap::new();
    for name in GENERATED {
        walk(folder, folder.join(name), &mut found)?;
    }
    Ok(found)
}
