//! The pieces of ISO 8601 that Java prints: years of any length and sign, fractions of any length, offsets.

/// Days from 0000-03-01 to 1970-01-01.
const EPOCH_FROM_MARCH_0: i64 = 719_468;
const DAYS_PER_ERA: i64 = 146_097;
const YEARS_PER_ERA: i64 = 400;

/// A time of day: whole seconds, and nanoseconds of the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    pub seconds: i64,
    pub nanos: i64,
}

/// What is left to read. Every reader takes what it knows or answers `None`.
#[derive(Debug, Clone, Copy)]
pub struct Rest<'a>(pub &'a [u8]);

impl<'a> Rest<'a> {
    pub fn of(text: &'a str) -> Rest<'a> {
        Rest(text.as_bytes())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes one of these bytes, if it is next.
    pub fn take(&mut self, any: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        any.contains(first).then(|| {
            self.0 = rest;
            *first
        })
    }

    /// Takes from `min` to `max` digits, at most 18 of which make a number.
    pub fn digits(&mut self, min: usize, max: usize) -> Option<i64> {
        let length = self.0.iter().take(max).take_while(|byte| byte.is_ascii_digit()).count();
        if length < min {
            return None;
        }
        let (digits, rest) = self.0.split_at(length);
        self.0 = rest;
        digits.iter().try_fold(0i64, |number, digit| number.checked_mul(10)?.checked_add(i64::from(digit - b'0')))
    }

    fn two(&mut self) -> Option<i64> {
        self.digits(2, 2)
    }

    /// The digits behind a point, in billionths; digits behind the ninth may only be zeros.
    pub fn fraction(&mut self) -> Option<i64> {
        let length = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at(length);
        self.0 = rest;
        let (known, beyond) = digits.split_at(length.min(9));
        if known.is_empty() || beyond.iter().any(|digit| *digit != b'0') {
            return None;
        }
        let number = known.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0'));
        Some((known.len()..9).fold(number, |number, _| number * 10))
    }

    /// `2017-09-15`, `+21016-01-01` or `-0043-03-15` (astronomical: year 0 is 1 BC), as days since 1970-01-01.
    pub fn date(&mut self) -> Option<i64> {
        let sign = self.take(b"+-");
        let year = self.digits(4, 9)?;
        let year = if sign == Some(b'-') { -year } else { year };
        self.take(b"-")?;
        let month = self.two()?;
        self.take(b"-")?;
        let day = self.two()?;
        ((1..=12).contains(&month) && (1..=days_of(year, month)).contains(&day)).then(|| days(year, month, day))
    }

    /// `23:59`, `23:59:59`, `23:59:59.123456`, and 24:00.
    pub fn clock(&mut self) -> Option<Clock> {
        let hour = self.two()?;
        self.take(b":")?;
        let minute = self.two()?;
        let second = if self.take(b":").is_some() { self.two()? } else { 0 };
        let nanos = if self.take(b".").is_some() { self.fraction()? } else { 0 };
        let seconds = hour * 3600 + minute * 60 + second;
        let is_midnight = hour == 24 && seconds == 24 * 3600 && nanos == 0;
        ((hour < 24 || is_midnight) && minute < 60 && second < 60).then_some(Clock { seconds, nanos })
    }

    /// `Z`, `+02:00`, `-08`, `+05:53:28`, as seconds east of Greenwich.
    pub fn offset(&mut self) -> Option<i64> {
        if self.take(b"Zz").is_some() {
            return Some(0);
        }
        let sign = self.take(b"+-")?;
        let hour = self.two()?;
        let mut seconds = hour * 3600;
        for unit in [60, 1] {
            if self.is_empty() {
                break;
            }
            self.take(b":")?;
            let part = self.two().filter(|part| *part < 60)?;
            seconds += part * unit;
        }
        (hour <= 18).then_some(if sign == b'-' { -seconds } else { seconds })
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar, counted in eras of 400 years that begin in March.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(YEARS_PER_ERA);
    let year_of_era = year.rem_euclid(YEARS_PER_ERA);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * DAYS_PER_ERA + day_of_era - EPOCH_FROM_MARCH_0
}

fn days_of(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}
