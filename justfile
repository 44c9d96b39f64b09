# Shortcuts; every one is a plain command that can be typed without `just`.

# What there is
default:
    @just --list

# Start the service on http://127.0.0.1:8000
run *args:
    cargo run -- {{ args }}

# The tests; `just test events` runs those whose name contains "events"
test *args:
    cargo test {{ args }}

# What a reviewer should not have to say
lint:
    cargo fmt --all -- --check
    cargo clippy --locked --all-targets -- -D warnings
    scripts/check-links

# Format the code
fmt:
    cargo fmt --all
    if [ -f loadtest/Cargo.toml ]; then cargo fmt --manifest-path loadtest/Cargo.toml; fi

# The API documentation of the crate, private items too
docs:
    RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" cargo doc --locked --no-deps --document-private-items

# Licences, banned crates, sources and advisories of the dependencies
deny:
    cargo deny check

# All that has to hold before a change lands
ci:
    bash .ci/run

# Micro-benchmarks
bench *args:
    cargo bench {{ args }}

# The load generator against a running service; `just load --help`
load *args:
    cargo run --release --manifest-path loadtest/Cargo.toml -- {{ args }}

# The image, built and run without Docker
container-check:
    scripts/check-container

# The archive of a release, made and tried
release:
    scripts/release --check

# The parts of documents that the program writes itself
refresh:
    ENGAGEMENT_TESTS_REFRESH=1 cargo test generated
