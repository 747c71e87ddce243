use super::*;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Payment {
    delay: String,
    approve: bool,
    share: f64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    port: u16,
    nats_url: String,
    public_url: Option<String>,
    cors_origin: String,
    payment: Payment,
    log: Log,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            port: 3001,
            nats_url: "nats://localhost:4222".to_owned(),
            public_url: None,
            cors_origin: "http://localhost:3000".to_owned(),
            payment: Payment {
                delay: "5s".to_owned(),
                approve: true,
                share: 0.5,
            },
            log: Log::default(),
        }
    }
}

impl Settings for Config {
    const HELP: &'static [(&'static str, &'static str)] = &[
        ("payment.delay", "time until a payment settles"),
        ("payment.gone", "no such key"),
    ];

    fn port(&self) -> u16 {
        self.port
    }

    fn log(&self) -> &Log {
        &self.log
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
    assert_eq!(loaded.config.port, 2);
    assert_eq!(loaded.config.nats_url, "nats://file");
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
        ("ORDERS_STREAMS__REPLICAS", "x"),
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
        assert_eq!(config.nats_url, text);
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
        "payment.delai in FILE: unknown key, expected one of: delay, approve, share"
    );
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
    assert_eq!(config.log.filter, "debug");
}

#[test]
fn a_dump_is_a_file_without_passwords() {
    let config = Config {
        nats_url: "nats://user:secret@localhost:4222".to_owned(),
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
fn help_has_each_key_its_meaning_and_its_default() {
    let help = help::<Config>();
    assert!(
        help.contains("  ORDERS_PAYMENT__DELAY    time until a payment settles [default: 5s]\n"),
        "{help}"
    );
    assert!(help.contains("  PORT                     port of the HTTP server, 0 for any free one [default: 3001]\n"), "{help}");
    assert!(help.contains("[default: unset]"), "{help}");
    assert_eq!(
        undocumented::<Config>(),
        [
            "payment.approve",
            "payment.share",
            "public_url",
            "payment.gone"
        ]
    );
}

#[test]
fn credentials_are_hidden_and_nothing_else() {
    for (text, redacted) in [
        (
            "mongodb://u:p@h1:1,h2:2/db?x=a@b",
            "mongodb://u:***@h1:1,h2:2/db?x=a@b",
        ),
        ("mongodb://u:p@ss@h", "mongodb://u:***@h"),
        ("nats://token@h:4222", "nats://***@h:4222"),
        ("nats://a:b@h,nats://c:d@h", "nats://a:***@h,nats://c:***@h"),
        ("http://localhost:3000/@me", "http://localhost:3000/@me"),
        ("mail me@example.com", "mail me@example.com"),
    ] {
        assert_eq!(redact(text), redacted);
    }
}
