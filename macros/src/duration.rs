//! A duration as people write it.

use std::str::FromStr;

/// Kept in the unit of the constructor that a person would call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Duration {
    Millis(u64),
    Secs(u64),
}

impl FromStr for Duration {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORMAT: &str =
            "a duration is a whole number and its unit, as in \"250ms\", \"2s\", \"1m\" or \"1h\"";

        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        if number.is_empty() {
            return Err(FORMAT);
        }
        let unit = match unit {
            "ms" => None,
            "s" => Some(1),
            "m" => Some(60),
            "h" => Some(60 * 60),
            _ => return Err(FORMAT),
        };
        let number = number.parse::<u64>().ok();
        let duration = number.and_then(|number| match unit {
            None => Some(Self::Millis(number)),
            Some(secs) => number.checked_mul(secs).map(Self::Secs),
        });
        duration.ok_or("this is longer than the longest `Duration`")
    }
}

#[cfg(test)]
mod tests {
    use super::Duration::{self, Millis, Secs};

    #[test]
    fn a_number_and_its_unit() {
        for (text, duration) in [
            ("250ms", Millis(250)),
            ("2s", Secs(2)),
            ("1m", Secs(60)),
            ("3h", Secs(10_800)),
            ("0002s", Secs(2)),
            ("0ms", Millis(0)),
            ("18446744073709551615s", Secs(u64::MAX)),
        ] {
            assert_eq!(text.parse(), Ok(duration), "{text}");
        }
    }

    #[test]
    fn anything_else_is_told_why() {
        for (text, why) in [
            ("", "whole number"),
            ("s", "whole number"),
            ("2", "whole number"),
            ("1.5s", "whole number"),
            ("-1s", "whole number"),
            ("2 s", "whole number"),
            ("2S", "whole number"),
            ("2d", "whole number"),
            ("2s ", "whole number"),
            ("18446744073709551616s", "longer"),
            ("18446744073709551615m", "longer"),
        ] {
            let mistake = text.parse::<Duration>().unwrap_err();
            assert!(mistake.contains(why), "{text}: {mistake}");
        }
    }
}
