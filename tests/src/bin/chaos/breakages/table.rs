//! What was seen, as a report of one breakage and as the document of all.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use anyhow::Result;

use super::{breakage::Breakage, site::Line, watch::is_meant};

/// The document, in the checkout.
pub(super) const DOCUMENT: &str = "docs/breakages.md";

const HEAD: &str = "\
# What breaks, and what tells of it

What an operator saw of each thing that was broken on purpose, in an installation with one of each daemon and ten orders
a minute; `cargo xtask chaos --breakages` breaks them all again and writes this. Times are from the breakage until an
alert fired, and from the cure until `orderctl doctor` was green again and no alert fired any more, apart from those
that look back further than a minute. With more orders, OrdersCreateBudgetBurn or OrdersCreateSlow pages as well wherever
creates fail or are slow.

";

/// What was seen of one breakage.
pub(super) struct Row {
    pub(super) breakage: Breakage,
    /// The alerts that fired, with the time until they did.
    pub(super) alerts: BTreeMap<String, Duration>,
    /// What the panel shows, before and after.
    pub(super) panel: String,
    /// All that `orderctl top` says.
    pub(super) top: String,
    /// What `orderctl doctor` finds that is not green.
    pub(super) doctor: Vec<Line>,
    /// The time from the cure until all was well, if it was.
    pub(super) well: Result<Duration>,
}

impl Row {
    pub(super) fn is_right(&self) -> bool {
        self.wrong().is_empty()
    }

    /// What was told that should not have been, or was not.
    fn wrong(&self) -> Vec<String> {
        let signs = self.breakage.signs();
        let is_expected = |alert: &&String| signs.alerts.iter().any(|meant| is_meant(meant, alert));
        let mut wrong = Vec::new();
        let more = self.alerts.keys().filter(|alert| !is_expected(alert));
        wrong.extend(more.map(|alert| format!("also fires: {alert}")));
        let missing = signs.alerts.iter();
        let missing = missing.filter(|alert| self.after(alert).is_none());
        wrong.extend(missing.map(|alert| format!("does not fire: {alert}")));
        if self.line_of_top().is_none() {
            wrong.push(format!("top does not say {}", signs.top));
        }
        if self.line_of_doctor().is_none() {
            wrong.push(format!("doctor does not say {:?}", signs.doctor));
        }
        let is_not_well = self.well.as_ref().err();
        wrong.extend(is_not_well.map(|why| format!("after it was mended: {why:#}")));
        wrong
    }

    /// The time until an alert fired.
    fn after(&self, meant: &str) -> Option<Duration> {
        let alerts = self.alerts.iter();
        let alerts = alerts.filter(|(alert, _)| is_meant(meant, alert));
        alerts.map(|(_, after)| *after).min()
    }

    fn cured(&self) -> String {
        let after = self.well.as_ref().map_or(0, Duration::as_secs);
        format!("{}: {after} s", self.breakage.cure())
    }

    fn line_of_top(&self) -> Option<String> {
        let sign = self.breakage.signs().top;
        let line = self.top.lines().find(|line| line.contains(sign))?;
        Some(line.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    fn line_of_doctor(&self) -> Option<String> {
        let (check, part) = self.breakage.signs().doctor;
        let mut lines = self.doctor.iter().filter(|line| line.check == check);
        let line = lines.find_map(|line| {
            let text = text(line);
            text.contains(part).then_some(text)
        });
        line.map(|line| line.replace('\n', " "))
    }

    /// Everything, for whoever looks for what is missing.
    pub(super) fn report(&self) -> String {
        let mut report = format!("\n## {}\n", self.breakage);
        for (alert, after) in &self.alerts {
            let _ = writeln!(report, "{:>5} s  {alert}", after.as_secs());
        }
        let _ = writeln!(report, "{}", self.panel);
        for line in &self.doctor {
            let _ = writeln!(report, "{} {}", line.colour, text(line));
        }
        let _ = writeln!(report, "{}", self.top);
        let _ = writeln!(report, "{}", self.cured());
        for wrong in self.wrong() {
            let _ = writeln!(report, "WRONG: {wrong}");
        }
        report
    }

    /// A row of the table.
    fn line(&self) -> String {
        let signs = self.breakage.signs().alerts.iter();
        let alerts = signs.filter_map(|alert| {
            let after = self.after(alert)?.as_secs();
            let (alert, _) = alert.split_once(" of ").unwrap_or((alert, ""));
            Some(format!("{alert}: {after} s"))
        });
        let cells = [
            self.breakage.to_string(),
            alerts.collect::<Vec<_>>().join("<br>"),
            self.panel.clone(),
            code(self.line_of_top()),
            self.line_of_doctor().unwrap_or_default(),
            self.cured(),
        ];
        let cells = cells.map(|cell| cell.replace('|', "\\|"));
        format!("| {} |\n", cells.join(" | "))
    }
}

fn code(text: Option<String>) -> String {
    text.map_or_else(String::new, |text| format!("`{text}`"))
}

fn text(line: &Line) -> String {
    let Line {
        check,
        found,
        remedy,
        ..
    } = line;
    match remedy {
        Some(remedy) => format!("{check}: {found}; {remedy}"),
        None => format!("{check}: {found}"),
    }
}

/// The document of all of them.
pub(super) fn document(rows: &[&Row]) -> String {
    let mut document = HEAD.to_owned();
    document +=
        "| broken | alerts | dashboard | top | doctor | cure |\n|---|---|---|---|---|---|\n";
    for row in rows {
        document += &row.line();
    }
    document
}
