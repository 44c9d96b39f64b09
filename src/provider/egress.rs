//! Where calls may go: to the host that the operator named, and nowhere else.
//!
//! That a host is named in the configuration is the permission, private addresses and plain http included: a model on
//! the same machine is the normal case. What stays shut are the addresses where clouds hand out credentials to whoever
//! asks from the inside, unless the operator named just that. The check is made on the addresses that are dialled,
//! after the name was looked up.

use std::{
    error::Error,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::net::lookup_host;

/// Where clouds answer with credentials and the like.
const METADATA: &[IpAddr] = &[
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    // Of containers, of pods.
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];

/// The names of such places.
const METADATA_NAMES: &[&str] = &[
    "metadata.google.internal",
    "metadata.goog",
    "metadata",
    "instance-data",
    "instance-data.ec2.internal",
];

/// Looks up one host's name. Addresses that stand in a URL themselves are not looked up: they are what was named.
#[derive(Debug)]
pub(super) struct OnlyHost(String);

impl OnlyHost {
    /// The host that the operator named.
    pub(super) fn new(host: &str) -> Self {
        Self(host.to_ascii_lowercase())
    }

    fn is_host(&self, asked: &str) -> bool {
        asked.eq_ignore_ascii_case(&self.0)
    }

    /// Those of the addresses that may be dialled.
    fn admit(&self, found: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
        let names_metadata = METADATA_NAMES.contains(&self.0.trim_end_matches('.'));
        found
            .filter(|address| names_metadata || !is_metadata(address.ip()))
            .collect()
    }
}

impl Resolve for OnlyHost {
    fn resolve(&self, name: Name) -> Resolving {
        if !self.is_host(name.as_str()) {
            return Box::pin(async { Err("this host is not the provider's".into()) });
        }
        let host = Self(self.0.clone());
        Box::pin(async move {
            let found = lookup_host((host.0.as_str(), 0)).await?;
            let admitted = host.admit(found);
            if admitted.is_empty() {
                return Err::<Addrs, Box<dyn Error + Send + Sync>>(
                    "no address of this host may be called".into(),
                );
            }
            Ok(Box::new(admitted.into_iter()))
        })
    }
}

fn is_metadata(address: IpAddr) -> bool {
    METADATA.contains(&canonical(address))
}

/// The address that is reached in the end: IPv6 has several ways to write an IPv4 address.
fn canonical(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let [prefix @ .., high, low] = v6.segments();
    let (high, low) = match prefix {
        // Mapped; translated; NAT64, and its local prefix.
        [0, 0, 0, 0, 0, 0xffff]
        | [0, 0, 0, 0, 0xffff, 0]
        | [0x64, 0xff9b, 0, 0, 0, 0]
        | [0x64, 0xff9b, 1, ..] => (high, low),
        // Compatible, which is neither :: nor ::1.
        [0, 0, 0, 0, 0, 0] if high != 0 => (high, low),
        // 6to4.
        [0x2002, high, low, ..] => (high, low),
        _ => return address,
    };
    IpAddr::V4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(host: &str, address: &str) -> bool {
        let address: IpAddr = address.parse().unwrap();
        !OnlyHost::new(host)
            .admit([SocketAddr::new(address, 0)].into_iter())
            .is_empty()
    }

    #[test]
    fn a_named_host_may_be_anywhere_but_where_credentials_are_handed_out() {
        for (address, expected) in [
            ("127.0.0.1", true),
            ("::1", true),
            ("10.0.0.1", true),
            ("192.168.1.1", true),
            ("169.254.1.1", true),
            ("100.64.0.1", true),
            ("8.8.8.8", true),
            ("fd00::1", true),
            ("::ffff:10.0.0.1", true),
            ("2001:4860:4860::8888", true),
            ("169.254.169.254", false),
            ("169.254.170.2", false),
            ("169.254.170.23", false),
            ("100.100.100.200", false),
            ("168.63.129.16", false),
            ("192.0.0.192", false),
            ("fd00:ec2::254", false),
            ("fd00:ec2::23", false),
            ("fd20:ce::254", false),
            ("::ffff:169.254.169.254", false),
            ("::ffff:a9fe:a9fe", false),
            ("::ffff:0:a9fe:a9fe", false),
            ("::169.254.169.254", false),
            ("64:ff9b::a9fe:a9fe", false),
            ("64:ff9b:1::a9fe:a9fe", false),
            ("2002:a9fe:a9fe::", false),
            ("2002:a9fe:a9fe::1", false),
        ] {
            assert_eq!(admitted("provider.example", address), expected, "{address}");
        }
    }

    #[test]
    fn the_place_itself_can_be_named() {
        assert!(admitted("metadata.google.internal", "169.254.169.254"));
        assert!(admitted("Metadata.Google.Internal.", "169.254.169.254"));
        assert!(!admitted("metadata.google.internal.example", "169.254.169.254"));
    }

    #[tokio::test]
    async fn no_other_host_is_even_looked_up() {
        let only = OnlyHost::new("localhost");
        let resolve = async |name: &str| only.resolve(name.parse().unwrap()).await.map(Iterator::count);
        assert!(resolve("localhost").await.is_ok_and(|found| found > 0));
        assert!(resolve("LOCALHOST").await.is_ok());
        for other in [
            "localhost.localdomain",
            "ip6-localhost",
            "example.com",
            "localhost.",
        ] {
            assert!(resolve(other).await.is_err(), "{other}");
        }
    }
}
