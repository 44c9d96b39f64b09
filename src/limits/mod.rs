//! Who may how often: quotas for addresses and for the owners of keys, judged in well under a microsecond and in bounded memory.
//!
//! Nothing here knows HTTP. Who asks is told what is left ([`Standing`]) or, as an error, that nothing is. `gcra` is the
//! arithmetic, `table` what is remembered. Each node counts for itself.

mod gcra;
mod table;

use std::{
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
};

pub use gcra::{Left, Quota};

use self::table::Table;
use crate::{
    clock::Stopwatch,
    config::LimitSettings,
    model::{KeyLimits, Owner},
};

/// Addresses that are remembered, as a power of two: a million at least, two at most, in 34 MiB.
const ADDRESSES: u32 = 20;

/// Owners of keys, likewise, in a table of their own: strangers who come from many addresses make nobody forget these.
const OWNERS: u32 = 14;

/// What is counted. A subject has a quota of each of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bucket {
    /// Reads without a key, by address.
    Reads,
    /// Answers 401, by address.
    Unauthorized,
    /// Answers 404, by address.
    NotFound,
    /// Requests with a key, by owner.
    Requests,
    /// Messages created, by owner.
    Messages,
}

/// Where somebody stands with one of the quotas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Which one it is.
    pub bucket: Bucket,
    /// How much there is of it.
    pub quota: Quota,
    /// How much of that is left.
    pub left: Left,
}

/// What is left, if there is a limit at all; as an error, that nothing is.
pub type Judged = Result<Option<Standing>, Standing>;

/// The quotas and what was used of them.
pub struct Limits {
    settings: LimitSettings,
    since: Stopwatch,
    addresses: Table,
    owners: Table,
}

impl Limits {
    /// Nobody has used anything yet.
    pub fn new(settings: LimitSettings) -> Self {
        Self {
            settings,
            since: Stopwatch::start(),
            addresses: Table::remembering(ADDRESSES),
            owners: Table::remembering(OWNERS),
        }
    }

    /// Whether an address may ask for anything: not while it is being told too often that it may not, or that there is nothing.
    pub fn hear(&self, address: IpAddr) -> Result<(), Standing> {
        let now = self.now();
        for bucket in [Bucket::Unauthorized, Bucket::NotFound] {
            if let Some(quota) = self.of_address(bucket) {
                let place = self.addresses.place((bucket, network(address)));
                let left = quota.left(self.addresses.get(place), now);
                if left.units == 0 {
                    return Err(Standing { bucket, quota, left });
                }
            }
        }
        Ok(())
    }

    /// An address reads without a key.
    pub fn read(&self, address: IpAddr) -> Judged {
        let quota = self.of_address(Bucket::Reads);
        self.take(&self.addresses, Bucket::Reads, network(address), quota)
    }

    /// An address was answered 401.
    pub fn unauthorized(&self, address: IpAddr) {
        self.count(Bucket::Unauthorized, address);
    }

    /// An address was answered 404.
    pub fn not_found(&self, address: IpAddr) {
        self.count(Bucket::NotFound, address);
    }

    /// An owner asks for something, with a key that has these limits.
    pub fn request(&self, owner: Owner, limits: &KeyLimits) -> Judged {
        let quota = limits.requests_per_s.map(Quota::per_second);
        self.take(&self.owners, Bucket::Requests, owner, quota)
    }

    /// An owner creates a message, with a key that has these limits.
    pub fn message(&self, owner: Owner, limits: &KeyLimits) -> Judged {
        let quota = limits.messages_per_min.map(Quota::per_minute);
        self.take(&self.owners, Bucket::Messages, owner, quota)
    }

    /// The bytes that the tables take.
    pub fn bytes(&self) -> usize {
        self.addresses.bytes() + self.owners.bytes()
    }

    fn take(&self, table: &Table, bucket: Bucket, subject: impl Hash, quota: Option<Quota>) -> Judged {
        let Some(quota) = quota else { return Ok(None) };
        let now = self.now();
        let judged = table.change(table.place((bucket, subject)), |whole_at| {
            match quota.take(whole_at, now) {
                Ok((after, left)) => (Some(after), Ok(left)),
                Err(left) => (None, Err(left)),
            }
        });
        let standing = |left| Standing { bucket, quota, left };
        match judged {
            None => Ok(None),
            Some(Ok(left)) => Ok(Some(standing(left))),
            Some(Err(left)) => Err(standing(left)),
        }
    }

    fn count(&self, bucket: Bucket, address: IpAddr) {
        if let Some(quota) = self.of_address(bucket) {
            let (place, now) = (self.addresses.place((bucket, network(address))), self.now());
            self.addresses
                .change(place, |whole_at| (Some(quota.count(whole_at, now)), ()));
        }
    }

    fn of_address(&self, bucket: Bucket) -> Option<Quota> {
        match bucket {
            Bucket::Reads => self.settings.address_reads_per_s.map(Quota::per_second),
            Bucket::Unauthorized => self.settings.address_401s_per_min.map(Quota::per_minute),
            Bucket::NotFound => self.settings.address_404s_per_min.map(Quota::per_minute),
            Bucket::Requests | Bucket::Messages => None,
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// What counts as one address, for people.
pub fn shown(address: IpAddr) -> String {
    match network(address) {
        IpAddr::V6(network) => format!("{network}/64"),
        address @ IpAddr::V4(_) => address.to_string(),
    }
}

/// What counts as one address: who has one of version 6 has 2^64 of them.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::model::KeyId;

    fn limits() -> Limits {
        Limits::new(LimitSettings {
            address_reads_per_s: NonZeroU32::new(2),
            address_401s_per_min: NonZeroU32::new(2),
            address_404s_per_min: NonZeroU32::new(3),
            ..LimitSettings::default()
        })
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_address_has_its_own_reads() {
        let limits = limits();
        let (one, other) = (address("192.0.2.1"), address("192.0.2.2"));
        assert_eq!(limits.read(one).unwrap().unwrap().left.units, 1);
        assert!(limits.read(one).is_ok());
        let refused = limits.read(one).unwrap_err();
        assert_eq!((refused.bucket, refused.quota.limit()), (Bucket::Reads, 2));
        assert!(limits.read(other).is_ok());
    }

    #[test]
    fn an_address_that_is_told_no_too_often_is_not_heard() {
        let (limits, one) = (limits(), address("2001:db8::1"));
        limits.unauthorized(one);
        assert!(limits.hear(one).is_ok());
        limits.unauthorized(one);
        assert_eq!(limits.hear(one).unwrap_err().bucket, Bucket::Unauthorized);
        assert!(
            limits.hear(address("2001:db8::ffff")).is_err(),
            "the same network"
        );
        assert!(limits.hear(address("2001:db8:0:1::1")).is_ok(), "another");
        for _ in 0..100 {
            limits.not_found(one);
        }
        let wait = limits.hear(one).unwrap_err().left.more_in;
        assert!(
            wait.as_secs() <= 60,
            "what was answered at once is not a debt: {wait:?}"
        );
    }

    #[test]
    fn each_owner_has_what_its_key_says() {
        let limits = limits();
        let (one, other) = (Owner::of(KeyId::from_number(1)), Owner::OPERATOR);
        let of_key = KeyLimits {
            messages_per_min: NonZeroU32::new(1),
            ..KeyLimits::default()
        };
        assert_eq!(limits.request(one, &of_key), Ok(None), "no limit");
        assert!(limits.message(one, &of_key).is_ok());
        assert_eq!(limits.message(one, &of_key).unwrap_err().bucket, Bucket::Messages);
        assert!(limits.message(other, &of_key).is_ok());
    }

    #[test]
    fn a_network_of_version_6_counts_as_one_address() {
        let network = |text: &str| network(address(text)).to_string();
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), network("2001:db8:1:2::9"));
        assert_ne!(network("2001:db8:1:2::"), network("2001:db8:1:3::"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
    }
}
