use std::path::Path;

use super::*;
use crate::chain;

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Payment {
    /// How long a payment takes, from `createdAt`
    /// on.
    #[schemars(extend("x-shortest" = "100ms", "x-longest" = "1day"))]
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
    /// Those who call.
    auth: Auth,
    /// Where clients come in.
    public_url: Option<String>,
    /// The pages that may call.
    cors_origin: String,
    /// Payments.
    payment: Payment,
}

impl Default for Config {
    fn default() -> Self {
        Self::on_base_port(BASE_PORT)
    }
}

impl Settings for Config {
    fn on_base_port(base: u16) -> Self {
        Self {
            common: Common::new(base, 1),
            nats: Nats::default(),
            auth: Auth::default(),
            public_url: None,
            cors_origin: format!("http://localhost:{base}"),
            payment: Payment {
                delay: "5s".to_owned(),
                approve: true,
                share: 0.5,
            },
        }
    }

    fn common(&self) -> &Common {
        &self.common
    }

    fn auth(&self) -> Auth {
        self.auth
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
        Err(error) => Err(readable(chain(&error))),
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
        ("ORDERS_PORT", "tcp://10.0.0.1:80"),
        ("PORT", ""),
        ("ORDERS_PAYMENT", ""),
        ("PAYMENT", "x"),
    ];
    assert_eq!(from(None, &env).unwrap().source, "defaults");
    assert_eq!(
        wrong(None, &[("ORDERS_PAYMENT_DELAY", "1s")]),
        "ORDERS_PAYMENT_DELAY: no daemon has this setting; did you mean ORDERS_PAYMENT__DELAY?"
    );
}

#[test]
fn one_variable_moves_all_ports_that_nothing_else_sets() {
    let moved = |file, env: &[(&str, &str)]| {
        let config = from(file, env).unwrap().config;
        (config.common.port, config.cors_origin)
    };
    let base = ("ORDERS_BASE_PORT", "4000");
    let pages = |port| format!("http://localhost:{port}");
    assert_eq!(moved(None, &[base]), (4001, pages(4000)));
    assert_eq!(moved(None, &[base, ("PORT", "1")]), (1, pages(4000)));
    assert_eq!(moved(Some("base_port = 5000"), &[]), (5001, pages(5000)));
    assert_eq!(
        moved(Some("base_port = 5000\nport = 7"), &[base]),
        (7, pages(4000))
    );
    for (text, reason) in [
        ("0", "must be from 1 to 65000"),
        ("65001", "must be from 1 to 65000"),
        ("x", "\"x\" is not a port"),
    ] {
        let error = wrong(None, &[("ORDERS_BASE_PORT", text)]);
        assert_eq!(error, format!("ORDERS_BASE_PORT: {reason}"));
    }
}

#[test]
fn settings_for_traces_have_the_names_of_opentelemetry_and_show_no_token() {
    let env = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c.example:4318/"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20abc"),
        ("OTEL_RESOURCE_ATTRIBUTES", "a=b"),
        ("OTEL_SERVICE_NAME", "7"),
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "1"),
        ("OTEL_BSP_SCHEDULE_DELAY", "200"),
        ("ORDERS_TRACE__TRUST_SAMPLED", "true"),
    ];
    let loaded = from(None, &env).unwrap();
    let Traces {
        service_name,
        traces_sampler,
        traces_sampler_arg,
        bsp_schedule_delay,
        ..
    } = &loaded.config.common.otel;
    assert_eq!(service_name.as_deref(), Some("7"));
    assert_eq!(*traces_sampler, Sampler::TraceIdRatio);
    assert_eq!((*traces_sampler_arg, *bsp_schedule_delay), (1.0, 200));
    assert!(loaded.config.common.trace.trust_sampled);
    let dumped = dump(&loaded.config);
    assert!(dumped.contains("http://c.example:4318"), "{dumped}");
    assert!(!dumped.contains("abc"), "{dumped}");
    for (name, text, reason) in [
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "localhost:4317",
            "must be like http://localhost:4318",
        ),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "abc",
            "must be like name=value,name=value, percent-encoded",
        ),
        (
            "OTEL_TRACES_SAMPLER",
            "xray",
            "unknown value `xray`, expected one of: always_on, parentbased_always_on, always_off, parentbased_always_off, parentbased_traceidratio, traceidratio",
        ),
        (
            "OTEL_TRACES_SAMPLER_ARG",
            "1.5",
            "1.5 is not a number from 0 to 1",
        ),
        (
            "OTEL_BSP_MAX_QUEUE_SIZE",
            "0",
            "0 is not a whole number from 1 to 65536",
        ),
        (
            "ORDERS_TRACE__TRUST_SAMPLED",
            "1",
            "1 is neither true nor false",
        ),
    ] {
        assert_eq!(wrong(None, &[(name, text)]), format!("{name}: {reason}"));
    }
}

#[test]
fn addresses_are_addresses() {
    let env = [("ORDERS_HOST", "::1"), ("ORDERS_ADMIN_ADDR", "[::1]:9001")];
    let common = from(None, &env).unwrap().config.common;
    assert!(common.host.is_loopback());
    assert_eq!(common.admin_addr, Some("[::1]:9001".parse().unwrap()));
    for (name, text) in [
        ("ORDERS_HOST", "shop.example"),
        ("ORDERS_ADMIN_ADDR", "9001"),
    ] {
        assert!(wrong(None, &[(name, text)]).starts_with(name));
    }
}

#[test]
fn without_identity_a_daemon_stays_on_this_machine_unless_told_otherwise() {
    let common = from(None, &[]).unwrap().config.common;
    assert_eq!(common.host.to_string(), "127.0.0.1");
    let beyond = ("ORDERS_HOST", "0.0.0.0");
    let error = wrong(None, &[beyond]);
    assert!(error.starts_with("ORDERS_HOST: 0.0.0.0 is"), "{error}");
    for part in ["ORDERS_AUTH__MODE=off", "ORDERS_AUTH__ALLOW_OFF=true"] {
        assert!(error.contains(part), "{error}");
    }
    let error = wrong(Some("host = \"::\""), &[]);
    assert!(error.starts_with("host in FILE: :: is"), "{error}");
    for told in [
        ("ORDERS_AUTH__ALLOW_OFF", "true"),
        ("ORDERS_AUTH__MODE", "jwt"),
    ] {
        assert!(from(None, &[beyond, told]).is_ok(), "{told:?}");
    }
}

#[test]
fn text_stays_text_however_it_looks() {
    for text in ["123", "true", "[a]", "\"quoted\"", " spaced ", "a,b"] {
        let config = from(None, &[("ORDERS_PUBLIC_URL", text), ("CORS_ORIGIN", text)])
            .unwrap()
            .config;
        assert_eq!(config.public_url.as_deref(), Some(text));
        assert_eq!(config.cors_origin, text);
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
        "PORT: \"abc\" is not a port"
    );
    assert_eq!(
        wrong(Some("port = 1"), &[("PORT", "70000")]),
        "PORT: 70000 is not a port"
    );
    let nested = wrong(None, &[("ORDERS_PAYMENT__APPROVE", "maybe")]);
    assert_eq!(
        nested,
        "ORDERS_PAYMENT__APPROVE: \"maybe\" is neither true nor false"
    );
    assert_eq!(
        wrong(Some("[streams]\nreplicas = \"x\""), &[("PORT", "1")]),
        "streams.replicas in FILE: \"x\" is not a whole number from 1 to 5"
    );
    assert!(
        wrong(None, &[("ORDERS_NAMESPACE", "a.b")])
            .starts_with("ORDERS_NAMESPACE: must be at most 32 letters")
    );
    let format = wrong(None, &[("ORDERS_LOG__FORMAT", "xml")]);
    assert_eq!(
        format,
        "ORDERS_LOG__FORMAT: unknown value `xml`, expected one of: text, json"
    );
    for (value, reason) in [
        ("3", "\"3\" is not a duration, such as 5s or 2m"),
        ("soon", "\"soon\" is not a duration, such as 5s or 2m"),
        ("800days", "\"800days\" is not from 100ms to 1day"),
        ("0s", "\"0s\" is not from 100ms to 1day"),
    ] {
        assert_eq!(
            wrong(None, &[("ORDERS_PAYMENT__DELAY", value)]),
            format!("ORDERS_PAYMENT__DELAY: {reason}")
        );
    }
    for value in ["0", "6", "-1", "1.5", "x"] {
        let replicas = wrong(None, &[("ORDERS_STREAMS__REPLICAS", value)]);
        assert!(
            replicas.ends_with(" is not a whole number from 1 to 5"),
            "{replicas}"
        );
    }
    let file = wrong(Some("[payment]\ndelay = 5"), &[("PORT", "1")]);
    assert_eq!(
        file,
        "payment.delay in FILE: 5 is not a duration, such as 5s or 2m"
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
        let expected = "expected one of: admin_addr, auth, auto_migrate, base_port, cors_origin, host, keep_alive, log, namespace, nats, nats_url,";
        assert!(top.contains(expected), "{top}");
    }
    assert!(wrong(Some("port = 1\nport 2"), &[]).starts_with("FILE:2: "));
    let missing = load::<Config>(Some(Path::new("/no/such/file.toml")), []).unwrap_err();
    assert_eq!(
        chain(&missing),
        "cannot read /no/such/file.toml: No such file or directory (os error 2)"
    );
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
fn limits_are_written_with_units() {
    let env = [
        ("ORDERS_NAMESPACE", "shop"),
        ("ORDERS_STREAMS__EVENTS__MAX_AGE", "90d"),
        ("ORDERS_STREAMS__COMMANDS__MAX_BYTES", "2GiB"),
        ("ORDERS_STREAMS__FEED__MAX_BYTES", "1000000"),
    ];
    let streams = from(None, &env).unwrap().config.nats.deployment.streams;
    assert_eq!(streams.events.max_age.as_secs(), 90 * 24 * 60 * 60);
    assert_eq!(streams.commands.max_bytes.as_u64(), 2 << 30);
    assert_eq!(streams.feed.max_bytes.as_u64(), 1_000_000);
    let shared = env.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let shared: Deployment = from_environment(shared).unwrap();
    assert_eq!(shared.streams, streams);
    assert_eq!(shared.namespace.to_string(), "shop");
}

#[test]
fn settings_of_servers_are_checked_together() {
    assert_eq!(
        wrong(None, &[("NATS_URL", "nats://a:b")]),
        "NATS_URL: \"nats://a:b\" is not like nats://host:port: invalid port number"
    );
    assert_eq!(
        wrong(None, &[("ORDERS_NATS__CREDS", "/no/such/file")]),
        "ORDERS_NATS__CREDS: /no/such/file: No such file or directory (os error 2)"
    );
    assert_eq!(
        wrong(Some("[nats]\npassword_file = \"x\""), &[]),
        "nats.password_file in FILE: needs ORDERS_NATS__USER"
    );
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
            url: "nats://user:sec/ret@localhost:4222".to_owned(),
            ..Nats::default()
        },
        ..Config::default()
    };
    let dumped = dump(&config);
    assert!(
        dumped.contains("nats_url = \"nats://user:***@localhost:4222\"\n"),
        "{dumped}"
    );
    let read = from(Some(&dumped), &[]).unwrap().config;
    assert_eq!(read.payment, config.payment);
    assert_eq!(read.nats.deployment, config.nats.deployment);
}

#[test]
fn help_has_each_key_its_doc_comment_and_its_default() {
    let help = help::<Config>();
    let columns = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines: Vec<String> = help.lines().map(columns).collect();
    for line in [
        "ORDERS_PAYMENT__DELAY How long a payment takes, from createdAt on [default: 5s]",
        "PORT The port of the HTTP server; 0 takes any free one [default: 3001]",
        "ORDERS_STREAMS__REPLICAS The number of NATS servers that keep a copy of each stream. A start never lowers it [default: 1]",
        "ORDERS_STREAMS__EVENTS__MAX_AGE The age at which the stream drops a message; 0s for none [default: 30days]",
        "ORDERS_STREAMS__EVENTS__MAX_BYTES The size at which the stream drops its oldest messages; 0 for none [default: 4.0 GiB]",
        "ORDERS_PUBLIC_URL Where clients come in [default: unset]",
        "ORDERS_PAYMENT__APPROVE (undocumented) [default: true]",
    ] {
        assert!(
            lines.iter().any(|found| found == line),
            "no {line:?} in {help}"
        );
    }
    assert_eq!(help.matches("(undocumented)").count(), 1, "{help}");
    let table = markdown::<Config>();
    let row = "| `PORT` | `3001` | The port of the HTTP server; 0 takes any free one |\n";
    assert!(table.contains(row), "{table}");
}

#[test]
fn a_setting_without_a_default_has_its_type_all_the_same() {
    #[derive(Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
    struct Limits {
        /// The most.
        #[schemars(range(min = 1, max = 9))]
        most: Option<u32>,
        /// Whether it is told.
        told: Option<bool>,
        /// Its name.
        name: Option<String>,
    }
    let read = |env: &[(&str, &str)]| {
        let env = env
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        from_environment::<Limits>(env).map_err(|error| chain(&error))
    };
    assert_eq!(read(&[("ORDERS_MOST", "")]), Ok(Limits::default()));
    let all = read(&[
        ("ORDERS_MOST", "9"),
        ("ORDERS_TOLD", "true"),
        ("ORDERS_NAME", "9"),
    ]);
    let expected = Limits {
        most: Some(9),
        told: Some(true),
        name: Some("9".to_owned()),
    };
    assert_eq!(all, Ok(expected));
    for (name, text, reason) in [
        ("ORDERS_MOST", "10", "10 is not a whole number from 1 to 9"),
        (
            "ORDERS_MOST",
            "x",
            "\"x\" is not a whole number from 1 to 9",
        ),
        ("ORDERS_TOLD", "yes", "\"yes\" is neither true nor false"),
    ] {
        assert_eq!(read(&[(name, text)]), Err(format!("{name}: {reason}")));
    }
}
