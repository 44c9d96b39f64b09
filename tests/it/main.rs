//! The integration tests: the real program in its own process, judged from outside.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "a test is not the service: it may spawn and read its environment"
)]

mod architecture;
mod contract;
mod reply;
mod store;
mod support;
