//! Instants as RFC 3339 text, in both directions.

const MILLISECONDS_A_DAY: i64 = 86_400_000;
/// The first millisecond of the year 10000.
const YEAR_10000: i64 = 253_402_300_800_000;

/// Whether relaxed Extended JSON writes this instant as text: the years 1970 to 9999.
pub(super) fn is_readable(milliseconds: i64) -> bool {
    (0..YEAR_10000).contains(&milliseconds)
}

/// Appends the instant in quotes: `"2025-01-02T03:04:05Z"`, with `.678` only if there are milliseconds.
pub(super) fn write_instant(milliseconds: i64, json: &mut Vec<u8>) {
    let (days, in_day) =
        (milliseconds.div_euclid(MILLISECONDS_A_DAY), milliseconds.rem_euclid(MILLISECONDS_A_DAY));
    let (year, month, day) = date_of(days);
    let seconds = in_day / 1000;
    json.push(b'"');
    digits(year, 4, json);
    json.push(b'-');
    digits(month, 2, json);
    json.push(b'-');
    digits(day, 2, json);
    json.push(b'T');
    digits(seconds / 3600, 2, json);
    json.push(b':');
    digits(seconds / 60 % 60, 2, json);
    json.push(b':');
    digits(seconds % 60, 2, json);
    if in_day % 1000 != 0 {
        json.push(b'.');
        digits(in_day % 1000, 3, json);
    }
    json.extend_from_slice(b"Z\"");
}

fn digits(number: i64, count: u32, json: &mut Vec<u8>) {
    for place in (0..count).rev() {
        json.push(b'0' + (number / 10_i64.pow(place) % 10) as u8);
    }
}

/// Year, month and day of a number of days since 1970, in the Gregorian calendar. Years are counted from March, so that
/// the leap day is the last of its year.
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Reads an RFC 3339 instant, or a bare date as its midnight in UTC. More than three digits of a second are cut.
pub(crate) fn parse_instant(text: &str) -> Option<i64> {
    let mut reader = Reader(text.as_bytes());
    let year = reader.number(4)?;
    reader.skip(b'-')?;
    let month = reader.number(2).filter(|month| (1..=12).contains(month))?;
    reader.skip(b'-')?;
    let day = reader.number(2).filter(|day| *day >= 1)?;
    let days = days_of(year, month, day);
    if date_of(days) != (year, month, day) {
        return None;
    }
    let midnight = days * MILLISECONDS_A_DAY;
    if reader.0.is_empty() {
        return Some(midnight);
    }
    reader.skip(b'T').or_else(|| reader.skip(b't')).or_else(|| reader.skip(b' '))?;
    let hour = reader.number(2).filter(|hour| *hour < 24)?;
    reader.skip(b':')?;
    let minute = reader.number(2).filter(|minute| *minute < 60)?;
    reader.skip(b':')?;
    let second = reader.number(2).filter(|second| *second < 60)?;
    let millisecond = reader.fraction()?;
    let offset_minutes = reader.offset()?;
    let seconds = hour * 3600 + (minute - offset_minutes) * 60 + second;
    reader.0.is_empty().then_some(midnight + seconds * 1000 + millisecond)
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn skip(&mut self, byte: u8) -> Option<()> {
        let (first, rest) = self.0.split_first()?;
        (*first == byte).then(|| self.0 = rest)
    }

    fn number(&mut self, count: usize) -> Option<i64> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        digits.iter().try_fold(0, |number, digit| {
            digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0'))
        })
    }

    fn fraction(&mut self) -> Option<i64> {
        if self.skip(b'.').is_none() {
            return Some(0);
        }
        let count = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let digits = (0..3).map(|place| if place < count { i64::from(self.0[place] - b'0') } else { 0 });
        let milliseconds = digits.fold(0, |number, digit| number * 10 + digit);
        self.0 = &self.0[count..];
        (count > 0).then_some(milliseconds)
    }

    /// Minutes east of UTC.
    fn offset(&mut self) -> Option<i64> {
        if self.skip(b'Z').is_some() || self.skip(b'z').is_some() {
            return Some(0);
        }
        let sign = if self.skip(b'+').is_some() { 1 } else { self.skip(b'-').map(|()| -1)? };
        let hours = self.number(2).filter(|hours| *hours < 24)?;
        self.skip(b':')?;
        let minutes = self.number(2).filter(|minutes| *minutes < 60)?;
        Some(sign * (hours * 60 + minutes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_offset_is_taken_into_account() {
        assert_eq!(parse_instant("1970-01-01T01:00:00+01:00"), Some(0));
        assert_eq!(parse_instant("1969-12-31T23:30:00.5-00:30"), Some(500));
        assert_eq!(parse_instant("2024-02-29"), Some(1_709_164_800_000));
    }

    #[test]
    fn what_is_no_instant_is_refused() {
        for text in [
            "",
            "2023-02-29",
            "2023-13-01",
            "2023-01-00",
            "2023-1-1",
            "2023-01-01T",
            "2023-01-01T00:00:00",
            "2023-01-01T24:00:00Z",
            "2023-01-01T00:00:00.Z",
            "2023-01-01T00:00:00Zx",
            "2023-01-01T00:00:00+1:00",
        ] {
            assert_eq!(parse_instant(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn instants_agree_with_the_driver(milliseconds in 0..YEAR_10000) {
            let mut json = Vec::new();
            write_instant(milliseconds, &mut json);
            let text: String = serde_json::from_slice(&json).unwrap();
            prop_assert_eq!(parse_instant(&text), Some(milliseconds));
            prop_assert_eq!(bson::DateTime::parse_rfc3339_str(&text).unwrap().timestamp_millis(), milliseconds);
        }
    }
}
