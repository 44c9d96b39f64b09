//! The limiter's memory. Its control is beside the table it is about: `limits::table`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use engagement::{
    config::{Config, Settings},
    limits::Limits,
};

const MOST: usize = 64 << 20;

/// So many different addresses: of version 4, and networks of version 6.
fn addresses(count: u32) -> impl Iterator<Item = IpAddr> {
    (0..count).map(|number| {
        if number.is_multiple_of(2) {
            IpAddr::V4(Ipv4Addr::from(number))
        } else {
            IpAddr::V6(Ipv6Addr::from(u128::from(number) << 64 | 1 << 120))
        }
    })
}

/// Promise 7: a million addresses that read and miss take less than 64 MiB
#[test]
fn a_million_addresses_take_less_than_64_mib() {
    let limits = Limits::new(Config::new(&Settings::default()).unwrap().http.limits);
    assert_eq!(limits.bytes(), 0, "nothing is taken in advance");

    let mut refused = 0;
    for address in addresses(1_000_000) {
        refused += usize::from(limits.read(address).is_err());
        limits.not_found(address);
    }

    assert_eq!(refused, 0, "nobody pays for somebody else");
    let bytes = limits.bytes();
    assert!(bytes < MOST, "{bytes} bytes");
}

/// Promise 7: whoever goes on is counted on, however many others come between
#[test]
fn an_address_is_not_forgotten_for_the_sake_of_half_a_million_others() {
    let settings = Settings {
        address_404s_per_min: Some(1),
        ..Settings::default()
    };
    let limits = Limits::new(Config::new(&settings).unwrap().http.limits);
    let guesser: IpAddr = "203.0.113.7".parse().unwrap();
    limits.not_found(guesser);
    assert!(limits.hear(guesser).is_err());

    for address in addresses(500_000) {
        limits.not_found(address);
    }

    assert!(limits.hear(guesser).is_err());
}
