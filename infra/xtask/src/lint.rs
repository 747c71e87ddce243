//! `lint`: what the compiler does not check by itself.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use tokio::process::Command;

use crate::{progress, schemas, tools, workspace::Workspace};

pub(crate) async fn run(workspace: &Workspace) -> Result<()> {
    let mut failed = Vec::new();
    let mut note = |what: &str, result: Result<()>| match result {
        Ok(()) => eprintln!("{what}: fine"),
        Err(error) => {
            eprintln!("{what}: {error:#}");
            failed.push(what.to_owned());
        }
    };
    note(
        "formatting",
        cargo(workspace, &["fmt", "--all", "--check"], "run `cargo fmt`").await,
    );
    let clippy = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    note("clippy", cargo(workspace, &clippy, "see above").await);
    note("types of the browser code", types(workspace).await);
    note("direction of dependencies", dependencies(workspace).await);
    note("schemas", schemas::check(workspace).await);
    ensure!(failed.is_empty(), "lint failed: {}", failed.join(", "));
    Ok(())
}

async fn cargo(workspace: &Workspace, args: &[&str], remedy: &str) -> Result<()> {
    let status = progress::run_shown(workspace.cargo().args(args)).await?;
    ensure!(status.success(), "{remedy}");
    Ok(())
}

/// The bundler drops types without a look at them.
async fn types(workspace: &Workspace) -> Result<()> {
    let client = workspace.root().join("services/web/client");
    tools::node_modules(&client).await?;
    let mut compiler = Command::new(client.join("node_modules/.bin/tsc"));
    let status = progress::run_shown(compiler.arg("-p").arg(&client)).await?;
    ensure!(status.success(), "see above");
    Ok(())
}

/// Which packages may use an external crate: each technology has one home.
const HOMES: [(&str, &[&str]); 5] = [
    (
        "async-nats",
        &["orders-bus", "orders-testkit", "orders-tests"],
    ),
    (
        "mongodb",
        &["orders-store", "orders-testkit", "orders-tests"],
    ),
    ("figment", &["orders-service"]),
    ("socketioxide", &["realtime", "orders-tests"]),
    ("askama", &["web"]),
];

/// What the pure packages must do without.
const PURE: [&str; 2] = ["orders-contracts", "orders-domain"];
const IMPURE: [&str; 5] = ["tokio", "axum", "async-nats", "mongodb", "tracing"];

/// Which of the libraries a library may use.
const LIBRARIES: [(&str, &[&str]); 6] = [
    ("orders-contracts", &[]),
    ("orders-domain", &["orders-contracts"]),
    ("orders-bus", &["orders-contracts"]),
    ("orders-store", &["orders-contracts", "orders-domain"]),
    ("orders-http", &["orders-contracts"]),
    ("orders-service", &[]),
];

const TESTKIT: &str = "orders-testkit";
const TESTS: &str = "orders-tests";

async fn dependencies(workspace: &Workspace) -> Result<()> {
    let mut cargo = workspace.cargo();
    let output = cargo
        .args(["metadata", "--format-version=1", "--no-deps"])
        .output()
        .await?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = packages(&metadata).context("cargo metadata has another shape than expected")?;
    let wrong = wrong(&packages);
    if !wrong.is_empty() {
        bail!("\n  {}", wrong.join("\n  "));
    }
    Ok(())
}

/// A package of the workspace: whether it is a service, and its dependencies, each with whether only its tests use it.
struct Package {
    service: bool,
    dependencies: BTreeSet<(String, bool)>,
}

fn packages(metadata: &Value) -> Option<BTreeMap<String, Package>> {
    let package = |package: &Value| {
        let dependency = |dependency: &Value| {
            Some((
                dependency["name"].as_str()?.to_owned(),
                dependency["kind"] == "dev",
            ))
        };
        let found = Package {
            service: package["manifest_path"].as_str()?.contains("/services/"),
            dependencies: package["dependencies"]
                .as_array()?
                .iter()
                .map(dependency)
                .collect::<Option<_>>()?,
        };
        Some((package["name"].as_str()?.to_owned(), found))
    };
    metadata["packages"]
        .as_array()?
        .iter()
        .map(package)
        .collect()
}

/// Every dependency that points the wrong way, in words.
fn wrong(packages: &BTreeMap<String, Package>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, package) in packages {
        let name = name.as_str();
        for (dependency, only_tests) in &package.dependencies {
            let (dependency, only_tests) = (dependency.as_str(), *only_tests);
            let mut refuse =
                |why: &str| wrong.push(format!("{name} must not depend on {dependency}: {why}"));
            if let Some((_, homes)) = HOMES.iter().find(|(krate, _)| *krate == dependency)
                && !homes.contains(&name)
            {
                refuse(&format!("only {} may", homes.join(", ")));
            }
            if PURE.contains(&name) && IMPURE.contains(&dependency) && !only_tests {
                refuse("it is pure");
            }
            let Some(target) = packages.get(dependency) else {
                continue;
            };
            if target.service {
                refuse("nobody depends on a service");
            }
            if dependency == TESTKIT {
                if !only_tests && name != TESTS {
                    refuse("it is for tests");
                }
            } else if let Some((_, allowed)) =
                LIBRARIES.iter().find(|(library, _)| *library == name)
                && !only_tests
                && !allowed.contains(&dependency)
            {
                refuse("that is the wrong direction");
            }
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, path: &str, dependency: &str, kind: &str) -> Vec<String> {
        let library = |name: &str| serde_json::json!({"name": name, "manifest_path": "/r/libs/x/Cargo.toml", "dependencies": []});
        let metadata = serde_json::json!({"packages": [
            library("orders-contracts"), library("orders-domain"), library("orders-bus"), library("orders-testkit"),
            {"name": "writer", "manifest_path": "/r/services/writer/Cargo.toml", "dependencies": []},
            {"name": name, "manifest_path": path, "dependencies": [{"name": dependency, "kind": kind}]},
        ]});
        wrong(&packages(&metadata).expect("the shape of cargo metadata"))
    }

    #[test]
    fn dependencies_in_the_right_direction_pass() {
        let service = "/r/services/edge/Cargo.toml";
        assert!(found("edge", service, "orders-bus", "null").is_empty());
        assert!(found("edge", service, "orders-testkit", "dev").is_empty());
        assert!(
            found(
                "orders-bus",
                "/r/libs/orders-bus/Cargo.toml",
                "async-nats",
                "null"
            )
            .is_empty()
        );
        assert!(
            found(
                "orders-tests",
                "/r/tests/Cargo.toml",
                "orders-testkit",
                "null"
            )
            .is_empty()
        );
    }

    #[test]
    fn dependencies_in_the_wrong_direction_are_named() {
        for (name, path, dependency) in [
            ("edge", "/r/services/edge/Cargo.toml", "async-nats"),
            ("edge", "/r/services/edge/Cargo.toml", "writer"),
            ("edge", "/r/services/edge/Cargo.toml", "orders-testkit"),
            ("orders-domain", "/r/libs/orders-domain/Cargo.toml", "tokio"),
            (
                "orders-contracts",
                "/r/libs/orders-contracts/Cargo.toml",
                "orders-domain",
            ),
            (
                "orders-service",
                "/r/libs/orders-service/Cargo.toml",
                "orders-bus",
            ),
        ] {
            let wrong = found(name, path, dependency, "null");
            assert_eq!(wrong.len(), 1, "{name} -> {dependency}: {wrong:?}");
            assert!(wrong[0].contains(name) && wrong[0].contains(dependency));
        }
    }
}
