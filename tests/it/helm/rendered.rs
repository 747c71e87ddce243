//! What the chart renders, as objects.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use orders_testkit::checkout;
use serde_json::Value;
use tokio::process::Command;

/// The objects of one release.
pub(super) struct Rendered(Vec<Value>);

/// A pod of a Deployment or of the Job.
pub(super) struct Pod<'a> {
    /// The daemon, or `migrator`.
    pub(super) name: &'a str,
    pub(super) spec: &'a Value,
}

impl Rendered {
    /// What is in the repository.
    pub(super) fn read(case: &str) -> Self {
        let file = checkout().join(format!("infra/helm/rendered/{case}.yaml"));
        Self::of(&fs::read_to_string(file).unwrap())
    }

    /// The objects in a text.
    pub(super) fn of(text: &str) -> Self {
        Self(serde_saphyr::from_multiple(text).unwrap())
    }

    pub(super) fn of_kind(&self, kind: &str) -> Vec<&Value> {
        self.0
            .iter()
            .filter(|object| object["kind"] == kind)
            .collect()
    }

    /// All pods: six daemons, and perhaps that of the Job.
    pub(super) fn pods(&self) -> Vec<Pod<'_>> {
        let of = |kind| self.of_kind(kind).into_iter();
        let pods = of("Deployment").chain(of("Job")).map(|object| {
            let template = &object["spec"]["template"];
            Pod {
                name: field(
                    &template["metadata"]["labels"],
                    "/app.kubernetes.io~1component",
                ),
                spec: &template["spec"],
            }
        });
        let pods: Vec<_> = pods.collect();
        assert!(pods.len() >= 6);
        pods
    }
}

impl Pod<'_> {
    pub(super) fn container(&self) -> &Value {
        &self.spec["containers"][0]
    }

    /// The variables, without those that the cluster fills in.
    pub(super) fn environment(&self) -> BTreeMap<String, String> {
        let variables = self.container()["env"].as_array().unwrap().iter();
        let variable = |it: &Value| {
            let value = it
                .get("value")
                .map(|value| value.as_str().unwrap().to_owned());
            (field(it, "/name").to_owned(), value.unwrap_or_default())
        };
        variables.map(variable).collect()
    }

    /// The files of the volume with the secrets: the path of each in it, the Secret and the key.
    pub(super) fn secrets(&self) -> Vec<(&str, &str, &str)> {
        let Some(sources) = self.spec.pointer("/volumes/0/projected/sources") else {
            return Vec::new();
        };
        let sources = sources
            .as_array()
            .unwrap()
            .iter()
            .map(|source| &source["secret"]);
        let file = |secret| {
            (
                field(secret, "/items/0/path"),
                field(secret, "/name"),
                field(secret, "/items/0/key"),
            )
        };
        sources.map(file).collect()
    }
}

/// The text at a place.
pub(super) fn field<'a>(object: &'a Value, pointer: &str) -> &'a str {
    let found = object.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_else(|| panic!("no {pointer} in {object}"))
}

/// The texts that the objects of a list have under a name.
pub(super) fn strings<'a>(list: &'a Value, name: &str) -> Vec<&'a str> {
    let objects = list.as_array().unwrap().iter();
    objects
        .map(|object| object[name].as_str().unwrap())
        .collect()
}

/// The settings of each daemon, as schemas/settings.md lists them.
pub(super) fn settings() -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(checkout().join("schemas/settings.md")).unwrap();
    let sections = text.split("\n## ").skip(1).map(|section| {
        let (daemon, rows) = section.split_once('\n').unwrap();
        let names = rows
            .lines()
            .filter_map(|row| row.strip_prefix("| `")?.split('`').next());
        (daemon.to_owned(), names.map(str::to_owned).collect())
    });
    sections.collect()
}

/// What orderctl knows.
pub(super) async fn orderctl_help() -> (bool, String) {
    let binaries = std::env::var("ORDERS_TEST_BIN_DIR").expect("run `cargo xtask test`");
    let mut orderctl = Command::new(Path::new(&binaries).join("orderctl"));
    let mut told = (true, String::new());
    for arguments in [&["--help"][..], &["migrate", "--help"]] {
        let output = orderctl.args(arguments).output().await.unwrap();
        told.0 &= output.status.success();
        told.1 += &String::from_utf8(output.stdout).unwrap();
        orderctl = Command::new(Path::new(&binaries).join("orderctl"));
    }
    told
}
