//! The systemd units and the Debian package that has them. No systemd runs here: its tools read the units, and the tests
//! do its part towards the daemons.

mod notify;
mod package;
mod sockets;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use self::package::Package;

/// The exposure that `systemd-analyze security` may find, in tenths: 10.0 is the worst.
const EXPOSURE: u32 = 12;

/// The root folder of systemd.
fn systemd() -> PathBuf {
    env::var_os("ORDERS_TEST_SYSTEMD")
        .expect("run `cargo xtask test`")
        .into()
}

/// A tool of systemd.
fn systemd_tool(name: &str) -> Command {
    let root = systemd();
    let mut command = Command::new(root.join("usr/bin").join(name));
    if root != Path::new("/") {
        let own = format!("usr/lib/{}-linux-gnu/systemd", env::consts::ARCH);
        let libraries = [root.join("lib"), root.join(own)];
        command.env("LD_LIBRARY_PATH", env::join_paths(libraries).unwrap());
    }
    command
}

/// Asks systemd-analyze about `units` below the root `tree`.
fn analyze(question: &[&str], tree: &Path, units: &[String]) -> Output {
    let mut command = systemd_tool("systemd-analyze");
    command.args(question).arg("--root").arg(tree).args(units);
    command.output().unwrap()
}

/// Asks whether the exposure of `unit` is at most so many tenths.
fn judge(tree: &Path, unit: &str, tenths: u32) -> Output {
    let threshold = format!("--threshold={tenths}");
    let question = ["security", "--offline=true", "--no-pager", &threshold];
    analyze(&question, tree, &[unit.to_owned()])
}

fn said(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    format!("{out}{err}")
}

/// The names of all our units, the first process of each template.
fn units(tree: &Path) -> Vec<String> {
    let folder = tree.join(package::UNITS);
    let names = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names
        .filter(|name| name.starts_with("orders") && !name.ends_with(".d"))
        .map(|name| name.replace("@.", "@1."))
        .collect()
}

#[tokio::test]
async fn systemd_finds_no_fault_in_the_units() {
    let tree = tempfile::tempdir().unwrap();
    let tree = tree.path();
    Package::get().await.copy_units(tree);
    let units = units(tree);
    assert_eq!(units.len(), 10, "{units:?}");
    let verify = || analyze(&["verify", "--man=no"], tree, &units);
    let all_is_well = || {
        let verified = verify();
        assert!(verified.status.success(), "{}", said(&verified));
        assert_eq!(said(&verified), "");
        for unit in units.iter().filter(|unit| unit.ends_with(".service")) {
            let judged = judge(tree, unit, EXPOSURE);
            assert!(judged.status.success(), "{}", said(&judged));
        }
    };
    all_is_well();
    // With passwords and creds from files, as deployment.md says.
    let secrets = tree.join("usr/share/doc/orders-pipeline/examples/secrets");
    package::copy(&secrets, &tree.join("etc/systemd/system"));
    all_is_well();

    // A fault would have been found.
    let judged = judge(tree, "orders-edge@1.service", 5);
    assert!(!judged.status.success(), "{}", said(&judged));
    let common = tree
        .join(package::UNITS)
        .join("orders-@.service.d/common.conf");
    let text = fs::read_to_string(&common).unwrap();
    fs::write(&common, text.replace("ProtectHome=", "ProtectHomes=")).unwrap();
    let verified = said(&verify());
    assert!(verified.contains("'ProtectHomes'"), "{verified}");
}
