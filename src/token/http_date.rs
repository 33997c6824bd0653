//! Dates in HTTP headers.

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Seconds since the Unix epoch from an IMF-fixdate (RFC 9110 section 5.6.7), the one form that servers may send.
pub fn parse(text: &str) -> Option<i64> {
    let parts: Vec<&str> = text.trim().split([' ', ':']).collect();
    let [_weekday, day, month, year, hour, minute, second, "GMT"] = parts[..] else {
        return None;
    };
    let month = MONTHS.iter().position(|name| *name == month)?;
    let days = days_since_epoch(number(year, 9999)?, i64::try_from(month).ok()? + 1, number(day, 31)?);
    Some(days * 86_400 + number(hour, 23)? * 3600 + number(minute, 59)? * 60 + number(second, 60)?)
}

fn number(digits: &str, largest: i64) -> Option<i64> {
    digits.parse().ok().filter(|number| (0..=largest).contains(number))
}

/// Days from civil: the inverse of the calendar in `log`, years starting in March.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_back_as_the_log_writes_them() {
        for unix in [0, 784_111_777, 951_782_400, 1_700_000_000, 4_102_444_799] {
            let text = crate::log::rfc3339(unix);
            let month = MONTHS[text[5..7].parse::<usize>().unwrap() - 1];
            let date = format!("Sun, {} {month} {} {} GMT", &text[8..10], &text[..4], &text[11..19]);
            assert_eq!(parse(&date), i64::try_from(unix).ok(), "{date}");
        }
    }

    #[test]
    fn nothing_else_is_a_date() {
        let rows = [
            "",
            "60",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 Nov 1994 25:49:37 GMT",
            "Sun, 06 Foo 1994 08:49:37 GMT",
            "Sun, -6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 99999999999999999999 08:49:37 GMT",
        ];
        for text in rows {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
