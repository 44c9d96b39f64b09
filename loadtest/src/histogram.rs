//! A latency histogram with logarithmic buckets: constant size, 1.6 % precision, no allocation while recording.

use std::time::Duration;

/// Each power of two is split into this many buckets.
const SUB: u64 = 64;
const SUB_BITS: u32 = SUB.trailing_zeros();
/// Values up to 2^37 ns (137 s); what is longer is counted in the last bucket.
const MAX_BITS: u32 = 37;
const BUCKETS: usize = ((MAX_BITS - SUB_BITS) as usize + 1) * SUB as usize;

/// Counts of durations.
#[derive(Clone)]
pub struct Histogram {
    counts: Vec<u32>,
    total: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            total: 0,
            max: 0,
        }
    }
}

fn bucket(nanos: u64) -> usize {
    if nanos < SUB {
        return nanos as usize;
    }
    let exponent = nanos.ilog2().min(MAX_BITS - 1);
    let shift = exponent - SUB_BITS;
    let within = (nanos >> shift).min(2 * SUB - 1) - SUB;
    (u64::from(shift + 1) * SUB + within) as usize
}

/// The middle of a bucket.
fn value(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < SUB {
        return bucket;
    }
    let shift = bucket / SUB - 1;
    let low = (SUB + bucket % SUB) << shift;
    low + ((1 << shift) >> 1)
}

impl Histogram {
    /// Adds one duration.
    pub fn record(&mut self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(bucket(nanos)) {
            *count += 1;
        }
        self.total += 1;
        self.max = self.max.max(nanos);
    }

    /// Adds everything that another histogram counted.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    /// How many durations were recorded.
    pub fn len(&self) -> u64 {
        self.total
    }

    /// The duration that the share `quantile` (0 to 1) of all stays at or below.
    pub fn quantile(&self, quantile: f64) -> Duration {
        let rank = ((self.total as f64 * quantile).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= rank {
                return Duration::from_nanos(value(index).min(self.max));
            }
        }
        Duration::from_nanos(self.max)
    }

    /// Half of all stay at or below this.
    pub fn median(&self) -> Duration {
        self.quantile(0.5)
    }

    /// 99 % of all stay at or below this.
    pub fn p99(&self) -> Duration {
        self.quantile(0.99)
    }

    /// The longest, exactly.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lands_within_two_percent_of_itself() {
        for exponent in 0..MAX_BITS {
            for step in 0..7_u64 {
                let nanos = (1_u64 << exponent) + step * ((1_u64 << exponent) / 7);
                let back = value(bucket(nanos));
                assert!(
                    back.abs_diff(nanos) * 50 <= nanos,
                    "{nanos} came back as {back}"
                );
            }
        }
    }

    #[test]
    fn absurdly_long_values_stay_in_the_last_bucket() {
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
        let mut histogram = Histogram::default();
        histogram.record(Duration::MAX);
        assert_eq!(histogram.len(), 1);
    }

    #[test]
    fn quantiles_of_a_known_series() {
        let mut histogram = Histogram::default();
        for micros in 1..=1000 {
            histogram.record(Duration::from_micros(micros));
        }
        let near = |got: Duration, want: u128| got.as_micros().abs_diff(want) * 50 <= want;
        assert!(near(histogram.median(), 500));
        assert!(near(histogram.p99(), 990));
        assert_eq!(histogram.max(), Duration::from_millis(1));
        let mut twice = histogram.clone();
        twice.merge(&histogram);
        assert_eq!(twice.len(), 2000);
        assert!(near(twice.median(), 500));
    }
}
