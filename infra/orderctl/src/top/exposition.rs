//! The text format for Prometheus, as far as daemons write it.

/// One line: `name{label="value"} 1.5`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample<'a> {
    pub(super) name: &'a str,
    labels: Vec<(&'a str, String)>,
    pub(super) value: f64,
}

impl<'a> Sample<'a> {
    pub(super) fn label(&self, name: &str) -> Option<&str> {
        let mut labels = self.labels.iter();
        let found = labels.find(|(own, _)| *own == name);
        found.map(|(_, value)| value.as_str())
    }

    fn parse(line: &'a str) -> Option<Self> {
        if line.starts_with('#') {
            return None;
        }
        let (name, rest) = line.split_at(line.find(['{', ' '])?);
        let (labels, rest) = match rest.strip_prefix('{') {
            Some(rest) => labels(rest)?,
            None => (Vec::new(), rest),
        };
        // After the value there may be a time.
        let value = rest.split_whitespace().next()?.parse().ok()?;
        Some(Self {
            name,
            labels,
            value,
        })
    }
}

/// The samples of a text; lines that are none are left out.
pub(super) fn samples(text: &str) -> impl Iterator<Item = Sample<'_>> {
    text.lines().filter_map(Sample::parse)
}

/// The labels up to the closing brace, and what follows it.
fn labels(mut rest: &str) -> Option<(Vec<(&str, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let (value, after) = unquoted(quoted)?;
        labels.push((name, value));
        rest = after;
    }
}

/// The text up to the closing quote, and what follows it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                escaped => value.push(escaped),
            },
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_are_samples_or_nothing() {
        let text = "# HELP a what\n# TYPE a counter\na 1\na_b{x=\"y\"} 2.5 1700000000000\n\n\
                    b{x=\"1\",le=\"+Inf\"} 3\nb{x=\"1} 3\nnothing\nc{} NaN\n";
        let read: Vec<_> = samples(text)
            .map(|sample| (sample.name, sample.label("x").map(str::to_owned)))
            .collect();
        let x = |text: &str| Some(text.to_owned());
        assert_eq!(
            read,
            [("a", None), ("a_b", x("y")), ("b", x("1")), ("c", None)]
        );
        let b = Sample::parse("b{le=\"+Inf\"} +Inf").unwrap();
        assert_eq!(b.value, f64::INFINITY);
        assert_eq!(b.label("le").unwrap().parse(), Ok(f64::INFINITY));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            labels in prop::collection::vec(("[a-z_]{1,8}", ".{0,12}"), 0..4),
            value in -1e12..1e12,
        ) {
            let quoted = |text: &str| {
                text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
            };
            let pairs: Vec<String> = labels
                .iter()
                .map(|(name, value)| format!("{name}=\"{}\"", quoted(value)))
                .collect();
            let line = format!("name{{{}}} {value}", pairs.join(","));
            let sample = Sample::parse(&line).unwrap();
            let read: Vec<_> = sample.labels.iter().map(|(n, v)| (n.to_string(), v.clone())).collect();
            prop_assert_eq!((sample.name, read, sample.value), ("name", labels, value));
        }

        #[test]
        fn no_text_is_too_strange(text in "[a-z{}=\",\\\\ 0-9#\n]{0,60}") {
            samples(&text).for_each(drop);
        }
    }
}
