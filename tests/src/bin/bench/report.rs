//! What is found out: on the terminal as it comes, and as Markdown and SVG in the folder of the results.

use std::{fmt::Write, fs, path::Path, time::Duration};

use anyhow::{Result, anyhow};
use hdrhistogram::Histogram;
use plotters::prelude::*;

/// Latencies in microseconds, with three digits.
pub(crate) fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000, 3).expect("bounds that make sense")
}

pub(crate) fn record(histogram: &mut Histogram<u64>, value: Duration) {
    histogram.saturating_record(u64::try_from(value.as_micros()).unwrap_or(u64::MAX).max(1));
}

/// A quantile in milliseconds.
pub(crate) fn millis(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1e3
}

/// The one in the middle, or between the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let upper = values.get(values.len() / 2).copied().unwrap_or(f64::NAN);
    match values.len() % 2 {
        0 if !values.is_empty() => f64::midpoint(values[values.len() / 2 - 1], upper),
        _ => upper,
    }
}

/// Tables, plots and goals.
pub(crate) struct Report<'a> {
    folder: &'a Path,
    text: String,
    goals: Vec<[String; 4]>,
}

/// A line of a plot.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(folder: &'a Path) -> Self {
        Self {
            folder,
            text: String::new(),
            goals: Vec::new(),
        }
    }

    /// Adds a table under a heading, with a note on how it came about.
    pub(crate) fn table(
        &mut self,
        heading: &str,
        note: &str,
        head: &[&str],
        rows: &[Vec<String>],
    ) -> Result<()> {
        let mut text = format!("\n### {heading}\n\n");
        if !note.is_empty() {
            writeln!(text, "{note}\n")?;
        }
        text += &markdown(head, rows);
        self.add(&text)
    }

    /// Notes whether a goal is met; `met` is its own judge, `got` and `wanted` are for people.
    pub(crate) fn goal(
        &mut self,
        what: &str,
        wanted: impl Into<String>,
        got: impl Into<String>,
        met: bool,
    ) {
        let word = if met { "met" } else { "**not met**" };
        self.goals
            .push([what.to_owned(), wanted.into(), got.into(), word.to_owned()]);
    }

    /// The goals so far, last.
    pub(crate) fn finish(mut self) -> Result<()> {
        if self.goals.is_empty() {
            return Ok(());
        }
        let rows: Vec<Vec<String>> = self.goals.drain(..).map(Vec::from).collect();
        self.table("Goals", "", &["goal", "wanted", "measured", ""], &rows)
    }

    fn add(&mut self, text: &str) -> Result<()> {
        println!("{text}");
        self.text += text;
        fs::write(self.folder.join("report.md"), &self.text)?;
        Ok(())
    }

    /// Draws `lines` into `name.svg`.
    pub(crate) fn plot(
        &self,
        name: &str,
        title: &str,
        [x, y]: [&str; 2],
        lines: &[Line],
    ) -> Result<()> {
        const SIZE: (u32, u32) = (860, 420);
        const COLOURS: [RGBColor; 5] = [
            RGBColor(79, 70, 229),
            RGBColor(217, 119, 6),
            RGBColor(18, 161, 80),
            RGBColor(163, 22, 43),
            RGBColor(90, 95, 114),
        ];
        let points = || lines.iter().flat_map(|line| &line.points);
        let most = |pick: fn(&(f64, f64)) -> f64| points().map(pick).fold(0.0, f64::max) * 1.05;
        let (right, top) = (most(|point| point.0), most(|point| point.1));
        let path = self.folder.join(format!("{name}.svg"));
        let area = SVGBackend::new(&path, SIZE).into_drawing_area();
        let draw = || {
            area.fill(&WHITE)?;
            let mut chart = ChartBuilder::on(&area)
                .caption(title, ("sans-serif", 18))
                .margin(12)
                .x_label_area_size(40)
                .y_label_area_size(60)
                .build_cartesian_2d(0.0..right.max(1.0), 0.0..top.max(1.0))?;
            chart
                .configure_mesh()
                .x_desc(x)
                .y_desc(y)
                .light_line_style(WHITE)
                .draw()?;
            for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
                let series = LineSeries::new(line.points.iter().copied(), colour.stroke_width(2));
                let colour = *colour;
                chart
                    .draw_series(series)?
                    .label(&line.name)
                    .legend(move |(x, y)| {
                        PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2))
                    });
            }
            chart
                .configure_series_labels()
                .background_style(WHITE.mix(0.8))
                .border_style(BLACK)
                .draw()?;
            area.present()
        };
        draw().map_err(|error| anyhow!("drawing {name}: {error}"))
    }
}

fn markdown(head: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let rule = format!("|{}\n", "---|".repeat(head.len()));
    let rows = rows.iter().map(|row| line(row));
    line(&head) + &rule + &rows.collect::<String>()
}
