//! What a request's line in the log costs whoever answers the request.
//!
//! `cargo bench --bench log 2>/dev/null`: the console is stderr.

#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use engagement::{
    config::{Config, Settings},
    telemetry::logging,
};

fn line(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = Config::new(&Settings::default()).unwrap().logs;
    settings.file = Some(folder.path().join("engagement.log"));
    let _logging = logging::start(&settings).unwrap();
    let route = "/conversations/{conversation}";
    criterion.bench_function("a line for console and file", |bencher| {
        bencher.iter(|| {
            let (status, duration_us, request_id) =
                (black_box(200_u16), black_box(153_u64), black_box("9f86d081-00001f2e"));
            tracing::info!(target: "engagement::request", method = black_box("GET"), route = black_box(route), status, duration_us, request_id, "request");
        });
    });
}

criterion_group!(benches, line);
criterion_main!(benches);
