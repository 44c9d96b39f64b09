//! `engagement`: see the library for how it is made.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    engagement::cli::run(std::env::args_os())
}
