use std::path::Path;

use super::*;

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Payment {
    /// How long a payment takes, from `createdAt`
    /// on.
    delay: String,
    approve: bool,
    /// A share.
    share: f64,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Config {
    #[serde(flatten)]
    common: Common,
    #[serde(flatten)]
    nats: Nats,
    /// Where clients come in.
    public_url: Option<String>,
    /// The pages that may call.
    cors_origin: String,
    /// Payments.
    payment: Payment,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            common: Common::on_port(3001),
            nats: Nats::default(),
            public_url: None,
            cors_origin: "http://localhost:3000".to_owned(),
            payment: Payment {
                delay: "5s".to_owned(),
                approve: true,
                share: 0.5,
            },
        }
    }
}

impl Settings for Config {
    fn common(&self) -> &Common {
        &self.common
    }

    fn validate(&self) -> Result<(), Invalid> {
        match self.cors_origin.ends_with('/') {
            true => Err(Invalid::new("cors_origin", "an origin has no path")),
            false => Ok(()),
        }
    }
}

fn from(file: Option<&str>, env: &[(&str, &str)]) -> Result<Loaded<Config>, String> {
    // The name of the thread is the name of the test.
    let name = std::thread::current()
        .name()
        .unwrap_or_default()
        .replace(':', "_");
    let path = std::env::temp_dir().join(format!("{name}-{}.toml", std::process::id()));
    if let Some(text) = file {
        std::fs::write(&path, text).unwrap();
    }
    let env = env
        .iter()
        .map(|&(key, value)| (key.to_owned(), value.to_owned()));
    let loaded = load(file.map(|_| path.as_path()), env);
    if file.is_some() {
        std::fs::remove_file(&path).unwrap();
    }
    let readable = |text: String| text.replace(&path.display().to_string(), "FILE");
    match loaded {
        Ok(loaded) => Ok(Loaded {
            source: readable(loaded.source),
            ..loaded
        }),
        Err(error) => Err(readable(error.to_string())),
    }
}

fn wrong(file: Option<&str>, env: &[(&str, &str)]) -> String {
    from(file, env).unwrap_err()
}

#[test]
fn later_layers_win() {
    let file = "port = 1\nnats_url = \"nats://file\"\n[payment]\ndelay = \"1s\"\n";
    let loaded = from(
        Some(file),
        &[("PORT", "2"), ("ORDERS_PAYMENT__APPROVE", "false")],
    )
    .unwrap();
    assert_eq!(loaded.config.common.port, 2);
    assert_eq!(loaded.config.nats.url, "nats://file");
    assert_eq!(
        loaded.config.payment,
        Payment {
            delay: "1s".to_owned(),
            approve: false,
            share: 0.5
        }
    );
    assert_eq!(loaded.source, "FILE, ORDERS_PAYMENT__APPROVE, PORT");
    assert_eq!(from(None, &[]).unwrap().source, "defaults");
}

#[test]
fn the_environment_of_others_and_empty_variables_are_ignored() {
    let env = [
        ("ORDERS_REALTIME_URLS", "x"),
        ("ORDERS_PORT", "x"),
        ("PORT", ""),
        ("ORDERS_PAYMENT", "x"),
    ];
    assert_eq!(from(None, &env).unwrap().source, "defaults");
}

#[test]
fn text_stays_text_however_it_looks() {
    for text in ["123", "true", "[a]", "\"quoted\"", " spaced ", "a,b"] {
        let config = from(None, &[("ORDERS_PUBLIC_URL", text), ("NATS_URL", text)])
            .unwrap()
            .config;
        assert_eq!(config.public_url.as_deref(), Some(text));
        assert_eq!(config.nats.url, text);
    }
    assert_eq!(
        from(None, &[("ORDERS_PAYMENT__SHARE", "1")])
            .unwrap()
            .config
            .payment
            .share,
        1.0
    );
}

#[test]
fn a_wrong_value_is_named_as_it_was_written() {
    assert_eq!(
        wrong(None, &[("PORT", "abc")]),
        "PORT: invalid type: found string \"abc\", expected u16"
    );
    assert_eq!(
        wrong(Some("port = 1"), &[("PORT", "70000")]),
        "PORT: invalid value: found unsigned int `70000`, expected u16"
    );
    let nested = wrong(None, &[("ORDERS_PAYMENT__APPROVE", "maybe")]);
    assert_eq!(
        nested,
        "ORDERS_PAYMENT__APPROVE: invalid type: found string \"maybe\", expected a boolean"
    );
    assert_eq!(
        wrong(Some("[streams]\nreplicas = \"x\""), &[("PORT", "1")]),
        "streams.replicas in FILE: invalid type: found string \"x\", expected usize"
    );
    let format = wrong(None, &[("ORDERS_LOG__FORMAT", "xml")]);
    assert_eq!(
        format,
        "ORDERS_LOG__FORMAT: unknown value `xml`, expected one of: text, json"
    );
    let file = wrong(Some("[payment]\ndelay = 5"), &[("PORT", "1")]);
    assert_eq!(
        file,
        "payment.delay in FILE: invalid type: found signed int `5`, expected a string"
    );
}

#[test]
fn unknown_keys_in_a_file_and_bad_files_are_errors() {
    let unknown = wrong(Some("[payment]\ndelai = \"5s\""), &[]);
    assert_eq!(
        unknown,
        "payment.delai in FILE: unknown key, expected one of: approve, delay, share"
    );
    let group = wrong(Some("payment = 5"), &[]);
    assert!(
        group.starts_with("payment in FILE: invalid type"),
        "{group}"
    );
    for top in ["[stream]\nreplicas = 3", "prot = 1", "[port]\nx = 5"] {
        let top = wrong(Some(top), &[]);
        let expected = "expected one of: auto_migrate, cors_origin, log, nats_url, payment, port,";
        assert!(top.contains(expected), "{top}");
    }
    assert!(wrong(Some("port = 1\nport 2"), &[]).starts_with("FILE:2: "));
    let missing = load::<Config>(Some(Path::new("/no/such/file.toml")), [])
        .unwrap_err()
        .to_string();
    assert!(missing.starts_with("/no/such/file.toml: "), "{missing}");
}

#[test]
fn what_the_types_allow_is_checked_too() {
    assert_eq!(
        wrong(None, &[("CORS_ORIGIN", "http://a/")]),
        "CORS_ORIGIN: an origin has no path"
    );
    assert!(wrong(None, &[("RUST_LOG", "a=b=c")]).starts_with("RUST_LOG: "));
    assert!(wrong(Some("[log]\nfilter = \"a=b=c\""), &[]).starts_with("log.filter in FILE: "));
}

#[test]
fn rust_log_wins() {
    let config = from(
        None,
        &[("RUST_LOG", "debug"), ("ORDERS_LOG__FILTER", "warn")],
    )
    .unwrap()
    .config;
    assert_eq!(config.common.log.filter, "debug");
}

#[test]
fn a_dump_is_a_file_without_passwords() {
    let config = Config {
        nats: Nats {
            url: "nats://user:secret@localhost:4222".to_owned(),
            ..Nats::default()
        },
        ..Config::default()
    };
    let dumped = dump(&config);
    assert!(
        dumped.contains("nats_url = \"nats://user:***@localhost:4222\"\n"),
        "{dumped}"
    );
    assert_eq!(
        from(Some(&dumped), &[]).unwrap().config.payment,
        config.payment
    );
}

#[test]
fn help_has_each_key_its_doc_comment_and_its_default() {
    let help = help::<Config>();
    for line in [
        "ORDERS_PAYMENT__DELAY     How long a payment takes, from createdAt on [default: 5s]",
        "PORT                      The port of the HTTP server; 0 takes any free one [default: 3001]",
        "ORDERS_STREAMS__REPLICAS  The number of NATS servers that keep a copy of each stream [default: 1]",
        "ORDERS_PUBLIC_URL         Where clients come in [default: unset]",
        "ORDERS_PAYMENT__APPROVE   (undocumented) [default: true]",
    ] {
        assert!(
            help.contains(&format!("  {line}\n")),
            "no {line:?} in {help}"
        );
    }
    assert_eq!(help.matches("(undocumented)").count(), 1, "{help}");
    let table = markdown::<Config>();
    let row = "| `PORT` | `3001` | The port of the HTTP server; 0 takes any free one |\n";
    assert!(table.contains(row), "{table}");
}
