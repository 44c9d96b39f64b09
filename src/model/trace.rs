use std::fmt;

/// A span of a trace, as others name their parent: the header `traceparent` of W3C Trace Context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    trace: [u8; 16],
    span: [u8; 8],
    is_sampled: bool,
}

impl TraceParent {
    /// The length of version 00; later ones may go on behind it.
    const LENGTH: usize = 55;

    /// A span of a trace, and whether it is recorded. `None` when one of them is all zeros, which means that there is none.
    pub fn new(trace: [u8; 16], span: [u8; 8], is_sampled: bool) -> Option<Self> {
        if trace == [0; 16] || span == [0; 8] {
            return None;
        }
        Some(Self {
            trace,
            span,
            is_sampled,
        })
    }

    /// Reads the header. Of a version that is not known yet, what all of them have is taken; `None` when it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (known, more) = text.split_at_checked(Self::LENGTH)?;
        let mut parts = known.split('-');
        let [version] = bytes(parts.next()?)?;
        let (trace, span) = (bytes(parts.next()?)?, bytes(parts.next()?)?);
        let [flags] = bytes(parts.next()?)?;
        let is_whole = match version {
            0 => more.is_empty(),
            0xff => false,
            _ => more.is_empty() || more.starts_with('-'),
        };
        if !is_whole || parts.next().is_some() {
            return None;
        }
        Self::new(trace, span, flags & 1 == 1)
    }

    /// The trace.
    pub const fn trace(&self) -> [u8; 16] {
        self.trace
    }

    /// The span.
    pub const fn span(&self) -> [u8; 8] {
        self.span
    }

    /// Whether it is recorded, so that its children are to be.
    pub const fn is_sampled(&self) -> bool {
        self.is_sampled
    }
}

/// So many bytes, in hexadecimal digits of which none is a capital.
fn bytes<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let digits = digits.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        for digit in pair {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return None,
            };
            *byte = *byte << 4 | value;
        }
    }
    Some(bytes)
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace, span) = (u128::from_be_bytes(self.trace), u64::from_be_bytes(self.span));
        write!(f, "00-{trace:032x}-{span:016x}-{:02x}", u8::from(self.is_sampled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_is_written_is_what_was_read() {
        let parent = TraceParent::parse(GOOD).unwrap();
        assert!(parent.is_sampled());
        assert_eq!(parent.to_string(), GOOD);
    }

    #[test]
    fn only_the_flag_that_says_sampled_counts() {
        let read = |flags: &str| TraceParent::parse(&format!("{}{flags}", &GOOD[..53])).unwrap();
        assert!(!read("00").is_sampled());
        assert!(!read("02").is_sampled());
        assert!(read("ff").is_sampled());
        assert_eq!(read("ff").to_string(), GOOD);
    }

    #[test]
    fn later_versions_may_say_more() {
        let later = GOOD.replacen("00", "01", 1);
        assert!(TraceParent::parse(&later).is_some());
        assert!(TraceParent::parse(&format!("{later}-what-follows")).is_some());
        assert!(TraceParent::parse(&format!("{later}what-follows")).is_none());
    }

    #[test]
    fn everything_else_is_none() {
        let wrong = [
            "",
            "00",
            "00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0g",
            "00-0af7651916cd43dd8448eb211c80319cb-7ad6b7169203331-01",
            "00_0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331_01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333é-1",
        ];
        for text in wrong {
            assert_eq!(TraceParent::parse(text), None, "{text}");
        }
    }
}
