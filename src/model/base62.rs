//! Numbers in letters and digits: what people can select with a double click.

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The digit with this value; of larger ones, that of the remainder.
pub(super) fn digit(value: u128) -> char {
    let at = usize::try_from(value % 62).unwrap_or_default();
    DIGITS.get(at).map_or('0', |digit| char::from(*digit))
}

/// A number in so many digits, zeros in front; higher ones are left out.
pub(super) fn encode(mut number: u128, digits: usize) -> String {
    let mut reversed = Vec::with_capacity(digits);
    for _ in 0..digits {
        reversed.push(digit(number));
        number /= 62;
    }
    reversed.into_iter().rev().collect()
}

/// The number that these digits are; `None` if one is none, or there are more than fit.
pub(super) fn decode(digits: &str) -> Option<u128> {
    digits.bytes().try_fold(0_u128, |number, byte| {
        let value = match byte {
            b'0'..=b'9' => byte - b'0',
            b'A'..=b'Z' => byte - b'A' + 10,
            b'a'..=b'z' => byte - b'a' + 36,
            _ => return None,
        };
        number.checked_mul(62)?.checked_add(u128::from(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_read_as_they_were_written() {
        assert_eq!(encode(0, 3), "000");
        assert_eq!(encode(61, 3), "00z");
        assert_eq!(encode(62, 3), "010");
        for number in [0, 1, 61, 62, 12_345, u128::from(u64::MAX)] {
            assert_eq!(decode(&encode(number, 12)), Some(number));
        }
        assert_eq!(decode("0-0"), None);
        assert_eq!(decode(&"z".repeat(30)), None);
    }
}
