//! Chance with a seed, and what it does to an input.

/// Numbers that look like chance, the same for the same seed (`SplitMix64`).
pub struct Chance(u64);

impl Chance {
    /// From this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of 0 to `end`, which itself is not meant; 0 if there is none.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % (end.max(1) as u64)).unwrap_or(0)
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        all.get(self.below(all.len()))
    }
}

/// No input is longer than this.
pub const LONGEST: usize = 16 * 1024;

/// Bytes that end or begin something in one of the languages here.
const SPECIAL: &[u8] = b"\0\r\n\t \"'\\{}[]:;,=&?%/#+-.0129aZ_\x1f\x7f\x80\xc0\xed\xff";

/// Numbers at which something overflows.
const NUMBERS: &[&str] = &[
    "0",
    "-1",
    "1",
    "01",
    "255",
    "65536",
    "2147483648",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e999",
    "1.5",
];

/// Changes an input in some places. `other` is another input, parts of which may come in; `words` are the target's own.
pub fn mutate(chance: &mut Chance, input: &mut Vec<u8>, other: &[u8], words: &[&str]) {
    let times = 1 << chance.below(5);
    for _ in 0..times {
        let at = chance.below(input.len() + 1);
        let magnitude = chance.below(8);
        let length = chance.below(1 << magnitude);
        let end = (at + length).min(input.len());
        match chance.below(12) {
            0 => flip(chance, input),
            1 => input.insert(at, byte(chance)),
            2 => set(chance, input),
            3 => drop(input.drain(at..end)),
            4 => {
                let part = input[at..end].to_vec();
                insert(chance, input, &part);
            }
            5 => {
                let part = input[at..end].to_vec();
                for _ in 0..chance.below(64) {
                    insert_at(input, at, &part);
                }
            }
            6 => input.truncate(at),
            7 | 8 => {
                let word = chance.pick(words).copied().unwrap_or_default();
                insert(chance, input, word.as_bytes());
            }
            9 => {
                let number = chance.pick(NUMBERS).copied().unwrap_or_default();
                replace_number(chance, input, number.as_bytes());
            }
            10 => {
                let from = chance.below(other.len());
                let to = (from + chance.below(128)).min(other.len());
                insert_at(input, at, &other[from..to]);
            }
            // The beginning of one and the end of the other.
            _ => {
                input.truncate(at);
                input.extend_from_slice(&other[chance.below(other.len())..]);
            }
        }
        input.truncate(LONGEST);
    }
}

fn byte(chance: &mut Chance) -> u8 {
    if chance.below(2) == 0 {
        chance.pick(SPECIAL).copied().unwrap_or_default()
    } else {
        u8::try_from(chance.below(256)).unwrap_or_default()
    }
}

fn flip(chance: &mut Chance, input: &mut [u8]) {
    let (at, bit) = (chance.below(input.len()), chance.below(8));
    if let Some(byte) = input.get_mut(at) {
        *byte ^= 1 << bit;
    }
}

fn set(chance: &mut Chance, input: &mut [u8]) {
    let (at, new) = (chance.below(input.len()), byte(chance));
    if let Some(byte) = input.get_mut(at) {
        *byte = new;
    }
}

fn insert(chance: &mut Chance, input: &mut Vec<u8>, part: &[u8]) {
    let at = chance.below(input.len() + 1);
    insert_at(input, at, part);
}

fn insert_at(input: &mut Vec<u8>, at: usize, part: &[u8]) {
    if input.len() + part.len() <= LONGEST {
        input.splice(at..at, part.iter().copied());
    }
}

/// Puts a number where one is, if there is one.
fn replace_number(chance: &mut Chance, input: &mut Vec<u8>, number: &[u8]) {
    let start = chance.below(input.len());
    let Some(from) = input[start..].iter().position(u8::is_ascii_digit) else {
        return insert(chance, input, number);
    };
    let from = start + from;
    let length = input[from..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    input.splice(from..from + length, number.iter().copied());
}
