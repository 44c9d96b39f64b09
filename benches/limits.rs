//! What judging a request costs, and the memory of the limiter when very many ask.
//!
//! `cargo bench --bench limits`.

#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::{
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
};

use criterion::{Criterion, criterion_group, criterion_main};
use engagement::{
    config::{Config, Settings},
    limits::Limits,
};

fn limits() -> Limits {
    Limits::new(Config::new(&Settings::default()).unwrap().http.limits)
}

fn address(number: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(number))
}

/// The memory that the process has to itself, in bytes.
fn memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<usize>().ok());
    kib.unwrap_or_default() * 1024
}

fn memory_of_many(_: &mut Criterion) {
    let before = memory();
    let limits = limits();
    for number in 0..10_000_000 {
        black_box(limits.read(address(number)).is_ok());
        if [1_000, 1_000_000, 10_000_000].contains(&(number + 1)) {
            println!(
                "{} addresses: {} bytes in the tables, {} more in the process",
                number + 1,
                limits.bytes(),
                memory().saturating_sub(before)
            );
        }
    }
}

fn judging(criterion: &mut Criterion) {
    let known = limits();
    criterion.bench_function("an address that reads, heard and counted", |bencher| {
        let address = address(7);
        bencher.iter(|| {
            (
                known.hear(black_box(address)).is_ok(),
                known.read(address).is_ok(),
            )
        });
    });
    let many = limits();
    let mut number = 0_u32;
    criterion.bench_function("an address among millions, heard and counted", |bencher| {
        bencher.iter(|| {
            number = number.wrapping_add(0x9e37_79b9);
            let address = address(black_box(number) % 4_000_000);
            (many.hear(address).is_ok(), many.read(address).is_ok())
        });
    });
}

criterion_group!(benches, memory_of_many, judging);
criterion_main!(benches);
