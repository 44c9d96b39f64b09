//! How a key is written: `eng_<environment>_<id><…>`, with a checksum, so that a wrong one is known without looking it up
//! and leaked ones are found by those who scan for secrets.
//!
//! `eng_live_4Xk0Zq81LmNb_` + 43 characters of secret + 6 of CRC-32 (IEEE 802.3) over everything in front of it.

use super::{Environment, KeyId, base62};

/// What every key begins with.
const PREFIX: &str = "eng";

/// 256 bits in base 62.
const SECRET: usize = 43;

/// 32 bits in base 62.
const CHECKSUM: usize = 6;

/// The parts of a key's text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyText<'a> {
    /// Where it is meant to be used.
    pub environment: Environment,
    /// Its public name.
    pub id: KeyId,
    /// What only its holder has.
    pub secret: &'a str,
}

impl<'a> KeyText<'a> {
    /// Takes a text apart; `None` for everything that no key is written like, or whose checksum is wrong.
    pub fn parse(text: &'a str) -> Option<Self> {
        let body = text.get(..text.len().checked_sub(CHECKSUM)?)?;
        let checksum = text.get(body.len()..)?;
        let mut parts = body.split('_');
        if parts.next()? != PREFIX {
            return None;
        }
        let environment = Environment::parse(parts.next()?)?;
        let id = KeyId::parse(parts.next()?)?;
        let secret = parts.next()?;
        let fits = secret.len() == SECRET && secret.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let is_whole = parts.next().is_none() && base62::decode(checksum) == Some(crc(body));
        (fits && is_whole).then_some(Self {
            environment,
            id,
            secret,
        })
    }

    /// Puts the parts together.
    pub fn compose(&self) -> String {
        let Self {
            environment,
            id,
            secret,
        } = self;
        let body = format!("{PREFIX}_{}_{id}_{secret}", environment.as_str());
        let checksum = checksum_of(&body);
        body + &checksum
    }

    /// A secret, made of 43 bytes of chance, each below 248, so that none of the 62 digits is likelier than another.
    pub fn secret_of(chance: impl IntoIterator<Item = u8>) -> String {
        let fair = chance.into_iter().filter(|byte| *byte < 248);
        fair.take(SECRET)
            .map(|byte| base62::digit(u128::from(byte)))
            .collect()
    }
}

fn checksum_of(body: &str) -> String {
    base62::encode(crc(body), CHECKSUM)
}

fn crc(body: &str) -> u128 {
    crc32fast::hash(body.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET_TEXT: &str = "0123456789abcdefghijABCDEFGHIJ0123456789abc";

    fn text() -> String {
        let id = KeyId::from_number(1_234_567_890_123);
        let environment = Environment::Live;
        let secret = SECRET_TEXT;
        KeyText {
            environment,
            id,
            secret,
        }
        .compose()
    }

    #[test]
    fn a_key_is_read_as_it_was_written() {
        let text = text();
        assert_eq!(
            text,
            "eng_live_00000LjaL3EZ_0123456789abcdefghijABCDEFGHIJ0123456789abc2FNvZC"
        );
        let parsed = KeyText::parse(&text).unwrap();
        assert_eq!(parsed.environment, Environment::Live);
        assert_eq!(parsed.id, KeyId::from_number(1_234_567_890_123));
        assert_eq!(parsed.secret, SECRET_TEXT);
        assert_eq!(parsed.compose(), text);
    }

    #[test]
    fn one_wrong_character_anywhere_is_noticed() {
        let text = text();
        for at in 0..text.len() {
            for other in ['0', 'z', '_', ' ', 'é'] {
                let mut wrong: Vec<char> = text.chars().collect();
                if wrong[at] == other {
                    continue;
                }
                wrong[at] = other;
                let wrong: String = wrong.into_iter().collect();
                assert!(KeyText::parse(&wrong).is_none(), "{wrong}");
            }
        }
        for wrong in [
            "",
            "eng",
            "eng_live",
            &text[1..],
            &text[..70],
            &format!("{text}0"),
        ] {
            assert!(KeyText::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn secrets_take_only_fair_chance() {
        let secret = KeyText::secret_of((0..=255).rev());
        assert_eq!(secret.len(), 43);
        // 255 down to 248 are left out.
        assert!(secret.starts_with("zyx"), "{secret}");
    }
}
