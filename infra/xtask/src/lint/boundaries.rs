//! The direction of dependencies among our own packages; deny.toml says who may use which foreign crate.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::workspace::Workspace;

/// Packages that decide and describe, without I/O.
const PURE: [&str; 2] = ["orders-contracts", "orders-domain"];
/// Crates that they must not use.
const IMPURE: [&str; 5] = ["tokio", "axum", "async-nats", "mongodb", "tracing"];

/// The libraries that each library may use.
const LIBRARIES: [(&str, &[&str]); 10] = [
    ("orders-auth", &["orders-contracts", "orders-service"]),
    ("orders-certificates", &[]),
    ("orders-contracts", &[]),
    ("orders-domain", &["orders-contracts"]),
    ("orders-bus", &["orders-contracts", "orders-service"]),
    (
        "orders-store",
        &["orders-contracts", "orders-domain", "orders-service"],
    ),
    ("orders-http", &["orders-contracts", "orders-service"]),
    ("orders-service", &["orders-contracts"]),
    ("orders-uploads", &["orders-contracts", "orders-service"]),
    ("orders-webhooks", &[]),
];

const CERTIFICATES: &str = "orders-certificates";
const TESTKIT: &str = "orders-testkit";
const TESTS: &str = "orders-tests";
const XTASK: &str = "xtask";

/// Refuses dependencies that point the wrong way.
pub(super) async fn check(workspace: &Workspace) -> Result<()> {
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

/// A package of the workspace.
struct Package {
    is_service: bool,
    /// Each with whether only the tests of the package use it.
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
            is_service: package["manifest_path"].as_str()?.contains("/services/"),
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

/// A line for every dependency that points the wrong way.
fn wrong(packages: &BTreeMap<String, Package>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, package) in packages {
        let name = name.as_str();
        for (dependency, only_tests) in &package.dependencies {
            let (dependency, only_tests) = (dependency.as_str(), *only_tests);
            let mut refuse =
                |why: &str| wrong.push(format!("{name} must not depend on {dependency}: {why}"));
            if PURE.contains(&name) && IMPURE.contains(&dependency) && !only_tests {
                refuse("it is pure");
            }
            let Some(target) = packages.get(dependency) else {
                continue;
            };
            if target.is_service {
                refuse("nobody depends on a service");
            }
            if dependency == TESTKIT {
                if !only_tests && name != TESTS {
                    refuse("it is for tests");
                }
            } else if dependency == CERTIFICATES {
                if ![TESTKIT, XTASK].contains(&name) {
                    refuse("it is for development and tests");
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
            library("orders-certificates"),
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
            ("edge", "/r/services/edge/Cargo.toml", "writer"),
            ("edge", "/r/services/edge/Cargo.toml", "orders-testkit"),
            ("edge", "/r/services/edge/Cargo.toml", "orders-certificates"),
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
