//! Figures of this checkout and, by turns, of another revision.

use anyhow::Result;

use crate::{
    deployment::{Build, Deployment, Design},
    report::{Report, median},
    site::Site,
};

/// What one build does in one round: each figure with its name.
pub(crate) type Figures = Vec<(String, f64)>;

/// Measures each build once in each of `rounds` rounds, and tells the medians.
pub(crate) async fn compare(
    site: &Site,
    report: &mut Report<'_>,
    rounds: usize,
    [heading, note]: [&str; 2],
    mut measure: impl AsyncFnMut(&Build) -> Result<Figures>,
) -> Result<()> {
    let mut builds: Vec<_> = [Some(&site.ours), site.other.as_ref()]
        .into_iter()
        .flatten()
        .map(|build| (build, Vec::new()))
        .collect();
    for round in 1..=rounds {
        for (build, found) in &mut builds {
            eprintln!("round {round} of {rounds}: {}", build.name);
            found.push(measure(build).await?);
        }
        // Whoever is second finds what the first has left in the database server and the machine.
        builds.reverse();
    }
    builds.sort_by_key(|(build, _)| build.name != site.ours.name);
    match &builds[..] {
        [(_, ours), (other, theirs)] => {
            let note = format!(
                "{note} Medians of {rounds} alternating rounds; the ratio is the median of the rounds' own, behind it the least and the greatest of these."
            );
            let head = ["", "this checkout", &other.name, "ratio", "range"];
            report.table(heading, &note, &head, &ratios(ours, theirs))
        }
        _ => {
            let note = format!("{note} Medians of {rounds} rounds.");
            let head = ["", "median", "rounds"];
            report.table(heading, &note, &head, &medians(&builds[0].1))
        }
    }
}

/// Measures a new deployment of each build.
pub(crate) async fn compare_new(
    site: &Site,
    report: &mut Report<'_>,
    rounds: usize,
    text: [&str; 2],
    measure: impl AsyncFn(&Deployment) -> Result<Figures>,
) -> Result<()> {
    let of_build = async |build: &Build| {
        let deployment = Deployment::start(site, Design::Pipeline(build), &build.name).await?;
        let figures = measure(&deployment).await?;
        deployment.stop().await?;
        Ok(figures)
    };
    compare(site, report, rounds, text, of_build).await
}

fn medians(rounds: &[Figures]) -> Vec<Vec<String>> {
    let row = |(name, values): (String, Vec<f64>)| {
        let all: Vec<_> = values.iter().copied().map(number).collect();
        vec![name, number(median(values)), all.join(", ")]
    };
    by_name(rounds).map(row).collect()
}

fn ratios(ours: &[Figures], theirs: &[Figures]) -> Vec<Vec<String>> {
    let row = |((name, ours), (_, theirs)): ((String, Vec<f64>), (String, Vec<f64>))| {
        let shown = ratio(&ours, &theirs);
        let [ours, theirs] = [ours, theirs].map(|values| number(median(values)));
        [name, ours, theirs].into_iter().chain(shown).collect()
    };
    by_name(ours).zip(by_name(theirs)).map(row).collect()
}

/// The median of the rounds' ratios, and their range.
pub(crate) fn ratio(ours: &[f64], theirs: &[f64]) -> [String; 2] {
    let ratios = || ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs);
    let least = ratios().fold(f64::INFINITY, f64::min);
    let greatest = ratios().fold(0.0, f64::max);
    let ratio = median(ratios().collect());
    match ratio.is_finite() {
        true => [
            format!("{ratio:.2}"),
            format!("{least:.2} to {greatest:.2}"),
        ],
        // Nothing by nothing, such as orders that were refused.
        false => Default::default(),
    }
}

/// Each figure with its values in all rounds.
pub(crate) fn by_name(rounds: &[Figures]) -> impl Iterator<Item = (String, Vec<f64>)> {
    let names = rounds.first().into_iter().flatten().enumerate();
    names.map(|(at, (name, _))| {
        let values = rounds.iter().map(|figures| figures[at].1);
        (name.clone(), values.collect())
    })
}

/// Three digits that count.
pub(crate) fn number(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        _ if value >= 100.0 => format!("{value:.0}"),
        _ if value >= 10.0 => format!("{value:.1}"),
        _ if value >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
