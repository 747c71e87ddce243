//! Days and moments as clients write them in queries: ISO 8601, in all the forms that class-validator's `IsISO8601` and
//! a browser's `datetime-local` know.

use std::str::FromStr;

use chrono::{Days, NaiveDate, NaiveTime, Weekday};

use crate::Timestamp;

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// The first moment of `text`, and the one after its last. A date is all of its day, week, month or year, in UTC; a date
/// with a time is one millisecond, in UTC unless it has an offset.
pub(crate) fn period(text: &str) -> Option<(Timestamp, Timestamp)> {
    let (date, time) = match text.split_once(['T', 't', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let (first, end) = days(date)?;
    let (first, end) = match time {
        None => (midnight(first), midnight(end)),
        Some(time) => {
            let moment = midnight(first) + since_midnight(time)?;
            (moment, moment + 1)
        }
    };
    Some((Timestamp::writable(first)?, Timestamp::from_millis(end)?))
}

fn midnight(day: NaiveDate) -> i64 {
    day.and_time(NaiveTime::MIN).and_utc().timestamp_millis()
}

/// The first day of a date, and the one after its last.
fn days(text: &str) -> Option<(NaiveDate, NaiveDate)> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let (year, rest) = text.split_at_checked(4)?;
    let year = number(year, 4)?;
    let (is_extended, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    if let Some(week) = rest.strip_prefix('W') {
        return days_of_week(year, week);
    }
    match (is_extended, rest.len()) {
        (false, 0) => Some((first_of(year, 1)?, first_of(year + 1, 1)?)),
        (true, 2) => {
            let month: u32 = number(rest, 2)?;
            let end = first_of(year + i32::from(month == 12), month % 12 + 1)?;
            Some((first_of(year, month)?, end))
        }
        (_, 3) => one(NaiveDate::from_yo_opt(year, number(rest, 3)?)?),
        (false, 4) | (true, 5) => {
            let (month, day) = rest.split_at_checked(2)?;
            let day = if is_extended {
                day.strip_prefix('-')?
            } else {
                day
            };
            let (month, day) = (number(month, 2)?, number(day, 2)?);
            one(NaiveDate::from_ymd_opt(year, month, day)?)
        }
        _ => None,
    }
}

/// The days of `34` or, of one day of that week, `34-3` or `343`.
fn days_of_week(year: i32, text: &str) -> Option<(NaiveDate, NaiveDate)> {
    let (week, day) = text.split_at_checked(2)?;
    let monday = NaiveDate::from_isoywd_opt(year, number(week, 2)?, Weekday::Mon)?;
    if day.is_empty() {
        return Some((monday, monday + Days::new(7)));
    }
    let day = day.strip_prefix('-').unwrap_or(day);
    let day = number::<u64>(day, 1).filter(|day| (1..=7).contains(day))?;
    one(monday + Days::new(day - 1))
}

fn first_of(year: i32, month: u32) -> Option<NaiveDate> {
    NaiveDate::from_ymd_opt(year, month, 1)
}

fn one(day: NaiveDate) -> Option<(NaiveDate, NaiveDate)> {
    Some((day, day.succ_opt()?))
}

/// The milliseconds from midnight in UTC to a time that may have an offset.
fn since_midnight(text: &str) -> Option<i64> {
    let end = text.find(['Z', 'z', '+', '-', ' ']).unwrap_or(text.len());
    let (clock, offset) = text.split_at(end);
    Some(of_clock(clock)? - of_offset(offset)?)
}

/// The milliseconds since midnight of `09`, `09:00`, `0900`, `09:00:00` or `090000`, the last unit with decimals or not.
fn of_clock(text: &str) -> Option<i64> {
    let (whole, decimals) = text.split_once(['.', ',']).unwrap_or((text, "0"));
    let parts: Vec<&str> = if whole.contains(':') {
        whole.split(':').collect()
    } else {
        let pair = |at| whole.get(at..at + 2);
        (0..whole.len())
            .step_by(2)
            .map(pair)
            .collect::<Option<_>>()?
    };
    let units: [(i64, i64); 3] = [(HOUR, 24), (MINUTE, 59), (SECOND, 60)];
    if parts.len() > units.len() {
        return None;
    }
    let (mut millis, mut last) = (0, None);
    for (part, (unit, max)) in parts.into_iter().zip(units) {
        millis += number::<i64>(part, 2).filter(|count| *count <= max)? * unit;
        last = Some(unit);
    }
    let kept = decimals
        .get(..decimals.len().min(9))
        .filter(|_| is_digits(decimals))?;
    let power = 10_i64.pow(u32::try_from(kept.len()).ok()?);
    millis += number::<i64>(kept, kept.len())? * last? / power;
    // `24:00` is the end of the day.
    (millis <= DAY).then_some(millis)
}

/// The milliseconds of `Z`, `+02:00`, `+0200` or `+02`. A plus that a client did not encode has become a space.
fn of_offset(text: &str) -> Option<i64> {
    if matches!(text, "" | "Z" | "z") {
        return Some(0);
    }
    let (sign, text) = match text.strip_prefix('-') {
        Some(text) => (-1, text),
        None => (1, text.strip_prefix(['+', ' '])?),
    };
    let (hours, minutes) = text.split_at_checked(2)?;
    let minutes = match minutes {
        "" => "00",
        minutes => minutes.strip_prefix(':').unwrap_or(minutes),
    };
    let hours = number::<i64>(hours, 2).filter(|hours| *hours < 24)?;
    let minutes = number::<i64>(minutes, 2).filter(|minutes| *minutes < 60)?;
    Some(sign * (hours * HOUR + minutes * MINUTE))
}

/// A number of exactly so many digits.
fn number<T: FromStr>(text: &str, digits: usize) -> Option<T> {
    let is_number = text.len() == digits && is_digits(text);
    text.parse().ok().filter(|_| is_number)
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn is(text: &str, first: &str, end: &str) {
        let (from, until) = period(text).unwrap_or_else(|| panic!("{text} is not read"));
        assert_eq!(
            (from.to_string(), until.to_string()),
            (first.to_owned(), end.to_owned()),
            "{text}"
        );
    }

    #[test]
    fn dates_are_all_of_their_days() {
        for (text, first, end) in [
            ("2025-08-20", "2025-08-20", "2025-08-21"),
            ("20250820", "2025-08-20", "2025-08-21"),
            ("2024-02-29", "2024-02-29", "2024-03-01"),
            ("2025-08", "2025-08-01", "2025-09-01"),
            ("2025-12", "2025-12-01", "2026-01-01"),
            ("2025", "2025-01-01", "2026-01-01"),
            ("+2025", "2025-01-01", "2026-01-01"),
            ("2025-232", "2025-08-20", "2025-08-21"),
            ("2025232", "2025-08-20", "2025-08-21"),
            ("2025-W34", "2025-08-18", "2025-08-25"),
            ("2025-W34-3", "2025-08-20", "2025-08-21"),
            ("2025W343", "2025-08-20", "2025-08-21"),
            ("2025-W01", "2024-12-30", "2025-01-06"),
            ("9999-12-30", "9999-12-30", "9999-12-31"),
        ] {
            let midnight = |day: &str| format!("{day}T00:00:00.000Z");
            is(text, &midnight(first), &midnight(end));
        }
    }

    #[test]
    fn dates_with_a_time_are_moments_in_utc_unless_they_have_an_offset() {
        for (text, moment) in [
            ("2025-08-26T09:00Z", "2025-08-26T09:00:00.000Z"),
            // A browser's datetime-local.
            ("2025-08-26T09:00", "2025-08-26T09:00:00.000Z"),
            ("2025-08-26T09:00:00", "2025-08-26T09:00:00.000Z"),
            ("2025-08-26T09:00:00.5", "2025-08-26T09:00:00.500Z"),
            ("2025-08-26 09:00:00,25Z", "2025-08-26T09:00:00.250Z"),
            ("2025-08-26t09:00:00.123456789z", "2025-08-26T09:00:00.123Z"),
            ("20250826T090000Z", "2025-08-26T09:00:00.000Z"),
            ("2025-08-26T09", "2025-08-26T09:00:00.000Z"),
            ("2025-08-26T0930", "2025-08-26T09:30:00.000Z"),
            ("2025-08-26T09.5", "2025-08-26T09:30:00.000Z"),
            ("2025-08-26T24:00", "2025-08-27T00:00:00.000Z"),
            ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000Z"),
            ("2025-08T09:00", "2025-08-01T09:00:00.000Z"),
            ("2025-W35-2T09:00", "2025-08-26T09:00:00.000Z"),
            ("2025-08-26T09:00+02:00", "2025-08-26T07:00:00.000Z"),
            ("2025-08-26T09:00:00.000+0200", "2025-08-26T07:00:00.000Z"),
            ("2025-08-26T09:00-02", "2025-08-26T11:00:00.000Z"),
            ("2025-08-26T01:00:00+05:45", "2025-08-25T19:15:00.000Z"),
            // Pluses that were not encoded.
            ("2025-08-26T09:00:00 02:00", "2025-08-26T07:00:00.000Z"),
            ("2025-08-26 09:00 02:00", "2025-08-26T07:00:00.000Z"),
        ] {
            let first = moment.parse::<Timestamp>().unwrap();
            let end = Timestamp::from_millis(first.millis() + 1).unwrap();
            is(text, moment, &end.to_string());
        }
    }

    #[test]
    fn anything_else_is_no_period() {
        for text in [
            "",
            "yesterday",
            "1",
            "202",
            "20250",
            "202508",
            "2025-8-2",
            "2025-0820",
            "2025-08-2",
            "2025-02-30",
            "2025-13",
            "2025-13-01",
            "2025-000",
            "2025-366",
            "2025-W54",
            "2025-W34-8",
            "2025-W34-",
            "-2025",
            "2025-08-20T",
            "2025-08-20Z",
            "2025-08-20 ",
            "2025-08-20T25:00",
            "2025-08-20T24:01",
            "2025-08-20T09:60",
            "2025-08-20T9:00",
            "2025-08-20T09:00:61",
            "2025-08-20T090",
            "2025-08-20T09:00:00:00",
            "2025-08-20T09:00.",
            "2025-08-20T09:00+2",
            "2025-08-20T09:00+24:00",
            "2025-08-20T09:00+02:60",
            "2025-08-20T09:00Z+02:00",
            "2025-08-20T09:00 ",
            "2025-08-20T09:00[Z]",
            "２０２５-08-20",
            "2025-08-2０",
            "0000-01-01T00:00+01:00",
            "9999-12-31T23:59-01:00",
            "1756198800000",
            "2025-08-20T09:00:00.+5",
            "2025-08-20T+9:00",
        ] {
            assert_eq!(period(text), None, "{text}");
        }
    }

    /// Texts that are almost one.
    #[test]
    fn whatever_is_cut_or_changed_does_no_harm() {
        let text = "2025-W34-3T09:00:00.123+02:00é";
        for (start, _) in text.char_indices() {
            for (end, _) in text.char_indices().filter(|(end, _)| *end >= start) {
                period(&text[start..end]);
                period(&format!("{}é{}", &text[..start], &text[end..]));
            }
        }
    }
}
