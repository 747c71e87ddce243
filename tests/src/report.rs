//! The table: each promise, what was checked, the figure.

use std::{fmt::Write as _, fs, io, path::Path};

/// The text for people, and whether any promise was broken.
pub struct Report {
    /// A table of the promises, and examples of how they were broken.
    pub text: String,
    /// Whether any was.
    pub broken: bool,
}

/// One promise.
pub struct Promise {
    /// What is promised.
    pub promise: &'static str,
    /// What was found.
    pub figure: String,
    /// Where it was broken.
    pub broken: Vec<String>,
}

impl Report {
    /// A report that begins with the lines of `preface`.
    pub fn new(preface: &str, promises: &[Promise]) -> Self {
        let mut text = preface.to_owned();
        let _ = writeln!(text, "\n| promise | figure | kept |\n|---|---|---|");
        for Promise {
            promise,
            figure,
            broken,
        } in promises
        {
            let kept = if broken.is_empty() { "yes" } else { "NO" };
            let _ = writeln!(text, "| {promise} | {figure} | {kept} |");
        }
        for Promise {
            promise, broken, ..
        } in promises
        {
            if broken.is_empty() {
                continue;
            }
            let _ = writeln!(text, "\nbroken, {} times: {promise}", broken.len());
            for what in broken.iter().take(10) {
                let _ = writeln!(text, "  {what}");
            }
        }
        Self {
            broken: promises.iter().any(|promise| !promise.broken.is_empty()),
            text,
        }
    }
}

/// How values are spread: their number, middle and end.
pub fn spread(mut values: Vec<f64>, unit: &str) -> String {
    if values.is_empty() {
        return "none in this run".to_owned();
    }
    values.sort_by(f64::total_cmp);
    let at = |part: f64| values[((values.len() as f64 * part) as usize).min(values.len() - 1)];
    format!(
        "n = {}, p50 {:.0} {unit}, p99 {:.0} {unit}, max {:.0} {unit}",
        values.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    )
}

/// Copies the logs of a folder to another, which outlives the run.
pub fn keep_logs(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)?.flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            fs::copy(&path, to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
