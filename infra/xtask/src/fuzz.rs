//! `fuzz`: feeds the decoders of outside input by libFuzzer.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use tokio::process::Command;

use crate::{progress, tools, workspace::Workspace};

/// Fuzz every decoder of outside input with libFuzzer
///
/// Each target begins with its corpus in tests/inputs and the findings of earlier runs in target/fuzz. The first input
/// that breaks a promise of tests/inputs is an error; add it to the corpus, which `cargo xtask test` reads too.
#[derive(Args)]
pub(crate) struct Options {
    /// Seconds that each target runs
    #[arg(long, default_value_t = 600)]
    seconds: u32,
    /// Run only these targets
    targets: Vec<String>,
}

pub(crate) async fn run(workspace: &Workspace, options: Options) -> Result<()> {
    let fuzzer = Fuzzer {
        workspace,
        program: tools::cargo_fuzz(workspace).await?.join("bin/cargo-fuzz"),
    };
    let targets = if options.targets.is_empty() {
        fuzzer.targets()?
    } else {
        options.targets
    };
    for target in targets {
        fuzzer.run(&target, options.seconds).await?;
    }
    Ok(())
}

struct Fuzzer<'a> {
    workspace: &'a Workspace,
    program: PathBuf,
}

impl Fuzzer<'_> {
    fn corpora(&self) -> PathBuf {
        self.workspace.root().join("tests/inputs/corpora")
    }

    /// Each has a corpus of its name.
    fn targets(&self) -> Result<Vec<String>> {
        let corpora = fs::read_dir(self.corpora()).context("reading tests/inputs/corpora")?;
        let mut names = Vec::new();
        for corpus in corpora {
            names.push(corpus?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    /// libFuzzer writes its findings to the first of the two corpora.
    async fn run(&self, target: &str, seconds: u32) -> Result<()> {
        let root = self.workspace.root();
        let work = root.join("target/fuzz");
        let found = work.join("found").join(target);
        fs::create_dir_all(&found)?;
        let mut fuzz = Command::new(&self.program);
        fuzz.arg("run")
            .arg("--fuzz-dir")
            .arg(root.join("tests/fuzz"));
        fuzz.arg("--target-dir").arg(&work);
        // We have no unsafe code to sanitize, and the coverage that libFuzzer needs has no stable flag.
        fuzz.args(["--sanitizer", "none"])
            .env("RUSTC_BOOTSTRAP", "1");
        fuzz.arg(target).arg(found).arg(self.corpora().join(target));
        fuzz.args(["--", "-max_len=4096", "-timeout=10"])
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-artifact_prefix={}/", work.display()));
        let status = progress::run_shown(fuzz.current_dir(root)).await?;
        ensure!(status.success(), "{target} has failed, see above");
        Ok(())
    }
}
