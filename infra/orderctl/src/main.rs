//! `orderctl`: the operator's tool for a running orders pipeline.
//!
//! Each command is a module. All of them use the daemons' own libraries, `orders-bus` and `orders-store`, and can be
//! interrupted at any time and run again.

mod audit;
mod comparison;
mod confirm;
mod dlq;
mod doctor;
mod erase;
mod finding;
mod look;
mod migrate;
mod nats;
mod order;
mod output;
mod projection;
mod reconcile;
mod record;
mod revoke;
mod tap;
mod top;
mod uploads;

use std::{io::Write as _, process::ExitCode, time::Duration};

use anyhow::{Result, bail};
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use orders_bus::{Bus, Operator};
use orders_contracts::{Deployment, Role, streams};
use orders_service::{chain, config};
use orders_store::Store;
use orders_uploads::{Storage, UploadSettings};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::output::Output;

/// How long to wait for a server's first answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);
const USAGE: u8 = 2;
const INTERRUPTED: u8 = 130;
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("ORDERS_COMMIT"), ")");

/// Checks and repairs a running orders pipeline.
///
/// Exit codes: 0 nothing is wrong, or the work is done; 1 the command found something (differences, dead letters, a red
/// check) or failed; 2 wrong usage; 130 interrupted, run it again to resume.
#[derive(Parser)]
#[command(version = VERSION, arg_required_else_help = true, after_long_help = config::environment::<Servers>())]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// The options of every command.
#[derive(Args, Clone)]
struct Common {
    /// The URLs of the NATS servers instead of NATS_URL, separated by commas
    #[arg(long, global = true, value_name = "URLS", help_heading = "Connection")]
    nats_url: Option<String>,
    /// The URL of MongoDB instead of MONGO_URL; its path names the database
    #[arg(long, global = true, value_name = "URL", help_heading = "Connection")]
    mongo_url: Option<String>,
    /// The prefix of the streams and subjects of the installation instead of ORDERS_NAMESPACE
    #[arg(
        long,
        global = true,
        value_name = "PREFIX",
        help_heading = "Connection"
    )]
    namespace: Option<String>,
    /// Your name for the audit instead of user@host
    #[arg(long, global = true, env = "ORDERS_OPERATOR", value_name = "NAME")]
    operator: Option<String>,
    /// Print one JSON object per line instead of text
    #[arg(long, global = true)]
    json: bool,
    /// After an error, print everything that is known of it
    #[arg(long, short, global = true)]
    verbose: bool,
}

/// The servers, as the daemons' own settings name them.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
struct Servers {
    #[serde(flatten)]
    nats: config::Nats,
    #[serde(flatten)]
    mongo: config::Mongo,
    uploads: UploadSettings,
}

impl Servers {
    /// Reads the environment; the options win over it.
    fn read(common: &Common, command: &Command) -> Result<Self, config::Error> {
        let options = [
            ("NATS_URL", &common.nats_url),
            ("MONGO_URL", &common.mongo_url),
            ("ORDERS_NAMESPACE", &common.namespace),
        ];
        let options = options
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)));
        // Whoever makes creds may not have any yet.
        let makes_creds = matches!(command, Command::Nats(_));
        let env = std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(key, _)| !makes_creds || !key.starts_with("ORDERS_NATS__"));
        let mut servers: Self = config::from_environment(env.chain(options))?;
        let deployment = &mut servers.nats.deployment;
        // Whoever runs it decides.
        deployment.auto_migrate = true;
        if let Command::Migrate(migrate::Options { declared, .. })
        | Command::Doctor(doctor::Options { declared, .. }) = command
        {
            deployment.streams.replicas = declared.replicas;
        }
        Ok(servers)
    }
}

#[derive(Subcommand)]
enum Command {
    /// List, show, redrive, drop or restore dead letters: messages that daemons gave up
    #[command(subcommand)]
    Dlq(dlq::Command),
    /// Compare the list (`orders_read`) with the truth (`orders_write`), or rebuild it
    #[command(subcommand)]
    Projection(projection::Command),
    Reconcile(reconcile::Options),
    Erase(erase::Options),
    Revoke(revoke::Options),
    Order(order::Options),
    Tap(tap::Options),
    Top(top::Options),
    Migrate(migrate::Options),
    Doctor(doctor::Options),
    Audit(audit::Options),
    /// Prepare the bucket of uploads, remove what no order names, or scan for malware
    #[command(subcommand)]
    Uploads(uploads::Command),
    /// Make the keys and creds of NATS users, and the server's settings
    ///
    /// The server runs in operator mode: whoever connects has a creds file and may do what its role lists. `init` makes
    /// the keys and DIR/auth.conf, which the configuration of nats-server includes. `creds` makes the files for
    /// ORDERS_NATS__CREDS. Then run `orderctl migrate` with those of the migrator, and start the daemons with theirs and
    /// ORDERS_AUTO_MIGRATE=false. None of these commands connects to anything.
    #[command(subcommand)]
    Nats(nats::Command),
    /// Print the completions for a shell, as in `source <(orderctl completions bash)`
    Completions {
        shell: clap_complete::Shell,
    },
}

impl Command {
    /// As whom it connects to NATS.
    fn role(&self) -> Role {
        match self {
            Self::Migrate(_) => Role::Migrator,
            Self::Erase(_) => Role::Erase,
            _ => Role::Operator,
        }
    }
}

/// The result of a command that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Nothing is wrong, or the work is done.
    Fine,
    /// The command found something that needs attention.
    Found,
    /// Ctrl-C stopped the command; finished work stays done.
    Interrupted,
}

/// Everything a command needs.
struct Context {
    servers: Servers,
    output: Output,
    /// As whom it connects to NATS.
    role: Role,
    /// Who runs this, for the audit.
    actor: String,
    /// Cancelled by the first Ctrl-C or SIGTERM; the second ends the process.
    stop: CancellationToken,
}

impl Context {
    /// Connects to the bus, or fails if NATS does not answer within a few seconds.
    async fn bus(&self) -> Result<Operator> {
        let bus = self.patient_bus().await?;
        let refuses = orders_bus::Error::refuses_login;
        self.answers(bus.readiness(), refuses).await?;
        Ok(bus)
    }

    /// The bus, which connects without end where NATS does not answer.
    async fn patient_bus(&self) -> Result<Operator> {
        let bus = Bus::connect(&self.servers.nats, self.role).await?;
        Ok(bus.deployed(self.deployment()).operator())
    }

    /// Connects to the store, or fails if the database does not answer within a few seconds.
    async fn store(&self) -> Result<Store> {
        let open = Store::open(&self.servers.mongo, "orderctl");
        let store = self.unless_interrupted(open).await?;
        let refuses = orders_store::Error::refuses_login;
        self.answers(store.readiness(), refuses).await?;
        Ok(store)
    }

    /// The bucket of uploads, or fails if they are a mock.
    fn storage(&self) -> Result<Storage> {
        let Some(storage) = Storage::open(&self.servers.uploads)? else {
            bail!(
                "uploads are a mock, which stores nothing; set ORDERS_UPLOADS__MODE=s3 and the rest as the edge has them"
            );
        };
        Ok(storage)
    }

    /// What the installation chose for all its processes.
    fn deployment(&self) -> &Deployment {
        &self.servers.nats.deployment
    }

    /// Connects to both, or fails if they belong to two installations.
    async fn servers(&self) -> Result<(Operator, Store)> {
        let (bus, store) = (self.bus().await?, self.store().await?);
        // First, because it says more of a wrong database.
        self.of_one_installation(&bus, &store).await?;
        has_orders(&store).await?;
        Ok((bus, store))
    }

    /// Fails if the streams and the database belong to two installations.
    async fn of_one_installation(&self, bus: &Operator, store: &Store) -> Result<()> {
        if let Some(installation) = bus.installation(&streams::ALL).await? {
            let namespace = &self.deployment().namespace;
            store.join(namespace, Some(&installation)).await?;
        }
        Ok(())
    }

    /// Connects to the store, or fails if it has no orders: then its URL names the wrong database.
    async fn orders(&self) -> Result<Store> {
        let store = self.store().await?;
        has_orders(&store).await?;
        Ok(store)
    }

    /// Probes until the probe succeeds, for at most [`ANSWER_DEADLINE`]; a refused login will not get better.
    async fn answers<F, E>(
        &self,
        probe: impl Fn() -> F,
        refuses_login: fn(&E) -> bool,
    ) -> Result<()>
    where
        F: Future<Output = Result<(), E>>,
        E: std::error::Error + Send + Sync + 'static,
    {
        let deadline = Instant::now() + ANSWER_DEADLINE;
        while let Err(cause) = self.unless_interrupted(probe()).await {
            if refuses_login(&cause) || Instant::now() >= deadline {
                return Err(cause.into());
            }
            self.unless_interrupted(sleep(Duration::from_millis(100)))
                .await;
        }
        Ok(())
    }

    /// Before anything has begun, Ctrl-C ends the process at once.
    async fn unless_interrupted<T>(&self, wait: impl Future<Output = T>) -> T {
        match self.stop.run_until_cancelled(wait).await {
            Some(outcome) => outcome,
            None => std::process::exit(INTERRUPTED.into()),
        }
    }
}

/// Fails if the store has no orders: then its URL names the wrong database.
async fn has_orders(store: &Store) -> Result<()> {
    if store.has_orders().await? {
        return Ok(());
    }
    bail!(
        "no orders_write in database {}; --mongo-url names the database",
        store.database()
    )
}

#[tokio::main]
async fn main() -> ExitCode {
    let Cli { common, command } = parse();
    let servers = match Servers::read(&common, &command) {
        Ok(servers) => servers,
        Err(error) => {
            Output::new(common.json).error(chain(&error));
            return ExitCode::from(USAGE);
        }
    };
    let context = Context {
        output: Output::new(common.json),
        role: command.role(),
        actor: record::actor(common.operator.as_deref(), &servers.nats),
        servers,
        stop: CancellationToken::new(),
    };
    tokio::spawn(stop_on_signals(context.stop.clone()));
    let verdict = match command {
        Command::Dlq(command) => dlq::run(&context, command).await,
        Command::Projection(command) => projection::run(&context, command).await,
        Command::Reconcile(options) => reconcile::run(&context, options).await,
        Command::Erase(options) => erase::run(&context, options).await,
        Command::Revoke(options) => revoke::run(&context, options).await,
        Command::Order(options) => order::run(&context, options).await,
        Command::Tap(options) => tap::run(&context, options).await,
        Command::Top(options) => top::run(&context, options).await,
        Command::Migrate(options) => migrate::run(&context, options).await,
        Command::Doctor(options) => doctor::run(&context, options).await,
        Command::Audit(options) => audit::run(&context, options).await,
        Command::Uploads(command) => uploads::run(&context, command).await,
        Command::Nats(command) => nats::run(&context, command),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "orderctl", &mut script);
            // A closed pipe is not an error.
            let _ = std::io::stdout().write_all(&script);
            Ok(Verdict::Fine)
        }
    };
    match verdict {
        Ok(Verdict::Fine) => ExitCode::SUCCESS,
        Ok(Verdict::Found) => ExitCode::FAILURE,
        Ok(Verdict::Interrupted) => {
            context.output.error("interrupted; run it again to resume");
            ExitCode::from(INTERRUPTED)
        }
        Err(error) => {
            context.output.error(chain(error.as_ref()));
            if common.verbose {
                let error: &(dyn std::error::Error + 'static) = error.as_ref();
                eprintln!("{error:#?}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Reads the command line. With --json, an error of usage is JSON, too.
fn parse() -> Cli {
    Cli::try_parse().unwrap_or_else(|error| {
        if !error.use_stderr() || !std::env::args().any(|argument| argument == "--json") {
            error.exit();
        }
        let text = error.render().to_string();
        let lines = text
            .lines()
            .map_while(|line| Some(line.trim()).filter(|line| !line.is_empty()));
        let text = Vec::from_iter(lines).join(" ");
        Output::new(true).error(text.trim_start_matches("error: "));
        std::process::exit(error.exit_code());
    })
}

/// The first signal asks the command to stop at the next safe point, the second ends the process.
async fn stop_on_signals(stop: CancellationToken) {
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        return;
    };
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if stop.is_cancelled() {
            std::process::exit(INTERRUPTED.into());
        }
        stop.cancel();
    }
}
