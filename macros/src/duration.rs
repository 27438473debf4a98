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
        const HOW: &str =
            "a timeout is a whole number and its unit: \"250ms\", \"2s\", \"1m\" or \"1h\"";

        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        if number.is_empty() {
            return Err(HOW);
        }
        let duration = number.parse().ok().and_then(|number: u64| match unit {
            "ms" => Some(Ok(Self::Millis(number))),
            "s" => Some(Ok(Self::Secs(number))),
            "m" => number.checked_mul(60).map(Self::Secs).map(Ok),
            "h" => number.checked_mul(60 * 60).map(Self::Secs).map(Ok),
            _ => Some(Err(HOW)),
        });
        match duration {
            None => Err(
                "this is longer than a duration can be: write `timeout = None` to wait without end",
            ),
            Some(Ok(Self::Millis(0) | Self::Secs(0))) => {
                Err("a timeout of zero does not wait at all: write `no_wait` instead")
            }
            Some(duration) => duration,
        }
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
            ("0ms", "no_wait"),
            ("0h", "no_wait"),
            ("18446744073709551616s", "longer"),
            ("18446744073709551615m", "longer"),
        ] {
            let mistake = text.parse::<Duration>().unwrap_err();
            assert!(mistake.contains(why), "{text}: {mistake}");
        }
    }
}
