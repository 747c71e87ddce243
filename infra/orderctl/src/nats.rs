//! `nats`: who may connect to NATS, and as what. The rights come from the table of `orders-contracts`; each role has a
//! signing key whose users have its rights, so new users and taps change nothing on the server.

mod folder;
mod server;
mod token;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand, builder::PossibleValuesParser};
use nkeys::{KeyPair, KeyPairType};
use orders_contracts::{Permissions, Role, TenantId};
use serde_json::json;

use self::{
    folder::Folder,
    server::{Keys, template},
    token::Claims,
};
use crate::{Context, Verdict};

/// How long the creds of a tap count.
const TAP: &str = "8h";
/// How long the creds of `erase` count, unless told otherwise.
const ERASE: Duration = Duration::from_secs(60 * 60);

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make the keys and the server's auth.conf, or bring auth.conf up to date
    ///
    /// Keys that are there stay, so creds and revocations do too. Run it again after an upgrade or another
    /// ORDERS_NAMESPACE, then have nats-server reload its configuration.
    Init(Place),
    /// Make the creds file of a role, or of every daemon, the migrator, the operator and the backup
    Creds {
        #[command(flatten)]
        place: Place,
        /// The role
        #[arg(long, value_parser = PossibleValuesParser::new(roles()))]
        role: Option<String>,
        /// How long they count; without it for ever, and for `erase` an hour
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        ttl: Option<Duration>,
        /// The file to write instead of DIR/creds/ROLE.creds
        #[arg(long, value_name = "FILE", requires = "role")]
        out: Option<PathBuf>,
    },
    /// Make creds with which a tenant hears of its own orders, live, and can do nothing else
    Tap {
        #[command(flatten)]
        place: Place,
        /// The tenant
        #[arg(long)]
        tenant: TenantId,
        /// How long they count
        #[arg(long, value_name = "DURATION", default_value = TAP, value_parser = duration)]
        ttl: Duration,
        /// The file to write instead of DIR/creds/tap-TENANT.creds
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Refuse a user whose creds are lost; the server cuts its connections when it reloads auth.conf
    Revoke {
        #[command(flatten)]
        place: Place,
        /// The user's key, `U...`, or a creds file
        #[arg(value_name = "USER")]
        user: String,
    },
    /// Print the rights of all roles, as `nsc` sets them on signing keys
    Permissions,
}

/// Where the keys are.
#[derive(Args)]
pub(crate) struct Place {
    /// The folder of the keys: whoever can read it can be anyone
    #[arg(long, value_name = "DIR", default_value = "keys")]
    dir: PathBuf,
}

/// The roles that have creds; a tap's are made for its tenant.
fn roles() -> impl Iterator<Item = &'static str> {
    let with_creds = Role::ALL.into_iter().filter(|role| *role != Role::Tap);
    with_creds.map(Role::as_str)
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match duration.as_secs() {
        0 => Err("must be at least 1s".to_owned()),
        _ => Ok(duration),
    }
}

pub(crate) fn run(context: &Context, command: Command) -> Result<Verdict> {
    match command {
        Command::Init(Place { dir }) => init(context, &Folder::new(dir)),
        Command::Creds {
            place,
            role,
            ttl,
            out,
        } => {
            let folder = Folder::new(place.dir);
            let wanted: Vec<Role> = Role::ALL
                .into_iter()
                .filter(|one| match &role {
                    Some(name) => one.as_str() == name,
                    None => !matches!(one, Role::Tap | Role::Erase),
                })
                .collect();
            for role in wanted {
                let ttl = ttl.or_else(|| (role == Role::Erase).then_some(ERASE));
                let file = out.clone();
                make_creds(context, &folder, role, role.as_str(), ttl, file)?;
            }
            Ok(Verdict::Fine)
        }
        Command::Tap {
            place,
            tenant,
            ttl,
            out,
        } => {
            let folder = Folder::new(place.dir);
            let tenant = tenant.as_str();
            make_creds(context, &folder, Role::Tap, tenant, Some(ttl), out)?;
            Ok(Verdict::Fine)
        }
        Command::Revoke { place, user } => revoke(context, &Folder::new(place.dir), &user),
        Command::Permissions => Ok(print_permissions(context)),
    }
}

fn init(context: &Context, folder: &Folder) -> Result<Verdict> {
    let is_new = !folder.has_keys();
    let keys = Keys::make(folder)?;
    let file = write_settings(context, folder, &keys)?;
    let value = json!({ "file": file, "account": keys.account.public_key(), "new": is_new });
    let next = match is_new {
        true => "for nats-server; next: orderctl nats creds",
        false => "brought up to date; next: nats-server --signal reload",
    };
    context
        .output
        .line(format_args!("{}: {next}", file.display()), &value);
    Ok(Verdict::Fine)
}

/// Writes auth.conf from the keys, the table and the revocations.
fn write_settings(context: &Context, folder: &Folder, keys: &Keys) -> Result<PathBuf> {
    let settings = server::settings(keys, context.deployment(), &folder.revoked()?, now()?)?;
    folder.write("auth.conf", &settings)
}

fn make_creds(
    context: &Context,
    folder: &Folder,
    role: Role,
    name: &str,
    ttl: Option<Duration>,
    out: Option<PathBuf>,
) -> Result<()> {
    let keys = Keys::read(folder)?;
    let user = KeyPair::new_user();
    let now = now()?;
    let expires = ttl.map(|ttl| now.saturating_add(ttl.as_secs()));
    let claims = Claims {
        name,
        subject: &user.public_key(),
        issued_at: now,
        expires,
        nats: json!({
            "type": "user", "version": 2, "issuer_account": keys.account.public_key(),
        }),
    };
    let creds = token::creds(&claims.sign(keys.of(role))?, &user)?;
    let file = match (out, role) {
        (Some(file), _) => {
            folder::write(&file, &creds)?;
            file
        }
        (None, Role::Tap) => folder.write(&format!("creds/tap-{name}.creds"), &creds)?,
        (None, _) => folder.write(&format!("creds/{name}.creds"), &creds)?,
    };
    let key = user.public_key();
    let until = match ttl {
        Some(ttl) => format!(", for {}", humantime::format_duration(ttl)),
        None => String::new(),
    };
    let value = json!({
        "file": file, "role": role.as_str(), "name": name, "user": key, "expires": expires,
    });
    let shown = file.display();
    context.output.line(
        format_args!("{shown}: {} as {key}{until}", role.as_str()),
        &value,
    );
    Ok(())
}

fn revoke(context: &Context, folder: &Folder, user: &str) -> Result<Verdict> {
    let keys = Keys::read(folder)?;
    let file = Path::new(user);
    let key = match file.is_file() {
        true => token::subject(&folder::read(file)?)
            .with_context(|| format!("{user} is no creds file"))?,
        false => user.to_owned(),
    };
    let is_user =
        KeyPair::from_public_key(&key).is_ok_and(|pair| pair.key_pair_type() == KeyPairType::User);
    if !is_user {
        bail!("{user:?} is neither the key of a user, U..., nor a creds file");
    }
    let mut revoked: BTreeMap<String, u64> = folder.revoked()?;
    revoked.insert(key.clone(), now()?);
    folder.write_revoked(&revoked)?;
    let file = write_settings(context, folder, &keys)?;
    let value = json!({ "file": file, "user": key });
    let next = "is revoked; next: nats-server --signal reload";
    context.output.line(format_args!("{key} {next}"), &value);
    Ok(Verdict::Fine)
}

fn print_permissions(context: &Context) -> Verdict {
    for role in Role::ALL {
        let permissions = Permissions::of(role, context.deployment());
        let mut line = format!(
            "nsc edit signing-key --sk generate --role {}",
            role.as_str()
        );
        for (option, subjects) in [
            ("--allow-pub", &permissions.publish),
            ("--allow-sub", &permissions.subscribe),
        ] {
            if !subjects.is_empty() {
                line += &format!(" {option} '{}'", subjects.join(","));
            }
        }
        if permissions.publish.is_empty() {
            line += " --deny-pub '>'";
        }
        let value = json!({ "role": role.as_str(), "template": template(role, &permissions) });
        context.output.line(line, &value);
    }
    Verdict::Fine
}

/// The seconds since 1970.
fn now() -> Result<u64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Ok(since.context("the clock is before 1970")?.as_secs())
}
