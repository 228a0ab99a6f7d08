use std::str::FromStr;

/// A share of 0 to 1, written `5%` or `0.05`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Share(pub(crate) f64);

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (number, divisor) = match text.trim().strip_suffix('%') {
            Some(percent) => (percent.trim(), 100.0),
            None => (text.trim(), 1.0),
        };
        let share = number.parse::<f64>().map(|number| number / divisor);
        share
            .ok()
            .filter(|share| (0.0..=1.0).contains(share))
            .map(Self)
            .ok_or_else(|| format!("`{text}` is no share; write it as 5% or 0.05"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_percent_or_parts_of_one() {
        for (text, expected) in [("5%", 0.05), (" 100 % ", 1.0), ("0.25", 0.25), ("0", 0.0)] {
            assert_eq!(text.parse(), Ok(Share(expected)), "{text}");
        }
        for text in ["", "%", "5", "-1%", "101%", "nan", "half"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
    }
}
