//! What others make of the published documents: clients generated from `openapi.json` work, patterns are regular
//! expressions in every language, and `asyncapi.json` and `sockets.json` are AsyncAPI documents.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Stdio,
};

use orders_contracts::{socket, sse};
use orders_testkit::checkout;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::pipeline::Pipeline;

/// A published document.
fn document(path: impl AsRef<Path>) -> Value {
    let text = fs::read(checkout().join(path)).unwrap();
    serde_json::from_slice(&text).unwrap()
}

fn python() -> Command {
    let mut python =
        Command::new(std::env::var("ORDERS_TEST_PYTHON").expect("run `cargo xtask test`"));
    python.env("PYTHONDONTWRITEBYTECODE", "1");
    python
}

/// Runs a program that must succeed; what it prints.
async fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = output.await.expect("the program runs");
    let printed = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {printed}\n{errors}");
    printed
}

#[tokio::test]
async fn generated_clients_create_and_list() {
    let pipeline = Pipeline::start("1h").await;
    let url = pipeline.edge.url();
    let folder = pipeline.stack.folder().join("clients");
    fs::create_dir(&folder).unwrap();
    let openapi = folder.join("openapi.json");
    let served = pipeline.get("/openapi.json").await.text().await.unwrap();
    fs::write(&openapi, served).unwrap();
    let sources = checkout().join("tests/clients");
    let (typescript, python) = tokio::join!(
        typescript_client(&folder, &sources, &openapi, &url),
        python_client(&folder, &sources, &openapi, &url),
    );
    for id in [typescript, python] {
        let path = format!("/api/orders/{id}?tenantId=t-1");
        assert_eq!(pipeline.get_json(&path).await["status"], "PENDING");
    }
    pipeline.stack.clean_up().await;
}

async fn typescript_client(folder: &Path, sources: &Path, openapi: &Path, url: &str) -> String {
    let modules = checkout().join("tests/node_modules");
    let program = |name: &str| {
        let mut program = Command::new(modules.join(".bin").join(name));
        program.current_dir(folder);
        program
    };
    symlink(&modules, folder.join("node_modules")).unwrap();
    fs::copy(sources.join("orders.ts"), folder.join("orders.ts")).unwrap();
    fs::write(folder.join("package.json"), r#"{ "type": "module" }"#).unwrap();
    // Not as a declaration file: the compiler would leave out its own checks.
    run(program("openapi-typescript")
        .arg(openapi)
        .args(["-o", "api.ts"]))
    .await;
    let options = [
        "--strict",
        "--module",
        "nodenext",
        "--target",
        "es2022",
        "--lib",
        "es2022,dom",
    ];
    run(program("tsc").args(options).arg("orders.ts")).await;
    run(Command::new("node")
        .args(["orders.js", url])
        .current_dir(folder))
    .await
}

async fn python_client(folder: &Path, sources: &Path, openapi: &Path, url: &str) -> String {
    let config = folder.join("openapi-python-client.json");
    fs::write(&config, json!({ "post_hooks": [] }).to_string()).unwrap();
    let mut generate = python();
    generate.args([
        "-m",
        "openapi_python_client",
        "generate",
        "--meta",
        "none",
        "--fail-on-warning",
    ]);
    generate
        .arg("--path")
        .arg(openapi)
        .arg("--config")
        .arg(config);
    generate
        .arg("--output-path")
        .arg(folder.join("orders_client"));
    run(&mut generate).await;
    run(python()
        .arg(sources.join("orders.py"))
        .arg(url)
        .env("PYTHONPATH", folder))
    .await
}

/// Every `pattern` in `value`.
fn patterns(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(pattern)) = members.get("pattern") {
                found.push(pattern.clone());
            }
            members.values().for_each(|value| patterns(value, found));
        }
        Value::Array(elements) => elements.iter().for_each(|value| patterns(value, found)),
        _ => {}
    }
}

fn schemas() -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from("schemas/openapi.json")];
    for folder in ["commands", "events", "replies"] {
        let folder = Path::new("schemas").join(folder);
        let files = fs::read_dir(checkout().join(&folder)).unwrap();
        found.extend(files.map(|file| folder.join(file.unwrap().file_name())));
    }
    found
}

#[tokio::test]
async fn patterns_and_descriptions_suit_every_language() {
    let mut found = Vec::new();
    for path in schemas() {
        let schema = document(&path);
        patterns(&schema, &mut found);
        let text = schema.to_string();
        for link in ["](", "[`"] {
            assert!(!text.contains(link), "{link} in {}", path.display());
        }
    }
    assert!(found.len() > 10, "{found:?}");
    for pattern in &found {
        // Java reads an opening bracket in a class as a class in it; others have no properties.
        assert!(
            !pattern.contains("\\p") && !pattern.contains("(?"),
            "{pattern}"
        );
    }
    let found = json!(found).to_string();
    let read = "import json, re, sys, warnings; warnings.simplefilter('error'); [re.compile(p) for p in json.loads(sys.argv[1])]";
    run(python().args(["-c", read, &found])).await;
    let read =
        "for (const p of JSON.parse(process.argv[1])) { new RegExp(p); new RegExp(p, 'u'); }";
    run(Command::new("node").args(["-e", read, &found])).await;
}

/// The document, after it was validated.
fn asyncapi(path: &str) -> Value {
    let document_of = document(path);
    let schema = document("tests/node_modules/@asyncapi/specs/schemas/3.0.0-without-$id.json");
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors = validator.iter_errors(&document_of);
    let errors: Vec<String> = errors
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert_eq!(errors, [""; 0], "{path}");
    assert!(
        !validator.is_valid(&json!({ "asyncapi": "3.0.0" })),
        "it refuses something"
    );
    document_of
}

#[test]
fn asyncapi_json_is_an_asyncapi_document() {
    let document_of = asyncapi("schemas/asyncapi.json");
    for message in document_of["channels"].as_object().unwrap().values() {
        for message in message["messages"].as_object().unwrap().values() {
            let schema = message["payload"]["schema"]["$ref"].as_str().unwrap();
            assert!(
                document(Path::new("schemas").join(schema))["title"].is_string(),
                "{schema}"
            );
        }
    }
}

#[test]
fn sockets_json_describes_every_event() {
    let document_of = asyncapi("schemas/sockets.json");
    let messages = document_of["channels"]["socket"]["messages"]
        .as_object()
        .unwrap();
    for event in socket::RECEIVED.iter().chain(&socket::SENT) {
        let schema = &messages[*event]["payload"]["schema"];
        let validator = jsonschema::validator_for(schema).unwrap();
        assert!(!validator.is_valid(&json!([])), "{event}");
    }
    let messages = &document_of["channels"]["events"]["messages"];
    for event in sse::EVENTS {
        let schema = &messages[event]["payload"]["schema"];
        let validator = jsonschema::validator_for(schema).unwrap();
        assert!(!validator.is_valid(&json!({})), "{event}");
    }
}
