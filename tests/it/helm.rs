//! The Helm chart: the tools of Kubernetes find nothing wrong, what it renders is in the repository, and the daemons run
//! with what that says. No cluster takes part.

mod release;
mod rendered;

use std::{fs, path::PathBuf, process::Stdio};

use orders_contracts::{PaymentSettings, streams};
use orders_testkit::{checkout, tool};
use serde_json::{Value, json};
use tokio::process::Command;

use self::rendered::{Rendered, field, strings};

/// The files with values, each of which is rendered into a file.
const CASES: [&str; 4] = ["minimal", "observed", "scaled", "secure"];

fn chart() -> PathBuf {
    checkout().join("infra/helm/orders")
}

/// Runs a tool; returns whether it succeeded, and what it printed.
async fn run(name: &str, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(tool(name));
    command.args(arguments).stdin(Stdio::null());
    let output = command.output().await.unwrap();
    let printed = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.success(), printed)
}

/// Renders the chart with a file of values.
async fn template(values: &str) -> (bool, String) {
    let chart = chart();
    let chart = chart.to_str().unwrap();
    let release = ["template", "orders", chart, "--namespace", "shop"];
    let kubernetes = ["--kube-version", "1.37.0", "--values", values];
    run("helm", &[release.as_slice(), &kubernetes].concat()).await
}

fn values_of(case: &str) -> String {
    let file = chart().join(format!("ci/{case}.yaml"));
    file.to_str().unwrap().to_owned()
}

/// What is in the repository.
fn rendered(case: &str) -> (PathBuf, String) {
    let file = checkout().join(format!("infra/helm/rendered/{case}.yaml"));
    let text = fs::read_to_string(&file).unwrap_or_default();
    (file, text)
}

/// A change of the chart shows what it changes.
#[tokio::test]
async fn what_it_renders_is_in_the_repository() {
    for case in CASES {
        let values = values_of(case);
        let chart = chart();
        let lint = [
            "lint",
            "--strict",
            "--values",
            &values,
            chart.to_str().unwrap(),
        ];
        let (fine, printed) = run("helm", &lint).await;
        assert!(fine, "{printed}");
        let (fine, now) = template(&values).await;
        assert!(fine, "{now}");
        let (file, then) = rendered(case);
        if now != then {
            let new = checkout().join("target/helm").join(format!("{case}.yaml"));
            fs::create_dir_all(new.parent().unwrap()).unwrap();
            fs::write(&new, now).unwrap();
            let (new, file) = (new.display(), file.display());
            panic!("the chart renders something else: look at it, then cp {new} {file}");
        }
    }
}

#[tokio::test]
async fn values_that_cannot_work_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("values.json");
    for (wrong, complaint) in [
        (
            json!({ "image": { "repository": "" } }),
            "/image/repository",
        ),
        (json!({ "auth": { "mode": "jwt" } }), "/auth/issuer"),
        (json!({ "auth": { "mode": false } }), "/auth/mode"),
        (
            json!({ "daemons": { "writer": { "replicas": 0 } } }),
            "/daemons/writer/replicas",
        ),
        (
            json!({ "daemons": { "projector": { "autoscaling": { "min": 0 } } } }),
            "/min",
        ),
        (json!({ "daemons": { "reader": {} } }), "reader"),
        (
            json!({ "settings": { "orders": "x" } }),
            "'orders' does not match",
        ),
        (
            json!({ "clientSettings": { "OTEL_TRACES_SAMPLER_ARG": 0.5 } }),
            "/clientSettings",
        ),
        (
            json!({ "ingress": { "enabled": true, "api": { "host": "a" } } }),
            "/ingress/pages/host",
        ),
        (json!({ "replicas": 3 }), "replicas"),
    ] {
        let mut values = json!({ "image": { "repository": "orders" }, "auth": { "mode": "off" } });
        for (name, value) in wrong.as_object().unwrap() {
            values[name] = value.clone();
        }
        fs::write(&file, values.to_string()).unwrap();
        let (fine, printed) = template(file.to_str().unwrap()).await;
        assert!(!fine && printed.contains(complaint), "{wrong}: {printed}");
    }
}

/// Checks files by the schemas of a version of Kubernetes, and those of the operators' resources.
async fn conform(version: &str, files: &[PathBuf]) -> (bool, String) {
    let schemas = std::env::var("ORDERS_TEST_KUBERNETES_SCHEMAS").expect("run `cargo xtask test`");
    let own = format!(
        "{schemas}/{{{{.NormalizedKubernetesVersion}}}}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    );
    let custom = format!("{schemas}/custom/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json");
    let mut arguments = vec!["-strict", "-kubernetes-version", version];
    arguments.extend(["-schema-location", &own, "-schema-location", &custom]);
    arguments.extend(files.iter().map(|file| file.to_str().unwrap()));
    run("kubeconform", &arguments).await
}

#[tokio::test]
async fn kubernetes_and_its_operators_know_every_field() {
    let files = CASES.map(|case| rendered(case).0);
    for version in ["1.30.0", "1.37.0"] {
        let (fine, printed) = conform(version, &files).await;
        assert!(fine, "{version}: {printed}");
    }
    let misspelt = [
        (
            "minimal",
            "readOnlyRootFilesystem",
            "readOnlyRootFileSystem",
        ),
        ("scaled", "minReplicaCount", "minReplicasCount"),
        ("observed", "honorLabels", "honourLabels"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let wrong = misspelt.map(|(case, right, wrong)| {
        let file = folder.path().join(format!("{wrong}.yaml"));
        fs::write(&file, rendered(case).1.replacen(right, wrong, 1)).unwrap();
        file
    });
    let (fine, printed) = conform("1.37.0", &wrong).await;
    assert!(!fine);
    for (_, _, wrong) in misspelt {
        let complaint = format!("additional properties '{wrong}' not allowed");
        assert!(printed.contains(&complaint), "{printed}");
    }
}

#[tokio::test]
async fn kube_score_finds_nothing() {
    for case in CASES {
        let (file, text) = rendered(case);
        let mut arguments = vec![
            "score",
            "--kubernetes-version=v1.30",
            "--exit-one-on-warning",
            "--output-format=ci",
            // A daemon may use what nobody else does; what it requests is what it is sure of.
            "--ignore-container-cpu-limit",
            // A pod that starts again should not need the registry.
            "--ignore-test=container-image-pull-policy",
            file.to_str().unwrap(),
        ];
        if text.contains("kind: ScaledObject") {
            // It does not know that KEDA decides.
            arguments.push("--ignore-test=deployment-replicas");
        }
        let (fine, printed) = run("kube-score", &arguments).await;
        assert!(fine, "{case}: {printed}");
    }
}

#[tokio::test]
async fn every_variable_is_a_setting_of_its_daemon() {
    let known = rendered::settings();
    let everybody = known
        .values()
        .cloned()
        .reduce(|all, own| &all & &own)
        .unwrap();
    let (fine, help) = rendered::orderctl_help().await;
    assert!(fine, "{help}");
    for case in CASES {
        for pod in Rendered::read(case).pods() {
            let names = pod.environment().into_keys();
            for name in names.filter(|name| name != "PS") {
                let is_known = match known.get(pod.name) {
                    Some(known) => known.contains(&name),
                    None => everybody.contains(&name) || help.contains(&name),
                };
                assert!(is_known, "{name} is no setting of {} ({case})", pod.name);
            }
        }
    }
}

#[test]
fn pods_have_no_rights_and_enough_time_to_stop() {
    for case in CASES {
        for pod in Rendered::read(case).pods() {
            let at = |path: &str| pod.spec.pointer(path).unwrap_or(&Value::Null).clone();
            assert_eq!(at("/automountServiceAccountToken"), false);
            assert_eq!(at("/enableServiceLinks"), false);
            assert_eq!(at("/securityContext/runAsNonRoot"), true);
            assert_eq!(at("/securityContext/runAsUser"), 65_532);
            assert_eq!(at("/securityContext/seccompProfile/type"), "RuntimeDefault");
            let container = at("/containers/0/securityContext");
            let expected = json!({
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": { "drop": ["ALL"] },
            });
            assert_eq!(container, expected, "{}", pod.name);

            let Some(grace) = at("/terminationGracePeriodSeconds").as_u64() else {
                assert_eq!(pod.name, "migrator");
                continue;
            };
            let hook = at("/containers/0/lifecycle/preStop/sleep/seconds");
            let drain = pod.environment().remove("ORDERS_DRAIN");
            let drain = drain.map(|drain| drain.strip_suffix('s').unwrap().parse::<u64>().unwrap());
            assert_eq!(hook.is_u64(), drain.is_some(), "{}", pod.name);
            let promise = orders_service::shutdown::PROMISE.as_secs() + 1;
            let needed = hook.as_u64().unwrap_or(0) + drain.unwrap_or(0) + promise;
            assert!(
                grace > needed,
                "{} stops in {needed} s of {grace} s",
                pod.name
            );
        }
    }
}

#[tokio::test]
async fn pods_talk_to_those_alone_whom_the_values_name() {
    let secure = Rendered::read("secure");
    let policies = secure.of_kind("NetworkPolicy");
    assert_eq!(policies.len(), 7);
    for policy in policies {
        for (rules, peers) in [("ingress", "from"), ("egress", "to")] {
            let rules = policy["spec"][rules].as_array().into_iter().flatten();
            for rule in rules {
                let named = rule[peers].as_array().is_some_and(|it| !it.is_empty());
                assert!(named, "{rule} of {}", policy["metadata"]["name"]);
            }
        }
    }

    // The address of a collector may be in a Secret.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("values.json");
    for (secret, reach) in [("", 0), ("collector", 7)] {
        let values = json!({
            "image": { "repository": "orders" }, "auth": { "mode": "off" }, "settingsSecret": secret,
        });
        fs::write(&file, values.to_string()).unwrap();
        let (fine, text) = template(file.to_str().unwrap()).await;
        assert!(fine, "{text}");
        let rendered = Rendered::of(&text);
        let policies = rendered.of_kind("NetworkPolicy").into_iter();
        let egress = policies.map(|policy| policy["spec"]["egress"].to_string());
        assert_eq!(egress.filter(|rules| rules.contains("4318")).count(), reach);
    }
}

#[test]
fn it_waits_for_what_the_daemons_read() {
    let scaled = Rendered::read("scaled");
    let mut read = Vec::new();
    for object in scaled.of_kind("ScaledObject") {
        assert!(object["spec"]["minReplicaCount"].as_u64().unwrap() > 0);
        for trigger in object["spec"]["triggers"].as_array().unwrap() {
            let of = |name: &str| trigger["metadata"][name].as_str().unwrap().to_owned();
            read.push((of("stream"), of("consumer")));
        }
    }
    let consumers = streams::consumers(&PaymentSettings::default());
    let consumers = consumers.map(|it| (format!("shop_{}", it.stream.name), it.durable.to_owned()));
    let mut consumers = Vec::from(consumers);
    consumers.sort();
    read.sort();
    assert_eq!(read, consumers);
}

/// The copy in the chart is made by `cargo xtask schemas`; this is what Prometheus gets.
#[test]
fn alerts_are_those_of_prometheus() {
    let rules = fs::read_to_string(checkout().join("infra/prometheus/orders.rules.yml")).unwrap();
    let rules: Value = serde_saphyr::from_str(&rules).unwrap();
    let observed = Rendered::read("observed");
    let [rule] = observed.of_kind("PrometheusRule")[..] else {
        panic!("one PrometheusRule");
    };
    assert_eq!(rule["spec"], rules);
    // By these the alerts know the installation and the daemon.
    let [monitor] = observed.of_kind("ServiceMonitor")[..] else {
        panic!("one ServiceMonitor");
    };
    let relabelings = &monitor["spec"]["endpoints"][0]["relabelings"];
    assert_eq!(strings(relabelings, "targetLabel"), ["job", "daemon"]);
    assert!(field(relabelings, "/0/replacement").starts_with("orders"));
    let component = "__meta_kubernetes_pod_label_app_kubernetes_io_component";
    assert_eq!(field(relabelings, "/1/sourceLabels/0"), component);
}

#[test]
fn it_is_of_this_release() {
    let text = fs::read_to_string(chart().join("Chart.yaml")).unwrap();
    let chart: Value = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
}
