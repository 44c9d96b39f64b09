//! The integration tests: the real program in its own process, judged from outside.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "the tests are not the service: they have no shutdown to mind"
)]

mod access;
mod architecture;
mod cli;
mod contract;
mod copy;
mod docs;
mod faults;
mod http;
mod limits;
mod metrics;
mod openapi;
mod postgres;
mod process;
mod provider;
mod proxy;
mod reply;
mod store;
mod support;
mod traces;
mod transfer;
