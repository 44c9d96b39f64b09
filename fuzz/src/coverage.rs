//! Which edges of the code an input takes, as counters that the compiler puts there (`.cargo/config.toml`).
//!
//! LLVM's counters need no nightly compiler, and nothing in C or C++: one function that tells where they are.
//! <https://clang.llvm.org/docs/SanitizerCoverage.html#inline-8bit-counters>

#![expect(
    unsafe_code,
    reason = "the compiler's counters are known by their address, and by a function with a name of its choice"
)]

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

/// The counters, eight to a word.
static COUNTERS: OnceLock<&'static [AtomicU64]> = OnceLock::new();

/// Called before `main`, once for each unit of compilation, always with the counters of the whole program.
// SAFETY: nothing else has this name, and LLVM calls it with two pointers.
#[unsafe(no_mangle)]
extern "C" fn __sanitizer_cov_8bit_counters_init(start: *mut AtomicU64, stop: *mut u8) {
    const WORD: usize = size_of::<AtomicU64>();
    // Up to seven counters at each end are let go, so that the rest are whole words.
    let skipped = start.align_offset(WORD);
    let length = stop.addr().saturating_sub(start.addr() + skipped) / WORD;
    COUNTERS.get_or_init(|| {
        // SAFETY: the words lie between the two, aligned, for as long as the program runs. Instrumented code adds to them
        // without synchronisation while they are read here; the worst of that is a count that is lost.
        unsafe { std::slice::from_raw_parts(start.byte_add(skipped), length) }
    });
}

/// What was seen in all runs so far.
#[derive(Default)]
pub struct Map {
    /// For each edge, one bit for each order of magnitude in which it was taken.
    seen: Vec<u64>,
    edges: usize,
}

impl Map {
    /// How many edges there are to be taken; 0 in a program that was compiled without counters.
    pub fn possible() -> usize {
        size_of_val(counters())
    }

    /// How many were taken.
    pub fn edges(&self) -> usize {
        self.edges
    }

    /// Takes in what was counted since the last look, and sets the counters to zero; whether any of it is new.
    pub fn take(&mut self) -> bool {
        self.seen.resize(counters().len(), 0);
        let mut is_new = false;
        for_each_counted(|index, counted| {
            let Some(seen) = self.seen.get_mut(index) else {
                return;
            };
            let before = seen.to_ne_bytes();
            let mut after = before;
            for (bits, count) in after.iter_mut().zip(counted.to_ne_bytes()) {
                self.edges += usize::from(*bits == 0 && count > 0);
                *bits |= magnitude(count);
            }
            is_new |= before != after;
            *seen = u64::from_ne_bytes(after);
        });
        is_new
    }
}

/// Sets the counters to zero.
pub fn forget() {
    for_each_counted(|_, _| {});
}

fn counters() -> &'static [AtomicU64] {
    COUNTERS.get().copied().unwrap_or_default()
}

/// Takes all that is not zero, and leaves zero. This is most of what a trial costs, and has counters itself, so it goes over
/// them in large steps.
fn for_each_counted(mut take: impl FnMut(usize, u64)) {
    const STEP: usize = 16;
    for (step, words) in counters().chunks(STEP).enumerate() {
        if words
            .iter()
            .fold(0, |any, word| any | word.load(Ordering::Relaxed))
            == 0
        {
            continue;
        }
        for (index, word) in words.iter().enumerate() {
            let counted = word.load(Ordering::Relaxed);
            if counted != 0 {
                word.store(0, Ordering::Relaxed);
                take(step * STEP + index, counted);
            }
        }
    }
}

/// One bit for a number of times: whether a loop runs 40 or 41 times is no news.
fn magnitude(count: u8) -> u8 {
    match count {
        0 => 0,
        1 => 1,
        2 => 1 << 1,
        3 => 1 << 2,
        4..=7 => 1 << 3,
        8..=15 => 1 << 4,
        16..=31 => 1 << 5,
        32..=127 => 1 << 6,
        128.. => 1 << 7,
    }
}
